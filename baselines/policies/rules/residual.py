"""Rules for lengths that nobody knows before a task ends: they go by the distribution of the time that is left.

Where the output length of a task is a guess, its total time T is a random number to a scheduler; what is public of it is in
:mod:`prema_gym.workloads.residual`. That a task has executed e cycles without an end says that T > e. Where the length is known (or
the policy is told the truth), T is the predicted time, and the rules are SRPT and WSRPT. A task that has executed longer than
the longest output would take is taken to have SRPT's remaining time, 1 % of its prediction.
"""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.deadline import due_cycles
from baselines.policies.rules.rule import LENGTHS, SelectionRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation import REMAINING_FLOOR
from prema_gym.sim.borrow import borrowed
from prema_gym.workloads.residual import STEP, STEPS

_programs, _steps = borrowed(STEPS, 1), borrowed(STEP, 1)
NO_STEPS = -1


@jit_borrowing
def _possible(seen, slot, params):
    """Return (first, end, steps): the output lengths of the task that are not ruled out are ``steps[first:end]``.

    NO_STEPS for first where the time is no guess, or has run out.
    """
    task, steps = seen.table[slot], _steps(params.steps_at, (params.steps,))
    if seen.truth.shape[0] > 0 or not task.length_estimated or task.program >= params.programs:
        return NO_STEPS, NO_STEPS, steps
    of = _programs(params.programs_at, (params.programs,))[task.program]
    executed, low, end = task.executed_cycles / task.predicted_cycles, of.first, of.first + of.count
    high = end
    while low < high:
        middle = (low + high) // 2
        if steps[middle].ratio > executed:
            high = middle
        else:
            low = middle + 1
    return (low if low < end else NO_STEPS), end, steps


@jit_borrowing
def _left(task, ratio):
    """Return the cycles from now to ``ratio`` times the prediction: at least the share of it that a prediction leaves."""
    return max(ratio * task.predicted_cycles - task.executed_cycles, REMAINING_FLOOR * task.predicted_cycles)


@jit_borrowing
def mean_residual_cycles(seen, slot, params):
    """Return the mean of T - e given T > e, in cycles."""
    first, _, steps = _possible(seen, slot, params)
    if first == NO_STEPS:
        return remaining_cycles(seen, slot)
    return _left(seen.table[slot], steps[first].mean_ratio)


@jit_borrowing
def cycles_per_completion(seen, slot, params):
    """Return the reciprocal of the Gittins index, in cycles.

    The least, over all times D for which the task could be run, of E[min(T - e, D)] / P(T - e <= D), given T > e. Only times at
    which it may end need be looked at.
    """
    first, end, steps = _possible(seen, slot, params)
    if first == NO_STEPS:
        return remaining_cycles(seen, slot)
    task, least, ended, spent = seen.table[slot], np.inf, 0.0, 0.0
    for k in range(first, end):
        left, chance = _left(task, steps[k].ratio), steps[k].chance
        ended += chance
        spent += chance * left
        longer = steps[k + 1].at_least if k + 1 < end else 0.0
        least = min(least, (spent + longer * left) / ended)
    return least


@jit_borrowing
def chance_by(seen, slot, due, params):
    """Return the probability that the task ends by the cycle ``due``, should it run from now on."""
    room = due - seen.npu.clock_cycles
    first, end, steps = _possible(seen, slot, params)
    if first == NO_STEPS:
        return 1.0 if remaining_cycles(seen, slot) <= room else 0.0
    within, task = 0.0, seen.table[slot]
    for k in range(first, end):
        if _left(task, steps[k].ratio) > room:
            break
        within += steps[k].chance
    return min(within / steps[first].at_least, 1.0)


@jit_borrowing
def least_mean_residual_density(seen, slot, shared, params):
    """Return minus priority / (total * mean residual)."""
    return -seen.table[slot].priority / (total_cycles(seen, slot) * mean_residual_cycles(seen, slot, params))


@jit_borrowing
def gittins(seen, slot, shared, params):
    """Return minus the weighted index; without weights its reciprocal."""
    cycles = cycles_per_completion(seen, slot, params)
    return -seen.table[slot].priority / (total_cycles(seen, slot) * cycles) if params.weighted else cycles


@jit_borrowing
def deadline_residual(seen, slot, shared, params):
    """Return minus P(in time) / mean residual; behind all of these the mean residual of those that cannot be in time."""
    chance, mean = chance_by(seen, slot, due_cycles(seen, slot), params), mean_residual_cycles(seen, slot, params)
    return -chance / mean if chance > 0.0 else mean


WMRL = SelectionRule(
    "WMRL",
    "largest priority / (predicted * mean residual time)",
    least_mean_residual_density,
    knows=LENGTHS,
    source="WSRPT on mean residual lengths: after Aalto, Ayesta & Righter, Queueing Systems 2009 (mean residual life).",
)
GITTINS = SelectionRule(
    "GITTINS",
    "largest Gittins index of the residual time, the largest P(ends within D) / E[time spent by then] over all D, times priority / "
    "predicted",
    gittins,
    defaults={"weighted": True},
    knows=LENGTHS,
    source="Gittins, J. Royal Statistical Society B 1979; for queues Aalto, Ayesta & Righter, Queueing Systems 2009.",
)
DEADLINE_RESIDUAL = SelectionRule(
    "DEADLINE-RESIDUAL",
    "largest P(ends by the deadline) / mean residual time; those with no chance left come last, the least mean residual first",
    deadline_residual,
    knows=LENGTHS,
    source="Ours.",
)
