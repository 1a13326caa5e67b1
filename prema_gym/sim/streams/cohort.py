"""What the requests of a stream were worth, in sums: of all of them, of the cohort, and of the present step.

The cohort are the requests from 0.1 H to 0.8 H in order of arrival, H being the horizon: the first find an empty machine, and the
last have no time to wait. Thresholds (SLA targets, excess, deadlines) and progress of a request in the backlog are looked at when
it enters the table, or at the end: so no step takes longer because the backlog is long.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.levels import count_levels, level_bit
from prema_gym.sim.streams.records import ALL_SUMS, COHORT_SUMS, STEP_SUMS, WINDOW
from prema_gym.sim.worth import (
    allowance,
    capped_tardiness,
    excess_ntt,
    impossible,
    in_time,
    lost_progress,
    tardiness_cycles,
    targets_passed,
)
from prema_gym.types import EMPTY, NONE
from prema_gym.workloads.arrivals import next_arrival
from prema_gym.workloads.drawing import arrive_at, draw_request, read_listed

BINS_PER_OCTAVE = 32
"""A bin of the histogram of NTT is 2^(1/32) wide, 2.2 %."""
HISTOGRAM_BINS = 20 * BINS_PER_OCTAVE
"""The last one holds everything above an NTT of a million."""


@jit_borrowing
def in_cohort(number, horizon_requests):
    """Whether request ``number`` counts: from 0.1 H up to, not including, 0.8 H."""
    return 10 * number >= horizon_requests and 10 * number < 8 * horizon_requests


@jit_borrowing
def histogram_bin(ntt):
    """Return the bin of the histogram that ``ntt`` falls into; below 1 is the first."""
    if ntt <= 1.0:
        return 0
    return min(int(np.floor(BINS_PER_OCTAVE * np.log2(ntt))), HISTOGRAM_BINS - 1)


@jit_borrowing
def clear_sums(sums):
    """Set SUMS to zero."""
    sums.requests = 0
    sums.unfinished = 0
    sums.priority = 0.0
    sums.turnaround_cycles = 0.0
    sums.isolated_cycles = 0.0
    sums.ntt = 0.0
    sums.weighted_ntt = 0.0
    sums.targets = 0
    sums.excess = 0.0
    sums.lost_progress = 0.0
    sums.deadlines = 0
    sums.missed = 0
    sums.impossible = 0
    sums.tardiness = 0.0
    sums.capped_tardiness = 0.0
    sums.due_priority = 0.0
    sums.in_time = 0


@jit_borrowing
def _add_deadline(sums, task, paid, after):
    """Add what has become of the deadline of ``task`` from age ``paid`` to ``after``."""
    allowed = allowance(task)
    late, late_before = tardiness_cycles(after, allowed), tardiness_cycles(paid, allowed)
    sums.deadlines += 1
    sums.missed += int(late > 0) - int(late_before > 0)
    sums.impossible += impossible(task)
    sums.tardiness += (late - late_before) / task.isolated_cycles
    sums.capped_tardiness += task.priority * (capped_tardiness(late, task) - capped_tardiness(late_before, task))
    sums.due_priority += task.priority


@jit_apart
def _add(sums, task, high_priority, before, paid, after):
    """Add what a request has gained from age ``before`` to ``after``; thresholds and progress from age ``paid``."""
    isolated, priority = task.isolated_cycles, task.priority
    ntt = (after - before) / isolated
    sums.requests += 1
    sums.priority += priority
    sums.turnaround_cycles += after - before
    sums.isolated_cycles += isolated
    sums.ntt += ntt
    sums.weighted_ntt += ntt * priority
    sums.targets += targets_passed(after, isolated) - targets_passed(paid, isolated)
    sums.lost_progress += lost_progress(after, isolated) - lost_progress(paid, isolated)
    sums.in_time += in_time(task)
    if priority == high_priority:
        sums.excess += excess_ntt(after, isolated) - excess_ntt(paid, isolated)
    if task.deadline_cycles != NONE:
        _add_deadline(sums, task, paid, after)


@jit_borrowing
def _add_to_step(row, task, entered, now):
    """Add to the step's sums what ``task`` (TASK) has gained since it began; it entered the table at cycle ``entered``."""
    before = max(row.stream.memory.start_cycles - task.arrival_cycles, 0)
    paid = before if entered <= row.stream.memory.start_cycles else 0
    _add(row.stream.sums[STEP_SUMS], task, row.machine.high_priority, before, paid, now - task.arrival_cycles)


@jit_borrowing
def _add_window(memory):
    """Add how fair the latest WINDOW completions were to one another."""
    least, most, total, squares = np.inf, 0.0, 0.0, 0.0
    for k in range(WINDOW):
        progress = memory.recent_progress[k]
        least = min(least, progress / memory.recent_priority[k])
        most = max(most, progress / memory.recent_priority[k])
        total += progress
        squares += progress * progress
    memory.window_fairness += least / most
    memory.window_jain += total * total / (WINDOW * squares)


@jit_borrowing
def _note_completion(row, task, number, now):
    """Let the completion of request ``number``, if it is of the cohort, join the windows of completions."""
    if not in_cohort(number, row.machine.tasks):
        return
    memory = row.stream.memory
    at = memory.completions % WINDOW
    memory.recent_progress[at] = task.isolated_cycles / (now - task.arrival_cycles)
    memory.recent_priority[at] = task.priority
    memory.completions += 1
    if memory.completions >= WINDOW:
        _add_window(memory)


@jit_apart
def _add_to_whole(row, task, number, now, unfinished):
    """Add request ``number`` to the sums of all and, where it is of the cohort, to its sums and its histogram."""
    age = now - task.arrival_cycles
    everything, cohort = row.stream.sums[ALL_SUMS], row.stream.sums[COHORT_SUMS]
    _add(everything, task, row.machine.high_priority, 0, 0, age)
    everything.unfinished += unfinished
    if not in_cohort(number, row.machine.tasks):
        return
    _add(cohort, task, row.machine.high_priority, 0, 0, age)
    cohort.unfinished += unfinished
    level = count_levels(row.status.levels & (level_bit(task.priority) - np.uint64(1)))
    row.stream.histogram[level, histogram_bin(age / task.isolated_cycles)] += np.uint32(1)


@jit_apart
def settle_completed(row, slot, now):
    """Settle the request in ``slot``, which completes at ``now``."""
    task = row.tasks[slot]
    _add_to_step(row, task, row.stream.places[slot].entered_cycles, now)
    _add_to_whole(row, task, row.table[slot].task, now, 0)
    _note_completion(row, task, row.table[slot].task, now)
    row.stream.memory.waited_cycles += row.table[slot].waited_cycles


@jit_apart
def settle_present(row):
    """Add to the step's sums what the requests in the table have gained."""
    for slot in range(row.table.shape[0]):
        if row.table[slot].state != EMPTY:
            _add_to_step(row, row.tasks[slot], row.stream.places[slot].entered_cycles, row.status.clock_cycles)


@jit_apart
def settle_open(row, tables):
    """Settle, at the end of the episode, all requests that haven't completed: those in the table, then the backlog."""
    now, memory, head = row.status.clock_cycles, row.stream.memory, row.table.shape[0] + 1
    for slot in range(row.table.shape[0]):
        if row.table[slot].state != EMPTY:
            _add_to_step(row, row.tasks[slot], row.stream.places[slot].entered_cycles, now)
            _add_to_whole(row, row.tasks[slot], row.table[slot].task, now, 1)
            memory.waited_cycles += row.table[slot].waited_cycles
    for k in range(row.status.backlog):
        if k > 0:
            draw_head(row, tables, memory.head + k)
        _add_to_step(row, row.tasks[head], now, now)
        _add_to_whole(row, row.tasks[head], memory.head + k, now, 1)
        memory.waited_cycles += now - row.tasks[head].arrival_cycles


@jit_borrowing
def read_numbered(row, tables, record, number):
    """Fill ``record`` of the tasks with request ``number`` of the row's list."""
    memory, draws = row.stream.memory, row.stream.draws
    listed, kind = memory.first_listed + number, memory.first_kind
    read_listed(row.tasks[record], row.times[record], draws, tables.programs, listed, kind)


@jit_apart
def draw_head(row, tables, number):
    """Draw request ``number``, the next after the last head, again: it is the head of the backlog."""
    stream, seed, head = row.stream, row.machine.episode_seed, row.table.shape[0] + 1
    if stream.memory.listed > 0:
        read_numbered(row, tables, head, number)
        return
    draw_request(row.tasks[head], row.times[head], stream.draws, tables.programs, seed, number)
    next_arrival(stream.head, stream.draws.draw[0], seed, number)
    arrive_at(row.tasks[head], stream.head.cycles)
