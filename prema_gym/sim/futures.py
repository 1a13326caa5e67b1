"""Futures of a row: what it doesn't know yet, written anew into a copy of it, so that a planner can play on.

What is *sampled* is drawn from what is public: the configuration's classes and arrivals, and how long a network's outputs are. It
goes by what a scheduler sees, and by nothing else: how much of a task has been executed, how many requests wait and since when,
how long ago the latest came, how many are missing of a closed episode. Counters are those of a seed of the planner's own. Which
program a task is (network, batch, input length) stands in the table, and is public with its times: a predictor's error misleads
rules only.

A *true* future is the one that the row would play: for marks that no scheduler can reach.

Either way a stream ends in a list of a few requests, after which none arrives any more, and the row plays until all are done.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.kernel import HORIZON_FACTOR, slowest_cycles
from prema_gym.sim.streams.cohort import clear_sums, read_numbered
from prema_gym.sim.streams.records import STEP_SUMS
from prema_gym.sim.switch import begin_commit, remaining_cycles
from prema_gym.sim.table import truth_of
from prema_gym.types import CHECKPOINT, EMPTY, IN_COMMIT, IN_RUN_OUT, NEVER, NONE
from prema_gym.workloads.arrivals import next_arrival
from prema_gym.workloads.drawing import arrive_at, draw_request, read_listed, take_fastest
from prema_gym.workloads.seeding import exponential, substream, uniform

LENGTH_STREAM, GAP_STREAM, STATE_STREAM = 11, 12, 13
"""Purposes of the substreams that futures are drawn from, beside those of episodes."""
NO_ARRIVAL_CYCLES = 1 << 61
"""When the request arrives that stands at the end of a list: never."""
_ENDLESS = 2**31 - 1
"""Requests of a stream whose horizon is not to come."""
_GAPS_REMEMBERED = 8
"""Gaps that the recent mean gap between arrivals is about."""


# --- Tasks in the table -------------------------------------------------------------------------------------------------------


@jit_borrowing
def _total_at(draws, record, length):
    return draws.totals[record.first_total + min(length, record.totals) - 1]


@jit_borrowing
def _draw_length(draws, record, chances, executed, drawn):
    """Return an output length given that the task isn't done after ``executed`` cycles; ``drawn`` is uniform.

    ``record`` is PROGRAM where it has been executed, ``chances`` (L,) are the probabilities of at most 1, 2, ..., L steps.
    """
    most = chances.shape[0]
    length = 1
    while length < most and _total_at(draws, record, length) <= executed:
        length += 1
    below = chances[length - 2] if length > 1 else 0.0
    reached = below + (1.0 - below) * drawn
    while length < most and chances[length - 1] <= reached:
        length += 1
    return length


@jit_borrowing
def _resize(row, tables, draws, outputs, slot, seed):
    """Let the task in ``slot`` take as long as it may."""
    at, entry = truth_of(row, slot), row.table[slot]
    task = row.tasks[at]
    known = outputs.programs[task.program]
    if known.count == 0:
        return
    program = task.program
    if row.times.shape[1] > 0 and entry.configuration != NONE:
        program = row.times[at, entry.configuration].program
    chances = outputs.at_most[known.first : known.first + known.count]
    drawn = uniform(substream(seed, LENGTH_STREAM, slot), 0)
    task.output_length = _draw_length(draws, tables.programs[program], chances, entry.executed_cycles, drawn)
    if row.times.shape[1] == 0:
        task.isolated_cycles = _total_at(draws, tables.programs[program], task.output_length)
    for c in range(row.times.shape[1]):
        times = row.times[at, c]
        times.isolated_cycles = _total_at(draws, tables.programs[times.program], task.output_length)
    take_fastest(task, row.times[at])


@jit_borrowing
def _reload(row, tables, n):
    """Let NPU ``n`` know how long its task takes now, and end a phase accordingly that waits for it."""
    slot = row.npus[n].running_slot
    if slot < 0:
        return
    engine, at = row.engines[n], truth_of(row, slot)
    if row.times.shape[1] == 0:
        engine.total_cycles = row.tasks[at].isolated_cycles
    else:
        engine.total_cycles = row.times[at, row.npus[n].configuration].isolated_cycles
    if engine.phase not in (IN_COMMIT, IN_RUN_OUT):
        return
    # Whether the task reaches its next preemption point or completes before it, nobody outside can see.
    left = begin_commit(row, tables, n) if engine.mechanism == CHECKPOINT else NONE
    engine.phase = IN_COMMIT if left >= 0 else IN_RUN_OUT
    engine.phase_end_cycles = row.status.clock_cycles + (left if left >= 0 else remaining_cycles(row, n))


@jit_apart
def sample_lengths(row, tables, draws, outputs, seed):
    """Draw anew how long the outputs of the present tasks get, where that isn't known; ``outputs`` is :class:`Outputs`."""
    for slot in range(row.table.shape[0]):
        if row.table[slot].state != EMPTY and row.table[slot].length_estimated:
            _resize(row, tables, draws, outputs, slot, seed)
    for n in range(row.npus.shape[0]):
        _reload(row, tables, n)


# --- Arrivals -----------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _burst_chance(status, draw):
    """Return how likely a burst is now, by the recent mean gap between arrivals and the time since the latest."""
    odds = draw.burst_first / max(1.0 - draw.burst_first, 1e-9)
    fast, slow = 1.0 / draw.burst_gap_cycles, 1.0 / draw.gap_cycles
    gaps = _GAPS_REMEMBERED if status.arrival_gap_cycles > 0.0 else 0
    seen = gaps * status.arrival_gap_cycles + status.clock_cycles - status.last_arrival_cycles
    log_odds = np.log(odds) + gaps * np.log(fast / slow) - (fast - slow) * seen
    return 1.0 / (1.0 + np.exp(-min(max(log_odds, -30.0), 30.0)))


@jit_borrowing
def _resume_arrivals(cursor, status, draw, seed):
    """Let ``cursor`` (ARRIVALS) stand at the clock: what is to come doesn't depend on when the latest came, but for bursts."""
    now, stream = status.clock_cycles, substream(seed, STATE_STREAM, 0)
    cursor.cycles = now
    cursor.turn_cycles = NEVER
    cursor.bursting = False
    if draw.calm_cycles > 0.0:
        cursor.bursting = uniform(stream, 0) < _burst_chance(status, draw)
        lasts = draw.burst_cycles if cursor.bursting else draw.calm_cycles
        cursor.turn_cycles = now + np.int64(lasts * exponential(stream, 1))


@jit_borrowing
def _move_on(cursor, status, draw, seed, index):
    """Move ``cursor`` to the arrival of request ``index``, which comes after the clock.

    Where the configuration has no rate, as where a file says who comes when, requests are taken to come at the recent one.
    """
    if draw.gap_cycles > 0.0:
        next_arrival(cursor, draw, seed, index)
    elif status.arrival_gap_cycles > 0.0:
        cursor.cycles += np.int64(status.arrival_gap_cycles * exponential(substream(seed, GAP_STREAM, index), 0))
    else:
        cursor.cycles = NO_ARRIVAL_CYCLES
    cursor.cycles = max(cursor.cycles, status.clock_cycles + 1)


@jit_borrowing
def _between(first, last, left, drawn):
    """Return the earliest of ``left`` moments that are uniform from ``first`` to ``last``; ``drawn`` is uniform."""
    return first + (last - first) * (1.0 - (1.0 - drawn) ** (1.0 / left))


# --- Closed episodes ----------------------------------------------------------------------------------------------------------


@jit_borrowing
def _spread(row, draw, seed):
    """Let the missing tasks arrive over what is left of the window, whose length depends on all tasks."""
    machine, tasks, now = row.machine, row.tasks, row.status.clock_cycles
    isolated = 0
    for i in range(machine.tasks):
        isolated += tasks[i].isolated_cycles
    window = draw.window * isolated
    stream = substream(seed, GAP_STREAM, 0)
    end = tasks[0].arrival_cycles + window - _between(0.0, window, machine.tasks, uniform(stream, 0))
    if end <= now:  # more has come late than this draw would have it
        end = now + window / machine.tasks
    moment = float(now)
    for i in range(machine.next_task, machine.tasks):
        moment = _between(moment, end, machine.tasks - i, uniform(stream, 1 + i))
        arrive_at(tasks[i], max(np.int64(moment), now + 1))


@jit_borrowing
def _count_anew(row):
    """Work out what a closed episode keeps about all its tasks."""
    machine, slowest, priority_sum, deadlines = row.machine, 0, 0, 0
    for task in range(machine.tasks):
        slowest += slowest_cycles(row, task)
        priority_sum += row.tasks[task].priority
        deadlines += row.tasks[task].deadline_cycles != NONE
    machine.priority_sum = priority_sum
    machine.deadlines = deadlines
    machine.horizon_cycles = row.tasks[machine.tasks - 1].arrival_cycles + HORIZON_FACTOR * slowest


@jit_apart
def sample_tasks(row, tables, draws, seed):
    """Draw anew the tasks of a closed episode that haven't arrived."""
    machine, draw = row.machine, draws.draw[0]
    for i in range(machine.next_task, machine.tasks):
        draw_request(row.tasks[i], row.times[i], draws, tables.programs, seed, i)
    if machine.next_task < machine.tasks:
        if np.isnan(draw.window):
            _resume_arrivals(row.arrivals, row.status, draw, seed)
            for i in range(machine.next_task, machine.tasks):
                _move_on(row.arrivals, row.status, draw, seed, i)
                arrive_at(row.tasks[i], row.arrivals.cycles)
        else:
            _spread(row, draw, seed)
    _count_anew(row)


# --- Streams ------------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _list(row, record, place):
    """Write the request at ``record`` of the tasks into the row's list, at ``place``."""
    draws, task = row.stream.draws, row.tasks[record]
    listed, kind = draws.listed[place], draws.kinds[place]
    listed.arrival_cycles = task.arrival_cycles
    listed.deadline_cycles = task.deadline_cycles
    listed.sla = 0.0
    listed.prediction_factor = task.prediction_factor
    listed.kind = place
    listed.priority = task.priority
    kind.program = task.program
    kind.stride = row.times[record, 1].program - task.program if row.times.shape[1] > 1 else 0
    kind.output_length = task.output_length


@jit_borrowing
def _join_backlog(row, record):
    memory, share = row.stream.memory, 1.0 / row.tasks[record].isolated_cycles
    memory.backlog_share += share
    memory.backlog_weight += share * row.tasks[record].priority


@jit_borrowing
def _play_list(row, tables, first, end, slowest):
    """Let the row go on with its list, which holds the requests ``first`` to ``end`` - 1, and then has none."""
    memory, machine, at = row.stream.memory, row.machine, row.table.shape[0]
    last = row.tasks[at].arrival_cycles
    for slot in range(row.table.shape[0]):
        if row.table[slot].state != EMPTY:
            slowest += slowest_cycles(row, slot)
    row.tasks[at].arrival_cycles = NO_ARRIVAL_CYCLES
    row.tasks[at].deadline_cycles = NONE
    _list(row, at, end - first)
    memory.listed = end - first + 1
    memory.first_listed = -first
    memory.first_kind = 0
    machine.tasks = _ENDLESS
    machine.horizon_cycles = last + HORIZON_FACTOR * slowest
    read_numbered(row, tables, at, machine.next_task)
    memory.next_arrival_cycles = row.tasks[at].arrival_cycles
    if row.status.backlog > 0:
        memory.head = first
        read_numbered(row, tables, at + 1, first)


@jit_borrowing
def _empty_backlog_sums(row):
    memory = row.stream.memory
    memory.backlog_share, memory.backlog_weight = 0.0, 0.0
    memory.late_share, memory.late_weight = 0.0, 0.0


@jit_apart
def sample_stream(row, tables, draws, seed, requests):
    """Draw anew the backlog of a stream, and ``requests`` (at least 1) after it; ``draws`` is what the configuration draws from."""
    status, machine, at = row.status, row.machine, row.table.shape[0]
    first = machine.next_task - status.backlog
    moment, slowest = status.oldest_backlog_cycles, 0
    _empty_backlog_sums(row)
    _resume_arrivals(row.arrivals, status, draws.draw[0], seed)
    for number in range(first, machine.next_task + requests):
        draw_request(row.tasks[at], row.times[at], draws, tables.programs, seed, number)
        slowest += slowest_cycles(row, at)
        if number >= machine.next_task:
            _move_on(row.arrivals, status, draws.draw[0], seed, number)
            arrive_at(row.tasks[at], row.arrivals.cycles)
        else:
            left = machine.next_task - 1 - number  # the oldest and the latest arrival are known
            if left == 0 and number > first:
                moment = status.last_arrival_cycles
            elif number > first:
                drawn = uniform(substream(seed, GAP_STREAM, number), 0)
                moment = np.int64(_between(float(moment), float(status.last_arrival_cycles), left, drawn))
            arrive_at(row.tasks[at], moment)
            _join_backlog(row, at)
        _list(row, at, number - first)
    _play_list(row, tables, first, machine.next_task + requests, slowest)


@jit_borrowing
def _read_true(row, tables, draws, cursor, record, number):
    """Fill ``record`` of the tasks with request ``number`` of the episode; ``cursor`` stands at the request before."""
    memory = row.stream.memory
    if memory.listed > 0:
        read_listed(
            row.tasks[record], row.times[record], draws, tables.programs, memory.first_listed + number, memory.first_kind
        )  # fmt: skip
        return
    draw_request(row.tasks[record], row.times[record], draws, tables.programs, row.machine.episode_seed, number)
    next_arrival(cursor, draws.draw[0], row.machine.episode_seed, number)
    arrive_at(row.tasks[record], cursor.cycles)


@jit_apart
def true_stream(row, tables, draws, requests):
    """List the backlog of a stream, and up to ``requests`` (at least 1) after it, as they are; ``draws`` is what has them."""
    status, machine, at, head = row.status, row.machine, row.table.shape[0], row.table.shape[0] + 1
    first, end, slowest = machine.next_task - status.backlog, min(machine.next_task + requests, machine.tasks), 0
    for number in range(first, machine.next_task):
        if number > first:
            _read_true(row, tables, draws, row.stream.head, head, number)
        slowest += slowest_cycles(row, head)
        _list(row, head, number - first)
    arrive_at(row.tasks[at], row.stream.memory.next_arrival_cycles)
    for number in range(machine.next_task, end):
        if number > machine.next_task:
            _read_true(row, tables, draws, row.arrivals, at, number)
        slowest += slowest_cycles(row, at)
        _list(row, at, number - first)
    _play_list(row, tables, first, end, slowest)


@jit_apart
def begin_step(row):
    """Let the sums of the present step of a stream run from now on."""
    clear_sums(row.stream.sums[STEP_SUMS])
    row.stream.memory.start_cycles = row.status.clock_cycles
    row.stream.memory.rewarded = row.machine.next_task
    row.stream.memory.late_share, row.stream.memory.late_weight = 0.0, 0.0
