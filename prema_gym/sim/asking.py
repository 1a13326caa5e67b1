"""Who is asked at an invocation of several NPUs, what it may do, and what it is shown.

Pass 1 asks every NPU that is not switching, by index. An idle one may keep where a later idle NPU of the pass could take one of
its tasks. Pass 2 asks the idle ones that still have tasks to take; they may not keep. Under ``allow_idle`` an idle NPU may keep
whenever another is busy, and pass 2 is about the tasks that pass 1 has freed. A single legal move is made unasked.
"""

from __future__ import annotations

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.batches import see_batches
from prema_gym.sim.phases import start_move
from prema_gym.sim.table import choosable, count_choosable, log
from prema_gym.types import (
    BARRED,
    CAUSE_QUANTUM,
    CHECKPOINT,
    ELSEWHERE,
    EMPTY,
    EVENT_QUANTUM,
    IN_LATENCY,
    NONE,
    NOT_SWITCHING,
    READY,
    RUNNING,
)


@jit_borrowing
def _stalls_idle(row, n):
    """Whether NPU ``n`` stalls after a decision to stay idle."""
    npu = row.npus[n]
    return row.engines[n].phase == IN_LATENCY and npu.bound_slot == NONE and npu.running_slot < 0


@jit_borrowing
def _is_busy(row, n):
    """Whether NPU ``n`` runs or switches; a stall after an idle keep doesn't count."""
    if row.npus[n].running_slot >= 0:
        return True
    return row.engines[n].phase != NOT_SWITCHING and not _stalls_idle(row, n)


@jit_borrowing
def _share_a_task(row, one, other):
    """Whether two configurations could take the same waiting task."""
    for slot in range(row.table.shape[0]):
        if choosable(row.table[slot], one) and choosable(row.table[slot], other):
            return True
    return False


@jit_borrowing
def _leaves_it_to_a_later_one(row, n):
    """Whether an idle NPU that pass 1 has yet to ask could take one of the tasks of NPU ``n``."""
    for m in range(n + 1, row.npus.shape[0]):
        idle = row.engines[m].phase == NOT_SWITCHING and row.npus[m].running_slot < 0
        if idle and _share_a_task(row, row.npus[n].configuration, row.npus[m].configuration):
            return True
    return False


@jit_borrowing
def _may_stay_idle(row, tables, n):
    """Whether NPU ``n``, idle and with tasks to take, may keep."""
    if tables.rules[0].batching > 1:
        return True
    if row.machine.asking_pass == 1 and _leaves_it_to_a_later_one(row, n):
        return True
    if not tables.rules[0].allow_idle:
        return False
    for m in range(row.npus.shape[0]):
        if m != n and _is_busy(row, m):
            return True
    return False


@jit_borrowing
def _is_in_pass(row, n):
    """Whether the present pass comes to NPU ``n``: the first to all that aren't switching, the second to those that are idle still.

    An idle NPU that stalls since it kept in the first pass counts as idle in the second.
    """
    if row.npus[n].running_slot >= 0 and (row.machine.asking_pass == 2 or row.machine.waiting_only):
        return False
    if row.machine.asking_pass == 1:
        return row.engines[n].phase == NOT_SWITCHING
    stalls_since_now = _stalls_idle(row, n) and row.engines[n].chosen_cycles == row.status.clock_cycles
    return row.engines[n].phase == NOT_SWITCHING or stalls_since_now


@jit_borrowing
def _first_choosable(row, n, freed_only):
    """Return the lowest slot that NPU ``n`` may take; there is one."""
    slot = 0
    while not (choosable(row.table[slot], row.npus[n].configuration) and (row.table[slot].freed or not freed_only)):
        slot += 1
    return slot


@jit_borrowing
def _ask(row, tables, n, freed_only, may_keep):
    """Show NPU ``n`` its decision. The log says so where the quantum asks: one that runs, or that waits for a fuller batch."""
    batching = row.batches.shape[0] > 0
    see_from(row, n, freed_only, may_keep)
    if batching:
        see_batches(row, tables, True)
    if row.status.cause & CAUSE_QUANTUM and (batching or row.npus[n].running_slot >= 0):
        log(row, row.status.clock_cycles, EVENT_QUANTUM, n, row.npus[n].running_slot, NONE)


@jit_apart
def is_asked(row, tables, n):
    """Whether NPU ``n`` is asked now; it is shown its decision then. A single legal move is made at once, at no latency."""
    if not _is_in_pass(row, n):
        return False
    freed_only = row.machine.asking_pass == 2 and (tables.rules[0].allow_idle or tables.rules[0].batching > 1)
    count = count_choosable(row, n, freed_only)
    if count == 0:
        return False
    if row.npus[n].running_slot >= 0:
        _ask(row, tables, n, freed_only, False)
        return True
    may_keep = _may_stay_idle(row, tables, n)
    is_first_of_one_npu = row.npus.shape[0] == 1 and row.machine.decisions == 0
    if count == 1 and not may_keep and not is_first_of_one_npu:
        start_move(row, tables, n, _first_choosable(row, n, freed_only), CHECKPOINT, 0)
        return False
    _ask(row, tables, n, freed_only, may_keep)
    return True


# --- What the asked NPU sees --------------------------------------------------------------------------------------------------


@jit_borrowing
def _see_entry(row, n, slot, freed_only):
    """Show an entry's state and predicted time from NPU ``n``; return whether it may take the task."""
    entry = row.table[slot]
    configuration = row.npus[n].configuration
    if entry.state == READY or entry.state == BARRED:
        open_here = choosable(entry, configuration) and (entry.freed or not freed_only)
        entry.state = READY if open_here else BARRED
    elif entry.state == RUNNING or entry.state == ELSEWHERE:
        entry.state = RUNNING if entry.npu == n else ELSEWHERE
    if row.times.shape[1] > 1:
        own = entry.configuration if entry.executed_cycles > 0 else configuration
        entry.predicted_cycles = row.predictions[slot, own]
    return entry.state == READY


@jit_apart
def see_from(row, n, freed_only, may_keep):
    """Show table and status as NPU ``n`` sees them."""
    npu, status = row.npus[n], row.status
    ready = 0
    for slot in range(row.table.shape[0]):
        if row.table[slot].state != EMPTY and _see_entry(row, n, slot, freed_only):
            ready += 1
    status.npu = n
    status.configuration = npu.configuration
    status.dispatch_cycles = npu.dispatch_cycles
    status.last_switch_cycles = npu.last_switch_cycles
    status.running_slot = npu.running_slot
    status.last_slot = npu.last_slot
    status.ready = ready
    status.may_keep = may_keep
