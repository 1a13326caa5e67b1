"""What a schedule is worth: the paper's metrics of one finished episode, in one place for environment and evaluation.

NTT_i = turnaround / isolated time; ANTT is its mean, STP the sum of 1/NTT (Eyerman & Eeckhout, IEEE Micro 2008). Fairness is the
smallest over the largest priority-weighted progress PP_i = (1/NTT_i) / (p_i / sum p) (paper, section III). A task violates an SLA
target of N when NTT > N. An unfinished task counts with its NTT so far. On unlike NPUs the isolated time is the fastest NPU's.

Deadlines: misses are the share of the tasks with a deadline that have passed it, tardiness the mean over them of the time beyond it
over the isolated time, impossible the share that no schedule could have met. Goodput is the share of all tasks that have completed,
by their deadline if they have one.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.sim.worth import (
    HIGHEST_TARGET,
    HP_TARGET,
    LOWEST_TARGET,
    SLA_TARGETS,
    allowance,
    impossible,
    in_time,
    tardiness_cycles,
    targets_passed,
)
from prema_gym.types import NONE

__all__ = [
    "FIRST_TARGET",
    "HIGHEST_TARGET",
    "HP_TARGET",
    "LOWEST_TARGET",
    "METRICS",
    "NUM_METRICS",
    "SLA_TARGETS",
    "age",
    "episode_metrics",
    "metrics_dict",
    "targets_passed",
]

METRICS = (
    "antt",
    "weighted_antt",
    "stp",
    "fairness",
    "sla_violation",
    "hp_excess",
    "preemptions",
    "useful_share",
    "wasted_share",
    "overhead_share",
    "unfinished",
    "deadline_misses",
    "tardiness",
    "goodput",
    "impossible_deadlines",
)
"""Columns of the metrics array; the violation at each SLA target follows them."""
(
    ANTT,
    WEIGHTED_ANTT,
    STP,
    FAIRNESS,
    SLA_VIOLATION,
    HP_EXCESS,
    PREEMPTIONS,
    USEFUL_SHARE,
    WASTED_SHARE,
    OVERHEAD_SHARE,
    UNFINISHED,
    DEADLINE_MISSES,
    TARDINESS,
    GOODPUT,
    IMPOSSIBLE_DEADLINES,
) = range(len(METRICS))
FIRST_TARGET = len(METRICS)
NUM_METRICS = FIRST_TARGET + len(SLA_TARGETS)


@jit_borrowing
def age(task, now):
    """Return the cycles from the arrival of ``task`` (TASK) to ``now``, or to its completion."""
    end = now if task.completion_cycles == NONE else min(now, task.completion_cycles)
    return max(end - task.arrival_cycles, 0)


@jit_borrowing
def episode_metrics(machine, engines, tasks, now, out):
    """Fill ``out`` (NUM_METRICS,) float64 with the metrics of an episode that ended at cycle ``now``.

    ``engines`` (M,) ENGINE; shares are of the time of all NPUs.
    """
    n = machine.tasks
    out[:] = 0.0
    least, most = np.inf, 0.0
    for i in range(n):
        task = tasks[i]
        elapsed = age(task, now)
        ntt = elapsed / task.isolated_cycles
        # A task cut off sooner than its isolated time has made no visible progress yet: it counts as not slowed down.
        progress = 1.0 / max(ntt, 1.0)
        out[ANTT] += ntt / n
        out[WEIGHTED_ANTT] += ntt * task.priority / machine.priority_sum
        out[STP] += progress
        least = min(least, progress / task.priority)
        most = max(most, progress / task.priority)
        passed = targets_passed(elapsed, task.isolated_cycles)
        out[SLA_VIOLATION] += passed / (n * (HIGHEST_TARGET - LOWEST_TARGET + 1))
        for k in range(passed):
            out[FIRST_TARGET + k] += 1.0 / n
        if task.priority == machine.high_priority:
            out[HP_EXCESS] += max(ntt - HP_TARGET, 0.0) / n
        if task.completion_cycles == NONE:
            out[UNFINISHED] += 1.0
        out[GOODPUT] += in_time(task) / n
        if task.deadline_cycles != NONE:
            late = tardiness_cycles(elapsed, allowance(task))
            out[DEADLINE_MISSES] += (late > 0) / machine.deadlines
            out[TARDINESS] += late / (task.isolated_cycles * machine.deadlines)
            out[IMPOSSIBLE_DEADLINES] += impossible(task) / machine.deadlines
    out[FAIRNESS] = least / most
    out[PREEMPTIONS] = machine.preemptions
    useful, wasted, overhead = 0, 0, 0
    for k in range(engines.shape[0]):
        useful += engines[k].useful_cycles
        wasted += engines[k].wasted_cycles
        overhead += engines[k].overhead_cycles
    elapsed_total = max(now, 1) * engines.shape[0]
    out[USEFUL_SHARE] = useful / elapsed_total
    out[WASTED_SHARE] = wasted / elapsed_total
    out[OVERHEAD_SHARE] = overhead / elapsed_total


def metrics_dict(values: np.ndarray) -> dict[str, object]:
    """Return one row of metrics as ``{"antt": .., "sla_violation_at": {"2": ..}, ...}`` of plain numbers."""
    plain: dict[str, object] = dict(zip(METRICS, values[:FIRST_TARGET].tolist(), strict=True))
    plain["preemptions"] = int(values[PREEMPTIONS])
    plain["unfinished"] = int(values[UNFINISHED])
    targets = values[FIRST_TARGET:].tolist()
    plain["sla_violation_at"] = {str(n): value for n, value in zip(SLA_TARGETS, targets, strict=True)}
    return plain
