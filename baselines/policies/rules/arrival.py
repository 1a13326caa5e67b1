"""Rules that go by the order in which tasks arrived or had their turn."""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import SelectionRule
from prema_gym._jit import jit_borrowing
from prema_gym.types import RUNNING

CLASSIC = "Classic; baseline of Choi & Rhu, HPCA 2020, section VI."


@jit_borrowing
def earliest_arrival(seen, slot, shared, params):
    """Return the cycle of arrival."""
    return float(seen.table[slot].arrival_cycles)


@jit_borrowing
def next_turn(seen, slot, shared, params):
    """Return how many turns away a waiting slot is; the running task is first until it has run a quantum, then last."""
    count = seen.table.shape[0]
    if seen.table[slot].state == RUNNING:
        ran = seen.npu.clock_cycles - seen.npu.dispatch_cycles
        return -1.0 if ran < seen.rules.quantum_cycles else np.inf
    return float((slot - seen.npu.last_slot - 1) % count)


FCFS = SelectionRule("FCFS", "earliest arrival", earliest_arrival, source=CLASSIC, changes_between_events=False)
RRB = SelectionRule(
    "RRB",
    "next ready slot cyclically after the last dispatched one, once the running task has run a quantum or completed",
    next_turn,
    source=CLASSIC,
)
