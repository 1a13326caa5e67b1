"""What a request is worth so far, by its age: targets passed, excess, deadlines. Metrics and rewards go by these."""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.types import NONE

SLA_TARGETS = tuple(range(2, 21))
"""N of the SLA targets, in multiples of the isolated time (paper, section VI)."""
LOWEST_TARGET, HIGHEST_TARGET = SLA_TARGETS[0], SLA_TARGETS[-1]
HP_TARGET = 2.3
"""NTT beyond which time of a high-priority task is excess: about PREMA's 95th percentile (a choice)."""

TARDINESS_CAP = 10.0
"""Tardiness over isolated time beyond which a request counts no more: what is lost can't be gained from by giving it up, nor can a
few that are lost drown all others (a choice)."""


@jit_borrowing
def targets_passed(elapsed, isolated):
    """Return how many SLA targets a task of age ``elapsed`` has passed: N in 2..20 with elapsed > N * isolated."""
    if elapsed <= LOWEST_TARGET * isolated:
        return 0
    passed = (elapsed - 1) // isolated
    return min(max(passed - (LOWEST_TARGET - 1), 0), HIGHEST_TARGET - LOWEST_TARGET + 1)


@jit_borrowing
def allowance(task):
    """Return the cycles from the arrival of ``task`` (TASK) to its deadline; NONE where it has none."""
    return NONE if task.deadline_cycles == NONE else task.deadline_cycles - task.arrival_cycles


@jit_borrowing
def tardiness_cycles(elapsed, allowed):
    """Return by how much a task of age ``elapsed`` is beyond its allowance; 0 where it isn't, or has none."""
    return 0 if allowed == NONE else max(elapsed - allowed, 0)


@jit_borrowing
def capped_tardiness(late, task):
    """Return ``late`` cycles beyond the deadline of ``task`` (TASK) over its isolated time, at most TARDINESS_CAP."""
    return min(late / task.isolated_cycles, TARDINESS_CAP)


@jit_borrowing
def in_time(task):
    """Whether ``task`` (TASK) has completed, and by its deadline if it has one."""
    if task.completion_cycles == NONE:
        return False
    return task.deadline_cycles == NONE or task.completion_cycles <= task.deadline_cycles


@jit_borrowing
def impossible(task):
    """Whether no schedule could have met the deadline of ``task`` (TASK): alone on the fastest NPU it takes longer."""
    return task.deadline_cycles != NONE and task.isolated_cycles > allowance(task)


@jit_borrowing
def excess_ntt(elapsed, isolated):
    """Return the NTT beyond the high-priority target of a task of age ``elapsed``."""
    return max(elapsed / isolated - HP_TARGET, 0.0)


@jit_borrowing
def lost_progress(elapsed, isolated):
    """Return 1 - isolated time over age, at least 0."""
    return 1.0 - isolated / max(isolated, elapsed)
