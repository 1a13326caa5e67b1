"""What a scheduler may know of the time that a task has left, where its output ends nobody knows when.

The input length, the distribution of output lengths given it (:class:`prema_gym.workloads.lengths.LengthSpec`), and how a
program's time grows with the output length (its profile) are public. What is drawn for a request is not, and is not read here.
Times are shares of the program's time at the predicted output length: times the prediction that is shown for a task, they are
cycles, with the predictor's error in them.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from prema_gym.workloads.lengths import LengthSpec, predicted_output_length
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import ProgramTable
from prema_gym.workloads.sizes import Key

STEP = np.dtype(
    [
        ("ratio", np.float64),  # time at this output length over the time at the predicted one
        ("chance", np.float64),  # probability of this output length
        ("at_least", np.float64),  # probability of this one or a longer one
        ("mean_ratio", np.float64),  # mean ratio given this one or a longer one
    ],
    align=True,
)
"""A possible output length of a program."""
STEPS = np.dtype([("first", np.int64), ("count", np.int64)], align=True)
"""The possible output lengths of a program, ascending; a count of 0 where the length is no guess."""
LEAST_CHANCE = 1e-12
"""Output lengths with a smaller chance than this are left out."""


class Residuals(NamedTuple):
    """The distributions of the times of P programs, S possible output lengths in all."""

    programs: np.ndarray
    """(P,) STEPS, by row of the program table."""
    steps: np.ndarray
    """(S,) STEP."""


class Outputs(NamedTuple):
    """How long the outputs of P programs get."""

    programs: np.ndarray
    """(P,) STEPS, by row of the program table: where in ``at_most`` it has an entry for each output length 1, 2, ..."""
    at_most: np.ndarray
    """(...,) float64: the probability of this output length or a shorter one."""


@functools.cache
def output_chances(spec: LengthSpec, input_length: int) -> np.ndarray:
    """Return the probability of each output length 1, 2, ..., max_output given the input length: float64 (max_output,)."""
    assert spec.ratio is not None
    centre, most = spec.ratio * input_length, spec.max_output
    below = np.ones(most)
    for length in range(1, most):
        distance = math.log((length + 0.5) / centre)
        if spec.output_sigma > 0.0:
            below[length - 1] = 0.5 * (1.0 + math.erf(distance / (spec.output_sigma * math.sqrt(2.0))))
        else:
            below[length - 1] = float(distance > 0.0)
    chances = np.diff(below, prepend=0.0)
    chances.flags.writeable = False
    return chances


def steps_of(chances: np.ndarray, totals: np.ndarray, predicted: int) -> np.ndarray:
    """Return the STEP of the output lengths that can be.

    ``chances`` (L,) float64 and ``totals`` (L,) int64, the program's cycles, are those of the output lengths 1, 2, ..., L;
    ``predicted`` is the predicted one.
    """
    possible = chances > LEAST_CHANCE
    steps = np.zeros(int(possible.sum()), STEP)
    steps["ratio"] = totals[possible] / totals[predicted - 1]
    steps["chance"] = chances[possible] / chances[possible].sum()
    steps["at_least"] = np.cumsum(steps["chance"][::-1])[::-1]
    means = np.cumsum((steps["chance"] * steps["ratio"])[::-1])[::-1] / steps["at_least"]
    steps["mean_ratio"] = np.maximum(means, steps["ratio"])
    return steps


def _spec(key: Key) -> LengthSpec | None:
    """Return what the output lengths of a program are drawn by; None where its length is known."""
    spec = MODELS[key.model].lengths if key.model in MODELS else None
    return None if spec is None or spec.ratio is None or key.input_length is None else spec


def _steps(table: ProgramTable, row: int, key: Key) -> np.ndarray | None:
    """Return the STEP of a program; None where its length is known."""
    spec = _spec(key)
    if spec is None or key.input_length is None:
        return None
    program = table.library.programs[row]
    totals = table.library.totals[program["first_total"] :][: program["totals"]]
    return steps_of(output_chances(spec, key.input_length), totals, predicted_output_length(spec, key.input_length))


_FOUND: dict[int, tuple[ProgramTable, int, Residuals]] = {}


def residuals_of(table: ProgramTable) -> Residuals:
    """Return the distributions of all programs of ``table``: the same object until the table grows."""
    known = _FOUND.get(id(table))
    if known is not None and known[1] == len(table.keys):
        return known[2]
    programs = np.zeros(len(table.keys), STEPS)
    parts, first = [np.zeros(0, STEP)], 0
    for row, key in enumerate(table.keys):
        steps = _steps(table, row, key)
        if steps is not None:
            programs[row] = first, len(steps)
            first += len(steps)
            parts.append(steps)
    found = Residuals(programs, np.concatenate(parts))
    _FOUND[id(table)] = table, len(programs), found  # holding the table keeps its id its own
    return found


def outputs_of(table: ProgramTable) -> Outputs:
    """Return how long the outputs of all programs of ``table`` get."""
    programs = np.zeros(len(table.keys), STEPS)
    parts, first = [np.zeros(0)], 0
    for row, key in enumerate(table.keys):
        spec = _spec(key)
        if spec is not None and key.input_length is not None:
            chances = np.cumsum(output_chances(spec, key.input_length))
            programs[row] = first, len(chances)
            first += len(chances)
            parts.append(chances)
    return Outputs(programs, np.concatenate(parts))
