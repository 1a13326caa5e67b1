"""The group "base": what the context table and the status of the asked NPU say, of any number of NPUs.

Numbers are gathered slot by slot, where divisions and fields of many widths are, and stored feature by feature. What is to be a
logarithm is stored as its argument first; one pass turns all of them into logarithms.
"""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation.features import (
    BASE_FLAGS,
    BASE_LOGS,
    BASE_ROW,
    BASE_ROW_LOGS,
    CONTEXT_SCALE_CYCLES,
    MOST_CONTEXT,
    MOST_SHARE,
    REFERENCE_CYCLES,
    REMAINING_FLOOR,
)
from prema_gym.envs.observation.lanes import CLIP, LOG_SCALE, fill, to_logs
from prema_gym.sim.levels import rank_of
from prema_gym.sim.programs import context_cycles
from prema_gym.types import CAUSE_ARRIVAL, CAUSE_COMPLETION, CAUSE_QUANTUM, EMPTY, READY, RUNNING

FLAGS, LOGS, ROW_LOGS, ROW = len(BASE_FLAGS.features), len(BASE_LOGS.features), len(BASE_ROW_LOGS.features), len(BASE_ROW.features)
F = FLAGS + LOGS
"""Features of a slot in the group "base"."""
G = ROW_LOGS + ROW
"""Features of the row in the group "base"."""
_FLAG, _LOG, _ROW_LOG, _ROW = BASE_FLAGS.at, BASE_LOGS.at, BASE_ROW_LOGS.at, BASE_ROW.at
_PER_REFERENCE = 1.0 / REFERENCE_CYCLES
_PER_CONTEXT = 1.0 / CONTEXT_SCALE_CYCLES


@jit_borrowing
def predicted_remaining(slot):
    """Return max(predicted total - executed, 1 % of predicted total) of a slot, in cycles."""
    return max(float(slot.predicted_cycles - slot.executed_cycles), REMAINING_FLOOR * slot.predicted_cycles)


@jit_borrowing
def _gather_slot(slot, now, levels, rules, out, i, slots):
    """Store what an occupied slot shows, logarithms as their arguments; return the predicted remaining cycles."""
    # Every field is read before the first feature is written: the compiler can't know that they don't overlap.
    predicted, executed, token, priority = float(slot.predicted_cycles), slot.executed_cycles, slot.token, slot.priority
    elapsed, waited, saved, state = now - slot.arrival_cycles, slot.waited_cycles, slot.saved_bytes, slot.state
    estimated = slot.length_estimated
    remaining = predicted_remaining(slot)
    share = 1.0 / predicted
    logs = FLAGS * slots + i
    out[_FLAG.present * slots + i] = 1.0
    out[_FLAG.ready * slots + i] = state == READY
    out[_FLAG.running * slots + i] = state == RUNNING
    out[_FLAG.rank * slots + i] = rank_of(levels, priority)
    out[_FLAG.executed * slots + i] = min(executed * share, MOST_SHARE)
    out[_FLAG.overrun * slots + i] = executed > predicted
    out[_FLAG.length_estimated * slots + i] = estimated
    out[_FLAG.saved_context * slots + i] = min(context_cycles(rules, saved) * _PER_CONTEXT, MOST_CONTEXT) if saved > 0 else 0.0
    out[logs + _LOG.log_priority * slots] = priority
    out[logs + _LOG.log_token * slots] = token
    out[logs + _LOG.log_elapsed * slots] = 1.0 + elapsed * share
    out[logs + _LOG.log_waited * slots] = 1.0 + waited * share
    out[logs + _LOG.log_predicted * slots] = predicted * _PER_REFERENCE
    out[logs + _LOG.log_remaining * slots] = remaining * _PER_REFERENCE
    out[logs + _LOG.log_projected_ntt * slots] = (elapsed + remaining) * share
    return remaining


@jit_borrowing
def clip_log(value):
    """Return a natural logarithm as a feature."""
    return min(max(value * (1.0 / LOG_SCALE), -CLIP), CLIP)


@jit_borrowing
def observe_base(status, table, rules, out):
    """Fill the group "base" of ``out`` (float32) from a row's visible arrays; return its length, T * F + G."""
    slots, now, levels = table.shape[0], status.clock_cycles, status.levels
    fill(out, 0, FLAGS * slots, 0.0)
    fill(out, FLAGS * slots, F * slots, 1.0)  # its logarithm is 0
    work = 0.0
    for i in range(slots):
        if table[i].state != EMPTY:
            work += _gather_slot(table[i], now, levels, rules, out, i, slots)
    row_logs = F * slots
    out[row_logs + _ROW_LOG.log_work] = 1.0 + work * _PER_REFERENCE
    out[row_logs + _ROW_LOG.log_since_switch] = 1.0 + (now - status.last_switch_cycles) * _PER_REFERENCE
    out[row_logs + _ROW_LOG.log_since_arrival] = 1.0 + (now - status.last_arrival_cycles) * _PER_REFERENCE
    at = row_logs + ROW_LOGS
    to_logs(out, FLAGS * slots, at)
    out[at + _ROW.ready_share] = status.ready / slots
    out[at + _ROW.min_log_pp] = clip_log(status.min_log_pp)
    out[at + _ROW.max_log_pp] = clip_log(status.max_log_pp)
    out[at + _ROW.completion] = (status.cause & CAUSE_COMPLETION) != 0
    out[at + _ROW.arrival] = (status.cause & CAUSE_ARRIVAL) != 0
    out[at + _ROW.quantum] = (status.cause & CAUSE_QUANTUM) != 0
    return at + ROW
