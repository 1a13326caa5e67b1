"""The reward terms: functions of one step, each of one signature. :mod:`prema_gym.envs.reward` has their table and registers them.

A term takes a :class:`Step` and returns a float64. All terms are compiled into one call; the sums over tasks that several of them
need are worked out once and lie in the step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.metrics import HIGHEST_TARGET, LOWEST_TARGET
from prema_gym.types import ASKING


class Step(NamedTuple):
    """What happened between a decision and the next one, or the end of the episode. Terms only read it; they may use the truth."""

    machine: np.void
    """MACHINE of the row."""
    tasks: np.ndarray
    """(n,) TASK; the first ``machine.next_task`` have arrived. Of a stream what is in the table, slot by slot, and two more."""
    start_cycles: int
    """When the decision was asked."""
    now_cycles: int
    """When the next one is asked, or the episode has ended."""
    requests: int
    """What a mean divides by: the tasks of a closed episode; 1 on a stream, whose rewards are per request."""
    priority_sum: float
    """What a weighted mean divides by: the sum of the tasks' priorities; on a stream the expected priority of one request."""
    time: float
    """Sum over tasks of the cycles of this step that the task was in the system for, over its isolated cycles."""
    weighted_time: float
    """The same sum with each task weighted by its priority."""
    targets: int
    """SLA targets passed, over all tasks."""
    excess: float
    """Sum over high-priority tasks of the time of this step beyond the high-priority target, over isolated time."""
    progress: float
    """Sum over the arrived tasks of isolated time over age, each at most 1, as it is now."""
    fairness: float
    """Smallest over largest progress per priority of the arrived tasks, as it is now."""
    progress_before: float
    """``progress`` as it was when the step before ended; 0 before the first."""
    fairness_before: float
    """``fairness`` likewise."""
    deadlines: int
    """What a mean over deadlines divides by: how many tasks of the episode have one, at least 1."""
    missed: int
    """Deadlines passed in this step."""
    tardy_time: float
    """Sum over tasks of the time of this step beyond the deadline, over isolated time."""
    in_time: int
    """Tasks that completed in this step, by their deadline if they have one."""


@jit_borrowing
def antt(step):
    """Minus the growth of the average normalized turnaround time."""
    return 0.0 - step.time / step.requests


@jit_borrowing
def weighted_antt(step):
    """Minus the growth of the priority-weighted average normalized turnaround time."""
    return 0.0 - step.weighted_time / step.priority_sum


@jit_borrowing
def sla(step):
    """Minus the share of all tasks' SLA targets that were passed."""
    return 0.0 - step.targets / (step.requests * (HIGHEST_TARGET - LOWEST_TARGET + 1))


@jit_borrowing
def stp(step):
    """Growth of the system throughput; an arrival adds 1."""
    return step.progress - step.progress_before


@jit_borrowing
def fairness(step):
    """Fairness of the whole episode, paid at its end."""
    return 0.0 if step.machine.outcome == ASKING else step.fairness


@jit_borrowing
def fairness_shaped(step):
    """Growth of the fairness among the tasks that have arrived."""
    return step.fairness - step.fairness_before


@jit_borrowing
def hp_excess(step):
    """Minus the time of high-priority tasks beyond their target."""
    return 0.0 - step.excess / step.requests


@jit_borrowing
def deadline_misses(step):
    """Minus the share of the deadlines that were passed."""
    return 0.0 - step.missed / step.deadlines


@jit_borrowing
def tardiness(step):
    """Minus the growth of the mean time beyond the deadline over the isolated time."""
    return 0.0 - step.tardy_time / step.deadlines


@jit_borrowing
def goodput(step):
    """Share of all tasks that completed in this step, by their deadline if they have one."""
    return step.in_time / step.requests
