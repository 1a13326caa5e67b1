"""The driver of one NPU: while it switches nobody can be asked, so a decision is played in one straight line.

Phases follow each other without a look at the calendar; only arrivals may fall into them. sim/events.py plays the same phases for
several NPUs, and on one NPU to the same effect.
"""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.sim.streams.arrivals import admit, arrive, complete, next_arrival_cycles
from prema_gym.sim.switch import (
    begin_commit,
    begin_drain,
    begin_restore,
    begin_stall,
    end_commit,
    end_restore,
    end_save,
    end_stall,
    kill,
    make_progress,
    remaining_cycles,
    spend_overhead,
)
from prema_gym.sim.table import count_waits, log, update_tokens
from prema_gym.types import (
    ASKING,
    CAUSE_ARRIVAL,
    CAUSE_COMPLETION,
    CAUSE_QUANTUM,
    CHECKPOINT,
    DRAIN,
    EVENT_QUANTUM,
    KILL,
    NEVER,
    NONE,
    READY,
    TERMINATED,
    TRUNCATED,
)

_NPU = 0

# --- Decisions --------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _arrive_before(row, tables, cycle):
    """Enter every task that comes before ``cycle``, when a phase ends or changes hands: from the backlog, then new ones."""
    if admit(row, tables, cycle):
        row.machine.happened |= CAUSE_ARRIVAL
    while next_arrival_cycles(row) < cycle:
        if arrive(row, tables):
            row.machine.happened |= CAUSE_ARRIVAL


@jit_borrowing
def _free(row, slot):
    """Let the evicted task be chosen again."""
    row.table[slot].state = READY
    row.table[slot].npu = NONE
    row.machine.ready += 1


@jit_borrowing
def _run_out(row, tables, begin):
    """Let the running task complete, from ``begin`` on; return the cycle at which it has."""
    remaining = remaining_cycles(row, _NPU)
    _arrive_before(row, tables, begin + remaining)
    make_progress(row, _NPU, remaining)
    complete(row, tables, _NPU, begin + remaining)
    row.machine.happened |= CAUSE_COMPLETION
    return begin + remaining


@jit_borrowing
def _checkpoint(row, tables, begin):
    """Let the running operation commit and save the context; return the cycle at which the NPU is free."""
    to_commit = begin_commit(row, tables, _NPU)
    if to_commit < 0:
        return _run_out(row, tables, begin)
    stop = begin + to_commit
    _arrive_before(row, tables, stop)
    make_progress(row, _NPU, to_commit)
    slot = row.npus[_NPU].running_slot
    to_save = end_commit(row, tables, _NPU, stop)
    _free(row, slot)
    spend_overhead(row, _NPU, to_save)
    _arrive_before(row, tables, stop + to_save)
    end_save(row, _NPU, stop + to_save)
    return stop + to_save


@jit_borrowing
def _vacate(row, tables, mechanism, begin):
    """Evict the running task by ``mechanism``; return the cycle at which the NPU is free."""
    if mechanism == CHECKPOINT:
        return _checkpoint(row, tables, begin)
    if mechanism == KILL:
        _free(row, kill(row, _NPU, begin))
        return begin
    begin_drain(row, _NPU, begin)
    return _run_out(row, tables, begin)


@jit_borrowing
def _switch(row, tables, slot, mechanism, begin):
    """Evict the running task, if there is one, and dispatch ``slot``; return the cycle at which it runs."""
    engine = row.engines[_NPU]
    engine.chosen_cycles = row.status.clock_cycles
    free = begin
    if row.npus[_NPU].running_slot >= 0:
        free = _vacate(row, tables, mechanism, begin)
        if mechanism == DRAIN:
            engine.chosen_cycles = free
    row.machine.ready -= 1
    to_run = begin_restore(row, tables, _NPU, slot, free)
    spend_overhead(row, _NPU, to_run)
    _arrive_before(row, tables, free + to_run)
    end_restore(row, _NPU, free + to_run)
    return free + to_run


@jit_borrowing
def _apply(row, tables, slot, mechanism, latency):
    """Carry out a move that costs ``latency`` cycles to decide; the NPU cannot be preempted until it is done."""
    end = row.status.clock_cycles + latency
    spend_overhead(row, _NPU, latency)
    if latency > 0:
        begin_stall(row, _NPU, row.status.clock_cycles)
        _arrive_before(row, tables, end)
    if slot != NONE:
        end = _switch(row, tables, slot, mechanism, end)
    elif latency > 0:
        end_stall(row, _NPU, end)
    row.status.clock_cycles = end
    if row.machine.quantum_due_cycles <= end:
        row.machine.quantum_due_cycles = end + tables.rules[0].quantum_cycles


@jit_borrowing
def decide(row, tables, slot, mechanism):
    """Carry out an asked decision: ``slot`` (NONE keeps) by ``mechanism``. It must be legal."""
    row.machine.decisions += 1
    row.machine.quanta = 0
    _apply(row, tables, slot, mechanism, tables.rules[0].scheduler_latency_cycles)


# --- Events -----------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _elapse(row, cycle):
    """Let time pass up to ``cycle``: the running task executes, or the NPU idles."""
    passed = cycle - row.status.clock_cycles
    if row.npus[_NPU].running_slot >= 0:
        make_progress(row, _NPU, passed)
    else:
        row.engines[_NPU].idle_cycles += passed
    row.status.clock_cycles = cycle


@jit_borrowing
def _completion_cycle(row):
    if row.npus[_NPU].running_slot < 0:
        return NEVER
    return row.status.clock_cycles + remaining_cycles(row, _NPU)


@jit_borrowing
def _next_event(row, quantum):
    """Return the cycle of the next event; what happened during a switch is due at its end."""
    if row.machine.happened != 0:
        return row.status.clock_cycles
    return min(min(_completion_cycle(row), next_arrival_cycles(row)), quantum)


@jit_borrowing
def _is_silent(cause, stream):
    """Whether nothing has happened that the scheduler answers to: a request of a stream has joined the backlog."""
    if stream is None:
        return False
    return cause == 0


@jit_borrowing
def _invoke(row, tables, quantum):
    """Play the events of the present cycle and invoke the scheduler's bookkeeping; return the cause, 0 where nobody is invoked."""
    now = row.status.clock_cycles
    cause = row.machine.happened
    row.machine.happened = 0
    if _completion_cycle(row) == now:
        complete(row, tables, _NPU, now)
        cause |= CAUSE_COMPLETION
    if admit(row, tables, now + 1):
        cause |= CAUSE_ARRIVAL
    while next_arrival_cycles(row) == now:
        if arrive(row, tables):
            cause |= CAUSE_ARRIVAL
    if quantum == now and row.npus[_NPU].running_slot >= 0:
        cause |= CAUSE_QUANTUM
    if _is_silent(cause, row.stream):
        return cause
    update_tokens(row)
    row.machine.quantum_due_cycles = now + tables.rules[0].quantum_cycles
    row.status.cause = cause
    return cause


@jit_borrowing
def _is_asked(row, tables, cause):
    """Whether a decision is asked: two or more moves are legal, and the quantum's turn has come if it alone is the cause."""
    if row.machine.decisions == 0:
        return row.machine.ready > 0
    if row.npus[_NPU].running_slot < 0:
        return row.machine.ready > 1
    if row.machine.ready == 0:
        return False
    if cause != CAUSE_QUANTUM:
        return True
    row.machine.quanta += 1
    every = tables.rules[0].decision_every
    return every > 0 and row.machine.quanta >= every


@jit_borrowing
def _first_ready(row):
    """Return the lowest slot that waits; one does."""
    slot = 0
    while row.table[slot].state != READY:
        slot += 1
    return slot


@jit_borrowing
def _show(row, outcome):
    """Tell the scheduler of its NPU; return ``outcome``."""
    npu, status = row.npus[_NPU], row.status
    status.dispatch_cycles = npu.dispatch_cycles
    status.last_switch_cycles = npu.last_switch_cycles
    status.running_slot = npu.running_slot
    status.last_slot = npu.last_slot
    status.ready = row.machine.ready
    row.machine.outcome = outcome
    return outcome


@jit_borrowing
def advance(row, tables):
    """Play events until a decision is asked or the episode ends; return the outcome (ASKING, TERMINATED, TRUNCATED)."""
    while True:
        quantum = NEVER
        if row.npus[_NPU].running_slot >= 0 and row.machine.ready > 0:
            quantum = row.machine.quantum_due_cycles
        cycle = _next_event(row, quantum)
        if cycle > row.machine.horizon_cycles:
            _elapse(row, max(row.status.clock_cycles, row.machine.horizon_cycles))
            admit(row, tables, row.status.clock_cycles + 1)
            count_waits(row)
            return _show(row, TRUNCATED)
        _elapse(row, cycle)
        cause = _invoke(row, tables, quantum)
        if row.status.finished == row.machine.tasks:
            return _show(row, TERMINATED)
        if cycle == row.machine.horizon_cycles:
            count_waits(row)
            return _show(row, TRUNCATED)
        if _is_silent(cause, row.stream):
            continue
        if _is_asked(row, tables, cause):
            if cause & CAUSE_QUANTUM:
                log(row, cycle, EVENT_QUANTUM, _NPU, row.npus[_NPU].running_slot, NONE)
            return _show(row, ASKING)
        if row.npus[_NPU].running_slot < 0 and row.machine.ready > 0:
            _apply(row, tables, _first_ready(row), CHECKPOINT, 0)
