"""The driver of several NPUs: from event to event, each NPU in a phase of its own.

Order at one cycle: NPUs by index (ends of phases, completion), the backlog of a stream, arrivals, quantum; then one invocation, if
some NPU that is not switching has a cause. It updates tokens and asks NPU by NPU (sim/asking.py).
"""

from __future__ import annotations

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.asking import is_asked, see_from
from prema_gym.sim.batches import see_batches
from prema_gym.sim.phases import elapse, happens, play_phases, start_move
from prema_gym.sim.streams.arrivals import admit, arrive, complete, next_arrival_cycles
from prema_gym.sim.switch import remaining_cycles
from prema_gym.sim.table import count_choosable, count_waits, update_tokens
from prema_gym.types import (
    ASKING,
    CAUSE_ARRIVAL,
    CAUSE_COMPLETION,
    CAUSE_QUANTUM,
    CAUSE_READY,
    NEVER,
    NOT_SWITCHING,
    TERMINATED,
    TRUNCATED,
)


@jit_apart
def decide(row, tables, slot, mechanism):
    """Carry out the asked NPU's decision: ``slot`` (NONE keeps) by ``mechanism``. It must be legal."""
    row.machine.decisions += 1
    if not row.machine.waiting_only:
        row.machine.quanta = 0
    start_move(row, tables, row.status.npu, slot, mechanism, tables.rules[0].scheduler_latency_cycles)


# --- The next event -----------------------------------------------------------------------------------------------------------


@jit_borrowing
def _completion_cycle(row, n):
    """Return when the task on NPU ``n``, which is not switching, will complete; NEVER on an idle one."""
    if row.npus[n].running_slot < 0:
        return NEVER
    return row.status.clock_cycles + remaining_cycles(row, n)


@jit_borrowing
def _any_switching(row):
    for n in range(row.npus.shape[0]):
        if row.engines[n].phase != NOT_SWITCHING:
            return True
    return False


@jit_borrowing
def _note_live(row):
    """Note which NPUs would answer to an expired quantum: they may take a waiting task. Return whether any would.

    They run, or wait for a fuller batch.
    """
    any_live = False
    batching = row.batches.shape[0] > 0
    for n in range(row.npus.shape[0]):
        engine = row.engines[n]
        answers = engine.phase == NOT_SWITCHING and (batching or row.npus[n].running_slot >= 0)
        engine.live = answers and count_choosable(row, n, False) > 0
        any_live = any_live or engine.live
    return any_live


@jit_borrowing
def _next_event(row):
    """Return the cycle of the next event. The quantum is looked at only where it would come first, and not past the horizon."""
    cycle = next_arrival_cycles(row)
    for n in range(row.npus.shape[0]):
        engine = row.engines[n]
        own = _completion_cycle(row, n) if engine.phase == NOT_SWITCHING else engine.phase_end_cycles
        cycle = min(cycle, own)
    due = row.machine.quantum_due_cycles
    if (
        due <= cycle
        and due <= row.machine.horizon_cycles
        and row.status.clock_cycles < row.machine.horizon_cycles
        and _note_live(row)
    ):
        return due
    return cycle


# --- The events of a cycle ----------------------------------------------------------------------------------------------------


@jit_borrowing
def _play_npus(row, tables):
    """Play what ends at this cycle on the NPUs, by index."""
    for n in range(row.npus.shape[0]):
        row.engines[n].offered = False
    for n in range(row.npus.shape[0]):
        if row.engines[n].phase != NOT_SWITCHING:
            play_phases(row, tables, n)
        elif _completion_cycle(row, n) == row.status.clock_cycles:
            complete(row, tables, n, row.status.clock_cycles)
            happens(row, CAUSE_COMPLETION)


@jit_borrowing
def _quantum_expires(row):
    """Whether an NPU that would answer still runs; with batching one that is idle answers too."""
    batching = row.batches.shape[0] > 0
    for n in range(row.npus.shape[0]):
        if row.engines[n].live and (batching or row.npus[n].running_slot >= 0):
            return True
    return False


@jit_borrowing
def _play_cycle(row, tables):
    """Play all events of the present cycle; return the cause of the invocation that follows, 0 where none does."""
    now = row.status.clock_cycles
    quantum_due = row.machine.quantum_due_cycles == now
    row.machine.happened = 0
    _play_npus(row, tables)
    if admit(row, tables, now + 1):
        happens(row, CAUSE_ARRIVAL)
    while next_arrival_cycles(row) == now:
        if arrive(row, tables):
            happens(row, CAUSE_ARRIVAL)
    if quantum_due and row.machine.quantum_due_cycles == now and _quantum_expires(row):
        row.machine.happened |= CAUSE_QUANTUM  # an NPU that switches has nothing to reconsider when it is done
    cause = 0
    for n in range(row.npus.shape[0]):
        if row.engines[n].phase == NOT_SWITCHING:
            cause |= row.machine.happened
            if row.engines[n].offered:
                cause |= CAUSE_READY
    return cause


@jit_borrowing
def _invoke(row, tables, cause):
    """Update the tokens, restart the quantum, and let the asking begin unless it isn't the quantum's turn."""
    machine, rules = row.machine, tables.rules[0]
    update_tokens(row)
    for slot in range(row.table.shape[0]):
        row.table[slot].freed = False
    row.status.cause = cause
    machine.quantum_due_cycles = row.status.clock_cycles + rules.quantum_cycles
    machine.asking_pass = 1
    machine.next_npu = 0
    machine.waiting_only = False
    if cause != CAUSE_QUANTUM:
        machine.quanta = 0
        return
    machine.quanta += 1
    if rules.decision_every == 0 or machine.quanta < rules.decision_every:
        machine.asking_pass = 1 if rules.batching > 1 else 0
        machine.waiting_only = True


@jit_borrowing
def _ask(row, tables):
    """Go on asking, NPU by NPU and pass by pass, until one has two or more moves; return whether one has."""
    machine = row.machine
    while machine.asking_pass > 0:
        while machine.next_npu < row.npus.shape[0]:
            n = machine.next_npu
            machine.next_npu += 1
            if is_asked(row, tables, n):
                return True
        machine.next_npu = 0
        machine.asking_pass = 2 if machine.asking_pass == 1 else 0
    return False


@jit_borrowing
def _end(row, tables, outcome):
    """End the episode: it is shown as NPU 0 sees it."""
    row.machine.asking_pass = 0
    see_from(row, 0, False, False)
    if row.batches.shape[0] > 0:
        see_batches(row, tables, False)
    row.machine.outcome = outcome
    return outcome


@jit_apart
def advance(row, tables):
    """Play events until a decision is asked or the episode ends; return the outcome (ASKING, TERMINATED, TRUNCATED).

    Past the horizon nothing is asked and nobody invoked: switches under way are played to their end, and the episode is truncated.
    """
    while True:
        if _ask(row, tables):
            row.machine.outcome = ASKING
            return ASKING
        cycle = _next_event(row)
        if cycle > row.machine.horizon_cycles and not _any_switching(row):
            elapse(row, max(row.status.clock_cycles, row.machine.horizon_cycles))
            count_waits(row)
            return _end(row, tables, TRUNCATED)
        elapse(row, cycle)
        cause = _play_cycle(row, tables)
        horizon = row.machine.horizon_cycles  # of a stream it is known once the last request is drawn
        if cause != 0 and cycle <= horizon:
            _invoke(row, tables, cause)
        if row.status.finished == row.machine.tasks and cycle <= horizon:
            return _end(row, tables, TERMINATED)
        if cycle >= horizon:
            row.machine.asking_pass = 0
