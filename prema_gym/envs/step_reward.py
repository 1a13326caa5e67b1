"""All reward terms of a step in one compiled call. Importing this module closes the registry of terms."""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.envs.reward import REWARD_TERMS, compiled_together
from prema_gym.envs.reward_terms import Step
from prema_gym.metrics import HP_TARGET, LOWEST_TARGET, age, targets_passed
from prema_gym.sim.worth import allowance, in_time, tardiness_cycles
from prema_gym.types import NONE

NUM_TERMS = len(REWARD_TERMS)
"""Columns of the terms array."""
fill_in_turn = compiled_together()
"""Fills an array with every term of a :class:`Step`."""


@jit_borrowing
def _targets_between(before, after, isolated):
    """Return how many SLA targets a task passes while it ages from ``before`` to ``after`` cycles."""
    if after <= LOWEST_TARGET * isolated:
        return 0
    return targets_passed(after, isolated) - targets_passed(before, isolated)


@jit_borrowing
def _excess(task, before, after):
    """Return the time beyond the high-priority target that a task gains while it ages, over its isolated time."""
    if after <= HP_TARGET * task.isolated_cycles:
        return 0.0
    return after / task.isolated_cycles - max(before / task.isolated_cycles, HP_TARGET)


@jit_borrowing
def clear_reward(memory):
    """Forget the episode before: ``memory`` is a row's REWARD. Potentials are 0, so that the terms sum to the metrics."""
    memory.settled_progress = 0.0
    memory.settled_least = np.inf
    memory.settled_most = 0.0
    memory.progress = 0.0
    memory.fairness = 0.0


@jit_borrowing
def _settle(memory, progress, per_priority):
    """Add a task that completed in this step to the sums that stand for it in later steps."""
    memory.settled_progress += progress
    memory.settled_least = min(memory.settled_least, per_priority)
    memory.settled_most = max(memory.settled_most, per_priority)


@jit_borrowing
def sums_of_step(memory, machine, tasks, start, now):
    """Return the sums over tasks in a :class:`Step`, from the decision at cycle ``start`` to cycle ``now``.

    Tasks that completed are settled in ``memory`` (REWARD), so this is called once per step.
    """
    time, weighted_time, targets, excess = 0.0, 0.0, 0, 0.0
    missed, tardy_time, completed_in_time = 0, 0.0, 0
    total, least, most = memory.settled_progress, memory.settled_least, memory.settled_most
    for i in range(machine.next_task):
        task = tasks[i]
        completion = task.completion_cycles
        if completion != NONE and completion <= start:
            continue
        isolated, priority = task.isolated_cycles, task.priority
        before, after = age(task, start), age(task, now)
        share = (after - before) / isolated
        time += share
        weighted_time += share * priority
        targets += _targets_between(before, after, isolated)
        if priority == machine.high_priority:
            excess += _excess(task, before, after)
        completed_in_time += in_time(task)
        if task.deadline_cycles != NONE:
            allowed = allowance(task)
            late, late_before = tardiness_cycles(after, allowed), tardiness_cycles(before, allowed)
            missed += int(late > 0) - int(late_before > 0)
            tardy_time += (late - late_before) / isolated
        progress = isolated / max(isolated, after)
        per_priority = progress / priority
        total += progress
        least = min(least, per_priority)
        most = max(most, per_priority)
        if completion != NONE:
            _settle(memory, progress, per_priority)
    return time, weighted_time, targets, excess, total, least / most, missed, tardy_time, completed_in_time


@jit_borrowing
def fill_terms(memory, machine, tasks, start, now, out):
    """Fill ``out`` (terms,) float64 with the terms from the decision at cycle ``start`` to cycle ``now``.

    Once per step: what has been paid for is kept in ``memory`` (REWARD).
    """
    time, weighted_time, targets, excess, progress, fair, missed, tardy_time, completed_in_time = sums_of_step(
        memory, machine, tasks, start, now
    )
    deadlines = max(machine.deadlines, 1)
    before, fair_before = memory.progress, memory.fairness
    fill_in_turn(
        Step(
            machine, tasks, start, now, machine.tasks, machine.priority_sum, time, weighted_time, targets, excess, progress, fair,
            before, fair_before, deadlines, missed, tardy_time, completed_in_time,
        ),
        out,
    )  # fmt: skip
    memory.progress = progress
    memory.fairness = fair
