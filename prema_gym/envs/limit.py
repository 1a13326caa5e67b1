"""A limit of steps: an episode that is cut off before its end has metrics too, of what has happened so far."""

from __future__ import annotations

import inspect

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from prema_gym._jit import jit_borrowing
from prema_gym.checks import whole
from prema_gym.envs.actions import KEEP
from prema_gym.envs.step import fill_metrics
from prema_gym.sim.book import open_book
from prema_gym.sim.streams.cohort import settle_open
from prema_gym.sim.tables import row_of
from prema_gym.types import NONE, TRUNCATED


def checked_limit(value: object) -> int | None:
    """Return ``value`` as a number of steps, None for none; raises :class:`prema_gym.errors.ConfigError` for what is neither."""
    return None if value is None else whole("max_episode_steps", value, 1, note=", or None")


_MOST_FRAMES = 32
"""Calls that are looked through for those of a TimeLimit: a wrapper takes one or two."""
_RESET_OF_LIMIT = TimeLimit.reset.__code__


def limit_around(env: gym.Env) -> int | None:
    """Return the fewest steps that a TimeLimit around ``env`` allows, seen from within its ``reset``; None where there is none.

    ``gym.make(..., max_episode_steps=...)`` and TimeLimit tell the environment nothing, but its ``reset`` is called through theirs.
    """
    found: list[int] = []
    frame = inspect.currentframe()
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        if frame.f_code is _RESET_OF_LIMIT and frame.f_locals["self"].unwrapped is env:
            found.append(frame.f_locals["self"]._max_episode_steps)
        frame = frame.f_back
    return min(found, default=None)


def least(*limits: int | None) -> int | None:
    """Return the smallest of those that are given."""
    return min((limit for limit in limits if limit is not None), default=None)


@jit_borrowing
def _fill_closed(row, tables, out):
    """Fill ``out`` with the metrics of the tasks that have arrived: of those to come nothing can be said."""
    machine, now = row.machine, row.status.clock_cycles
    tasks, priority_sum, deadlines = machine.tasks, machine.priority_sum, machine.deadlines
    machine.tasks, machine.priority_sum, machine.deadlines = 0, 0, 0
    for i in range(tasks):
        if row.tasks[i].arrival_cycles <= now:
            machine.tasks += 1
            machine.priority_sum += row.tasks[i].priority
            machine.deadlines += row.tasks[i].deadline_cycles != NONE
    fill_metrics(row, tables, out, row.stream)
    machine.tasks, machine.priority_sum, machine.deadlines = tasks, priority_sum, deadlines


@jit_borrowing
def _fill(row, tables, out, stream):
    if stream is None:
        _fill_closed(row, tables, out)
    else:
        settle_open(row, tables)
        fill_metrics(row, tables, out, row.stream)


@jit_borrowing
def cut_rows(words, chosen, outcomes, masks):
    """Truncate the episodes of the rows where ``chosen`` (N,) bool is set, which must be asking; fill their outcomes and masks."""
    tables, _, state = open_book(words)
    for i in range(chosen.shape[0]):
        if chosen[i]:
            row = row_of(state, i)
            row.machine.outcome = TRUNCATED
            outcomes[i].truncated = True
            _fill(row, tables, outcomes[i].metrics, row.stream)
            masks[i, :] = 0
            masks[i, KEEP] = 1


class StepLimit:
    """Counts the steps of N rows' episodes, and tells which have reached a limit."""

    def __init__(self, rows: int, most: int) -> None:
        self.most = most
        self.steps = np.zeros(rows, np.int64)
        """(N,) steps of each row's present episode."""

    def begin(self, rows: np.ndarray) -> None:
        """Start to count anew in ``rows`` (N,) bool."""
        self.steps[rows] = 0

    def reached(self, over: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Count a step; return in which rows (N,) bool it is the last that is allowed.

        ``over`` are the rows whose episode had ended before the step, ``ended`` those whose episode the step has ended by itself.
        """
        self.steps[~over] += 1
        self.steps[over] = 0
        reached: np.ndarray = ~over & ~ended & (self.steps >= self.most)
        return reached
