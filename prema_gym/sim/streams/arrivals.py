"""How requests come and go: as the tasks of a closed episode, or as a stream; the *type* of ``row.stream`` chooses."""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.batches import clear_batch, next_member
from prema_gym.sim.streams.backlog import admit_from_backlog, arrive_in_stream, leave_stream
from prema_gym.sim.table import clear, enter, log, truth_of
from prema_gym.types import EVENT_COMPLETION, NEVER, NONE


@jit_borrowing
def _next_arrival(row, stream):
    if stream is None:
        if row.machine.next_task < row.machine.tasks:
            return row.tasks[row.machine.next_task].arrival_cycles
        return NEVER
    return stream.memory.next_arrival_cycles


@jit_borrowing
def next_arrival_cycles(row):
    """Return when the next request arrives; NEVER where none is on its way."""
    return _next_arrival(row, row.stream)


@jit_borrowing
def _arrive(row, tables, stream):
    if stream is None:
        number = row.machine.next_task
        arrival = row.tasks[number].arrival_cycles
        enter(row, number, number, arrival)
        row.machine.next_task += 1
        row.status.last_arrival_cycles = arrival
        return True
    return arrive_in_stream(row, tables)


@jit_borrowing
def arrive(row, tables):
    """Let the next request arrive; return whether it has entered the table, which is a cause of an invocation."""
    return _arrive(row, tables, row.stream)


@jit_borrowing
def _admit(row, tables, before, stream):
    if stream is None:
        return False
    return admit_from_backlog(row, tables, before)


@jit_borrowing
def admit(row, tables, before):
    """Let the backlog into slots that were freed before cycle ``before``; return whether any has entered, which is a cause."""
    return _admit(row, tables, before, row.stream)


@jit_borrowing
def _leave(row, tables, slot, cycle, stream):
    if stream is not None:
        leave_stream(row, tables, slot, cycle)


@jit_borrowing
def _finish(row, tables, n, slot, cycle):
    """Finish the task in ``slot``, which NPU ``n`` has run, and free the slot."""
    entry = row.table[slot]
    task = row.tasks[truth_of(row, slot)]
    task.completion_cycles = cycle
    log_pp = -np.log((cycle - task.arrival_cycles) / task.isolated_cycles * task.priority)
    if row.status.finished == 0:
        row.status.min_log_pp = log_pp
        row.status.max_log_pp = log_pp
    row.status.min_log_pp = min(row.status.min_log_pp, log_pp)
    row.status.max_log_pp = max(row.status.max_log_pp, log_pp)
    row.status.finished += 1
    log(row, cycle, EVENT_COMPLETION, n, slot, entry.task)
    _leave(row, tables, slot, cycle, row.stream)
    clear(entry)


@jit_apart
def _finish_batch(row, tables, n, leader, cycle):
    """Finish the members that ``leader`` has led, which is finished, in order of arrival."""
    clear_batch(row.batches[leader])
    member = next_member(row, leader, NONE)
    while member != NONE:
        task = row.table[member].task
        _finish(row, tables, n, member, cycle)
        clear_batch(row.batches[member])
        member = next_member(row, leader, task)


@jit_borrowing
def _finish_members(row, tables, n, leader, cycle, several):
    if several is None:
        return
    if row.batches.shape[0] > 0:
        _finish_batch(row, tables, n, leader, cycle)


@jit_borrowing
def _count_batch(stream):
    """Count what completes as one, whether it is one request or more."""
    if stream is not None:
        stream.memory.batches += 1


@jit_borrowing
def complete(row, tables, n, cycle):
    """Finish the task that runs on NPU ``n``, and those of its batch, and free their slots."""
    slot = row.npus[n].running_slot
    row.npus[n].running_slot = NONE
    _count_batch(row.stream)
    _finish(row, tables, n, slot, cycle)
    _finish_members(row, tables, n, slot, cycle, row.several)
