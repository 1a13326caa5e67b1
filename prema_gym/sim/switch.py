"""A switch, phase by phase: what each does to the row when it begins or ends. Both drivers call these; they differ in who waits.

``n`` is the NPU that switches. A function that begins a phase returns how many cycles it takes.
"""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.sim.batches import dispatch_members, evict_members, leads, load_batch
from prema_gym.sim.programs import context_cycles, next_commit
from prema_gym.sim.table import count_wait, log, truth_of
from prema_gym.types import (
    EVENT_COMMIT,
    EVENT_DISPATCH,
    EVENT_DRAIN,
    EVENT_KILL,
    EVENT_RUN,
    EVENT_SAVED,
    EVENT_STALL,
    NONE,
    RUNNING,
)

# --- Time on an NPU -----------------------------------------------------------------------------------------------------------


@jit_borrowing
def make_progress(row, n, cycles):
    """Let the task on NPU ``n`` execute for ``cycles``."""
    slot = row.npus[n].running_slot
    row.table[slot].executed_cycles += cycles
    row.engines[n].useful_cycles += cycles
    if row.shares.shape[1] > 0:
        row.shares[slot, n] += cycles


@jit_borrowing
def _waste_progress(row, n, slot):
    """Count the progress of the task on NPU ``n`` as wasted, by every NPU that has had a share in it."""
    executed = row.table[slot].executed_cycles
    if row.shares.shape[1] == 0:
        row.engines[n].wasted_cycles += executed
        row.engines[n].useful_cycles -= executed
    for m in range(row.shares.shape[1]):
        row.engines[m].wasted_cycles += row.shares[slot, m]
        row.engines[m].useful_cycles -= row.shares[slot, m]
        row.shares[slot, m] = 0
    row.table[slot].executed_cycles = 0  # a running task has no saved context that could be left


@jit_borrowing
def spend_overhead(row, n, cycles):
    """Count ``cycles`` of latency, save, restore or refill."""
    row.engines[n].overhead_cycles += cycles


@jit_borrowing
def remaining_cycles(row, n):
    """Return how long the task on NPU ``n`` will run on until it completes."""
    return row.engines[n].total_cycles - row.table[row.npus[n].running_slot].executed_cycles


@jit_borrowing
def _leads(row, slot, several):
    """Whether the task in ``slot`` leads a batch; a row of one NPU that runs tasks one by one has none, known when compiling."""
    if several is None:
        return False
    return leads(row, slot)


@jit_borrowing
def _load(row, tables, n, slot):
    """Note program and true total of the task that NPU ``n`` is given."""
    if _leads(row, slot, row.several):
        load_batch(row, tables, n, slot)
        return
    if row.times.shape[1] == 0:
        row.engines[n].total_cycles = row.tasks[truth_of(row, slot)].isolated_cycles
        return
    times = row.times[truth_of(row, slot), row.npus[n].configuration]
    row.engines[n].total_cycles = times.isolated_cycles
    row.table[slot].program = times.program


# --- Phases -------------------------------------------------------------------------------------------------------------------


@jit_borrowing
def log_running(row, n, cycle, event):
    """Log ``event`` of the task on NPU ``n``."""
    slot = row.npus[n].running_slot
    log(row, cycle, event, n, slot, row.table[slot].task)


@jit_borrowing
def begin_stall(row, n, cycle):
    """A decision starts to cost latency."""
    log(row, cycle, EVENT_STALL, n, row.npus[n].running_slot, NONE)


@jit_borrowing
def end_stall(row, n, cycle):
    """The latency of a decision to keep is over: what ran runs on."""
    if row.npus[n].running_slot >= 0:
        log_running(row, n, cycle, EVENT_RUN)


@jit_borrowing
def begin_drain(row, n, cycle):
    """The running task is committed to complete."""
    log_running(row, n, cycle, EVENT_DRAIN)


@jit_borrowing
def begin_commit(row, tables, n):
    """Let the running operation go on to its commit; return for how long, or -1 where the task completes before it.

    The point lies at or after the task's position, and after the position at which it was last dispatched. Its context is noted in
    the engine.
    """
    engine = row.engines[n]
    entry = row.table[row.npus[n].running_slot]
    position = max(entry.executed_cycles, engine.dispatch_position_cycles + 1)
    commit, save, restore, refill = next_commit(tables, entry.program, position)
    if commit >= engine.total_cycles:
        return NONE
    engine.save_bytes = save
    engine.restore_bytes = restore
    engine.refill_cycles = refill
    return commit - entry.executed_cycles


@jit_borrowing
def _evict(row, n, entry, cycle):
    entry.accounted_cycles = cycle
    entry.preemptions += 1
    row.machine.preemptions += 1
    row.npus[n].running_slot = NONE


@jit_borrowing
def end_commit(row, tables, n, cycle):
    """The running operation has committed: its task waits from now on. Return how long its context takes to save."""
    engine = row.engines[n]
    slot = row.npus[n].running_slot
    entry = row.table[slot]
    entry.saved_bytes = engine.save_bytes
    entry.restore_bytes = engine.restore_bytes
    entry.refill_cycles = engine.refill_cycles
    _evict(row, n, entry, cycle)
    if _leads(row, slot, row.several):
        evict_members(row, slot, cycle)
    engine.evicted_slot = slot
    log(row, cycle, EVENT_COMMIT, n, slot, entry.task)
    return context_cycles(tables.rules[row.npus[n].configuration], engine.save_bytes)


@jit_borrowing
def end_save(row, n, cycle):
    """The evicted task's context is in memory. Return its slot."""
    slot = row.engines[n].evicted_slot
    log(row, cycle, EVENT_SAVED, n, slot, row.table[slot].task)
    return slot


@jit_borrowing
def kill(row, n, cycle):
    """Stop the running task at once: progress and context are lost, the token stays. Return its slot."""
    slot = row.npus[n].running_slot
    entry = row.table[slot]
    _waste_progress(row, n, slot)
    entry.configuration = NONE
    _evict(row, n, entry, cycle)
    log(row, cycle, EVENT_KILL, n, slot, entry.task)
    return slot


@jit_borrowing
def begin_restore(row, tables, n, slot, cycle):
    """Give NPU ``n`` to ``slot``; return how long its context takes to restore and the pipeline to refill."""
    npu, engine = row.npus[n], row.engines[n]
    entry = row.table[slot]
    count_wait(entry, cycle)
    entry.state = RUNNING
    entry.npu = n
    entry.configuration = npu.configuration
    entry.last_dispatch_cycles = engine.chosen_cycles
    npu.dispatch_cycles = engine.chosen_cycles
    npu.running_slot = slot
    npu.last_slot = slot
    log(row, cycle, EVENT_DISPATCH, n, slot, entry.task)
    if _leads(row, slot, row.several):
        dispatch_members(row, n, slot, cycle)
    cost = context_cycles(tables.rules[npu.configuration], entry.restore_bytes) + entry.refill_cycles
    entry.saved_bytes = 0
    entry.restore_bytes = 0
    entry.refill_cycles = 0
    engine.dispatch_position_cycles = entry.executed_cycles
    _load(row, tables, n, slot)
    return cost


@jit_borrowing
def end_restore(row, n, cycle):
    """The operations of the task on NPU ``n`` start."""
    log_running(row, n, cycle, EVENT_RUN)
    row.npus[n].last_switch_cycles = cycle
