"""The objective of learning: to dominate an opponent, not to buy one metric with another.

An improvement is the logarithm of how many times better a policy is than its opponent on the same episodes, divided by the scale of
the measure: what counts as one unit of progress there. The objective is the smallest improvement over all headline measures. Arrays
of shape (H,) below have a value for each of the H measures in ``HEADLINES``, in that order.
"""

from __future__ import annotations

import numpy as np

from baselines.evaluation.episodes import Played
from baselines.evaluation.measures import HEADLINES, HP_TAIL, MEASURES
from baselines.evaluation.statistics import TAIL
from prema_gym.errors import PolicyError, unknown_name
from prema_gym.metrics import METRICS

DOMINANCE = "dominance"
"""The objective of this module, where options name one."""
_SCALE = {"antt": 0.10, "stp": 0.01, "sla_violation": 0.20, "fairness": 0.02, "hp_tail": 0.02}
SCALES: dict[str, float] = {name: _SCALE[name] for name in HEADLINES}
"""Unit of progress of each headline measure, as a difference of logarithms."""
_SCALES = np.array(list(SCALES.values()))
_SIGNS = np.array([1.0 if MEASURES[name].higher_is_better else -1.0 for name in HEADLINES])
_PER_EPISODE = [name for name in HEADLINES if name in METRICS]
_COLUMNS = [METRICS.index(name) for name in _PER_EPISODE]
_LEAST = 1e-6
"""Measures are taken to be at least this, so that a logarithm exists."""
_MEAN_SHARE = 0.05
"""Weight of the mean improvement in the objective: of two equal minima, the one with the better mean wins."""
_TAIL_HALF_WIDTH = 0.03
"""Quantiles this far to either side of the tail's are averaged to smooth it."""
SOFT_MINIMUM_TEMPERATURE = 0.5
"""An improvement that is this much above the smallest has a weight e times smaller."""
DECAY = 0.7
"""Weight of the past in running means of improvements."""


def headline_values(played: Played, *, smooth: bool = False) -> np.ndarray:
    """Return the (H,) headline measures of the episodes ``played``.

    With ``smooth``, the tail is the mean of nearby quantiles: it has less noise, and another expectation.
    """
    values = dict(zip(_PER_EPISODE, played.metrics[:, _COLUMNS].mean(axis=0), strict=True))
    values[HP_TAIL.name] = _tail(played, smooth)
    return np.array([values[name] for name in HEADLINES])


def _tail(played: Played, smooth: bool) -> float:
    """Return the tail quantile of the NTT of high-priority tasks, pooled over episodes; NaN where there are none."""
    high = played.ntt[played.priority == played.priority.max(initial=0)]
    quantiles = TAIL + _TAIL_HALF_WIDTH * np.linspace(-1.0, 1.0, 7) if smooth else np.array([TAIL])
    return float(np.quantile(high, quantiles).mean()) if len(high) else np.nan


def improvements(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the (H,) scaled log-improvements of ``ours`` over ``theirs``, both (H,) headline values; above 0 is better."""
    return _SIGNS * np.log(np.maximum(ours, _LEAST) / np.maximum(theirs, _LEAST)) / _SCALES


def dominance(gains: np.ndarray) -> float:
    """Return the objective of (H,) improvements: the smallest, plus a small share of the mean."""
    return float(gains.min() + _MEAN_SHARE * gains.mean())


def objective_weights(gains: np.ndarray) -> np.ndarray:
    """Return (H,) weights of improvements that sum to 1, largest for the smallest: the gradient of their soft minimum.

    Search maximises the weighted sum. The minimum of several noisy numbers tells mostly which of them was unlucky; weights that
    follow a running mean of the improvements have the same optimum and far less noise.
    """
    weights = np.exp(-(gains - gains.min()) / SOFT_MINIMUM_TEMPERATURE)
    return weights / weights.sum()


# --- Choosing the best of many --------------------------------------------------------------------------------------------------

JACKKNIFE_GROUPS = 20
"""Number of groups into which :func:`lower_bounds` deals the episodes."""
STANDARD_ERRORS = 4.0
"""Standard errors that :func:`lower_bounds` subtracts: two for having chosen the best of many, two for the interval to be shown."""


def lower_bounds(ours: Played, theirs: Played) -> np.ndarray:
    """Return the (H,) improvements less STANDARD_ERRORS standard errors: what can be relied on when the best of many is chosen.

    Without the subtraction the choice goes to the candidate that was lucky in the noisiest measure. Standard errors are
    those of the jackknife over JACKKNIFE_GROUPS groups of episodes, the same for both policies; the tail's is that of the smoothed
    tail, since the jackknife fails for a single quantile.
    """
    groups = np.arange(len(ours)) % JACKKNIFE_GROUPS
    without = [
        improvements(*(headline_values(_selected(played, groups != group), smooth=True) for played in (ours, theirs)))
        for group in range(JACKKNIFE_GROUPS)
    ]
    deviations = (np.array(without) - np.mean(without, axis=0)) ** 2
    errors = np.sqrt((JACKKNIFE_GROUPS - 1) / JACKKNIFE_GROUPS * deviations.sum(axis=0))
    return improvements(headline_values(ours), headline_values(theirs)) - STANDARD_ERRORS * errors


def _selected(played: Played, chosen: np.ndarray) -> Played:
    return Played(played.episodes[chosen], played.tasks[chosen])


# --- By name --------------------------------------------------------------------------------------------------------------------


def parse_margins(text: str) -> np.ndarray:
    """Return the (H,) margins that ``text`` names, as "antt=2,sla_violation=1.5"; 0 for a measure that it does not name."""
    margins = dict.fromkeys(HEADLINES, 0.0)
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in margins:
            raise PolicyError(unknown_name("measure", name, HEADLINES))
        try:
            margins[name] = float(value)
        except ValueError:
            raise PolicyError(f"margin {part!r}: must be a measure, '=' and a number of units.") from None
    return np.array(list(margins.values()))


def by_measure(values: np.ndarray) -> dict[str, float]:
    """Return (H,) values by the name of their measure."""
    return {name: float(value) for name, value in zip(HEADLINES, values, strict=True)}
