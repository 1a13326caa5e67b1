"""Random streams on one to four NPUs: the kernel draws the requests, the reference is given the same ones, and both play them.

In a third of them the kernel is given the requests too, with other priorities and deadlines: as a list at the reset, or as a file.

Programs take a few cycles and gaps are as short, so that arrivals, completions, entries from the backlog and ends of switches often
fall on one cycle.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from reference.machine import Machine
from reference.parts import Rules
from reference.player import Arrival, ReferencePlayer, tasks_of
from tools.duel import compare
from tools.kernel_player import KernelPlayer
from tools.several_cases import Case, choose
from tools.several_cases import draw as draw_case
from tools.several_cases import draw_batching as draw_batching_case

from prema_gym.types import ARRIVALS, NONE, TASK, TIMES
from prema_gym.workloads.arrivals import next_arrival
from prema_gym.workloads.drawing import arrive_at, draw_request

CAUTION = 400
"""Decisions after which a case is left as it is."""


@dataclasses.dataclass(frozen=True)
class StreamCase:
    """A stream on some machine, and how it is played."""

    case: Case
    """Its trace is not used."""
    arguments: dict[str, Any]
    """Of the environment, beside what the case says."""
    seed: int
    given: str = ""
    """How the kernel is given the requests: as a "list" or a "file"; empty where it draws them."""


@dataclasses.dataclass(frozen=True)
class ListedRules(Rules):
    """Rules of a stream whose requests are given: a weight divides by their mean priority."""

    listed: bool = True


def draw(number: int, cases: Callable[[int], Case] = draw_case) -> StreamCase:
    """Return stream ``number``: a number fixes everything about it. ``cases`` draws its machine and programs."""
    rng = random.Random(f"stream {number}")
    case = cases(number)
    rules = dataclasses.replace(
        case.setup.rules, slots=rng.choice((1, 2, 2, 3, 4, 6)), horizon_requests=rng.choice((2, 5, 12, 25, 40, 60))
    )
    totals = [program.total for programs in case.setup.programs.values() for program in programs.values()]
    gap = max(1.0, sum(totals) / len(totals) / len(rules.npus) * rng.choice((0.3, 0.6, 0.9, 1.5)))
    sla = rng.choice((None, None, 1.5, 4.0))
    arguments = {"gap_cycles": gap, "sla": sla}
    setup, seed = dataclasses.replace(case.setup, rules=rules), rng.randrange(1 << 40)
    given = rng.choice(("", "", "", "", "list", "file"))
    return StreamCase(dataclasses.replace(case, setup=setup), arguments, seed, given)


def draw_any(number: int) -> StreamCase:
    """Return stream ``number``, every other one with batching."""
    return draw_batching(number) if number % 2 else draw(number)


def draw_batching(number: int) -> StreamCase:
    """Return stream ``number`` with batching, one in six without. What its requests' samples may be is in ``Setup.samples``."""
    return draw(number, _few_models)


def _few_models(number: int) -> Case:
    """Return a case with batching that has the models of its trace only: requests of one model meet."""
    case = draw_batching_case(number)
    programs = {name: each for name, each in case.setup.programs.items() if name in case.setup.samples or not case.setup.samples}
    return dataclasses.replace(case, setup=dataclasses.replace(case.setup, programs=programs))


def requests_of(player: KernelPlayer, count: int) -> list[dict[str, int]]:
    """Return the first ``count`` requests of the stream that is being played."""
    simulator = player._env._core.simulator
    task, cursor = np.zeros(1, TASK), np.zeros(1, ARRIVALS)
    times = np.zeros(simulator.state.times.shape[2], TIMES)
    record, at = (task.view(np.recarray)[0], cursor.view(np.recarray)[0])
    seed = simulator.state.machine[0]["episode_seed"]
    drawn = []
    for number in range(count):
        draw_request(record, times, simulator.draws, simulator.tables.programs, seed, number)
        next_arrival(at, simulator.draws.draw.view(np.recarray)[0], seed, number)
        arrive_at(record, at.cycles)
        drawn.append({name: int(record[name]) for name in ("arrival_cycles", "program", "priority", "deadline_cycles")})
    return drawn


def give(stream: StreamCase, kernel: KernelPlayer, requests: list[dict[str, Any]]) -> Rules:
    """Let the kernel play the ``requests`` that it has drawn as given ones, changed a little in place; return the rules."""
    rng, rules = random.Random(f"given {stream.seed}"), stream.case.setup.rules
    start = rng.choice((0, 0, 7)) if requests[-1]["arrival_cycles"] > 0 else 0
    for entry in requests:
        entry["arrival_cycles"] += start
        entry["priority"] = rng.choice((1, 3, 9, 2, 40))
        entry["deadline_cycles"] = rng.choice((NONE, entry["arrival_cycles"] + rng.randint(1, 2000)))
    entries = [{name: value for name, value in entry.items() if value != NONE} for entry in requests]
    with tempfile.TemporaryDirectory() as folder:
        kernel.start_listed(entries, Path(folder) / "given.jsonl" if stream.given == "file" else None)
    levels = tuple(sorted({*rules.levels, *(entry["priority"] for entry in requests)}))
    return ListedRules(**{**vars(rules), "levels": levels})


def start(stream: StreamCase) -> tuple[KernelPlayer, ReferencePlayer]:
    """Begin the stream on both sides."""
    kernel, twin = KernelPlayer(), ReferencePlayer()
    setup = stream.case.setup
    kernel.start_stream(setup, stream.seed, **stream.arguments)
    drawn = requests_of(kernel, setup.rules.horizon_requests or 0)
    keys = kernel._env._core.simulator.programs.keys
    requests: list[dict[str, Any]] = [
        {"model": keys[program].model, "batch": keys[program].batch, **entry}
        for program, entry in ((entry.pop("program"), entry) for entry in drawn)
    ]
    rules = give(stream, kernel, requests) if stream.given else setup.rules
    trace = [
        Arrival(entry["arrival_cycles"], entry["model"].removeprefix("duel "), entry["priority"], entry["batch"])
        for entry in requests
    ]
    tasks = tasks_of(trace, setup)
    for task, entry in zip(tasks, requests, strict=True):
        task.deadline = None if entry["deadline_cycles"] == NONE else entry["deadline_cycles"]
    assert {entry.model for entry in trace} <= set(setup.programs)
    twin.deadlines = "deadlines" in kernel._env._core.layout.groups
    twin.begin(Machine(rules, tasks, setup.program_of))
    return kernel, twin


def play(stream: StreamCase) -> int:
    """Play a stream on both sides and compare all that shows. Return the decisions made."""
    kernel, twin = start(stream)
    rng = random.Random(f"actions {stream.seed}")
    for decision in range(CAUTION):
        got, expected = kernel.snapshot(), twin.snapshot()
        for shown in (got, expected):
            del shown["horizon_cycles"]  # the kernel learns of it when it draws the last request
        if decision == 0:
            del got["reward_terms"], expected["reward_terms"]
        else:
            expected["reward_terms"] = {name: expected["reward_terms"][name] for name in got["reward_terms"]}
        compare(f"decision {decision}", got, expected)
        compare(f"decision {decision}.asked", kernel.asked(), twin.asked())
        if twin.asked() is None:
            return decision
        action = choose(rng, twin.mask(), stream.case)
        compare(f"decision {decision}.legal", kernel.act(action), twin.act(action))
    return CAUTION


def differences(first: int, count: int, drawn: Callable[[int], StreamCase] = draw) -> tuple[list[str], int]:
    """Play ``count`` random streams from number ``first`` on, as ``drawn``; return what differed, and the decisions played."""
    found, decisions = [], 0
    for number in range(first, first + count):
        try:
            decisions += play(drawn(number))
        except Exception as error:
            found.append(f"stream {number}: {type(error).__name__}: {error}")
    return found, decisions
