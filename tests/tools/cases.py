"""Random cases for the twin: programs, worlds (an environment's arguments) and episodes (a trace and a way to act), all from seeds.

Times lie on a coarse grid most of the time, so that completions, arrivals, quanta and the ends of switches coincide often.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from reference.parts import MECHANISMS, Hardware, Rules, Task
from reference.parts import Program as ReferenceProgram

from prema_gym import NPUConfig, Program, register_program
from prema_gym.types import BLOCK, NEVER, RUN, SEGMENT

CHUNK = 500
"""Episodes that share a set of programs."""
PER_WORLD = 25
"""Episodes that share an environment."""
PROGRAMS = 24
"""Programs of a chunk."""
UNITS = (1, 10, 100, 4375)
"""Cycles of a grid step."""
BYTES_PER_CYCLE = 16
ONLY = "npu"
"""The configuration of a machine with one NPU."""


@dataclass(frozen=True)
class Library:
    """The programs of a chunk under their registered names, and the hardware that they run on."""

    unit: int
    npu: NPUConfig
    programs: dict[str, ReferenceProgram]


@dataclass(frozen=True)
class World:
    """The arguments of an environment, and the reference's rules that say the same."""

    library: Library
    slots: int
    rules: Rules
    arguments: dict[str, Any]
    endless: bool
    """Whether its episodes are meant to meet the horizon: few long tasks, killed at every quantum, all on the grid."""


@dataclass(frozen=True)
class Manner:
    """How random actions are drawn: the chance of keeping, of an illegal action, and the mechanisms' weights."""

    keep: float
    illegal: float
    weights: tuple[int, int, int]
    most_steps: int


@dataclass(frozen=True)
class Episode:
    """A trace and a way to act in it."""

    trace: list[dict[str, Any]]
    manner: Manner


# --- Programs -------------------------------------------------------------------------------------------------------------------


def reference_program(program: Program) -> ReferenceProgram:
    """Return the preemption points of ``program``, written out."""
    return ReferenceProgram(
        commits=program.commit_cycles.tolist(),
        saves=program.save_bytes.tolist(),
        restores=program.restore_bytes.tolist(),
        refills=program.refill_cycles.tolist(),
        total=program.total_cycles,
        predicted=program.predicted_cycles,
        estimated=program.length_estimated,
        totals=program.totals.tolist() if len(program.totals) > 1 else (),
    )


def _bytes(rng: random.Random, unit: int) -> int:
    """Return a context's size: often none, else on the grid or off it."""
    if rng.random() < 0.35:
        return 0
    return rng.randint(0, 8) * unit * BYTES_PER_CYCLE + rng.choice((0, 0, 1, 5))


def _predicted(rng: random.Random, total: int) -> int:
    return rng.choice((total, max(1, round(total * rng.lognormvariate(0, 0.7)))))


def listed_program(rng: random.Random, unit: int) -> Program:
    """Return a program given point by point."""
    points = rng.choice((0, 1, 2, 3, 5, 8, 13, 40))
    on_grid = rng.random() < 0.7
    commits, position = [], 0
    for _ in range(points):
        position += rng.randint(1, 8) * unit if on_grid else rng.randint(1, 8 * unit)
        commits.append(position)
    tail = rng.choice((0, 0, 1, unit, 3 * unit))
    saves = [_bytes(rng, unit) for _ in commits]
    restores = [save + rng.choice((0, 0, 0, _bytes(rng, unit))) for save in saves]
    total = max(position + tail, rng.randint(1, 8) * unit) if points == 0 else position + tail
    program = Program.from_points(
        total,
        commits,
        saves,
        restores,
        [rng.choice((0, 0, unit, rng.randint(0, 3 * unit))) for _ in commits],
        predicted_cycles=_predicted(rng, total),
    )
    return dataclasses.replace(program, length_estimated=rng.random() < 0.3)


def looped_program(rng: random.Random, unit: int) -> Program:
    """Return a program in compressed form: blocks of runs, segments that repeat a block, the last one perhaps without end."""
    runs, blocks, segments = [], [], []
    position = points = 0
    count = rng.randint(1, 3)
    for last in [False] * (count - 1) + [True]:
        block_points = block_cycles = 0
        first_run = len(runs)
        for _ in range(rng.randint(1, 3)):
            step, length = rng.randint(1, 4) * unit, rng.randint(1, 4)
            save = _bytes(rng, unit)
            runs.append((block_cycles, block_points, step, save, save + _bytes(rng, unit), rng.choice((0, unit)), length))
            block_cycles += step * length
            block_points += length
        passes = rng.randint(1, 5)
        repeats = NEVER if last and rng.random() < 0.5 else passes
        base, step_bytes = _bytes(rng, unit), rng.choice((0, 16 * unit))
        segments.append((position, points, repeats, base, base, step_bytes, 2 * step_bytes, len(blocks)))
        blocks.append((block_cycles, block_points, first_run, len(runs) - first_run))
        position += passes * block_cycles
        points += passes * block_points
    total = max(1, position - rng.choice((0, 0, unit, rng.randint(0, position // 2))))
    return Program(
        name="looped",
        runs=np.array(runs, RUN),
        blocks=np.array(blocks, BLOCK),
        segments=np.array(segments, SEGMENT),
        totals=np.array([total], np.int64),
        num_points=points,
        compute_cycles=total,
        dram_bytes=0,
        predicted_cycles=_predicted(rng, total),
        length_estimated=rng.random() < 0.5,
    )


@functools.lru_cache(maxsize=4)
def library(chunk: int) -> Library:
    """Register and return the programs of ``chunk``."""
    rng = random.Random(f"library {chunk}")
    unit = UNITS[chunk % len(UNITS)]
    npu = NPUConfig(
        clock_hz=1000, dram_bytes_per_second=1000 * BYTES_PER_CYCLE, dram_latency_cycles=rng.choice((0, 1, unit, 2 * unit))
    )
    programs = {}
    for index in range(PROGRAMS):
        program = (listed_program if rng.random() < 0.7 else looped_program)(rng, unit)
        name = f"case {chunk}.{index}"
        register_program(name, program)
        programs[name] = reference_program(program)
    return Library(unit, npu, programs)


# --- Worlds ---------------------------------------------------------------------------------------------------------------------


def world(number: int) -> World:
    """Return the world that episodes ``number * PER_WORLD``, ... play in."""
    rng = random.Random(f"world {number}")
    chunk = library(number * PER_WORLD // CHUNK)
    unit = chunk.unit
    slots = rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 8, 8, 12)) if number % 40 != 7 else 64
    quantum = rng.choice((2, 4, 10, 10, 25, 25, 100)) * unit + rng.choice((0, 0, 0, 1))
    latency = rng.choice((0, 0, 0, 1, unit, unit, 4 * unit))
    every = rng.choice((1, 1, 1, 2, 3, None))
    mechanisms = rng.choice((MECHANISMS, MECHANISMS, MECHANISMS, ("CHECKPOINT", "DRAIN"), ("CHECKPOINT",), ("KILL",), ("DRAIN",)))
    endless = number % 8 == 5
    if endless:
        mechanisms = rng.choice((MECHANISMS, ("KILL",), ("KILL",)))
        slots, quantum, every = rng.choice((2, 2, 3)), rng.choice((10, 20)) * unit + rng.choice((0, 0, 3)), rng.choice((1, 1, 2))
    arguments = {
        "npu": chunk.npu,
        "workload": {"models": list(chunk.programs), "batches": [1], "num_tasks": 1},
        "slots": slots,
        "quantum_cycles": quantum,
        "scheduler_latency_cycles": latency,
        "decision_every": every,
        "mechanisms": mechanisms,
        "reward": rng.choice(
            (
                "weighted_antt",
                "antt",
                "fairness_shaped",
                {"sla": 2.0, "stp": 0.5, "hp_excess": 1.0},
                {"tardiness": 1.0, "deadline_misses": 2.0, "goodput": 0.5},
            )
        ),
    }
    rules = Rules((hardware_of(chunk.npu),), slots, quantum, latency, every, mechanisms)
    return World(chunk, slots, rules, arguments, endless)


def hardware_of(npu: NPUConfig) -> Hardware:
    """Return the reference's one NPU."""
    return Hardware(ONLY, npu.dram_bytes_per_second, npu.dram_latency_cycles, npu.clock_hz)


def rules_of(config: Any) -> Rules:
    """Return the reference's rules for an environment's configuration."""
    return Rules(
        (hardware_of(config.npu),),
        config.num_slots,
        config.quantum_cycles,
        config.scheduler_latency_cycles,
        config.decision_every,
        config.mechanisms,
    )


# --- Episodes -------------------------------------------------------------------------------------------------------------------

KEEPING = Manner(keep=0.9, illegal=0.01, weights=(2, 1, 1), most_steps=150)
EVEN = Manner(keep=0.3, illegal=0.1, weights=(1, 1, 1), most_steps=80)
RESTLESS = Manner(keep=0.0, illegal=0.0, weights=(1, 0, 0), most_steps=80)
DESTRUCTIVE = Manner(keep=0.1, illegal=0.02, weights=(1, 8, 0), most_steps=400)
LIVELOCK = Manner(keep=0.0, illegal=0.0, weights=(1, 12, 0), most_steps=600)
"""Kills whatever runs: only what completes within a quantum does, so that long tasks meet the horizon."""
MANNERS = (KEEPING, KEEPING, EVEN, EVEN, RESTLESS, DESTRUCTIVE, LIVELOCK)


def episode(number: int, place: World) -> Episode:
    """Return episode ``number`` of ``place``."""
    rng = random.Random(f"episode {number}")
    count = place.slots if place.endless else rng.randint(max(1, place.slots // 2), place.slots)
    names = rng.choices(_candidates(place), k=count)
    arrivals = _arrivals(rng, place, [place.library.programs[name].total for name in names])
    trace = [
        {"arrival_cycles": arrival, "model": name, "priority": rng.choice((1, 3, 9))}
        for arrival, name in zip(arrivals, names, strict=True)
    ]
    _ask_more(random.Random(f"requests of episode {number}"), trace, [place.library.programs[name].total for name in names])
    return Episode(trace, LIVELOCK if place.endless else rng.choice(MANNERS))


def _ask_more(rng: random.Random, trace: list[dict[str, Any]], totals: Sequence[int]) -> None:
    """Give tasks of two episodes in three deadlines, tight ones and loose ones, and of one in four any priorities."""
    style = rng.randrange(3)
    for entry, total in zip(trace, totals, strict=True):
        if style == 1 or (style == 2 and rng.random() < 0.5):
            allowed = rng.choice((1, total - 1, total, total + 1, 2 * total, int(total * rng.uniform(1, 8))))
            entry["deadline_cycles"] = entry["arrival_cycles"] + max(allowed, 1)
    if rng.random() < 0.25:
        for entry in trace:
            entry["priority"] = rng.randint(1, 64)


def _candidates(place: World) -> list[str]:
    """Return the names of the programs to draw from: all of them, or those on the grid that no quantum suffices for."""
    programs, unit = place.library.programs, place.library.unit
    long = [name for name, program in programs.items() if program.total > place.rules.quantum and program.total % unit == 0]
    return long if place.endless and long else list(programs)


def _arrivals(rng: random.Random, place: World, totals: Sequence[int]) -> list[int]:
    """Return arrivals on the grid: often at once, at likely completions, at expiries of the quantum, or anywhere."""
    span = int(sum(totals) * rng.choice((0.0, 0.2, 0.5, 1.0, 2.0)))
    unit, quantum = place.library.unit, place.rules.quantum
    start = rng.choice((0, 0, 0, 3 * unit, rng.randint(0, 10 * unit)))
    anchors = [sum(totals[:k]) for k in range(len(totals))]
    arrivals = [0]
    while len(arrivals) < len(totals):
        arrivals.append(
            rng.choice(
                (
                    rng.randint(0, span) // unit * unit,
                    rng.randint(0, span),
                    rng.choice(arrivals),
                    rng.choice(anchors),
                    rng.randint(0, 8) * quantum,
                )
            )
        )
    return sorted(start + arrival for arrival in arrivals)


def reference_tasks(trace: Sequence[dict[str, Any]], programs: dict[str, ReferenceProgram]) -> list[Task]:
    """Return the reference's tasks of ``trace``, which must be in order of arrival."""
    return [
        Task(
            index,
            entry["arrival_cycles"],
            entry["priority"],
            {ONLY: programs[entry["model"]]},
            deadline=entry.get("deadline_cycles"),
        )
        for index, entry in enumerate(trace)
    ]


def choose(rng: random.Random, mask: Sequence[int], manner: Manner, mechanisms: Sequence[str]) -> int:
    """Return an action: now and then illegal, else keep with some chance, else by weight of its mechanism."""
    legal = [action for action, allowed in enumerate(mask) if allowed]
    if rng.random() < manner.illegal:
        return rng.randrange(len(mask))
    if mask[0] and rng.random() < manner.keep:
        return 0
    moves = [action for action in legal if action > 0]
    by_column = [manner.weights[MECHANISMS.index(mechanism)] for mechanism in mechanisms]
    weights = [by_column[(action - 1) % len(by_column)] for action in moves]
    return rng.choices(moves, weights)[0] if any(weights) else rng.choice(legal)
