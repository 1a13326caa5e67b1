"""The network's mathematics in compiled code: what learned policies compute without torch, and what CMA-ES searches.

One set of weights serves any number of slots. With x_i the features of slot i and g the global ones:

    index_i = a ln(priority) + ln(1 + d * elapsed / predicted) - c ln(predicted)          the index rule as prior
    r_i = -ln(priority * projected NTT)                        ln of progress per priority, should i run to its end from now on
    lowest = min(floor, least of finished tasks, min_j r_j)                                what fairness can still be
    cap = max(largest of finished tasks, lowest + room)                                    above it, completing i costs fairness
    y_i = [x_i, index_i - max index, (r_i - cap)+, r_i > cap, (r_i > cap) ln(remaining), (lowest + near - r_i)+]
    s_i = scale * index_i + y_i . B [1, g, mean_j y_j]                                     exponents that depend on the state
    e_i = softsign(W y_i + V g + b)                                                        encoder, E units, shared over slots
    z_i = softsign(P e_i + Q mean_j e_j + R max_j e_j + c)                                 decoder, H units, shared over slots
    logit(give the NPU to i by mechanism m) = s_i + h_m . z_i + bias_m
    logit(keep) = logit(running slot, CHECKPOINT) + keep_bias

Means and maxima run over present slots. With B and the head at zero this is the index rule with CHECKPOINT: learning starts from
the best rule known. B alone turns the rule's fixed exponents into ones that depend on who else is there and on what has finished.

The cap is what an index rule can't express. Fairness is the smallest over the largest progress per priority: a task of low priority
that completes soon after it came raises the largest and costs fairness for good, while below the cap it may complete as early as it
likes. (`HELD` below holds such tasks back until they fall below the cap.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prema_gym._jit import jit_borrowing, jit_nogil
from prema_gym.envs.actions import KEEP, NUM_MECHANISMS
from prema_gym.envs.observation import GLOBAL_FEATURES, LOG_SCALE, SLOT_FEATURES, F, G

ADVANTAGE_SCALE = 4.0
"""index_i - max index is divided by this before it enters the encoder."""
INPUT_NAMES = (*(feature.name for feature in SLOT_FEATURES), "advantage", "above_cap", "held", "held_log_remaining", "lagging")
"""What is known of a slot, y above: the rows of B."""
CONTEXT_NAMES = ("constant", *(feature.name for feature in GLOBAL_FEATURES), *(f"mean_{name}" for name in INPUT_NAMES))
"""What is known of the whole table: the columns of B."""
INPUTS, CONTEXT = len(INPUT_NAMES), len(CONTEXT_NAMES)
TIE = 1e-3
"""What is above the cap by less is at it: as is a task that has not waited yet where one like it has finished."""
HOLD = (-3.0, 0.5, 0.3)
"""Initial floor, room and near."""
NO_CAP = (-3.0, 1e3, -1e3)
"""Floor, room and near under which nobody is above the cap or near the lowest: the four inputs are 0 and stay so."""
OTHER_MECHANISMS_BIAS = -1.0
"""Initial bias of KILL's and DRAIN's columns: drawn at random, they would ruin exploration."""
HELD = {"above_cap": -3.0, "held": -0.5, "held_log_remaining": -0.3}
"""Entries of B, in the constant's column, that hold back who is above the cap; of those, the shortest first."""
LN3 = float(np.log(3.0))
"""The logarithm of priority 3; that of 9 is twice as large, that of 1 is 0."""
RUNNING, MEDIUM, HIGH, ELAPSED, PREDICTED, REMAINING, PROJECTED = 1, 3, 4, 6, 8, 9, 14
"""Slot features that are read by themselves; feature 0 is "present"."""
LEAST_PP, MOST_PP = 4, 5
"""Global features: ln of the least and the largest progress per priority of finished tasks, both 0 where none has finished."""
_PRIOR, _SCALE, _KEEP, _FLOOR, _ROOM, _NEAR, _BILINEAR = 0, 3, 4, 5, 6, 7, 8
_NETWORK = _BILINEAR + INPUTS * CONTEXT
"""Offsets in the flat weights: a, c, log d; scale; keep_bias; hold; B, then the network."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a network."""

    encoder: int = 6
    """E: units of the encoder."""
    decoder: int = 6
    """H: units of the decoder."""
    mechanisms: int = 1
    """M: columns of the head; 1 is CHECKPOINT alone, 3 are all."""

    @cached_property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, in the order in which they lie in the flat weights."""
        e, h, m = self.encoder, self.decoder, self.mechanisms
        return {
            "prior": (3,),
            "scale": (1,),
            "keep_bias": (1,),
            "hold": (3,),
            "bilinear": (INPUTS, CONTEXT),
            "encoder.slot": (e, INPUTS),
            "encoder.global": (e, G),
            "encoder.bias": (e,),
            "decoder.own": (h, e),
            "decoder.mean": (h, e),
            "decoder.max": (h, e),
            "decoder.bias": (h,),
            "head.weight": (m, h),
            "head.bias": (m,),
        }

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(shape)) for shape in self.tensors.values())

    def sizes(self, mechanisms: int) -> np.ndarray:
        """(4,) int64 for compiled code: E, H, M, and the bits of the ``mechanisms`` that the environment allows."""
        return np.array([self.encoder, self.decoder, self.mechanisms, mechanisms], np.int64)

    def pack(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the (size,) float64 flat weights."""
        return np.concatenate([np.asarray(tensors[name], np.float64).ravel() for name in self.tensors])

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tensors of (size,) flat weights, float32."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.tensors.values()])
        parts = np.split(np.asarray(flat, np.float32), ends[:-1])
        return {name: part.reshape(shape).copy() for (name, shape), part in zip(self.tensors.items(), parts, strict=True)}

    def initial(self, prior: np.ndarray, seed: int, *, held: bool = False, cap: bool = True) -> np.ndarray:
        """Return flat weights that play the index rule ``prior`` (a, c, log d): random hidden layers, zero B and head.

        With ``held`` it holds back tasks above the cap: B's entries HELD. Without ``cap`` nobody is above it, ever.
        """
        rng = np.random.default_rng(seed)
        tensors = {name: np.zeros(shape) for name, shape in self.tensors.items()}
        for name, shape in self.tensors.items():
            if len(shape) == 2 and name not in ("head.weight", "bilinear"):
                tensors[name] = rng.standard_normal(shape) / np.sqrt(shape[1])
        tensors["prior"], tensors["scale"], tensors["hold"] = (
            np.asarray(prior, np.float64),
            np.ones(1),
            np.array(HOLD if cap else NO_CAP),
        )
        tensors["head.bias"][1:] = OTHER_MECHANISMS_BIAS
        for name, value in HELD.items() if held else ():
            tensors["bilinear"][INPUT_NAMES.index(name), 0] = value
        return self.pack(tensors)


def enlarge_network(shape: Shape, flat: np.ndarray, larger: Shape, seed: int) -> np.ndarray:
    """Return weights of the ``larger`` shape that act as ``flat`` of ``shape`` do without their hidden layers: prior, cap and B."""
    tensors = larger.unpack(larger.initial(np.zeros(3), seed))
    given = shape.unpack(flat)
    return larger.pack({**tensors, **{name: given[name] for name in ("prior", "scale", "keep_bias", "hold", "bilinear")}})


def scratch_size(shape: Shape, slots: int) -> int:
    """Return how many float64 :func:`choose` needs to work in."""
    return slots * (1 + INPUTS + shape.encoder + shape.mechanisms) + CONTEXT + INPUTS + 3 * shape.encoder + 2 * shape.decoder


@jit_borrowing
def _softsign(x):
    return x / (1.0 + abs(x))


@jit_borrowing
def _index(observation, at, weights):
    """Return the prior's logarithmic index of the slot whose features start at ``at``."""
    priority = LN3 * observation[at + MEDIUM] + 2.0 * LN3 * observation[at + HIGH]
    elapsed = np.expm1(LOG_SCALE * observation[at + ELAPSED])
    waited = np.log1p(np.exp(weights[_PRIOR + 2]) * elapsed)
    return weights[_PRIOR] * priority + waited - weights[_PRIOR + 1] * LOG_SCALE * observation[at + PREDICTED]


@jit_borrowing
def _log_pp(observation, at):
    """Return the logarithm of progress per priority of the slot at ``at``, should it run to its end from now on."""
    return -LOG_SCALE * observation[at + PROJECTED] - LN3 * observation[at + MEDIUM] - 2.0 * LN3 * observation[at + HIGH]


@jit_borrowing
def _bounds(observation, count, weights):
    """Return (lowest, cap) of the logarithm of progress per priority."""
    least, most = LOG_SCALE * observation[count * F + LEAST_PP], LOG_SCALE * observation[count * F + MOST_PP]
    finished = least != 0.0 or most != 0.0
    lowest = min(weights[_FLOOR], least) if finished else weights[_FLOOR]
    for i in range(count):
        if observation[i * F] > 0.0:
            lowest = min(lowest, _log_pp(observation, i * F))
    cap = lowest + weights[_ROOM]
    return lowest, max(cap, most) if finished else cap


@jit_borrowing
def _relate(observation, count, weights, index, inputs):
    """Fill ``index`` (count,) with the prior and ``inputs`` (count * INPUTS) with y of present slots."""
    lowest, cap = _bounds(observation, count, weights)
    largest = -np.inf
    for i in range(count):
        if observation[i * F] > 0.0:
            index[i] = _index(observation, i * F, weights)
            largest = max(largest, index[i])
    for i in range(count):
        if observation[i * F] > 0.0:
            at = i * INPUTS
            for k in range(F):
                inputs[at + k] = observation[i * F + k]
            log_pp = _log_pp(observation, i * F)
            held = 1.0 if log_pp > cap + TIE else 0.0
            inputs[at + F] = (index[i] - largest) / ADVANTAGE_SCALE
            inputs[at + F + 1] = max(log_pp - cap, 0.0)
            inputs[at + F + 2] = held
            inputs[at + F + 3] = held * LOG_SCALE * observation[i * F + REMAINING]
            inputs[at + F + 4] = max(lowest + weights[_NEAR] - log_pp, 0.0)


@jit_borrowing
def _bend(observation, count, weights, index, inputs, context, factors):
    """Replace ``index`` (count,) by scale * index + y . B context; ``context`` and ``factors`` are work space."""
    present = 0
    context[:] = 0.0
    context[0] = 1.0
    for i in range(count):
        if observation[i * F] > 0.0:
            present += 1
            for k in range(INPUTS):
                context[1 + G + k] += inputs[i * INPUTS + k]
    for k in range(G):
        context[1 + k] = observation[count * F + k]
    for k in range(INPUTS):
        context[1 + G + k] /= max(present, 1)
    for k in range(INPUTS):
        total = 0.0
        for j in range(CONTEXT):
            total += weights[_BILINEAR + k * CONTEXT + j] * context[j]
        factors[k] = total
    for i in range(count):
        if observation[i * F] > 0.0:
            total = weights[_SCALE] * index[i]
            for k in range(INPUTS):
                total += factors[k] * inputs[i * INPUTS + k]
            index[i] = total


@jit_borrowing
def _encode(observation, count, e, weights, inputs, common, own):
    """Fill ``own`` (count * E) with the encodings of present slots; ``common`` (E,) is work space."""
    global_at = _NETWORK + e * INPUTS
    bias_at = global_at + e * G
    for u in range(e):
        total = weights[bias_at + u]
        for k in range(G):
            total += weights[global_at + u * G + k] * observation[count * F + k]
        common[u] = total
    for i in range(count):
        if observation[i * F] > 0.0:
            for u in range(e):
                total = common[u]
                for k in range(INPUTS):
                    total += weights[_NETWORK + u * INPUTS + k] * inputs[i * INPUTS + k]
                own[i * e + u] = _softsign(total)


@jit_borrowing
def _pool(observation, count, e, own, pooled):
    """Fill ``pooled`` (2 E,) with the mean, then the maximum, of the present slots' encodings; 0 where none is present."""
    present = 0
    for u in range(2 * e):
        pooled[u] = 0.0
    for i in range(count):
        if observation[i * F] > 0.0:
            for u in range(e):
                value = own[i * e + u]
                pooled[u] += value
                pooled[e + u] = value if present == 0 else max(pooled[e + u], value)
            present += 1
    for u in range(e):
        pooled[u] /= max(present, 1)


@jit_borrowing
def _decode(observation, count, sizes, weights, index, own, pooled, common, hidden, logits):
    """Fill ``logits`` (count * M); ``pooled`` (2 E,) is mean then max, ``common`` and ``hidden`` (H,) are work space."""
    e, h, m = sizes[0], sizes[1], sizes[2]
    own_at = _NETWORK + e * (INPUTS + G + 1)
    bias_at = own_at + 3 * h * e
    head_at = bias_at + h
    for u in range(h):
        total = weights[bias_at + u]
        for k in range(e):
            total += weights[own_at + (h + u) * e + k] * pooled[k] + weights[own_at + (2 * h + u) * e + k] * pooled[e + k]
        common[u] = total
    for i in range(count):
        if observation[i * F] == 0.0:
            for c in range(m):
                logits[i * m + c] = -np.inf
            continue
        for u in range(h):
            total = common[u]
            for k in range(e):
                total += weights[own_at + u * e + k] * own[i * e + k]
            hidden[u] = _softsign(total)
        for c in range(m):
            total = index[i] + weights[head_at + m * h + c]
            for u in range(h):
                total += weights[head_at + c * h + u] * hidden[u]
            logits[i * m + c] = total


@jit_borrowing
def slot_logits(observation, count, sizes, weights, scratch):
    """Compute the logits of every slot; they lie in ``scratch`` from the returned offset, (count, M) row by row, -inf if empty.

    ``observation`` is (T * F + G,) float32, ``count`` T, ``sizes`` (3,) int64 E, H, M; ``weights`` and ``scratch`` are float64.
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
    _relate(observation, count, weights, index, inputs)
    _bend(observation, count, weights, index, inputs, context, factors)
    _encode(observation, count, e, weights, inputs, common, own)
    _pool(observation, count, e, own, pooled)
    _decode(observation, count, sizes, weights, index, own, pooled, after, hidden, scratch[at : at + count * m])
    return at


@jit_borrowing
def fill_logits(observation, mask, sizes, weights, scratch, out):
    """Fill ``out`` (A,) with the logits of legal actions, -inf where one is closed or the network lacks its column."""
    count = (observation.shape[0] - G) // F
    columns = (mask.shape[0] - 1) // count
    m, busy = sizes[2], mask[KEEP] > 0
    at = slot_logits(observation, count, sizes, weights, scratch)
    out[:] = -np.inf
    if busy:
        out[KEEP] = 0.0
    for i in range(count):
        first = 1 + columns * i
        if busy and observation[i * F + RUNNING] > 0.0:
            out[KEEP] = scratch[at + i * m] + weights[_KEEP]
        if not busy and mask[first]:
            out[first] = scratch[at + i * m]
        column = 0
        for mechanism in range(NUM_MECHANISMS):
            if (sizes[3] >> mechanism) & 1:
                if busy and mechanism < m and mask[first + column]:
                    out[first + column] = scratch[at + i * m + mechanism]
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
