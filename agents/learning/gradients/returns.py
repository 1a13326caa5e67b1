"""Returns in a semi-Markov process: steps cover different times, so a discount per step would favour policies that decide often.

A step that covers ``elapsed`` milliseconds discounts what follows it by exp(-elapsed / horizon); without a horizon nothing is
discounted (gamma = 1): episodes are finite and every reward sums to its metric.
"""

from __future__ import annotations

import numpy as np


def discounts(elapsed_ms: np.ndarray, horizon_ms: float | None, gamma: float = 1.0) -> np.ndarray:
    """Return the discount of each step from the time that it covered, and ``gamma`` for each step whatever it covered."""
    by_step = np.full_like(elapsed_ms, gamma)
    return by_step if horizon_ms is None else by_step * np.exp(-elapsed_ms / horizon_ms)


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    gammas: np.ndarray,
    alive: np.ndarray,
    last_values: np.ndarray,
    gae_lambda: float,
    cut_values: np.ndarray | None = None,
) -> np.ndarray:
    """Return the (S, n) generalised advantages (Schulman et al., ICLR 2016) with a discount ``gammas`` (S, n) for each step.

    ``values`` are those of the states before each step, ``last_values`` (n,) of the one after the last; ``alive`` (S, n) is 0 where
    the step ended an episode, else 1. ``cut_values`` (S, n) are those of the states in which episodes were truncated, 0 elsewhere:
    what would have followed had they gone on.
    """
    result = np.zeros_like(rewards)
    following, carried = last_values, np.zeros_like(last_values)
    for step in reversed(range(len(rewards))):
        ahead = alive[step] * following
        if cut_values is not None:
            ahead = ahead + cut_values[step]
        delta = rewards[step] + gammas[step] * ahead - values[step]
        carried = delta + gammas[step] * gae_lambda * alive[step] * carried
        result[step] = carried
        following = values[step]
    return result
