"""Random cases of one to four NPUs, like and unlike: a machine with tiny programs, a trace and a manner of play, all from a number.

They hold nothing of any implementation but the reference's plain records. Times lie on a coarse grid most of the time, so that
completions, arrivals, quanta and the ends of switches on several NPUs coincide often.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reference.parts import CHECKPOINT, KILL, MECHANISMS, Hardware, Program, Rules
from reference.player import Arrival, Setup

CLOCK_HZ = 1000
BYTES_PER_CYCLE = 16
CONFIGURATIONS = ("even", "brisk", "dear")
"""Names of configurations. Programs of ``brisk`` are faster or slower by their own factor each; contexts of ``dear`` cost more."""
MODELS = 6
UNITS = (1, 10, 100)
"""Cycles of a grid step."""


@dataclass(frozen=True)
class Manner:
    """How random actions are drawn: the chance of keeping where it is legal, of any action at all, and the mechanisms' weights."""

    keep: float
    illegal: float
    weights: tuple[int, int, int]
    """CHECKPOINT, KILL, DRAIN."""


@dataclass(frozen=True)
class Case:
    """An episode of some machine, and how it is played."""

    number: int
    setup: Setup
    trace: tuple[Arrival, ...]
    manner: Manner
    most_steps: int = 400


MANNERS = (
    Manner(keep=0.8, illegal=0.0, weights=(2, 1, 1)),
    Manner(keep=0.4, illegal=0.05, weights=(1, 1, 1)),
    Manner(keep=0.1, illegal=0.0, weights=(1, 0, 0)),
    Manner(keep=0.1, illegal=0.02, weights=(1, 8, 0)),
    Manner(keep=0.3, illegal=0.0, weights=(1, 0, 4)),
)

LAZY = Manner(keep=0.99, illegal=0.0, weights=(2, 1, 1))
"""With batching an idle NPU may keep for ever."""


def draw(number: int) -> Case:
    """Return case ``number``: a number fixes everything about it."""
    rng = random.Random(f"several NPUs {number}")
    unit = rng.choice(UNITS)
    npus = _npus(rng, unit)
    programs = {f"model {index}": _programs(rng, unit) for index in range(MODELS)}
    slots = rng.randint(1, 8)
    rules = Rules(
        npus=npus,
        slots=slots,
        quantum=rng.choice((2, 4, 10, 25, 100)) * unit + rng.choice((0, 0, 0, 1)),
        latency=rng.choice((0, 0, 0, 1, unit, 3 * unit)),
        decision_every=rng.choice((1, 1, 2, 3, None)),
        mechanisms=rng.choice((MECHANISMS, MECHANISMS, MECHANISMS, (CHECKPOINT,), (KILL,), (CHECKPOINT, KILL))),
        allow_idle=rng.random() < 0.35,
    )
    return Case(number, Setup(rules, programs), _trace(rng, unit, rules, programs), rng.choice(MANNERS))


def draw_any(number: int) -> Case:
    """Return case ``number``, every other one with batching."""
    return draw_batching(number) if number % 2 else draw(number)


def draw_batching(number: int) -> Case:
    """Return case ``number`` with batching, one in six as it is. What batching takes is drawn apart from all else of the case.

    Its requests are of few models, so that they meet: each with programs at every size, at some, or at none.
    """
    case, rng = draw(number), random.Random(f"batching {number}")
    batching = rng.choice((1, 2, 3, 4, 6, 8, 8, 16, 64) if number % 6 else (1,))
    if batching == 1:
        return case
    unit = random.Random(f"several NPUs {number}").choice(UNITS)
    rules = dataclasses.replace(case.setup.rules, batching=batching, slots=rng.choice((case.setup.rules.slots, 6, 8, 12)))
    models = rng.sample(list(case.setup.programs), rng.choice((1, 2, 2, 3)))
    samples = {model: rng.choice(((1,), (1,), (1, 2), (1, 2, 3, 4), (4,), (1, 16))) for model in models}
    sizes = {model: _sizes(rng, unit, batching, samples[model]) for model in models if rng.random() < 0.9}
    own = {model: {name: each[samples[model][0]] for name, each in by_size.items()} for model, by_size in sizes.items()}
    programs = {**case.setup.programs, **own}
    trace = _trace(rng, unit, rules, {model: programs[model] for model in models})
    factors = (1.0,) if rng.random() < 0.5 else (1.0, rng.lognormvariate(0, 0.5), rng.lognormvariate(0, 0.5))
    trace = tuple(
        dataclasses.replace(entry, samples=rng.choice(samples[entry.model]), factor=rng.choice(factors)) for entry in trace
    )
    manner = LAZY if rng.random() < 0.1 else case.manner
    return dataclasses.replace(case, setup=Setup(rules, programs, sizes, samples), trace=trace, manner=manner)


def choose(rng: random.Random, mask: Sequence[int], case: Case) -> int:
    """Return an action in the manner of ``case``."""
    if rng.random() < case.manner.illegal:
        return rng.randrange(len(mask))
    if mask[0] and rng.random() < case.manner.keep:
        return 0
    columns = case.setup.rules.mechanisms
    moves = [action for action, legal in enumerate(mask) if legal and action > 0]
    weights = [case.manner.weights[MECHANISMS.index(columns[(action - 1) % len(columns)])] for action in moves]
    return rng.choices(moves, weights if any(weights) else None)[0]


def _npus(rng: random.Random, unit: int) -> tuple[Hardware, ...]:
    """Return one to four NPUs, all alike in a third of the cases."""
    hardware = {
        name: Hardware(name, CLOCK_HZ * BYTES_PER_CYCLE // (4 if name == "dear" else 1), rng.choice((0, 1, unit)), CLOCK_HZ)
        for name in CONFIGURATIONS
    }
    names = CONFIGURATIONS[:1] if rng.random() < 1 / 3 else CONFIGURATIONS
    return tuple(hardware[rng.choice(names)] for _ in range(rng.choice((1, 2, 2, 3, 3, 4))))


def _programs(rng: random.Random, unit: int) -> dict[str, Program]:
    """Return a model's program per configuration: the same length or another, with points of its own."""
    length = rng.randint(1, 30) * unit
    factors = {"even": 1.0, "brisk": rng.choice((0.25, 0.5, 1.0, 2.0)), "dear": rng.choice((1.0, 3.0))}
    return {name: _program(rng, unit, max(1, int(length * factors[name]))) for name in CONFIGURATIONS}


def _program(rng: random.Random, unit: int, total: int) -> Program:
    """Return a program of ``total`` cycles: points on the grid or off it, contexts of any size or none."""
    step = unit if rng.random() < 0.7 else 1
    places = range(step, total + 1, step)
    commits = sorted(rng.sample(places, min(len(places), rng.choice((0, 1, 2, 3, 5, 8)))))
    saves = [0 if rng.random() < 0.35 else rng.randint(0, 6) * unit * BYTES_PER_CYCLE + rng.choice((0, 0, 5)) for _ in commits]
    restores = [nbytes + rng.choice((0, 0, unit * BYTES_PER_CYCLE)) for nbytes in saves]
    refills = [rng.choice((0, 0, unit, rng.randint(0, 2 * unit))) for _ in commits]
    predicted = rng.choice((total, max(1, round(total * rng.lognormvariate(0, 0.7)))))
    return Program(tuple(commits), tuple(saves), tuple(restores), tuple(refills), total, predicted)


def _sizes(rng: random.Random, unit: int, batching: int, samples: Sequence[int]) -> dict[str, dict[int, Program]]:
    """Return a model's programs by configuration and size: at those of its requests, and at those of batches or at some of them."""
    powers = [1 << n for n in range(7) if 1 << n < 2 * batching]
    if rng.random() < 0.3:
        powers = [size for size in powers if rng.random() < 0.6]
    length, growth = rng.randint(1, 20) * unit, rng.choice((0.0, 0.2, 0.5, 1.0))
    sizes: dict[str, dict[int, Program]] = {}
    for name in CONFIGURATIONS:
        one = length * rng.choice((0.5, 1.0, 1.0, 2.0))
        totals = {size: max(1, int(one * (1 + growth * (size - 1)))) for size in sorted({*samples, *powers})}
        sizes[name] = {size: _program(rng, unit, total) for size, total in totals.items()}
    return sizes


def _trace(rng: random.Random, unit: int, rules: Rules, programs: Mapping[str, Mapping[str, Program]]) -> tuple[Arrival, ...]:
    """Return arrivals on the grid: often at once, at likely completions, at expiries of the quantum, or anywhere."""
    count = rng.randint(max(1, rules.slots // 2), rules.slots)
    models = rng.choices(list(programs), k=count)
    totals = [programs[model][rules.npus[0].configuration].total for model in models]
    span = int(sum(totals) / len(rules.npus) * rng.choice((0.0, 0.3, 0.7, 1.5)))
    cycles = [0]
    while len(cycles) < count:
        anywhere = rng.randint(0, span)
        cycles.append(
            rng.choice((anywhere // unit * unit, anywhere, cycles[-1], rng.choice(totals), rng.randint(0, 6) * rules.quantum))
        )
    start = rng.choice((0, 0, 2 * unit))
    return tuple(Arrival(start + cycle, model, rng.choice((1, 3, 9))) for cycle, model in zip(sorted(cycles), models, strict=True))
