"""The group "npus": where else a task could run, and what the other NPUs do."""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation.base import predicted_remaining
from prema_gym.envs.observation.features import (
    NPU_FLAGS,
    NPU_LOGS,
    NPUS_FLAGS,
    NPUS_LOGS,
    NPUS_ROW,
    REFERENCE_CYCLES,
    REMAINING_FLOOR,
)
from prema_gym.envs.observation.lanes import fill, to_logs
from prema_gym.types import BOUND, CAUSE_READY, ELSEWHERE, EMPTY, NONE, SAVING

_LOG, _FLAG, _NPU_LOG, _NPU_FLAG, _ROW = NPUS_LOGS.at, NPUS_FLAGS.at, NPU_LOGS.at, NPU_FLAGS.at, NPUS_ROW.at
SLOT_LOGS, SLOT_FLAGS, EACH_LOGS, EACH_FLAGS, ROW = map(
    len, (NPUS_LOGS.features, NPUS_FLAGS.features, NPU_LOGS.features, NPU_FLAGS.features, NPUS_ROW.features)
)
_PER_REFERENCE = 1.0 / REFERENCE_CYCLES


@jit_borrowing
def remaining_on_fastest(slot):
    """Return the predicted remaining cycles on the fastest NPU, or on the configuration that the task has progress on."""
    if slot.executed_cycles == 0:
        return float(slot.fastest_predicted_cycles)
    return predicted_remaining(slot)


@jit_borrowing
def _predicted_on(seen, slot, n):
    """Return the predicted total of the task in ``slot`` on NPU ``n``."""
    if seen.predictions.shape[1] == 0:
        return seen.table[slot].predicted_cycles
    return seen.predictions[slot, seen.npus[n].configuration]


@jit_borrowing
def remaining_on(seen, slot, n):
    """Return the predicted remaining cycles of the task in ``slot`` on NPU ``n``: at least 1 % of its predicted total there."""
    predicted = _predicted_on(seen, slot, n)
    return max(float(predicted - seen.table[slot].executed_cycles), REMAINING_FLOOR * predicted)


@jit_borrowing
def work_of_npu(seen, n):
    """Return the predicted remaining cycles of what NPU ``n`` runs and of what it is bound to run."""
    npu, work = seen.npus[n], 0.0
    if npu.running_slot != NONE:
        work += remaining_on(seen, npu.running_slot, n)
    if npu.bound_slot != NONE:
        work += remaining_on(seen, npu.bound_slot, n)
    return work


@jit_borrowing
def _fill_slots(seen, out, logs, flags):
    """Fill what slots show; return (work on the fastest NPUs, the part of it for which the asked NPU is one of these)."""
    slots, work, here = seen.table.shape[0], 0.0, 0.0
    asked = seen.status.configuration
    fill(out, logs, logs + SLOT_LOGS * slots, 1.0)
    fill(out, flags, flags + SLOT_FLAGS * slots, 0.0)
    for i in range(slots):
        slot = seen.table[i]
        state = slot.state
        if state == EMPTY:
            continue
        fastest = remaining_on_fastest(slot)
        work += fastest
        if seen.predictions[i, asked] <= slot.fastest_predicted_cycles:
            here += fastest
        slowdown = float(slot.predicted_cycles) / slot.fastest_predicted_cycles
        out[logs + _LOG.log_fastest * slots + i] = fastest * _PER_REFERENCE
        out[logs + _LOG.log_slowdown * slots + i] = max(slowdown, 1.0)
        out[flags + _FLAG.elsewhere * slots + i] = state == ELSEWHERE
        out[flags + _FLAG.bound * slots + i] = state == BOUND
        out[flags + _FLAG.saving * slots + i] = state == SAVING
    return work, here


@jit_borrowing
def _mean_slowdown(seen, n):
    """Return the mean over tasks of the predicted total on NPU ``n`` over that on the fastest; 1 without tasks."""
    total, count = 0.0, 0
    for i in range(seen.table.shape[0]):
        if seen.table[i].state != EMPTY:
            total += _predicted_on(seen, i, n) / seen.table[i].fastest_predicted_cycles
            count += 1
    return total / count if count > 0 else 1.0


@jit_borrowing
def task_of(npu):
    """Return the slot of the task that an NPU is bound to run, else of the one that it runs; NONE without either."""
    return npu.bound_slot if npu.bound_slot != NONE else npu.running_slot


@jit_borrowing
def _fill_npu(seen, n, work, out, logs, flags, place):
    npu, npus = seen.npus[n], seen.npus.shape[0]
    task = task_of(npu)
    out[logs + _NPU_LOG.npu_log_slowdown * npus + place] = max(_mean_slowdown(seen, n), 1.0)
    out[logs + _NPU_LOG.npu_log_work * npus + place] = 1.0 + work * _PER_REFERENCE
    out[logs + _NPU_LOG.npu_log_priority * npus + place] = seen.table[task].priority if task != NONE else 1.0
    out[flags + _NPU_FLAG.npu_idle * npus + place] = npu.running_slot == NONE and not npu.switching
    out[flags + _NPU_FLAG.npu_next * npus + place] = n > seen.status.npu and not npu.switching


@jit_borrowing
def _next_by_work(seen, last_work, last):
    """Return (NPU, work) of who comes after NPU ``last`` with ``last_work``, by work and then by index; never the asked one."""
    best, least = NONE, np.inf
    for n in range(seen.npus.shape[0]):
        if n == seen.status.npu:
            continue
        work = work_of_npu(seen, n)
        later = work > last_work or (work == last_work and n > last)
        if later and work < least:
            best, least = n, work
    return best, least


@jit_borrowing
def _fill_npus(seen, out, logs, flags):
    """Fill what NPUs show: the asked one first, the others by the work that they have, the lowest index first among equals."""
    asked = seen.status.npu
    _fill_npu(seen, asked, work_of_npu(seen, asked), out, logs, flags, 0)
    last, work = NONE, -1.0
    for place in range(1, seen.npus.shape[0]):
        last, work = _next_by_work(seen, work, last)
        _fill_npu(seen, last, work, out, logs, flags, place)


@jit_borrowing
def observe_npus(seen, out, at):
    """Fill the group "npus" of ``out`` from ``at`` on; return where it ends."""
    slots, npus = seen.table.shape[0], seen.npus.shape[0]
    npu_logs = at + SLOT_LOGS * slots
    slot_flags = npu_logs + EACH_LOGS * npus
    npu_flags = slot_flags + SLOT_FLAGS * slots
    row_at = npu_flags + EACH_FLAGS * npus
    work, here = _fill_slots(seen, out, at, slot_flags)
    _fill_npus(seen, out, npu_logs, npu_flags)
    to_logs(out, at, slot_flags)
    out[row_at + _ROW.fastest_here] = here / work if work > 0.0 else 0.0
    out[row_at + _ROW.became_ready] = (seen.status.cause & CAUSE_READY) != 0
    return row_at + ROW
