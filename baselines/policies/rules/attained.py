"""Rules that go by the service that tasks have got so far: they need no prediction."""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import SelectionRule
from prema_gym._jit import jit_borrowing
from prema_gym.types import RUNNING

LONGEST_CYCLES = 2.0**46
"""More than any clock shows: a level of MLFQ is worth twice as much, so levels and turns add up exactly in a float."""


@jit_borrowing
def least_executed(seen, slot, shared, params):
    """Return the executed cycles."""
    return float(seen.table[slot].executed_cycles)


@jit_borrowing
def least_executed_per_priority(seen, slot, shared, params):
    """Return the executed cycles per unit of priority."""
    return seen.table[slot].executed_cycles / seen.table[slot].priority


@jit_borrowing
def _level_of(executed_cycles, quantum_cycles, lowest):
    """Return the level of a task: k once it has executed 2^k - 1 quanta, at most ``lowest``."""
    return min(np.floor(np.log2(1.0 + executed_cycles / quantum_cycles)), lowest)


@jit_borrowing
def turn_in_queues(seen, slot, shared, params):
    """Return the level, then the place in its queue: the running task until its turn is over, then by last dispatch."""
    task, quantum, lowest = seen.table[slot], float(seen.rules.quantum_cycles), params.levels - 1.0
    level = _level_of(task.executed_cycles, quantum, lowest)
    place = float(task.last_dispatch_cycles)  # -1 where it never ran
    if task.state == RUNNING:
        ran = seen.npu.clock_cycles - seen.npu.dispatch_cycles
        place = LONGEST_CYCLES if level == lowest and ran >= 2.0**lowest * quantum else -2.0
    return 2.0 * LONGEST_CYCLES * level + place


LAS = SelectionRule(
    "LAS",
    "least executed cycles",
    least_executed,
    source="Least attained service: Kleinrock, Queueing Systems II, 1976, chapter 4 (foreground-background).",
)
WFQ = SelectionRule(
    "WFQ",
    "least executed cycles / priority",
    least_executed_per_priority,
    source="Demers, Keshav & Shenker, SIGCOMM 1989, without virtual start times: a new task is owed all that others have had.",
)
MLFQ = SelectionRule(
    "MLFQ",
    "lowest level, which is k once a task has executed 2^k - 1 quanta (at most levels - 1); within it the running task until its "
    "turn of 2^k quanta is over, then the longest since its last dispatch",
    turn_in_queues,
    defaults={"levels": 8.0},
    source="Corbato, Merwin-Daggett & Daley, AFIPS 1962, with all tasks entering at level 0.",
)
