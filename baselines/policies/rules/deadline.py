"""Rules that go by deadlines: those of the SLA targets, N times the predicted time after arrival."""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import SelectionRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.metrics import HIGHEST_TARGET, LOWEST_TARGET


@jit_borrowing
def deadline_cycles(seen, slot):
    """Return the arrival plus the tightest SLA target that can still be met; infinity where none can."""
    arrival, total = seen.table[slot].arrival_cycles, total_cycles(seen, slot)
    needed = np.ceil((seen.npu.clock_cycles + remaining_cycles(seen, slot) - arrival) / total)
    if needed > HIGHEST_TARGET:
        return np.inf
    return arrival + max(needed, float(LOWEST_TARGET)) * total


@jit_borrowing
def earliest_deadline(seen, slot, shared, params):
    """Return the deadline."""
    return deadline_cycles(seen, slot)


@jit_borrowing
def least_laxity(seen, slot, shared, params):
    """Return the time that is left to the deadline beyond the remaining time."""
    return deadline_cycles(seen, slot) - remaining_cycles(seen, slot) - seen.npu.clock_cycles


EDF = SelectionRule(
    "EDF",
    "earliest deadline, that of the tightest SLA target (N * predicted, N in 2..20) that can still be met",
    earliest_deadline,
    source="Liu & Layland, JACM 1973, on SLA targets.",
)
LLF = SelectionRule(
    "LLF",
    "least laxity: time to EDF's deadline less predicted remaining time",
    least_laxity,
    source="Mok, 1983, on SLA targets.",
)
