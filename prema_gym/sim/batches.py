"""Batches: waiting requests of one network that run together, as one program, led by the one that was chosen.

A batch is formed when an NPU is given to a task without progress, and lasts until it completes or is killed. Only the leader has
progress, a context and an NPU that answers for it; the others hold their slots and share what becomes of it. All of this is looked
at where ``row.batches`` has records; ``c`` is the number of a configuration.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.table import choosable, count_wait, log, truth_of
from prema_gym.types import EMPTY, EVENT_JOIN, JOINED, NONE, READY, RUNNING
from prema_gym.workloads.drawing import mispredicted
from prema_gym.workloads.sizes import size_index

# --- Who would run together ---------------------------------------------------------------------------------------------------


@jit_borrowing
def _clear_would(batch):
    batch.would_predicted_cycles = 0
    batch.would_oldest_cycles = NONE
    batch.would_deadline_cycles = NONE
    batch.would_weight = 0.0
    batch.would_samples = 0
    batch.would_members = 0


@jit_borrowing
def _add_member(batch, entry):
    """Let a task be one of those that would run together."""
    batch.would_members += 1
    batch.would_weight += entry.priority / entry.fastest_predicted_cycles
    if batch.would_oldest_cycles == NONE or entry.arrival_cycles < batch.would_oldest_cycles:
        batch.would_oldest_cycles = entry.arrival_cycles
    due = entry.deadline_cycles
    if due != NONE and (batch.would_deadline_cycles == NONE or due < batch.would_deadline_cycles):
        batch.would_deadline_cycles = due


@jit_borrowing
def clear_batch(batch):
    """Forget what a slot had to do with a batch; who would run together is noted anew where the next is asked."""
    batch.model = NONE
    batch.leader = NONE
    batch.members = 0
    batch.samples = 0
    batch.longest = NONE


@jit_borrowing
def clear_batches(row):
    """Forget all batches."""
    for slot in range(row.batches.shape[0]):
        clear_batch(row.batches[slot])
        row.batches[slot].by_age = slot


@jit_borrowing
def _age_rank(entry):
    return np.iinfo(np.int32).max if entry.state == EMPTY else entry.task


@jit_borrowing
def sort_by_age(row):
    """Note the slots from the oldest task to the youngest; from one decision to the next their order hardly changes."""
    for i in range(1, row.batches.shape[0]):
        slot = row.batches[i].by_age
        rank = _age_rank(row.table[slot])
        k = i
        while k > 0 and _age_rank(row.table[row.batches[k - 1].by_age]) > rank:
            row.batches[k].by_age = row.batches[k - 1].by_age
            k -= 1
        row.batches[k].by_age = slot


@jit_borrowing
def _program_on(row, slot, c):
    """Return the program of the task in ``slot``, by itself, on a configuration."""
    return row.times[truth_of(row, slot), c].program


@jit_borrowing
def _may_join(row, slot, model, c):
    """Whether the task in ``slot`` is of ``model``, and waits without progress."""
    if row.batches[slot].model != model:
        return False
    entry = row.table[slot]
    return entry.configuration == NONE and choosable(entry, c)


@jit_borrowing
def _fits(tables, program, samples):
    """Whether a batch of ``samples`` is allowed, and ``program`` known at its size."""
    if samples > tables.rules[0].batching:
        return False
    return tables.at_size[program, size_index(samples)] != NONE


@jit_borrowing
def _is_longer(row, tables, slot, other, c):
    """Whether the input of the task in ``slot`` is longer than that in ``other``, or as long and older."""
    one = tables.sized[_program_on(row, slot, c)].input_length
    two = tables.sized[_program_on(row, other, c)].input_length
    return one > two or (one == two and row.table[slot].task < row.table[other].task)


@jit_borrowing
def _predicted(row, tables, program, longest):
    """Return the prediction of a batch's ``program``, with the error of the member whose input is longest."""
    factor = row.tasks[truth_of(row, longest)].prediction_factor
    return mispredicted(tables.programs[program].predicted_cycles, factor)


@jit_borrowing
def _program_of_batch(row, tables, longest, samples, c):
    """Return the program, on a configuration, of a batch of ``samples`` whose longest input is that of ``longest``."""
    return tables.at_size[_program_on(row, longest, c), size_index(samples)]


@jit_apart
def _imagine(row, tables, slot, c):
    """Note in the slot's record who would run together if an NPU of configuration ``c`` were given to it now."""
    batch = row.batches[slot]
    own = _program_on(row, slot, c)
    model = batch.model
    _clear_would(batch)
    batch.would_samples = batch.samples
    _add_member(batch, row.table[slot])
    longest = slot
    for k in range(row.batches.shape[0]):
        other = row.batches[k].by_age
        if row.table[other].state == EMPTY:
            break
        if other == slot or not _may_join(row, other, model, c):
            continue
        samples = batch.would_samples + row.batches[other].samples
        if not _fits(tables, own, samples):
            break
        batch.would_samples = samples
        _add_member(batch, row.table[other])
        longest = other if _is_longer(row, tables, other, longest, c) else longest
    batch.longest = longest
    if batch.would_members == 1:
        batch.would_predicted_cycles = row.predictions[slot, c]
    else:
        program = _program_of_batch(row, tables, longest, batch.would_samples, c)
        batch.would_predicted_cycles = _predicted(row, tables, program, longest)


@jit_borrowing
def _repeat(row, slot, c):
    """Note that a task with progress, or one that runs, goes on as it is, alone or with its batch."""
    batch = row.batches[slot]
    batch.would_samples = batch.samples
    batch.would_predicted_cycles = row.predictions[slot, c]
    for k in range(row.batches.shape[0]):  # oldest first, as sums are rounded
        other = row.batches[k].by_age
        if other == slot or row.batches[other].leader == slot:
            _add_member(batch, row.table[other])


@jit_apart
def see_batches(row, tables, asked):
    """Show what would run together if a slot were dispatched on the asked NPU, or ran on; nothing where none is ``asked``."""
    sort_by_age(row)
    c = row.status.configuration
    for slot in range(row.batches.shape[0]):
        entry, batch = row.table[slot], row.batches[slot]
        _clear_would(batch)
        if entry.state == EMPTY:
            continue
        known = tables.sized[_program_on(row, slot, c)]
        batch.model = known.model
        if batch.members == 0:
            batch.samples = known.samples
    for slot in range(row.batches.shape[0]):
        entry = row.table[slot]
        if not asked or (entry.state != READY and entry.state != RUNNING):
            continue
        if entry.configuration == NONE:
            _imagine(row, tables, slot, c)
        else:
            _repeat(row, slot, c)


# --- A batch from its decision to its end -------------------------------------------------------------------------------------


@jit_borrowing
def _predict(row, tables, slot, n):
    """Show of the leader in ``slot``, which NPU ``n`` is given to, what is predicted of its batch."""
    batch = row.batches[slot]
    for c in range(row.predictions.shape[1]):
        program = _program_of_batch(row, tables, batch.longest, batch.samples, c)
        row.predictions[slot, c] = _predicted(row, tables, program, batch.longest)
    row.table[slot].predicted_cycles = row.predictions[slot, row.npus[n].configuration]


@jit_apart
def form_batch(row, tables, n, slot):
    """Let the waiting tasks of the same network join that in ``slot``, which NPU ``n`` was just given to, if it has no progress.

    They are those that would, as was seen when NPU ``n`` was asked.
    """
    if row.table[slot].configuration != NONE:
        return
    c = row.npus[n].configuration
    batch = row.batches[slot]
    members, samples = batch.would_members, batch.would_samples
    if members == 1:
        batch.longest = NONE
        return
    model, left = batch.model, members - 1
    for k in range(row.batches.shape[0]):
        other = row.batches[k].by_age
        if left == 0:
            break
        if other == slot or not _may_join(row, other, model, c):
            continue
        row.table[other].state = JOINED
        row.table[other].npu = n
        row.machine.ready -= 1
        row.batches[other].leader = slot
        row.batches[other].members = members
        row.batches[other].samples = samples
        left -= 1
    batch.leader = slot
    batch.members = members
    batch.samples = samples
    _predict(row, tables, slot, n)


@jit_borrowing
def next_member(row, leader, after):
    """Return the slot of the oldest task behind number ``after`` that has joined ``leader``; NONE where none is left."""
    best = NONE
    for slot in range(row.batches.shape[0]):
        if row.batches[slot].leader != leader or slot == leader or row.table[slot].task <= after:
            continue
        if best == NONE or row.table[slot].task < row.table[best].task:
            best = slot
    return best


@jit_borrowing
def leads(row, slot):
    """Whether the task in ``slot`` leads a batch of two or more."""
    return row.batches.shape[0] > 0 and row.batches[slot].members > 0


@jit_apart
def total_of_batch(row, tables, slot, c):
    """Return the program of the batch that ``slot`` leads, on a configuration, and how long that truly takes."""
    batch = row.batches[slot]
    program = _program_of_batch(row, tables, batch.longest, batch.samples, c)
    output = row.tasks[truth_of(row, slot)].output_length
    member = next_member(row, slot, NONE)
    while member != NONE:
        output = max(output, row.tasks[truth_of(row, member)].output_length)
        member = next_member(row, slot, row.table[member].task)
    record = tables.programs[program]
    return program, tables.totals[record.first_total + min(output, record.totals) - 1]


@jit_borrowing
def load_batch(row, tables, n, slot):
    """Note the program and the true total of the batch that ``slot`` leads and NPU ``n`` is given."""
    program, total = total_of_batch(row, tables, slot, row.npus[n].configuration)
    row.engines[n].total_cycles = total
    row.table[slot].program = program


@jit_apart
def dispatch_members(row, n, slot, cycle):
    """Let the members that ``slot`` leads stop waiting; the log names them at the first dispatch."""
    first = row.table[slot].executed_cycles == 0
    member = next_member(row, slot, NONE)
    while member != NONE:
        entry = row.table[member]
        count_wait(entry, cycle)
        entry.npu = n
        entry.configuration = row.npus[n].configuration
        entry.last_dispatch_cycles = row.table[slot].last_dispatch_cycles
        if first:
            log(row, cycle, EVENT_JOIN, n, member, entry.task)
        member = next_member(row, slot, entry.task)


@jit_apart
def evict_members(row, slot, cycle):
    """Let the members that ``slot`` leads wait from ``cycle`` on, as it does."""
    for member in range(row.batches.shape[0]):
        if row.batches[member].leader == slot and member != slot:
            row.table[member].accounted_cycles = cycle


@jit_apart
def place_members(row, slot):
    """Say of the members that ``slot`` leads that they are on the NPU that it is on."""
    for member in range(row.batches.shape[0]):
        if row.batches[member].leader == slot and member != slot:
            row.table[member].npu = row.table[slot].npu


@jit_apart
def leave_batch(row, slot, c):
    """Let the task in ``slot``, whose batch is no more, be by itself again; ``c`` is the configuration that it is seen from."""
    entry, batch = row.table[slot], row.batches[slot]
    if batch.leader == slot:
        for k in range(row.predictions.shape[1]):
            row.predictions[slot, k] = row.times[truth_of(row, slot), k].predicted_cycles
        entry.predicted_cycles = row.predictions[slot, c]
    entry.configuration = NONE
    batch.leader = NONE
    batch.members = 0
    batch.longest = NONE
