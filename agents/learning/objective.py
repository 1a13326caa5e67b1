"""What is learned for: to dominate an opponent, not to buy one metric with another.

An improvement is the logarithm of how many times better a policy is than its opponent on the same episodes, divided by the scale of
the measure: what counts as one unit of progress there. The objective is the smallest of the five improvements.
"""

from __future__ import annotations

import numpy as np

from baselines.evaluation.episodes import Played
from baselines.evaluation.measures import MEASURES
from baselines.evaluation.statistics import TAIL
from prema_gym.errors import PolicyError, unknown_name
from prema_gym.metrics import ANTT, FAIRNESS, HIGH_PRIORITY, SLA_VIOLATION, STP

SCALES: dict[str, float] = {"antt": 0.10, "stp": 0.01, "sla_violation": 0.20, "fairness": 0.02, "hp_tail": 0.02}
"""Unit of progress of each measure, as a difference of logarithms."""
_SCALES = np.array(list(SCALES.values()))
_SIGNS = np.array([1.0 if MEASURES[name].higher_is_better else -1.0 for name in SCALES])
_COLUMNS = (ANTT, STP, SLA_VIOLATION, FAIRNESS)
_LEAST = 1e-6
"""Measures are taken to be at least this, so that a logarithm exists."""
_MEAN_SHARE = 0.05
"""Weight of the mean improvement in the objective: among equal minima, the better rest wins."""
_TAIL_HALF_WIDTH = 0.03


def five(played: Played, *, smooth: bool = False) -> np.ndarray:
    """Return the (5,) values of SCALES' measures; ``smooth`` averages ``hp_tail`` over nearby quantiles: less noise."""
    high = played.ntt[played.priority == HIGH_PRIORITY]
    quantiles = TAIL + _TAIL_HALF_WIDTH * np.linspace(-1.0, 1.0, 7) if smooth else np.array([TAIL])
    tail = np.quantile(high, quantiles).mean() if len(high) else np.nan
    return np.array([*played.metrics[:, _COLUMNS].mean(axis=0), tail])


def improvements(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the (5,) scaled log-improvements of ``ours`` over ``theirs``, both (5,) of :func:`five`; above 0 is better."""
    return _SIGNS * np.log(np.maximum(ours, _LEAST) / np.maximum(theirs, _LEAST)) / _SCALES


GROUPS = 20
"""Parts that episodes are dealt into for :func:`lower_bounds`."""
CAUTION = 4.0
"""Standard errors that :func:`lower_bounds` takes off: two for having chosen the best of many, two for the interval to be shown."""


def lower_bounds(ours: Played, theirs: Played) -> np.ndarray:
    """Return (5,) improvements less CAUTION standard errors: what can be relied on when the best of many is chosen.

    Without it the choice goes to who was lucky on the noisiest measure. Standard errors by the jackknife over GROUPS of episodes,
    left out one at a time, the same for both; the tail's from nearby quantiles, since the jackknife fails for a single one.
    """
    groups = np.arange(len(ours)) % GROUPS
    left = [improvements(*(five(_part(played, groups != g), smooth=True) for played in (ours, theirs))) for g in range(GROUPS)]
    spread = (np.array(left) - np.mean(left, axis=0)) ** 2
    return improvements(five(ours), five(theirs)) - CAUTION * np.sqrt((GROUPS - 1) / GROUPS * spread.sum(axis=0))


def _part(played: Played, chosen: np.ndarray) -> Played:
    return Played(played.episodes[chosen], played.tasks[chosen])


def parse_aims(text: str) -> np.ndarray:
    """Return the (5,) improvements that ``text``, as "antt=2,sla_violation=1.5", asks for; 0 for what it does not name."""
    aims = dict.fromkeys(SCALES, 0.0)
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in SCALES:
            raise PolicyError(unknown_name("measure", name, SCALES))
        try:
            aims[name] = float(value)
        except ValueError:
            raise PolicyError(f"aim {part!r}: must be a measure, '=' and a number of units.") from None
    return np.array(list(aims.values()))


def dominance(gains: np.ndarray) -> float:
    """Return the objective of (5,) improvements: the smallest, and a little of the mean."""
    return float(gains.min() + _MEAN_SHARE * gains.mean())


def named(values: np.ndarray) -> dict[str, float]:
    """Return (5,) values by measure."""
    return {name: float(value) for name, value in zip(SCALES, values, strict=True)}
