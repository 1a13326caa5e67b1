"""What no schedule can beat: the clairvoyant mean-busy-time bound on (weighted) ANTT.

Relax a task to many slices, each of which counts when it runs instead of when the whole task completes. A task of isolated time L_i
that completes at C_i cannot have its mean busy time M_i = (1/L_i) * integral of t over its running later than C_i - L_i/2, so
weighted ANTT = sum w_i (C_i - a_i) >= sum w_i (M_i + L_i/2 - a_i) with w_i = p_i / (sum p * L_i). The right-hand side is smallest
when the NPU always runs the arrived task of the largest w_i/L_i, at no switching cost (preemptive WSPT on slices; Goemans, SODA
1997; Goemans, Queyranne, Schulz, Skutella & Wang, SIAM J. Discrete Math. 2002). WSPT's own completion times are no bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from prema_gym._jit import jit_borrowing
from prema_gym.errors import BoundError, ConfigError
from prema_gym.types import NEVER, NONE

ROUNDING = 1e-9
"""Relative difference below a bound that rounding may make."""


@jit_borrowing
def _densest(arrival, remaining, density, now):
    """Return the arrived, unfinished task of the largest ``density``; NONE if there is none."""
    best = NONE
    for i in range(arrival.shape[0]):
        if arrival[i] <= now and remaining[i] > 0 and (best == NONE or density[i] > density[best]):
            best = i
    return best


@jit_borrowing
def _next_arrival(arrival, now):
    cycle = NEVER
    for i in range(arrival.shape[0]):
        if arrival[i] > now:
            cycle = min(cycle, arrival[i])
    return cycle


@jit_borrowing
def _bound_of(arrival, isolated, priority, remaining, density):
    """Return the bound of one episode: all are (n,), ``remaining`` int64 and ``density`` float64 are work space."""
    priorities, weighted, now = 0, 0.0, NEVER
    for i in range(arrival.shape[0]):
        priorities += priority[i]
        now = min(now, arrival[i])
    for i in range(arrival.shape[0]):
        weight = priority[i] / (priorities * isolated[i])
        density[i] = weight / isolated[i]
        remaining[i] = isolated[i]
        weighted += weight * isolated[i]
    total = 0.5 * weighted
    while True:
        i = _densest(arrival, remaining, density, now)
        until = _next_arrival(arrival, now)
        if i != NONE:
            until = min(until, now + remaining[i])
            remaining[i] -= until - now
            total += density[i] * (until - now) * (0.5 * (until + now) - arrival[i])
        elif until == NEVER:
            return total
        now = until


@jit_borrowing
def _fill_bounds(arrival, isolated, priority, remaining, density, out):
    for episode in range(out.shape[0]):
        out[episode] = _bound_of(arrival[episode], isolated[episode], priority[episode], remaining, density)


def _rows(name: str, values: ArrayLike, least: int) -> np.ndarray:
    array = np.atleast_2d(np.asarray(values))
    if array.ndim != 2 or array.dtype.kind not in "iu" or array.size == 0 or array.min() < least:
        raise ConfigError(
            f"{name} of shape {np.shape(values)}: must be whole numbers of at least {least}, shaped (tasks,) or (episodes, tasks)."
        )
    return np.ascontiguousarray(array, np.int64)


def weighted_antt_bound(arrival_cycles: ArrayLike, isolated_cycles: ArrayLike, priority: ArrayLike | None = None) -> np.ndarray:
    """Return the (E,) float64 lower bounds on weighted ANTT of E episodes of n tasks, whatever the scheduler knows and does.

    Parameters
    ----------
    arrival_cycles, isolated_cycles: (E, n) or (n,) whole numbers.
    priority: likewise; None weights all tasks alike, which bounds ANTT.

    """
    arrival = _rows("arrival_cycles", arrival_cycles, 0)
    isolated = _rows("isolated_cycles", isolated_cycles, 1)
    weights = np.ones_like(isolated) if priority is None else _rows("priority", priority, 1)
    if not arrival.shape == isolated.shape == weights.shape:
        raise ConfigError(f"shapes {arrival.shape}, {isolated.shape}, {weights.shape}: arrivals, times and priorities must agree.")
    out = np.empty(arrival.shape[0])
    tasks = arrival.shape[1]
    _fill_bounds(arrival, isolated, weights, np.empty(tasks, np.int64), np.empty(tasks), out)
    return out


def antt_bound(arrival_cycles: ArrayLike, isolated_cycles: ArrayLike) -> np.ndarray:
    """Return the (E,) float64 lower bounds on ANTT: :func:`weighted_antt_bound` with equal priorities."""
    return weighted_antt_bound(arrival_cycles, isolated_cycles)


def check_against_bounds(policy: str, measures: Sequence[str], values: np.ndarray, bounds: np.ndarray) -> None:
    """Raise :class:`BoundError` if one of ``values`` (E, M) of ``measures`` is below its bound in ``bounds`` (E, M)."""
    below = np.argwhere(values < bounds * (1 - ROUNDING))
    if len(below) == 0:
        return
    episode, column = below[0]
    raise BoundError(
        f"policy {policy!r}: {measures[column]} {values[episode, column]:.6g} in episode {episode} is below "
        f"{bounds[episode, column]:.6g}, which no schedule can beat. Does the policy change more than its own answer?"
    )
