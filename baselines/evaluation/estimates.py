"""What a comparison says: numbers with their intervals, factors and differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.evaluation.statistics import interval


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its 95 % interval; prints as ``2.19 [2.14, 2.24]``, or ``2.19 (no interval)`` where it rests on one episode."""

    mean: float
    low: float
    """NaN, as ``high``, where there is no interval: one episode says nothing about others."""
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether it rests on more than one episode."""
        return not (math.isnan(self.low) and math.isnan(self.high))

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def __repr__(self) -> str:
        places = decimals_of(self.mean)
        if not self.has_interval and math.isfinite(self.mean):
            return f"{digits(self.mean, places)} (no interval)"
        return f"{digits(self.mean, places)} [{digits(self.low, places)}, {digits(self.high, places)}]"

    def to_dict(self, name: str = "mean") -> dict[str, Any]:
        """Return ``{"mean": .., "ci95": [low, high]}``; what is not finite becomes None."""
        return {name: plain_number(self.mean), "ci95": [plain_number(self.low), plain_number(self.high)]}


@dataclass(frozen=True)
class Factor:
    """How many times better a policy is than another: above 1 is better, in every measure."""

    ratio: Estimate
    """Ratio of the means over episodes."""
    geometric: Estimate
    """Geometric mean of the ratios per episode; NaN where they don't exist."""
    wins: int
    """Episodes in which it is better; 0 where the measure has no value per episode."""
    ties: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        counts = {"wins": self.wins, "ties": self.ties, "losses": self.losses}
        return {**self.ratio.to_dict("factor"), "geometric_mean": self.geometric.to_dict("factor"), **counts}


@dataclass(frozen=True)
class Difference:
    """A policy against an opponent on the same episodes."""

    policy: float
    opponent: float
    difference: Estimate
    """policy - opponent, in the measure's own direction."""
    better: bool
    """Whether the interval excludes zero on the good side."""

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"policy": .., "opponent": .., "difference": .., "ci95": [..], "better": ..}``."""
        ends = {"policy": plain_number(self.policy), "opponent": plain_number(self.opponent)}
        return {**ends, **self.difference.to_dict("difference"), "better": self.better}


def decimals_of(value: float) -> int:
    """Return the decimals that give ``value`` about three significant digits."""
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3


def digits(value: float, decimals: int | None = None) -> str:
    """Return ``value`` with ``decimals``, by default as many as three significant digits take; "-" where it is not finite."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.{decimals_of(value) if decimals is None else decimals}f}"


def plain_number(value: float) -> float | None:
    """Return ``value`` as JSON can say it."""
    return float(value) if math.isfinite(value) else None


def ends_of(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Return the ends of the interval of a :meth:`Estimate.to_dict`; NaN where it has none."""
    low, high = (math.nan if end is None else end for end in entry["ci95"])
    return low, high


def estimate_of(value: float, draws: np.ndarray) -> Estimate:
    """Return ``value`` with the interval of its (B,) resampled values; NaN are left out, and where all are there is no interval."""
    return Estimate(float(value), *interval(draws))
