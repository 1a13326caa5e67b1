"""Two implementations of the machine play the same episode, and the first difference is told. They are known as players only."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference.player import Player

from tools.several_cases import Case, choose, draw

TOLERANCE, OBSERVATION_TOLERANCE = 1e-9, 1e-6
"""Of floating point values, and of features; whole numbers, words and flags are compared exactly."""

Maker = Callable[[], Player]


class DifferenceError(AssertionError):
    """Two implementations disagree."""


def compare(what: str, got: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    """Raise at the first place where ``got`` isn't ``expected``, down through mappings and sequences."""
    if got == expected:
        return
    if isinstance(expected, Mapping):
        if set(got) != set(expected):
            raise DifferenceError(f"{what}: fields differ: {sorted(set(got) ^ set(expected))}")
        for name, value in expected.items():
            within = OBSERVATION_TOLERANCE if name == "observation" else tolerance
            compare(f"{what}.{name}" if what else str(name), got[name], value, within)
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        for index, (one, other) in enumerate(zip(got, expected, strict=False)):
            compare(f"{what}[{index}]", one, other, tolerance)
        if len(got) != len(expected):
            raise DifferenceError(f"{what}: {list(got)} where {list(expected)} was expected")
    elif isinstance(expected, float):
        if not math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance):
            raise DifferenceError(f"{what}: {got} where {expected} was expected")
    elif got != expected:
        raise DifferenceError(f"{what}: {got} where {expected} was expected")


def play(case: Case, ours: Player, theirs: Player) -> int:
    """Play ``case`` on both sides and compare all that shows; ``theirs`` is expected. Return the decisions made."""
    for player in (ours, theirs):
        player.start(case.trace, case.setup)
    rng = random.Random(f"actions {case.number}")
    for decision in range(case.most_steps):
        got, expected = ours.snapshot(), theirs.snapshot()
        if decision == 0:  # no step has been paid for
            del got["reward_terms"], expected["reward_terms"]
        compare(f"decision {decision}", got, expected)
        compare(f"decision {decision}.asked", ours.asked(), theirs.asked())
        if theirs.asked() is None:
            return decision
        compare(f"decision {decision}.mask", ours.mask(), theirs.mask())
        action = choose(rng, theirs.mask(), case)
        compare(f"decision {decision}.legal", ours.act(action), theirs.act(action))
    return case.most_steps


def differences(first: int, count: int, ours: Maker, theirs: Maker, drawn: Callable[[int], Case] = draw) -> tuple[list[str], int]:
    """Play ``count`` random cases from number ``first`` on; return what differed, and the decisions played.

    ``drawn`` draws them: ``draw``, or ``draw_batching`` where both can form batches.
    """
    found, decisions = [], 0
    for number in range(first, first + count):
        try:
            decisions += play(drawn(number), ours(), theirs())
        except Exception as error:
            found.append(f"case {number}: {type(error).__name__}: {error}")
    return found, decisions
