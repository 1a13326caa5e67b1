"""Switches among several NPUs: a phase lies on an NPU until its end comes up as an event, and then the next one begins."""

from __future__ import annotations

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.batches import form_batch, leads, leave_batch, next_member, place_members
from prema_gym.sim.streams.arrivals import complete
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
from prema_gym.sim.table import choosable
from prema_gym.types import (
    BOUND,
    CAUSE_COMPLETION,
    CAUSE_READY,
    CHECKPOINT,
    DRAIN,
    IN_COMMIT,
    IN_LATENCY,
    IN_RESTORE,
    IN_RUN_OUT,
    IN_SAVE,
    KILL,
    NONE,
    NOT_SWITCHING,
    READY,
    SAVING,
)

# --- What happens reaches those who can't answer now --------------------------------------------------------------------------


@jit_borrowing
def happens(row, cause):
    """Something has happened at this cycle that all NPUs answer to, now or when their switch is over."""
    row.machine.happened |= cause
    for n in range(row.npus.shape[0]):
        if row.engines[n].phase != NOT_SWITCHING:
            row.engines[n].window_cause |= cause


@jit_borrowing
def _free(row, n, slot):
    """Let the task that NPU ``n`` has evicted be chosen: a cause for the others that could take it, not for itself."""
    entry = row.table[slot]
    entry.state = READY
    entry.npu = NONE
    entry.freed = row.machine.asking_pass > 0
    row.machine.ready += 1
    if leads(row, slot):
        place_members(row, slot)
    for m in range(row.npus.shape[0]):
        if m == n or not choosable(entry, row.npus[m].configuration):
            continue
        if row.engines[m].phase == NOT_SWITCHING:
            row.engines[m].offered = True
        else:
            row.engines[m].window_cause |= CAUSE_READY


@jit_apart
def _dissolve(row, n, leader):
    """Let the batch that was killed on NPU ``n`` be single tasks again."""
    c = row.npus[n].configuration
    leave_batch(row, leader, c)
    member = next_member(row, leader, NONE)
    while member != NONE:
        task = row.table[member].task
        leave_batch(row, member, c)
        row.table[member].accounted_cycles = row.status.clock_cycles
        _free(row, n, member)
        member = next_member(row, leader, task)


@jit_borrowing
def _kill(row, n):
    """Kill what NPU ``n`` runs, and let it be chosen again."""
    slot = row.npus[n].running_slot
    batch = leads(row, slot)
    kill(row, n, row.status.clock_cycles)
    if batch:
        _dissolve(row, n, slot)
    _free(row, n, slot)


# --- Phases -------------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _begin_phase(row, n, phase, cycles):
    row.engines[n].phase = phase
    row.engines[n].phase_end_cycles = row.status.clock_cycles + cycles


@jit_borrowing
def _restore(row, tables, n):
    """The NPU is free for the chosen task."""
    npu = row.npus[n]
    slot = npu.bound_slot
    npu.bound_slot = NONE
    _begin_phase(row, n, IN_RESTORE, begin_restore(row, tables, n, slot, row.status.clock_cycles))


@jit_borrowing
def _vacate(row, tables, n):
    """Begin to evict the running task."""
    now, mechanism = row.status.clock_cycles, row.engines[n].mechanism
    if mechanism == KILL:
        _kill(row, n)
        _restore(row, tables, n)
        return
    if mechanism == DRAIN:
        begin_drain(row, n, now)
    to_commit = begin_commit(row, tables, n) if mechanism == CHECKPOINT else NONE
    if to_commit < 0:
        _begin_phase(row, n, IN_RUN_OUT, remaining_cycles(row, n))
    else:
        _begin_phase(row, n, IN_COMMIT, to_commit)


@jit_borrowing
def _save(row, tables, n):
    """The running operation has committed: its task waits from now on, and its context goes to memory."""
    slot = row.npus[n].running_slot
    to_save = end_commit(row, tables, n, row.status.clock_cycles)
    row.table[slot].state = SAVING
    _begin_phase(row, n, IN_SAVE, to_save)


@jit_borrowing
def _end_switch(row, tables, n):
    """The NPU answers again; what has happened meanwhile is a cause now."""
    engine = row.engines[n]
    engine.phase = NOT_SWITCHING
    row.npus[n].switching = False
    row.machine.happened |= engine.window_cause
    engine.window_cause = 0
    if row.machine.quantum_due_cycles <= row.status.clock_cycles:
        row.machine.quantum_due_cycles = row.status.clock_cycles + tables.rules[0].quantum_cycles


@jit_borrowing
def _end_latency(row, tables, n):
    npu, engine = row.npus[n], row.engines[n]
    if engine.queued_latency_cycles > 0:
        begin_stall(row, n, row.status.clock_cycles)
        _begin_phase(row, n, IN_LATENCY, engine.queued_latency_cycles)
        engine.queued_latency_cycles = 0
    elif npu.bound_slot == NONE:
        end_stall(row, n, row.status.clock_cycles)
        _end_switch(row, tables, n)
    elif npu.running_slot >= 0:
        _vacate(row, tables, n)
    else:
        _restore(row, tables, n)


@jit_borrowing
def _end_run_out(row, tables, n):
    now, engine = row.status.clock_cycles, row.engines[n]
    complete(row, tables, n, now)
    happens(row, CAUSE_COMPLETION)
    if engine.mechanism == DRAIN:
        engine.chosen_cycles = now
    _restore(row, tables, n)


@jit_apart
def play_phases(row, tables, n):
    """End the phase of NPU ``n`` that is over at this cycle, and those that begin and end at it."""
    engine, now = row.engines[n], row.status.clock_cycles
    while engine.phase != NOT_SWITCHING and engine.phase_end_cycles == now:
        phase = engine.phase
        if phase == IN_LATENCY:
            _end_latency(row, tables, n)
        elif phase == IN_COMMIT:
            _save(row, tables, n)
        elif phase == IN_RUN_OUT:
            _end_run_out(row, tables, n)
        elif phase == IN_SAVE:
            _free(row, n, end_save(row, n, now))
            _restore(row, tables, n)
        else:
            end_restore(row, n, now)
            _end_switch(row, tables, n)


@jit_borrowing
def _gather(row, tables, n, slot):
    """Form a batch around the task in ``slot``, which NPU ``n`` was given to, or take its batch along."""
    if row.batches.shape[0] == 0:
        return
    if leads(row, slot):
        place_members(row, slot)
    else:
        form_batch(row, tables, n, slot)


@jit_apart
def start_move(row, tables, n, slot, mechanism, latency):
    """Carry out a move of NPU ``n`` that costs ``latency`` cycles to decide: ``slot`` (NONE keeps) by ``mechanism``.

    An idle NPU that stalls after keeping may be given a task in the same invocation: that goes behind the stall.
    """
    npu, engine, now = row.npus[n], row.engines[n], row.status.clock_cycles
    engine.chosen_cycles = now
    engine.mechanism = mechanism
    if slot != NONE:
        npu.bound_slot = slot
        row.table[slot].state = BOUND
        row.table[slot].npu = n
        row.machine.ready -= 1
        _gather(row, tables, n, slot)
    if engine.phase != NOT_SWITCHING:
        engine.queued_latency_cycles = latency
        return
    if latency > 0:
        begin_stall(row, n, now)
    elif slot == NONE:
        return
    npu.switching = True
    _begin_phase(row, n, IN_LATENCY, latency)
    play_phases(row, tables, n)


# --- Time ---------------------------------------------------------------------------------------------------------------------


@jit_borrowing
def elapse(row, cycle):
    """Let time pass up to ``cycle`` on every NPU."""
    passed = cycle - row.status.clock_cycles
    for n in range(row.npus.shape[0]):
        phase = row.engines[n].phase
        if phase in (IN_LATENCY, IN_SAVE, IN_RESTORE):
            spend_overhead(row, n, passed)
        elif row.npus[n].running_slot >= 0:
            make_progress(row, n, passed)
        else:
            row.engines[n].idle_cycles += passed
    row.status.clock_cycles = cycle
