"""What a schedule is worth: the paper's metrics of one finished episode, in one place for environment and evaluation.

NTT_i = turnaround / isolated time; ANTT is its mean, STP the sum of 1/NTT (Eyerman & Eeckhout, IEEE Micro 2008). Fairness is the
smallest over the largest priority-weighted progress PP_i = (1/NTT_i) / (p_i / sum p) (paper, section III). A task violates an SLA
target of N when NTT > N. An unfinished task counts with its NTT so far. On unlike NPUs the isolated time is the fastest NPU's.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.types import NONE

SLA_TARGETS = tuple(range(2, 21))
"""N of the SLA targets, in multiples of the isolated time (paper, section VI)."""
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
) = range(len(METRICS))
FIRST_TARGET = len(METRICS)
NUM_METRICS = FIRST_TARGET + len(SLA_TARGETS)
LOWEST_TARGET, HIGHEST_TARGET = SLA_TARGETS[0], SLA_TARGETS[-1]
HIGH_PRIORITY = 9
HP_TARGET = 2.3
"""NTT beyond which time of a high-priority task is excess: about PREMA's 95th percentile (a choice)."""


@jit_borrowing
def targets_passed(elapsed, isolated):
    """Return how many SLA targets a task of age ``elapsed`` has passed: N in 2..20 with elapsed > N * isolated."""
    if elapsed <= LOWEST_TARGET * isolated:
        return 0
    passed = (elapsed - 1) // isolated
    return min(max(passed - (LOWEST_TARGET - 1), 0), HIGHEST_TARGET - LOWEST_TARGET + 1)


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
        if task.priority == HIGH_PRIORITY:
            out[HP_EXCESS] += max(ntt - HP_TARGET, 0.0) / n
        if task.completion_cycles == NONE:
            out[UNFINISHED] += 1.0
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
