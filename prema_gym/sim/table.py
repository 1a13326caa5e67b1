"""The inference task context table: tasks enter, wait, earn tokens and leave. Everything is modified in place.

A *slot* is a number, an *entry* the record (SLOT) that lies there; ``n`` is the number of an NPU.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.types import (
    BARRED,
    BOUND,
    EMPTY,
    EVENT_ARRIVAL,
    JOINED,
    NONE,
    READY,
    SAVING,
)


@jit_borrowing
def log(row, cycle, event, n, slot, task):
    """Append to the row's event log, where it has room."""
    if row.machine.events < row.log.shape[0]:
        entry = row.log[row.machine.events]
        entry.cycle = cycle
        entry.event = event
        entry.npu = n
        entry.slot = slot
        entry.task = task
        row.machine.events += 1


@jit_borrowing
def clear(entry):
    """Free a slot."""
    entry.arrival_cycles = 0
    entry.predicted_cycles = 0
    entry.deadline_cycles = NONE
    entry.fastest_predicted_cycles = 0
    entry.executed_cycles = 0
    entry.waited_cycles = 0
    entry.accounted_cycles = 0
    entry.last_dispatch_cycles = NONE
    entry.token = 0.0
    entry.token_whole_wait = 0.0
    entry.saved_bytes = 0
    entry.restore_bytes = 0
    entry.refill_cycles = 0
    entry.preemptions = 0
    entry.program = NONE
    entry.task = NONE
    entry.priority = 0
    entry.npu = NONE
    entry.configuration = NONE
    entry.assigned_npu = NONE
    entry.state = EMPTY
    entry.length_estimated = False
    entry.freed = False


@jit_borrowing
def enter(row, record, number, cycle):
    """Enter the request that lies at ``record`` of the tasks into the lowest free slot, at ``cycle``; return the slot.

    It is the ``number``-th. Its wait and its token count from its arrival, though it may have come before.
    """
    task = row.tasks[record]
    slot = 0
    while row.table[slot].state != EMPTY:
        slot += 1
    entry = row.table[slot]
    entry.arrival_cycles = task.arrival_cycles
    entry.predicted_cycles = task.predicted_cycles
    entry.deadline_cycles = task.deadline_cycles
    entry.fastest_predicted_cycles = task.predicted_cycles
    entry.accounted_cycles = task.arrival_cycles
    entry.token = task.priority
    entry.token_whole_wait = task.priority
    entry.program = task.program
    entry.task = number
    entry.priority = task.priority
    entry.state = READY
    entry.length_estimated = task.length_estimated
    for n in range(row.shares.shape[1]):
        row.shares[slot, n] = 0
    for c in range(row.predictions.shape[1]):
        row.predictions[slot, c] = row.times[record, c].predicted_cycles
    row.machine.ready += 1
    log(row, cycle, EVENT_ARRIVAL, NONE, slot, number)
    return slot


@jit_borrowing
def _truth_of(row, slot, stream):
    if stream is None:
        return np.int64(row.table[slot].task)
    return np.int64(slot)


@jit_borrowing
def truth_of(row, slot):
    """Return where the truth of the task in ``slot`` lies in ``row.tasks`` and ``row.times``."""
    return _truth_of(row, slot, row.stream)


# --- Waits and tokens ---------------------------------------------------------------------------------------------------------


@jit_borrowing
def waits(entry):
    """Whether the task waits for an NPU to be chosen for it, whatever keeps it from being chosen now."""
    return entry.state == READY or entry.state == BARRED or entry.state == SAVING


@jit_borrowing
def count_wait(entry, cycle):
    """Bring the wait of a waiting task up to ``cycle``; return what was added."""
    waited = cycle - entry.accounted_cycles
    entry.waited_cycles += waited
    entry.accounted_cycles = cycle
    return waited


@jit_borrowing
def _leader_of(row, slot):
    """Return the entry of the task that leads the batch which ``slot`` has joined."""
    return row.table[row.batches[slot].leader]


@jit_borrowing
def count_waits(row):
    """Bring all waits up to the clock, where no invocation does."""
    for slot in range(row.table.shape[0]):
        entry = row.table[slot]
        if waits(entry) or (entry.state == JOINED and waits(_leader_of(row, slot))):
            count_wait(entry, row.status.clock_cycles)


@jit_borrowing
def _earn(entry, now):
    waited = count_wait(entry, now)
    rate = entry.priority / entry.fastest_predicted_cycles
    entry.token += rate * waited
    entry.token_whole_wait += rate * entry.waited_cycles


@jit_borrowing
def _earn_with_leader(row, slot, now):
    """Let a member of a batch wait and earn as its leader does, at its own rate."""
    leader = _leader_of(row, slot)
    if waits(leader):
        _earn(row.table[slot], now)
    elif leader.state == BOUND:
        count_wait(row.table[slot], now)


@jit_borrowing
def update_tokens(row):
    """Algorithm 2: a waiting task earns priority * (cycles waited since the last invocation) / predicted total.

    A task that is bound to an NPU waits on, and earns nothing; members of a batch do as their leader does.
    """
    now = row.status.clock_cycles
    for slot in range(row.table.shape[0]):
        entry = row.table[slot]
        if waits(entry):
            _earn(entry, now)
        elif entry.state == BOUND:
            count_wait(entry, now)
        elif entry.state == JOINED:
            _earn_with_leader(row, slot, now)


# --- Who may take what --------------------------------------------------------------------------------------------------------


@jit_borrowing
def choosable(entry, configuration):
    """Whether an NPU of ``configuration`` may take the task: it waits, its context is saved, and it has no progress elsewhere."""
    if entry.state != READY and entry.state != BARRED:
        return False
    return entry.configuration == NONE or entry.configuration == configuration


@jit_borrowing
def count_choosable(row, n, freed_only):
    """Return how many tasks NPU ``n`` may take; with ``freed_only`` among those that became choosable while NPUs were asked."""
    if row.machine.ready == 0:
        return 0
    configuration = row.npus[n].configuration
    count = 0
    for slot in range(row.table.shape[0]):
        entry = row.table[slot]
        if choosable(entry, configuration) and (entry.freed or not freed_only):
            count += 1
    return count
