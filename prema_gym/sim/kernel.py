"""The machine: one row is one preemptible NPU with its context table, advanced from decision to decision in integer cycles.

A decision arrives as (slot, mechanism); :func:`decide` carries it out, switch included, and :func:`advance` plays events until the
next decision is asked or the episode ends. Everything here is modified in place. The kernel knows no observations and no rewards,
except that :func:`begin` clears the fields of MACHINE in which rewards keep what has been paid for.

Order of events at one cycle: completion, arrivals by order of the trace, quantum; one invocation follows them all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prema_gym._jit import jit_borrowing, jit_inline
from prema_gym.config import context_cycles as _context_cycles
from prema_gym.types import (
    ASKING,
    CAUSE_ARRIVAL,
    CAUSE_COMPLETION,
    CAUSE_QUANTUM,
    CHECKPOINT,
    DRAIN,
    EMPTY,
    EVENT_ARRIVAL,
    EVENT_COMMIT,
    EVENT_COMPLETION,
    EVENT_DISPATCH,
    EVENT_DRAIN,
    EVENT_KILL,
    EVENT_QUANTUM,
    EVENT_RUN,
    EVENT_SAVED,
    EVENT_STALL,
    KEEP,
    KILL,
    NEVER,
    NONE,
    READY,
    RUNNING,
    TERMINATED,
    TRUNCATED,
)

HORIZON_FACTOR = 20
"""An episode is truncated this many sums of isolated times after its last arrival."""


class Tables(NamedTuple):
    """What never changes while rows advance (dtypes in types.py)."""

    runs: np.ndarray
    """(R,) RUN."""
    blocks: np.ndarray
    """(B,) BLOCK."""
    segments: np.ndarray
    """(S,) SEGMENT."""
    programs: np.ndarray
    """(P,) PROGRAM."""
    rules: np.ndarray
    """(1,) RULES."""


class State(NamedTuple):
    """What changes: the arrays of N rows."""

    machine: np.ndarray
    """(N,) MACHINE, hidden."""
    tasks: np.ndarray
    """(N, n) TASK, hidden."""
    status: np.ndarray
    """(N,) STATUS, visible."""
    slots: np.ndarray
    """(N, T) SLOT, visible."""
    log: np.ndarray
    """(N, L) EVENT; L = 0 records nothing."""


class Row(NamedTuple):
    """One row of :class:`State`: two records and three vectors."""

    machine: np.void
    tasks: np.ndarray
    status: np.void
    slots: np.ndarray
    log: np.ndarray


@jit_inline
def row_of(state, i):
    """Return row ``i`` of ``state``, without a copy."""
    return Row(state.machine[i], state.tasks[i], state.status[i], state.slots[i], state.log[i])


# --- Programs: where the preemption points are ------------------------------------------------------------------------------


@jit_borrowing
def next_commit(tables, program, position):
    """Return (commit_cycles, save_bytes, restore_bytes, refill_cycles) of the first point at or after ``position`` >= 1.

    Positions are cycles of undisturbed execution. ``NEVER`` where no point is left.
    """
    record = tables.programs[program]
    if record.segments == 0:
        return NEVER, 0, 0, 0
    low = record.first_segment
    high = low + record.segments - 1
    while low < high:
        middle = (low + high + 1) // 2
        if tables.segments[middle].start_cycles < position:
            low = middle
        else:
            high = middle - 1
    segment = tables.segments[low]
    block = tables.blocks[segment.block]
    offset = position - segment.start_cycles
    lap = (offset - 1) // block.cycles
    if lap >= segment.repeats:
        return NEVER, 0, 0, 0
    offset -= lap * block.cycles
    low_run = block.first_run
    high_run = low_run + block.runs - 1
    while low_run < high_run:
        middle_run = (low_run + high_run + 1) // 2
        if tables.runs[middle_run].start_cycles < offset:
            low_run = middle_run
        else:
            high_run = middle_run - 1
    run = tables.runs[low_run]
    steps = (offset - run.start_cycles + run.step_cycles - 1) // run.step_cycles
    commit = segment.start_cycles + lap * block.cycles + run.start_cycles + steps * run.step_cycles
    save = segment.save_bytes + lap * segment.save_step_bytes + run.save_bytes
    restore = segment.restore_bytes + lap * segment.restore_step_bytes + run.restore_bytes
    return commit, save, restore, np.int64(run.refill_cycles)


context_cycles = jit_borrowing(_context_cycles)


# --- The table --------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _log(row, cycle, event, slot, task):
    if row.machine.events < row.log.shape[0]:
        entry = row.log[row.machine.events]
        entry.cycle = cycle
        entry.event = event
        entry.slot = slot
        entry.task = task
        row.machine.events += 1


@jit_borrowing
def _clear(slot):
    slot.arrival_cycles = 0
    slot.predicted_cycles = 0
    slot.executed_cycles = 0
    slot.waited_cycles = 0
    slot.accounted_cycles = 0
    slot.last_dispatch_cycles = NONE
    slot.token = 0.0
    slot.token_whole_wait = 0.0
    slot.saved_bytes = 0
    slot.restore_bytes = 0
    slot.refill_cycles = 0
    slot.preemptions = 0
    slot.program = NONE
    slot.task = NONE
    slot.priority = 0
    slot.state = EMPTY
    slot.length_estimated = False


@jit_borrowing
def _arrive(row):
    """Enter the next task of the trace into the lowest free slot."""
    index = row.machine.next_task
    task = row.tasks[index]
    free = 0
    while row.slots[free].state != EMPTY:
        free += 1
    slot = row.slots[free]
    slot.arrival_cycles = task.arrival_cycles
    slot.predicted_cycles = task.predicted_cycles
    slot.accounted_cycles = task.arrival_cycles
    slot.token = task.priority
    slot.token_whole_wait = task.priority
    slot.program = task.program
    slot.task = index
    slot.priority = task.priority
    slot.state = READY
    slot.length_estimated = task.length_estimated
    row.machine.next_task += 1
    row.status.ready += 1
    row.status.last_arrival_cycles = task.arrival_cycles
    _log(row, task.arrival_cycles, EVENT_ARRIVAL, free, index)


@jit_borrowing
def _arrive_before(row, cycle):
    """Enter every task that arrives before ``cycle``; it is one that a switch ends or changes hands at."""
    while row.machine.next_task < row.machine.tasks and row.tasks[row.machine.next_task].arrival_cycles < cycle:
        _arrive(row)
        row.machine.window_cause |= CAUSE_ARRIVAL


@jit_borrowing
def _complete(row, cycle):
    """Finish the running task and free its slot."""
    index = row.status.running_slot
    slot = row.slots[index]
    task = row.tasks[slot.task]
    task.completion_cycles = cycle
    log_pp = -np.log((cycle - task.arrival_cycles) / task.isolated_cycles * task.priority)
    if row.status.finished == 0:
        row.status.min_log_pp = log_pp
        row.status.max_log_pp = log_pp
    row.status.min_log_pp = min(row.status.min_log_pp, log_pp)
    row.status.max_log_pp = max(row.status.max_log_pp, log_pp)
    row.status.finished += 1
    row.status.running_slot = NONE
    _log(row, cycle, EVENT_COMPLETION, index, slot.task)
    _clear(slot)


@jit_borrowing
def _elapse(row, cycle):
    """Let time pass up to ``cycle``: the running task executes, or the NPU idles."""
    if row.status.running_slot >= 0:
        executed = cycle - row.machine.run_start_cycles
        row.slots[row.status.running_slot].executed_cycles += executed
        row.machine.useful_cycles += executed
        row.machine.run_start_cycles = cycle
    else:
        row.machine.idle_cycles += cycle - row.status.clock_cycles
    row.status.clock_cycles = cycle


@jit_borrowing
def _count_wait(slot, cycle):
    """Bring the wait of a ready task up to ``cycle``; return what was added."""
    waited = cycle - slot.accounted_cycles
    slot.waited_cycles += waited
    slot.accounted_cycles = cycle
    return waited


@jit_borrowing
def _count_waits(row):
    """Bring all waits up to the clock, where no invocation does."""
    for i in range(row.slots.shape[0]):
        if row.slots[i].state == READY:
            _count_wait(row.slots[i], row.status.clock_cycles)


@jit_borrowing
def _update_tokens(row, cycle):
    """Algorithm 2: a waiting task earns priority * (cycles waited since the last invocation) / predicted total."""
    for i in range(row.slots.shape[0]):
        slot = row.slots[i]
        if slot.state == READY:
            waited = _count_wait(slot, cycle)
            rate = slot.priority / slot.predicted_cycles
            slot.token += rate * waited
            slot.token_whole_wait += rate * slot.waited_cycles


# --- Decisions --------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _run_out(row, begin):
    """Let the running task complete, from ``begin`` on; return the cycle at which it has."""
    slot = row.slots[row.status.running_slot]
    remaining = row.tasks[slot.task].isolated_cycles - slot.executed_cycles
    _arrive_before(row, begin + remaining)
    row.machine.useful_cycles += remaining
    _complete(row, begin + remaining)
    row.machine.window_cause |= CAUSE_COMPLETION
    return begin + remaining


@jit_borrowing
def _kill(row, begin):
    """Stop the running task at once: progress and context are lost, the token stays."""
    index = row.status.running_slot
    slot = row.slots[index]
    row.machine.wasted_cycles += slot.executed_cycles
    row.machine.useful_cycles -= slot.executed_cycles
    slot.executed_cycles = 0  # a running task has no saved context that could be left
    _make_ready(row, slot, begin)
    _log(row, begin, EVENT_KILL, index, slot.task)
    return begin


@jit_borrowing
def _make_ready(row, slot, cycle):
    slot.state = READY
    slot.accounted_cycles = cycle
    slot.preemptions += 1
    row.machine.preemptions += 1
    row.status.ready += 1
    row.status.running_slot = NONE


@jit_borrowing
def _checkpoint(row, tables, begin):
    """Let the running operation commit and save the context; return the cycle at which the NPU is free."""
    index = row.status.running_slot
    slot = row.slots[index]
    position = max(slot.executed_cycles, row.machine.dispatch_position_cycles + 1)
    commit, save, restore, refill = next_commit(tables, slot.program, position)
    if commit >= row.tasks[slot.task].isolated_cycles:
        return _run_out(row, begin)
    stop = begin + commit - slot.executed_cycles
    _arrive_before(row, stop)
    row.machine.useful_cycles += commit - slot.executed_cycles
    slot.executed_cycles = commit
    slot.saved_bytes = save
    slot.restore_bytes = restore
    slot.refill_cycles = refill
    _make_ready(row, slot, stop)
    _log(row, stop, EVENT_COMMIT, index, slot.task)
    cost = context_cycles(tables.rules[0], save)
    row.machine.overhead_cycles += cost
    _arrive_before(row, stop + cost)
    _log(row, stop + cost, EVENT_SAVED, index, slot.task)
    return stop + cost


@jit_borrowing
def _dispatch(row, tables, index, free):
    """Give the NPU to slot ``index`` at cycle ``free``; return the cycle at which its operations start."""
    slot = row.slots[index]
    _count_wait(slot, free)
    slot.state = RUNNING
    row.status.ready -= 1
    row.status.running_slot = index
    row.status.last_slot = index
    _log(row, free, EVENT_DISPATCH, index, slot.task)
    cost = context_cycles(tables.rules[0], slot.restore_bytes) + slot.refill_cycles
    slot.saved_bytes = 0
    slot.restore_bytes = 0
    slot.refill_cycles = 0
    row.machine.overhead_cycles += cost
    row.machine.dispatch_position_cycles = slot.executed_cycles
    _arrive_before(row, free + cost)
    _log(row, free + cost, EVENT_RUN, index, slot.task)
    row.status.last_switch_cycles = free + cost
    return free + cost


@jit_borrowing
def _switch(row, tables, index, mechanism, begin):
    """Evict the running task, if there is one, and dispatch slot ``index``; return the cycle at which it runs."""
    chosen = row.status.clock_cycles
    free = begin
    if row.status.running_slot >= 0:
        if mechanism == DRAIN:
            _log(row, begin, EVENT_DRAIN, row.status.running_slot, row.slots[row.status.running_slot].task)
            free = _run_out(row, begin)
            chosen = free
        elif mechanism == KILL:
            free = _kill(row, begin)
        else:
            free = _checkpoint(row, tables, begin)
    row.status.dispatch_cycles = chosen
    row.slots[index].last_dispatch_cycles = chosen
    return _dispatch(row, tables, index, free)


@jit_borrowing
def _apply(row, tables, index, mechanism, latency):
    """Carry out a move that costs ``latency`` cycles to decide; the NPU cannot be preempted until it is done."""
    start = row.status.clock_cycles
    end = start + latency
    row.machine.overhead_cycles += latency
    if latency > 0:
        _log(row, start, EVENT_STALL, row.status.running_slot, NONE)
        _arrive_before(row, end)
    if index != KEEP:
        end = _switch(row, tables, index, mechanism, end)
    elif latency > 0 and row.status.running_slot >= 0:
        _log(row, end, EVENT_RUN, row.status.running_slot, row.slots[row.status.running_slot].task)
    row.machine.run_start_cycles = end
    row.status.clock_cycles = end
    if row.machine.quantum_due_cycles <= end:
        row.machine.quantum_due_cycles = end + tables.rules[0].quantum_cycles


@jit_borrowing
def decide(row, tables, index, mechanism):
    """Carry out an asked decision: slot ``index`` (KEEP: none) by ``mechanism``. It must be legal."""
    row.machine.step_start_cycles = row.status.clock_cycles
    row.machine.decisions += 1
    row.machine.quanta = 0
    _apply(row, tables, index, mechanism, tables.rules[0].scheduler_latency_cycles)


# --- Events -----------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _completion_cycle(row):
    if row.status.running_slot < 0:
        return NEVER
    slot = row.slots[row.status.running_slot]
    return row.machine.run_start_cycles + row.tasks[slot.task].isolated_cycles - slot.executed_cycles


@jit_borrowing
def _next_event(row, quantum):
    """Return the cycle of the next event; what happened during a switch is due at its end."""
    if row.machine.window_cause != 0:
        return row.status.clock_cycles
    cycle = _completion_cycle(row)
    if row.machine.next_task < row.machine.tasks:
        cycle = min(cycle, row.tasks[row.machine.next_task].arrival_cycles)
    return min(cycle, quantum)


@jit_borrowing
def _invoke(row, tables, quantum):
    """Play the events of the present cycle and invoke the scheduler's bookkeeping; return the cause."""
    now = row.status.clock_cycles
    cause = row.machine.window_cause
    row.machine.window_cause = 0
    if _completion_cycle(row) == now:
        _complete(row, now)
        cause |= CAUSE_COMPLETION
    while row.machine.next_task < row.machine.tasks and row.tasks[row.machine.next_task].arrival_cycles == now:
        _arrive(row)
        cause |= CAUSE_ARRIVAL
    if quantum == now and row.status.running_slot >= 0:
        cause |= CAUSE_QUANTUM
    _update_tokens(row, now)
    row.machine.quantum_due_cycles = now + tables.rules[0].quantum_cycles
    row.status.cause = cause
    return cause


@jit_borrowing
def _is_asked(row, tables, cause):
    """Whether a decision is asked: two or more moves are legal, and the quantum's turn has come if it alone is the cause."""
    if row.machine.decisions == 0:
        return row.status.ready > 0
    if row.status.running_slot < 0:
        return row.status.ready > 1
    if row.status.ready == 0:
        return False
    if cause != CAUSE_QUANTUM:
        return True
    row.machine.quanta += 1
    every = tables.rules[0].decision_every
    return every > 0 and row.machine.quanta >= every


@jit_borrowing
def _first_ready(row):
    """Return the lowest slot that waits; one does."""
    index = 0
    while row.slots[index].state != READY:
        index += 1
    return index


@jit_borrowing
def advance(row, tables):
    """Play events until a decision is asked or the episode ends; return the outcome (ASKING, TERMINATED, TRUNCATED)."""
    while True:
        quantum = NEVER
        if row.status.running_slot >= 0 and row.status.ready > 0:
            quantum = row.machine.quantum_due_cycles
        cycle = _next_event(row, quantum)
        if cycle > row.machine.horizon_cycles:
            _elapse(row, max(row.status.clock_cycles, row.machine.horizon_cycles))
            _count_waits(row)
            return _end(row, TRUNCATED)
        _elapse(row, cycle)
        cause = _invoke(row, tables, quantum)
        if row.status.finished == row.machine.tasks:
            return _end(row, TERMINATED)
        if cycle == row.machine.horizon_cycles:
            return _end(row, TRUNCATED)
        if _is_asked(row, tables, cause):
            if cause & CAUSE_QUANTUM:
                _log(row, cycle, EVENT_QUANTUM, row.status.running_slot, NONE)
            row.machine.outcome = ASKING
            return ASKING
        if row.status.running_slot < 0 and row.status.ready > 0:
            _apply(row, tables, _first_ready(row), CHECKPOINT, 0)


@jit_borrowing
def _end(row, outcome):
    row.machine.outcome = outcome
    return outcome


@jit_borrowing
def begin(row, tables, count):
    """Start the episode whose ``count`` tasks lie in ``row.tasks``, in order of arrival, and advance to its first decision."""
    machine = row.machine
    status = row.status
    isolated = 0
    priority_sum = 0
    for i in range(count):
        row.tasks[i].completion_cycles = NONE
        isolated += row.tasks[i].isolated_cycles
        priority_sum += row.tasks[i].priority
    for i in range(row.slots.shape[0]):
        _clear(row.slots[i])
    machine.run_start_cycles = 0
    machine.dispatch_position_cycles = 0
    machine.quantum_due_cycles = tables.rules[0].quantum_cycles
    machine.horizon_cycles = row.tasks[count - 1].arrival_cycles + HORIZON_FACTOR * isolated
    machine.step_start_cycles = 0
    machine.useful_cycles = 0
    machine.wasted_cycles = 0
    machine.overhead_cycles = 0
    machine.idle_cycles = 0
    machine.priority_sum = priority_sum
    machine.settled_progress = 0.0
    machine.settled_least = np.inf
    machine.settled_most = 0.0
    machine.progress = 0.0
    machine.fairness = 0.0
    machine.decisions = 0
    machine.preemptions = 0
    machine.quanta = 0
    machine.next_task = 0
    machine.tasks = count
    machine.window_cause = 0
    machine.events = 0
    status.clock_cycles = 0
    status.dispatch_cycles = 0
    status.last_switch_cycles = 0
    status.last_arrival_cycles = 0
    status.min_log_pp = 0.0
    status.max_log_pp = 0.0
    status.running_slot = NONE
    status.last_slot = NONE
    status.cause = 0
    status.ready = 0
    status.finished = 0
    return advance(row, tables)
