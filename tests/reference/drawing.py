"""Hashing and drawing in plain Python: how a seed becomes an episode, straight from what docs/requests.md says."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
COUNTERS = 16
"""A request's own."""
CLASS, BATCH, PRIORITY, INPUT, OUTPUT, ERROR, ARRIVAL = 0, 1, 2, 3, 5, 7, 9
SPLITS = {"env": 0, "train": 1, "valid": 2, "eval": 3}


def scramble(word: int) -> int:
    """Return SplitMix64's finalizer of a 64-bit word."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
    return word ^ (word >> 31)


def episode_seed(split: str, seed: int, row: int, episode: int) -> int:
    """Return the seed of an episode: the split in the two top bits, the hash of the rest below."""
    word = scramble((seed + GOLDEN) & WORD)
    word = scramble(word ^ ((row + GOLDEN) & WORD))
    word = scramble((word + episode * GOLDEN) & WORD)
    return SPLITS[split] * (1 << 62) + word // 4


@dataclass(frozen=True)
class Stream:
    """Independent numbers by counter."""

    seed: int

    def uniform(self, counter: int) -> float:
        """Return a number in [0, 1)."""
        return (scramble((self.seed + GOLDEN * (counter + 1)) & WORD) >> 11) / (1 << 53)

    def exponential(self, counter: int) -> float:
        """Return a number of mean 1."""
        return -math.log(1.0 - self.uniform(counter))

    def normal(self, counter: int) -> float:
        """Return a standard normal number (Box-Muller), of two uniform ones."""
        return math.sqrt(2.0 * self.exponential(counter)) * math.cos(2.0 * math.pi * self.uniform(counter + 1))

    def choice(self, counter: int, weights: Sequence[float]) -> int:
        """Return an index, drawn by weight."""
        ends = list(accumulate(weights))
        return min(bisect_right(ends, self.uniform(counter) * ends[-1]), len(ends) - 1)

    def substream(self, purpose: int, index: int) -> Stream:
        """Return the stream that a draw of variable count uses."""
        word = scramble((self.seed ^ scramble((purpose + GOLDEN) & WORD)) & WORD)
        return Stream(scramble((word + index * GOLDEN) & WORD))


@dataclass(frozen=True)
class Lengths:
    """How long the inputs and outputs of a network are."""

    low: int
    high: int
    median: float
    sigma: float
    ratio: float | None = None
    output_sigma: float = 0.0
    most_output: int = 1


@dataclass(frozen=True)
class Drawn:
    """A request, but for its arrival."""

    request_class: int
    model: str
    batch: int
    priority: int
    input_length: int | None
    output_length: int
    prediction_factor: float


def draw(classes: Sequence[Mapping[str, Any]], lengths: Mapping[str, Lengths], seed: int, index: int, error: float = 0.0) -> Drawn:
    """Return request ``index`` of the episode of ``seed``.

    ``classes`` have "model", "weight", "batch" (a list) and "priority" (a list of pairs of level and weight).
    """
    stream, base = Stream(seed), COUNTERS * index
    number = stream.choice(base + CLASS, [entry["weight"] for entry in classes])
    entry = classes[number]
    batch = entry["batch"][int(stream.uniform(base + BATCH) * len(entry["batch"]))]
    priority, _ = entry["priority"][stream.choice(base + PRIORITY, [weight for _, weight in entry["priority"]])]
    length, output = None, 1
    spec = lengths.get(entry["model"])
    if spec is not None:
        length = round_within(spec.median * math.exp(spec.sigma * stream.normal(base + INPUT)), spec.low, spec.high)
        if spec.ratio is not None:
            centre = spec.ratio * length
            output = round_within(centre * math.exp(spec.output_sigma * stream.normal(base + OUTPUT)), 1, spec.most_output)
    factor = math.exp(error * stream.normal(base + ERROR)) if error > 0 else 1.0
    return Drawn(number, entry["model"], batch, priority, length, output, factor)


def round_within(value: float, low: int, high: int) -> int:
    return min(max(round(value), low), high)


def window_arrivals(seed: int, window: float, isolated: Sequence[int]) -> list[int]:
    """Return the arrivals of a closed episode: uniform over the window, in order, the first at 0."""
    stream, total = Stream(seed), sum(isolated)
    moments = sorted(int(stream.uniform(COUNTERS * i + ARRIVAL) * window * total) for i in range(len(isolated)))
    return [moment - moments[0] for moment in moments]


def rated_arrivals(
    seed: int, count: int, gap: float, *, factor: float = 1.0, share: float = 0.0, burst_requests: float = 0.0
) -> list[int]:
    """Return the arrivals of a (modulated) Poisson process with a mean gap of ``gap`` cycles, the first at 0."""
    stream = Stream(seed)
    calm_gap = gap * (1 - share + share * factor)
    gaps = {False: calm_gap, True: calm_gap / factor}
    burst = burst_requests * gaps[True]
    stays = {True: burst, False: burst * (1 - share) / share if share else math.inf}
    first = stream.substream(1, 0)
    bursting = first.uniform(0) < share * factor / (1 - share + share * factor)
    turn = round(stays[bursting] * first.exponential(1)) if share else math.inf
    now, arrivals = 0, [0]
    for index in range(1, count):
        own, counter = stream.substream(1, index), 0
        while now + round(gaps[bursting] * own.exponential(counter)) > turn:
            now, bursting = int(turn), not bursting
            turn += round(stays[bursting] * own.exponential(counter + 1))
            counter += 2
        now += round(gaps[bursting] * own.exponential(counter))
        arrivals.append(now)
    return arrivals
