"""Rules that go by deadlines: a request's own, and where it has none those of the SLA targets, N times predicted after arrival."""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import SelectionRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.metrics import HIGHEST_TARGET, LOWEST_TARGET
from prema_gym.types import EMPTY, NONE, RUNNING

BEYOND_CYCLES = 2.0**46
"""More than any clock shows: what comes behind all deadlines."""


@jit_borrowing
def target_cycles(seen, slot):
    """Return the arrival plus the tightest SLA target that can still be met; infinity where none can."""
    arrival, total = seen.table[slot].arrival_cycles, total_cycles(seen, slot)
    needed = np.ceil((seen.npu.clock_cycles + remaining_cycles(seen, slot) - arrival) / total)
    if needed > HIGHEST_TARGET:
        return np.inf
    return arrival + max(needed, float(LOWEST_TARGET)) * total


@jit_borrowing
def due_cycles(seen, slot):
    """Return the request's own deadline; where it has none, the tightest SLA target that can still be met."""
    own = seen.table[slot].deadline_cycles
    return float(own) if own != NONE else target_cycles(seen, slot)


@jit_borrowing
def earliest_deadline(seen, slot, shared, params):
    """Return the deadline."""
    return due_cycles(seen, slot)


@jit_borrowing
def least_laxity(seen, slot, shared, params):
    """Return the time that is left to the deadline beyond the remaining time."""
    return due_cycles(seen, slot) - remaining_cycles(seen, slot) - seen.npu.clock_cycles


@jit_borrowing
def earliest_feasible(seen, slot, shared, params):
    """Return the deadline, before all else, if running from now on meets it; the remaining time of all others."""
    due, remaining = due_cycles(seen, slot), remaining_cycles(seen, slot)
    if due < np.inf and seen.npu.clock_cycles + remaining <= due:
        return min(due, BEYOND_CYCLES) - 2.0 * BEYOND_CYCLES
    return remaining


@jit_borrowing
def planaria_score(seen, slot, shared, params):
    """Return minus priority / (slack * remaining); behind all of these remaining / priority of what is overdue."""
    task, remaining = seen.table[slot], remaining_cycles(seen, slot)
    slack = due_cycles(seen, slot) - seen.npu.clock_cycles
    return -task.priority / (slack * remaining) if slack > 0.0 else remaining / task.priority


@jit_borrowing
def present_tasks(seen, params):
    """Return the number of tasks in the table."""
    count = 0.0
    for i in range(seen.table.shape[0]):
        if seen.table[i].state != EMPTY:
            count += 1.0
    return count


@jit_borrowing
def dysta_score(seen, slot, present, params):
    """Return remaining + b * (max(0, slack - remaining) + unit * idle / (total * present)), in cycles."""
    remaining = remaining_cycles(seen, slot)
    slack = due_cycles(seen, slot) - seen.npu.clock_cycles
    unit = params.penalty_ms * 1e-3 * seen.rules.clock_hz
    idle = 0 if seen.table[slot].state == RUNNING else seen.table[slot].waited_cycles
    penalty = unit * idle / (total_cycles(seen, slot) * present)
    return remaining + params.slack_weight * (max(0.0, slack - remaining) + penalty)


_OWN_OR_TARGET = "the request's own, else that of the tightest SLA target (N * predicted, N in 2..20) that can still be met"

EDF = SelectionRule(
    "EDF",
    f"earliest deadline, {_OWN_OR_TARGET}",
    earliest_deadline,
    source="Liu & Layland, JACM 1973, on SLA targets.",
)
LLF = SelectionRule(
    "LLF",
    "least laxity: time to EDF's deadline less predicted remaining time",
    least_laxity,
    source="Mok, 1983, on SLA targets.",
)
EDF_FEASIBLE = SelectionRule(
    "EDF-FEASIBLE",
    "earliest deadline (EDF's) among the tasks that meet it if they run on the asked NPU from now on; where there is none, "
    "smallest remaining time",
    earliest_feasible,
    source="EDF that gives up what is lost: after Haritsa, Livny & Carey, RTSS 1991 (earliest deadline under overload).",
)
PLANARIA = SelectionRule(
    "PLANARIA",
    "largest priority / (slack * remaining), slack being the time to EDF's deadline; what is overdue comes last, the largest "
    "priority / remaining first",
    planaria_score,
    source="Ghodrati et al., MICRO 2020, Algorithm 1, whose score divides by the share of the NPU that a task needs to be in time.",
)
DYSTA = SelectionRule(
    "DYSTA",
    "smallest remaining + b * (max(0, slack - remaining) + penalty_ms * waited / (predicted * tasks present)), slack being the "
    "time to EDF's deadline; the running task counts as not having waited",
    dysta_score,
    present_tasks,
    defaults={"slack_weight": 0.01, "penalty_ms": 1.0},  # b
    source="Fan et al., MICRO 2023, without sparsity.",
)
