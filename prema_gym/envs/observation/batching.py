"""The group "batching": what would run together if a slot were dispatched now, and what does."""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation.features import BATCH_LOGS, BATCH_SHARES, MOST_SHARE, REFERENCE_CYCLES, REMAINING_FLOOR
from prema_gym.envs.observation.lanes import fill, to_logs
from prema_gym.types import EMPTY

_LOG, _SHARE = BATCH_LOGS.at, BATCH_SHARES.at
LOGS, SHARES = len(BATCH_LOGS.features), len(BATCH_SHARES.features)
_PER_REFERENCE = 1.0 / REFERENCE_CYCLES


@jit_borrowing
def would_remain(batch, executed):
    """Return the predicted remaining cycles of the batch that would run, at least 1 % of its predicted total."""
    predicted = batch.would_predicted_cycles
    return max(float(predicted - executed), REMAINING_FLOOR * predicted)


@jit_borrowing
def _fill_slot(batch, executed, now, most_samples, out, logs, shares, slots):
    """Store what a slot shows, logarithms as their arguments."""
    if batch.would_members > 0:
        remaining = would_remain(batch, executed)
        out[logs + _LOG.log_batch_predicted * slots] = remaining * _PER_REFERENCE
        out[logs + _LOG.log_batch_density * slots] = batch.would_weight / remaining * REFERENCE_CYCLES * REFERENCE_CYCLES
        out[logs + _LOG.log_batch_wait * slots] = 1.0 + (now - batch.would_oldest_cycles) * _PER_REFERENCE
    out[shares + _SHARE.batch_members * slots] = batch.members / slots
    out[shares + _SHARE.batch_samples * slots] = min(batch.would_samples / most_samples, MOST_SHARE)


@jit_borrowing
def observe_batches(seen, out, at):
    """Fill the group "batching" of ``out`` from ``at`` on; return where it ends."""
    slots, now = seen.table.shape[0], seen.status.clock_cycles
    shares = at + LOGS * slots
    end = shares + SHARES * slots
    fill(out, at, shares, 1.0)  # its logarithm is 0
    fill(out, shares, end, 0.0)
    for i in range(slots):
        if seen.table[i].state == EMPTY:
            continue
        batch = seen.batches[i]
        _fill_slot(batch, seen.table[i].executed_cycles, now, seen.rules.batching, out, at + i, shares + i, slots)
        if batch.members > 0:
            out[shares + _SHARE.leads * slots + i] = batch.leader == i
            out[shares + _SHARE.joined * slots + i] = batch.leader != i
    to_logs(out, at, shares)
    return end
