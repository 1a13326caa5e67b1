"""Streams: requests keep coming, and those that find the table full wait in a backlog, first come, first served.

Nothing is stored per request. A cursor runs along the arrivals; a second one, at the head of the backlog, draws the same requests
again as slots come free. Behind the tasks of the slots lie the request that arrives next and the one at the head of the backlog.
"""

from __future__ import annotations

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.levels import highest_level
from prema_gym.sim.streams.cohort import clear_sums, draw_head, read_numbered, settle_completed
from prema_gym.sim.table import enter
from prema_gym.types import NEVER, NONE
from prema_gym.workloads.arrivals import next_arrival
from prema_gym.workloads.drawing import arrive_at, draw_request
from prema_gym.workloads.seeding import exponential, substream

THINK_STREAM = 7
"""Purpose of the substreams that think times are drawn from."""
_GAP_SHARE = 0.125
"""Weight of the latest gap in the recent mean gap between arrivals."""


# --- When the next request comes ----------------------------------------------------------------------------------------------


@jit_borrowing
def _first_arrival(row):
    """Return when the first request arrives: at 0 unless it is listed."""
    memory = row.stream.memory
    return row.stream.draws.listed[memory.first_listed].arrival_cycles if memory.listed > 0 else 0


@jit_borrowing
def _expect(row, cycle):
    """Note when the next request arrives. With the last one the horizon is known; it lies behind the first decision."""
    row.stream.memory.next_arrival_cycles = cycle
    if row.machine.next_task == row.machine.tasks - 1:
        row.machine.horizon_cycles = max(cycle, _first_arrival(row) + 1)


@jit_borrowing
def _sent_by_clients(row, rules):
    """Whether closed clients send the requests: not where the row plays a list."""
    return rules.clients > 0 and row.stream.memory.listed == 0


@jit_borrowing
def _first_to_send(row, clients):
    """Return the client that sends next."""
    first = 0
    for k in range(1, clients):
        if row.stream.places[k].send_cycles < row.stream.places[first].send_cycles:
            first = k
    return first


@jit_borrowing
def _think(row, rules):
    """Return the think time of the client whose turn it is."""
    memory = row.stream.memory
    drawn = exponential(substream(row.machine.episode_seed, THINK_STREAM, memory.thoughts), 0)
    memory.thoughts += 1
    return int(rules.think_cycles * drawn + 0.5)


@jit_borrowing
def _think_after(row, rules, cycle):
    """Let the client of the request that completes at ``cycle`` think, and expect whoever sends first."""
    k = 0
    while row.stream.places[k].send_cycles != NEVER:
        k += 1
    row.stream.places[k].send_cycles = cycle + _think(row, rules)
    if row.machine.next_task < row.machine.tasks:
        _expect(row, row.stream.places[_first_to_send(row, rules.clients)].send_cycles)


@jit_borrowing
def _begin_clients(row, rules):
    """Let all clients think; the first request arrives at 0."""
    for k in range(rules.clients):
        row.stream.places[k].send_cycles = _think(row, rules)
    first = row.stream.places[_first_to_send(row, rules.clients)].send_cycles
    for k in range(rules.clients):
        row.stream.places[k].send_cycles -= first


@jit_apart
def _draw_next(row, tables):
    """Draw the request that arrives next; after the last there is none."""
    stream, number, at = row.stream, row.machine.next_task, row.table.shape[0]
    if number == row.machine.tasks:
        stream.memory.next_arrival_cycles = NEVER
        return
    if stream.memory.listed > 0:
        read_numbered(row, tables, at, number)
        _expect(row, row.tasks[at].arrival_cycles)
        return
    seed = row.machine.episode_seed
    draw_request(row.tasks[at], row.times[at], stream.draws, tables.programs, seed, number)
    if tables.rules[0].clients > 0:
        _expect(row, stream.places[_first_to_send(row, tables.rules[0].clients)].send_cycles)
        return
    next_arrival(row.arrivals, stream.draws.draw[0], seed, number)
    _expect(row, row.arrivals.cycles)


# --- Table and backlog --------------------------------------------------------------------------------------------------------


@jit_apart
def _enter(row, record, number, cycle):
    """Move the request at ``record`` of the tasks into the lowest free slot."""
    slot = enter(row, record, number, cycle)
    row.tasks[slot] = row.tasks[record]
    for c in range(row.times.shape[1]):
        row.times[slot, c] = row.times[record, c]
    row.stream.places[slot].entered_cycles = cycle
    row.stream.memory.present += 1


@jit_borrowing
def _add_share(row, task, sign):
    """Let a request join the sums over the backlog (``sign`` 1) or leave them (-1)."""
    memory = row.stream.memory
    share = sign / task.isolated_cycles
    late = max(task.arrival_cycles - memory.start_cycles, 0) * share
    memory.backlog_share += share
    memory.backlog_weight += share * task.priority
    memory.late_share += late
    memory.late_weight += late * task.priority


@jit_borrowing
def _queue(row, number):
    """Put the request that has just arrived behind the backlog."""
    at, head = row.table.shape[0], row.table.shape[0] + 1
    if row.status.backlog == 0:
        row.tasks[head] = row.tasks[at]
        for c in range(row.times.shape[1]):
            row.times[head, c] = row.times[at, c]
        row.stream.memory.head = number
        row.stream.head.cycles = row.arrivals.cycles
        row.stream.head.turn_cycles = row.arrivals.turn_cycles
        row.stream.head.bursting = row.arrivals.bursting
        row.status.oldest_backlog_cycles = row.tasks[at].arrival_cycles
    _add_share(row, row.tasks[at], 1)
    row.status.backlog += 1


@jit_apart
def _dequeue(row, tables, cycle):
    """Let the head of the backlog enter the table."""
    memory, status, head = row.stream.memory, row.status, row.table.shape[0] + 1
    _add_share(row, row.tasks[head], -1)
    _enter(row, head, memory.head, cycle)
    status.backlog -= 1
    memory.head += 1
    if status.backlog > 0:
        draw_head(row, tables, memory.head)
        status.oldest_backlog_cycles = row.tasks[head].arrival_cycles
        return
    status.oldest_backlog_cycles = NONE
    memory.backlog_share, memory.backlog_weight = 0.0, 0.0  # nothing is left of rounding
    memory.late_share, memory.late_weight = 0.0, 0.0


@jit_apart
def admit_from_backlog(row, tables, before):
    """Let requests enter the slots that were freed before cycle ``before``, when they were freed; return whether any has."""
    memory, admitted = row.stream.memory, False
    while row.status.backlog > 0 and memory.present < row.table.shape[0] and memory.freed_cycles < before:
        _dequeue(row, tables, memory.freed_cycles)
        admitted = True
    return admitted


@jit_borrowing
def _note_arrival(row, cycle):
    """Tell the scheduler that a request has arrived, whether there is room for it or not."""
    status = row.status
    if row.machine.next_task > 0:
        gap = cycle - status.last_arrival_cycles
        first = row.machine.next_task == 1
        status.arrival_gap_cycles += (gap - status.arrival_gap_cycles) * (1.0 if first else _GAP_SHARE)
    status.last_arrival_cycles = cycle


@jit_apart
def arrive_in_stream(row, tables):
    """Let the next request arrive; return whether it has found a free slot."""
    at, number = row.table.shape[0], row.machine.next_task
    cycle = row.stream.memory.next_arrival_cycles
    if _sent_by_clients(row, tables.rules[0]):
        row.stream.places[_first_to_send(row, tables.rules[0].clients)].send_cycles = NEVER
    arrive_at(row.tasks[at], cycle)
    _note_arrival(row, cycle)
    enters = row.stream.memory.present < row.table.shape[0]
    if enters:
        _enter(row, at, number, cycle)
    else:
        _queue(row, number)
    row.machine.next_task += 1
    _draw_next(row, tables)
    return enters


@jit_apart
def leave_stream(row, tables, slot, cycle):
    """Account for the request in ``slot``, which completes at ``cycle``."""
    settle_completed(row, slot, cycle)
    row.stream.memory.samples += tables.sized[row.tasks[slot].program].samples
    row.stream.memory.present -= 1
    row.stream.memory.freed_cycles = cycle
    if _sent_by_clients(row, tables.rules[0]):
        _think_after(row, tables.rules[0], cycle)


@jit_apart
def begin_arrivals(row, tables):
    """Start a stream: draw its first request, with an empty table and no backlog."""
    memory, rules = row.stream.memory, tables.rules[0]
    memory.freed_cycles = 0
    memory.start_cycles = 0
    memory.head = 0
    memory.present = 0
    memory.rewarded = 0
    memory.thoughts = 0
    memory.backlog_share, memory.backlog_weight = 0.0, 0.0
    memory.late_share, memory.late_weight = 0.0, 0.0
    memory.waited_cycles = 0.0
    memory.batches, memory.samples = 0, 0
    memory.completions = 0
    memory.window_fairness, memory.window_jain = 0.0, 0.0
    for k in range(row.stream.sums.shape[0]):
        clear_sums(row.stream.sums[k])
    row.stream.histogram[:, :] = 0
    row.machine.tasks = memory.listed if memory.listed > 0 else rules.horizon_requests
    row.machine.priority_sum = memory.listed_priority if memory.listed > 0 else rules.mean_priority
    row.machine.high_priority = highest_level(row.status.levels)
    row.machine.deadlines = 1
    row.machine.horizon_cycles = NEVER
    _begin_clients(row, rules)
    _draw_next(row, tables)
