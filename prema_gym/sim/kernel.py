"""The machine: a row is M NPUs with one context table, advanced from decision to decision in integer cycles.

The kernel knows no reinforcement learning: a decision arrives as (slot, mechanism). Two drivers play it. Their phases are the same
(sim/switch.py); a row of one NPU goes in a straight line, several go from event to event. The *type* of ``row.several`` chooses, so
that only one of them is compiled into a caller. Everything is modified in place.
"""

from __future__ import annotations

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.batches import clear_batches
from prema_gym.sim.events import advance as advance_events
from prema_gym.sim.events import decide as decide_events
from prema_gym.sim.levels import highest_level, level_bit
from prema_gym.sim.straight import advance as advance_straight
from prema_gym.sim.straight import decide as decide_straight
from prema_gym.sim.streams.backlog import begin_arrivals
from prema_gym.sim.streams.cohort import settle_open
from prema_gym.sim.table import clear
from prema_gym.types import ASKING, NONE, NOT_SWITCHING

HORIZON_FACTOR = 20
"""An episode is truncated this many sums of isolated times after its last arrival."""


@jit_apart
def _advance_stream(row, tables):
    return advance_straight(row, tables)


@jit_apart
def _decide_in_stream(row, tables, slot, mechanism):
    decide_straight(row, tables, slot, mechanism)


@jit_borrowing
def _advance_single(row, tables, stream):
    # A stream's driver is called, not built in: it is twice as long, and compiling it for every caller takes minutes.
    if stream is None:
        return advance_straight(row, tables)
    return _advance_stream(row, tables)


@jit_borrowing
def _decide_single(row, tables, stream, slot, mechanism):
    if stream is None:
        decide_straight(row, tables, slot, mechanism)
    else:
        _decide_in_stream(row, tables, slot, mechanism)


@jit_borrowing
def _advance(row, tables, several):
    if several is None:
        return _advance_single(row, tables, row.stream)
    return advance_events(row, tables)


@jit_borrowing
def _decide(row, tables, several, slot, mechanism):
    if several is None:
        _decide_single(row, tables, row.stream, slot, mechanism)
    else:
        decide_events(row, tables, slot, mechanism)


@jit_borrowing
def _settle(row, tables, outcome, stream):
    """Settle what a stream leaves behind."""
    if stream is not None and outcome != ASKING:
        settle_open(row, tables)


@jit_borrowing
def make_move(row, tables, slot, mechanism):
    """Give the asked NPU to ``slot`` by ``mechanism``, or keep where ``slot`` is NONE, and play to the next decision or the end.

    The move must be legal. Return the outcome (ASKING, TERMINATED, TRUNCATED).
    """
    _decide(row, tables, row.several, slot, mechanism)
    outcome = _advance(row, tables, row.several)
    _settle(row, tables, outcome, row.stream)
    return outcome


@jit_borrowing
def slowest_cycles(row, task):
    """Return the isolated time of ``task`` on the configuration where it is longest."""
    slowest = row.tasks[task].isolated_cycles
    for c in range(row.times.shape[1]):
        slowest = max(slowest, row.times[task, c].isolated_cycles)
    return slowest


@jit_borrowing
def _begin_npu(npu, engine):
    npu.dispatch_cycles = 0
    npu.last_switch_cycles = 0
    npu.running_slot = NONE
    npu.bound_slot = NONE
    npu.last_slot = NONE
    npu.switching = False
    engine.phase_end_cycles = 0
    engine.dispatch_position_cycles = 0
    engine.total_cycles = 0
    engine.chosen_cycles = 0
    engine.queued_latency_cycles = 0
    engine.save_bytes = 0
    engine.restore_bytes = 0
    engine.refill_cycles = 0
    engine.useful_cycles = 0
    engine.wasted_cycles = 0
    engine.overhead_cycles = 0
    engine.idle_cycles = 0
    engine.phase = NOT_SWITCHING
    engine.mechanism = 0
    engine.evicted_slot = NONE
    engine.window_cause = 0
    engine.offered = False
    engine.live = False


@jit_borrowing
def _begin_status(status, npu, levels):
    status.clock_cycles = 0
    status.dispatch_cycles = 0
    status.last_switch_cycles = 0
    status.last_arrival_cycles = 0
    status.min_log_pp = 0.0
    status.max_log_pp = 0.0
    status.levels = levels
    status.oldest_backlog_cycles = NONE
    status.arrival_gap_cycles = 0.0
    status.npu = 0
    status.configuration = npu.configuration
    status.running_slot = NONE
    status.last_slot = NONE
    status.cause = 0
    status.ready = 0
    status.finished = 0
    status.backlog = 0
    status.may_keep = False


@jit_borrowing
def _begin_machine(machine, rules):
    machine.quantum_due_cycles = rules.quantum_cycles
    machine.decisions = 0
    machine.preemptions = 0
    machine.quanta = 0
    machine.next_task = 0
    machine.ready = 0
    machine.asking_pass = 0
    machine.next_npu = 0
    machine.happened = 0
    machine.events = 0
    machine.waiting_only = False


@jit_borrowing
def _begin(row, tables, levels):
    """Clear what the episode before has left."""
    for slot in range(row.table.shape[0]):
        clear(row.table[slot])
    clear_batches(row)
    for n in range(row.npus.shape[0]):
        _begin_npu(row.npus[n], row.engines[n])
    _begin_machine(row.machine, tables.rules[0])
    _begin_status(row.status, row.npus[0], levels)


@jit_borrowing
def begin(row, tables, count):
    """Start the episode whose ``count`` tasks lie in ``row.tasks``, in order of arrival, and advance to its first decision."""
    slowest = 0
    priority_sum = 0
    deadlines = 0
    levels = tables.rules[0].levels
    for task in range(count):
        row.tasks[task].completion_cycles = NONE
        slowest += slowest_cycles(row, task)
        priority_sum += row.tasks[task].priority
        levels |= level_bit(row.tasks[task].priority)
        deadlines += row.tasks[task].deadline_cycles != NONE
    _begin(row, tables, levels)
    row.machine.tasks = count
    row.machine.priority_sum = priority_sum
    row.machine.high_priority = highest_level(levels)
    row.machine.deadlines = deadlines
    row.machine.horizon_cycles = row.tasks[count - 1].arrival_cycles + HORIZON_FACTOR * slowest
    return _advance(row, tables, row.several)


@jit_borrowing
def begin_stream(row, tables):
    """Start a stream, listed or from the seed in ``row.machine.episode_seed``, and advance to its first decision."""
    listed = row.stream.memory.listed > 0
    _begin(row, tables, row.stream.memory.listed_levels if listed else tables.rules[0].levels)
    begin_arrivals(row, tables)
    outcome = _advance(row, tables, row.several)
    row.stream.memory.start_cycles = row.status.clock_cycles
    row.stream.memory.late_share, row.stream.memory.late_weight = 0.0, 0.0  # whoever is in the backlog now came before that
    return outcome
