"""Rewards: named terms over the interval of a step, each of which sums over an episode to its metric (costs with a minus sign).

A step covers [t0, t1]. With arrival a_i, completion d_i, isolated time I_i, priority p_i, n tasks, x_i(t) = min(t, d_i) - a_i and
f_i = I_i / max(I_i, x_i), the terms are

==================  ==================================================================  ==========================
term                value of a step                                                     sums to
==================  ==================================================================  ==========================
antt                -(1/n) sum of the time in [t0, t1] that i is in the system / I_i    -antt
weighted_antt       the same with p_i / sum p in place of 1/n                           -weighted_antt
sla                 -(1/19n) sum of SLA targets passed in the step                      -sla_violation
stp                 growth of sum f_i over arrived tasks (an arrival adds 1)            stp
fairness            min PP / max PP, paid at the end                                    fairness
fairness_shaped     growth of min (f_i / p_i) / max (f_i / p_i) over arrived tasks      fairness
hp_excess           -(1/n) sum over p_i = 9 of time beyond 2.3 I_i, over I_i            -hp_excess
==================  ==================================================================  ==========================

Rewards may use the truth (isolated times); what a policy sees may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.errors import ConfigError, unknown_name
from prema_gym.metrics import HIGH_PRIORITY, HIGHEST_TARGET, HP_TARGET, LOWEST_TARGET, age, targets_passed
from prema_gym.types import ASKING, NONE

REWARD_TERMS = ("antt", "weighted_antt", "sla", "stp", "fairness", "fairness_shaped", "hp_excess")
"""Columns of the terms array."""
NUM_TERMS = len(REWARD_TERMS)
_ANTT, _WEIGHTED_ANTT, _SLA, _STP, _FAIRNESS, _FAIRNESS_SHAPED, _HP_EXCESS = range(NUM_TERMS)


def reward_weights(reward: str | Mapping[str, float]) -> np.ndarray:
    """Return the (NUM_TERMS,) float64 weights of ``reward``: a term's name or a mapping from names to weights."""
    named = {reward: 1.0} if isinstance(reward, str) else reward
    if not isinstance(named, Mapping) or not named:
        raise ConfigError(f"reward = {reward!r}: must be a reward term's name or a non-empty mapping from names to weights.")
    weights = np.zeros(NUM_TERMS)
    for name, weight in named.items():
        if name not in REWARD_TERMS:
            raise ConfigError(unknown_name("reward term", name, REWARD_TERMS))
        if not isinstance(weight, Real) or isinstance(weight, bool) or not np.isfinite(float(weight)):
            raise ConfigError(f"reward[{name!r}] = {weight!r}: must be a finite number.")
        weights[REWARD_TERMS.index(name)] = float(weight)
    return weights


@jit_borrowing
def _targets_between(before, after, isolated):
    """Return how many SLA targets a task passes while it ages from ``before`` to ``after`` cycles."""
    if after <= LOWEST_TARGET * isolated:
        return 0
    return targets_passed(after, isolated) - targets_passed(before, isolated)


@jit_borrowing
def _excess(task, before, after):
    """Return the time beyond the high-priority target that a task gains while it ages, over its isolated time."""
    if task.priority != HIGH_PRIORITY or after <= HP_TARGET * task.isolated_cycles:
        return 0.0
    return after / task.isolated_cycles - max(before / task.isolated_cycles, HP_TARGET)


@jit_borrowing
def _settle(machine, progress, per_priority):
    """Count a task that completed in this step into what later steps need not look at again."""
    machine.settled_progress += progress
    machine.settled_least = min(machine.settled_least, per_priority)
    machine.settled_most = max(machine.settled_most, per_priority)


@jit_borrowing
def step_reward(machine, tasks, now, out):
    """Fill ``out`` (NUM_TERMS,) float64 with the terms from the decision just carried out to cycle ``now``.

    Once per step: it keeps the potentials behind the shaped terms in ``machine``. Before the first decision they are 0, so that the
    terms sum to the metrics.
    """
    start = machine.step_start_cycles
    grown, weighted, targets, excess = 0.0, 0.0, 0, 0.0
    total, least, most = machine.settled_progress, machine.settled_least, machine.settled_most
    for i in range(machine.next_task):
        task = tasks[i]
        completion = task.completion_cycles
        if completion != NONE and completion <= start:
            continue
        isolated, priority = task.isolated_cycles, task.priority
        before, after = age(task, start), age(task, now)
        share = (after - before) / isolated
        grown += share
        weighted += share * priority
        targets += _targets_between(before, after, isolated)
        excess += _excess(task, before, after)
        progress = isolated / max(isolated, after)
        per_priority = progress / priority
        total += progress
        least = min(least, per_priority)
        most = max(most, per_priority)
        if completion != NONE:
            _settle(machine, progress, per_priority)
    ratio = least / most
    out[_ANTT] = 0.0 - grown / machine.tasks
    out[_WEIGHTED_ANTT] = 0.0 - weighted / machine.priority_sum
    out[_SLA] = 0.0 - targets / (machine.tasks * (HIGHEST_TARGET - LOWEST_TARGET + 1))
    out[_STP] = total - machine.progress
    out[_FAIRNESS] = 0.0 if machine.outcome == ASKING else ratio
    out[_FAIRNESS_SHAPED] = ratio - machine.fairness
    out[_HP_EXCESS] = 0.0 - excess / machine.tasks
    machine.progress = total
    machine.fairness = ratio
