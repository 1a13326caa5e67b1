"""The network over slots in compiled code: what learned policies compute without torch, and what CMA-ES searches.

The mathematics is in :mod:`agents.network.slots.layout`; ``read`` is what ``agents.network.slots.inputs`` takes of an observation.
"""

from __future__ import annotations

import numpy as np

from agents.network.slots.inputs import R, S, fill_inputs, inputs_size
from agents.network.slots.layout import (
    ADVANTAGE_SCALE,
    CONTEXT,
    ELAPSED,
    HIGH,
    INPUTS,
    LEAST_PP,
    LN3,
    MEDIUM,
    MOST_PP,
    PREDICTED,
    PROJECTED,
    REMAINING,
    RUNNING,
    TIE,
    Shape,
    parts_of,
)
from prema_gym._jit import jit_borrowing, jit_nogil
from prema_gym.envs.actions import KEEP, NUM_MECHANISMS
from prema_gym.envs.observation import LOG_SCALE


def scratch_size(shape: Shape, slots: int) -> int:
    """Return how many float64 :func:`choose` needs to work in."""
    own = slots * (1 + INPUTS + shape.encoder + shape.mechanisms)
    return own + CONTEXT + INPUTS + 3 * shape.encoder + 2 * shape.decoder + inputs_size(slots)


@jit_borrowing
def _softsign(x):
    return x / (1.0 + abs(x))


@jit_borrowing
def _log_priority(read, at):
    return LN3 * read[at + MEDIUM] + 2.0 * LN3 * read[at + HIGH]


@jit_borrowing
def _index(read, at, parts):
    """Return the prior's logarithmic index of the slot whose inputs start at ``at``."""
    elapsed = np.expm1(LOG_SCALE * read[at + ELAPSED])
    waited = np.log1p(np.exp(parts.prior[2]) * elapsed)
    return parts.prior[0] * _log_priority(read, at) + waited - parts.prior[1] * LOG_SCALE * read[at + PREDICTED]


@jit_borrowing
def _log_pp(read, at):
    """Return the logarithm of progress per priority of the slot at ``at``, should it run to its end from now on."""
    return -LOG_SCALE * read[at + PROJECTED] - LN3 * read[at + MEDIUM] - 2.0 * LN3 * read[at + HIGH]


@jit_borrowing
def _bounds(read, count, hold):
    """Return (lowest, cap) of the logarithm of progress per priority; ``hold`` is floor, room and near."""
    row = count * S
    least, most = LOG_SCALE * read[row + LEAST_PP], LOG_SCALE * read[row + MOST_PP]
    finished = least != 0.0 or most != 0.0
    lowest = min(hold[0], least) if finished else hold[0]
    for i in range(count):
        if read[i * S] > 0.0:
            lowest = min(lowest, _log_pp(read, i * S))
    cap = lowest + hold[1]
    return lowest, max(cap, most) if finished else cap


@jit_borrowing
def _relate(read, count, parts, index, inputs):
    """Fill ``index`` (count,) with the prior and ``inputs`` (count * INPUTS) with y of present slots."""
    lowest, cap = _bounds(read, count, parts.hold)
    largest = -np.inf
    for i in range(count):
        if read[i * S] > 0.0:
            index[i] = _index(read, i * S, parts)
            largest = max(largest, index[i])
    for i in range(count):
        if read[i * S] > 0.0:
            at = i * INPUTS
            for k in range(S):
                inputs[at + k] = read[i * S + k]
            log_pp = _log_pp(read, i * S)
            held = 1.0 if log_pp > cap + TIE else 0.0
            inputs[at + S] = (index[i] - largest) / ADVANTAGE_SCALE
            inputs[at + S + 1] = max(log_pp - cap, 0.0)
            inputs[at + S + 2] = held
            inputs[at + S + 3] = held * LOG_SCALE * read[i * S + REMAINING]
            inputs[at + S + 4] = max(lowest + parts.hold[2] - log_pp, 0.0)


@jit_borrowing
def _bend(read, count, parts, index, inputs, context, factors):
    """Replace ``index`` (count,) by scale * index + y . B context; ``context`` and ``factors`` are work space."""
    present = 0
    context[:] = 0.0
    context[0] = 1.0
    for i in range(count):
        if read[i * S] > 0.0:
            present += 1
            for k in range(INPUTS):
                context[1 + R + k] += inputs[i * INPUTS + k]
    for k in range(R):
        context[1 + k] = read[count * S + k]
    for k in range(INPUTS):
        context[1 + R + k] /= max(present, 1)
    for k in range(INPUTS):
        total = 0.0
        for j in range(CONTEXT):
            total += parts.bilinear[k, j] * context[j]
        factors[k] = total
    for i in range(count):
        if read[i * S] > 0.0:
            total = parts.scale[0] * index[i]
            for k in range(INPUTS):
                total += factors[k] * inputs[i * INPUTS + k]
            index[i] = total


@jit_borrowing
def _encode(read, count, e, parts, inputs, common, own):
    """Fill ``own`` (count * E) with the encodings of present slots; ``common`` (E,) is work space."""
    for u in range(e):
        total = parts.encoder_bias[u]
        for k in range(R):
            total += parts.encoder_global[u, k] * read[count * S + k]
        common[u] = total
    for i in range(count):
        if read[i * S] > 0.0:
            for u in range(e):
                total = common[u]
                for k in range(INPUTS):
                    total += parts.encoder_slot[u, k] * inputs[i * INPUTS + k]
                own[i * e + u] = _softsign(total)


@jit_borrowing
def _pool(read, count, e, own, pooled):
    """Fill ``pooled`` (2 E,) with the mean, then the maximum, of the present slots' encodings; 0 where none is present."""
    present = 0
    for u in range(2 * e):
        pooled[u] = 0.0
    for i in range(count):
        if read[i * S] > 0.0:
            for u in range(e):
                value = own[i * e + u]
                pooled[u] += value
                pooled[e + u] = value if present == 0 else max(pooled[e + u], value)
            present += 1
    for u in range(e):
        pooled[u] /= max(present, 1)


@jit_borrowing
def _decode(read, count, sizes, parts, index, own, pooled, common, hidden, logits):
    """Fill ``logits`` (count * M); ``pooled`` (2 E,) is mean then max, ``common`` and ``hidden`` (H,) are work space."""
    e, h, m = sizes[0], sizes[1], sizes[2]
    for u in range(h):
        total = parts.decoder_bias[u]
        for k in range(e):
            total += parts.decoder_mean[u, k] * pooled[k] + parts.decoder_max[u, k] * pooled[e + k]
        common[u] = total
    for i in range(count):
        if read[i * S] == 0.0:
            for c in range(m):
                logits[i * m + c] = -np.inf
            continue
        for u in range(h):
            total = common[u]
            for k in range(e):
                total += parts.decoder_own[u, k] * own[i * e + k]
            hidden[u] = _softsign(total)
        for c in range(m):
            total = index[i] + parts.head_bias[c]
            for u in range(h):
                total += parts.head_weight[c, u] * hidden[u]
            logits[i * m + c] = total


@jit_borrowing
def slot_logits(read, count, sizes, parts, scratch):
    """Compute the logits of every slot; they lie in ``scratch`` from the returned offset, (count, M) row by row, -inf if empty.

    ``read`` is (count * S + R,), ``sizes`` int64 E, H, M, ...; ``scratch`` is float64.
    """
    e, h, m = sizes[0], sizes[1], sizes[2]
    index, inputs = scratch[:count], scratch[count : count * (1 + INPUTS)]
    at = count * (1 + INPUTS)
    own = scratch[at : at + count * e]
    at += count * e
    context, factors = scratch[at : at + CONTEXT], scratch[at + CONTEXT : at + CONTEXT + INPUTS]
    at += CONTEXT + INPUTS
    pooled, common = scratch[at : at + 2 * e], scratch[at + 2 * e : at + 3 * e]
    at += 3 * e
    after, hidden = scratch[at : at + h], scratch[at + h : at + 2 * h]
    at += 2 * h
    _relate(read, count, parts, index, inputs)
    _bend(read, count, parts, index, inputs, context, factors)
    _encode(read, count, e, parts, inputs, common, own)
    _pool(read, count, e, own, pooled)
    _decode(read, count, sizes, parts, index, own, pooled, after, hidden, scratch[at : at + count * m])
    return at


@jit_borrowing
def fill_logits(observation, mask, sizes, weights, scratch, out):
    """Fill ``out`` (A,) with the logits of legal actions, -inf where one is closed or the network lacks its column.

    ``observation`` (D,) float32 begins with the group "base"; ``sizes`` is :meth:`Shape.sizes`; the others are float64.
    """
    m, count, busy = sizes[2], sizes[4], mask[KEEP] > 0
    columns = (mask.shape[0] - 1) // count
    read, work = scratch[: count * S + R], scratch[count * S + R :]
    fill_inputs(observation, count, read)
    parts = parts_of(weights, sizes[0], sizes[1], m)
    at = slot_logits(read, count, sizes, parts, work)
    out[:] = -np.inf
    if busy:
        out[KEEP] = 0.0
    for i in range(count):
        first = 1 + columns * i
        if busy and read[i * S + RUNNING] > 0.0:
            out[KEEP] = work[at + i * m] + parts.keep_bias[0]
        if not busy and mask[first]:
            out[first] = work[at + i * m]
        column = 0
        for mechanism in range(NUM_MECHANISMS):
            if (sizes[3] >> mechanism) & 1:
                if busy and mechanism < m and mask[first + column]:
                    out[first + column] = work[at + i * m + mechanism]
                column += 1


@jit_borrowing
def choose(observation, mask, sizes, weights, scratch, logits):
    """Return the action of the largest logit, the first among equals; ``logits`` (A,) is work space."""
    fill_logits(observation, mask, sizes, weights, scratch, logits)
    best = 0
    for action in range(1, logits.shape[0]):
        if logits[action] > logits[best]:
            best = action
    return best


@jit_nogil
def choose_rows(observations, masks, sizes, weights, scratch, logits, out):
    """Fill ``out`` (N,) int64 with the actions and ``logits`` (N, A) with the logits of N rows."""
    for i in range(out.shape[0]):
        out[i] = choose(observations[i], masks[i], sizes, weights, scratch, logits[i])
