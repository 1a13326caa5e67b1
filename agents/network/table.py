"""The network over slots that reads all of an observation: its sizes, and what it computes in compiled code.

The mathematics is in :mod:`agents.network.table_network`, which trains it. Weights lie as torch has them in published files;
compiled code takes each matrix transposed, inputs by units, and biases that are added to the same sums as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from agents.network.form import MOST_UNITS, check_entries, whole
from agents.network.observed import (
    ENTRIES,
    Observed,
    add_product,
    copy,
    largest,
    observed_dtype,
    observed_entries,
    observed_params,
    only_keeps,
    see,
)
from agents.network.workspace import features_at, flags_at, places_at
from baselines.policies.compiled import Chooser, policy_entry
from prema_gym._jit import jit_borrowing, jit_inline
from prema_gym.config import EnvConfig
from prema_gym.envs.actions import KEEP
from prema_gym.envs.observation import Layout

CLOSED = -1e8
"""Index of what can't be chosen; finite, so that gradients stay so."""


@dataclass(frozen=True)
class TableShape(Observed):
    """Sizes of a network over the table; it serves any number of slots."""

    kind, words = "table", "the network over the table"
    units: int
    """E: units of each layer."""

    @property
    def slot_features(self) -> list[str]:
        """The X features of a slot, in the order in which the network reads them."""
        return [feature.name for block in self.layout(1).blocks if block.of == "slot" for feature in block.features]

    @property
    def common(self) -> int:
        """C: numbers that the network reads of the row and of NPUs."""
        return len(common_places(self.layout(1)))

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, as torch has it."""
        e, x, c, m = self.units, len(self.slot_features), self.common, len(self.mechanisms)
        return {
            "rule": (x,),
            "encoder.own.weight": (e, x),
            "encoder.own.bias": (e,),
            "encoder.shared.weight": (e, c),
            "encoder.shared.bias": (e,),
            "own.weight": (e, e),
            "own.bias": (e,),
            "pooled.weight": (e, 2 * e),
            "pooled.bias": (e,),
            "shared.weight": (e, c),
            "shared.bias": (e,),
            "head.weight": (m, e),
            "head.bias": (m,),
            "keep.0.weight": (e, 2 * e + c),
            "keep.0.bias": (e,),
            "keep.2.weight": (1, e),
            "keep.2.bias": (1,),
            "commitment.size": (1,),
            "idle_bias": (1,),
        }

    @property
    def described(self) -> dict[str, Any]:
        """What a card says of the form."""
        return {**super().described, "units": self.units}

    @classmethod
    def from_described(cls, described: Mapping[str, Any]) -> TableShape:
        """Return the form that a card describes; raises :class:`prema_gym.errors.PolicyError` saying what is wrong."""
        check_entries(described, (*ENTRIES, "units"))
        return cls(**observed_entries(described), units=whole(described, "units", MOST_UNITS))


def slot_places(layout: Layout) -> np.ndarray:
    """Return (X,) int64: where the first slot's value of each feature of slots lies; the other slots' follow it."""
    names = [feature.name for block in layout.blocks if block.of == "slot" for feature in block.features]
    return np.array([layout[name].start for name in names], np.int64)


def common_places(layout: Layout) -> np.ndarray:
    """Return (C,) int64: where what belongs to no slot lies."""
    names = [feature.name for block in layout.blocks if block.of != "slot" for feature in block.features]
    return np.array([place for name in names for place in range(layout[name].start, layout[name].stop)], np.int64)


# --- Compiled ---------------------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """What compiled code takes, as views of one flat array: products by rows of inputs, biases of one sum together."""

    rule: Any
    slot: Any
    common: Any
    encoder_bias: Any
    own: Any
    pooled: Any
    decoder_common: Any
    decoder_bias: Any
    head: Any
    head_bias: Any
    keep_pooled: Any
    keep_common: Any
    keep_bias: Any
    keep_head: Any
    single: Any
    """Bias of keep, commitment, bias of idling."""


def compiled_weights(shape: TableShape, flat: np.ndarray) -> np.ndarray:
    """Return the flat float32 array that :func:`parts_of` takes, from published weights."""
    t, e = shape.unpack(flat), shape.units
    keep = t["keep.0.weight"].T
    parts = Parts(
        rule=t["rule"],
        slot=t["encoder.own.weight"].T,
        common=t["encoder.shared.weight"].T,
        encoder_bias=t["encoder.own.bias"] + t["encoder.shared.bias"],
        own=t["own.weight"].T,
        pooled=t["pooled.weight"].T,
        decoder_common=t["shared.weight"].T,
        decoder_bias=t["own.bias"] + t["pooled.bias"] + t["shared.bias"],
        head=t["head.weight"],
        head_bias=t["head.bias"],
        keep_pooled=keep[: 2 * e],
        keep_common=keep[2 * e :],
        keep_bias=t["keep.0.bias"],
        keep_head=t["keep.2.weight"],
        single=np.concatenate([t["keep.2.bias"], t["commitment.size"], t["idle_bias"]]),
    )
    return np.concatenate([np.asarray(part, np.float32).ravel() for part in parts])


@jit_inline
def parts_of(weights, e, x, c, m):
    """Return the flat ``weights`` of a network with E units, X and C inputs and M mechanisms as :class:`Parts`."""
    common = x + x * e
    encoder_bias = common + c * e
    own = encoder_bias + e
    pooled = own + e * e
    decoder_common = pooled + 2 * e * e
    decoder_bias = decoder_common + c * e
    head = decoder_bias + e
    head_bias = head + m * e
    keep_pooled = head_bias + m
    keep_common = keep_pooled + 2 * e * e
    keep_bias = keep_common + c * e
    keep_head = keep_bias + e
    single = keep_head + e
    return Parts(
        weights[:x],
        weights[x:common].reshape((x, e)),
        weights[common:encoder_bias].reshape((c, e)),
        weights[encoder_bias:own],
        weights[own:pooled].reshape((e, e)),
        weights[pooled:decoder_common].reshape((2 * e, e)),
        weights[decoder_common:decoder_bias].reshape((c, e)),
        weights[decoder_bias:head],
        weights[head:head_bias].reshape((m, e)),
        weights[head_bias:keep_pooled],
        weights[keep_pooled:keep_common].reshape((2 * e, e)),
        weights[keep_common:keep_bias].reshape((c, e)),
        weights[keep_bias:keep_head],
        weights[keep_head:single],
        weights[single : single + 3],
    )


class Work(NamedTuple):
    """What the network works in, as views of one flat array."""

    slot: Any
    """(X,) features of a slot."""
    common: Any
    """(C,)."""
    index: Any
    """(T,)."""
    encoded: Any
    """(T, E)."""
    pooled: Any
    """(2 E,)."""
    known: Any
    """(E,) what all slots of a layer share."""
    hidden: Any
    """(E,)."""


def scratch_size(shape: TableShape, slots: int) -> int:
    """Return how many numbers :func:`work_in` takes."""
    return len(shape.slot_features) + shape.common + slots * (1 + shape.units) + 4 * shape.units


@jit_inline
def work_in(scratch, e, x, c, slots):
    """Return ``scratch`` as :class:`Work`."""
    index = x + c
    encoded = index + slots
    pooled = encoded + slots * e
    known = pooled + 2 * e
    return Work(
        scratch[:x],
        scratch[x:index],
        scratch[index:encoded],
        scratch[encoded:pooled].reshape((slots, e)),
        scratch[pooled:known],
        scratch[known : known + e],
        scratch[known + e : known + 2 * e],
    )


@jit_borrowing
def _softsign_all(values):
    for u in range(values.shape[0]):
        values[u] = values[u] / (np.float32(1.0) + abs(values[u]))


@jit_borrowing
def _dot(one, other):
    total = np.float32(0.0)
    for u in range(one.shape[0]):
        total += one[u] * other[u]
    return total


@jit_borrowing
def _read_slot(observation, places, i, slot):
    for k in range(places.shape[0]):
        slot[k] = observation[places[k] + i]


@jit_borrowing
def _encode(observation, places, parts, work):
    """Fill the index and the encodings of present slots, and their means and maxima."""
    e, present = work.known.shape[0], 0
    copy(parts.encoder_bias, work.known)
    add_product(parts.common, work.common, work.known)
    work.pooled[:] = 0.0
    for i in range(work.index.shape[0]):
        if observation[places[0] + i] == 0.0:
            continue
        _read_slot(observation, places, i, work.slot)
        work.index[i] = _dot(parts.rule, work.slot)
        encoded = work.encoded[i]
        copy(work.known, encoded)
        add_product(parts.slot, work.slot, encoded)
        _softsign_all(encoded)
        for u in range(e):
            work.pooled[u] += encoded[u]
            if present == 0 or encoded[u] > work.pooled[e + u]:
                work.pooled[e + u] = encoded[u]
        present += 1
    for u in range(e):
        work.pooled[u] /= max(present, 1)


@jit_borrowing
def _best_index(observation, ready, running, index):
    """Return the largest index of what the asked NPU may run or runs; CLOSED where there is none."""
    best = np.float32(CLOSED)
    for i in range(index.shape[0]):
        if observation[ready + i] + observation[running + i] > 0.0:
            best = max(best, index[i])
    return best


@jit_borrowing
def _decode(observation, ready, running, parts, work, logits):
    """Fill the logits of what the asked NPU may run, and that of keep with what runs; the others are left as they are."""
    m = parts.head.shape[0]
    best = _best_index(observation, ready, running, work.index)
    copy(parts.decoder_bias, work.known)
    add_product(parts.pooled, work.pooled, work.known)
    add_product(parts.decoder_common, work.common, work.known)
    for i in range(work.index.shape[0]):
        runs = observation[running + i] > 0.0
        if observation[ready + i] + observation[running + i] == 0.0:
            continue
        copy(work.known, work.hidden)
        add_product(parts.own, work.encoded[i], work.hidden)
        _softsign_all(work.hidden)
        for column in range(m):
            logit = work.index[i] - best + _dot(parts.head[column], work.hidden) + parts.head_bias[column]
            logits[1 + i * m + column] = logit
            if runs and column == 0:
                logits[KEEP] = logit


@jit_borrowing
def _keep(busy, parts, work):
    """Return what is added to the logit of keep, without the part that is the running task's."""
    copy(parts.keep_bias, work.hidden)
    add_product(parts.keep_pooled, work.pooled, work.hidden)
    add_product(parts.keep_common, work.common, work.hidden)
    _softsign_all(work.hidden)
    commitment = parts.single[1] if busy else parts.single[2] - parts.single[1]
    return _dot(parts.keep_head, work.hidden) + parts.single[0] + commitment


@jit_borrowing
def fill_logits(observation, busy, params, parts, work, logits):
    """Fill ``logits`` (A,) of legal actions; the others mean nothing."""
    places = places_at(params.slot_places, (params.slot_places_size,))
    common = places_at(params.common_places, (params.common_places_size,))
    for k in range(common.shape[0]):
        work.common[k] = observation[common[k]]
    _encode(observation, places, parts, work)
    logits[KEEP] = 0.0
    _decode(observation, params.ready, params.running, parts, work, logits)
    logits[KEEP] += _keep(busy, parts, work)


@jit_borrowing
def _choose(seen, params):
    """Return the action of the largest legal logit."""
    observation = features_at(params.observation, (params.observation_size,))
    mask = flags_at(params.mask, (params.mask_size,))
    see(seen, params, observation, mask)
    if only_keeps(observation, seen, params):
        return KEEP
    logits = features_at(params.logits, (params.logits_size,))
    weights, scratch = features_at(params.weights, (params.weights_size,)), features_at(params.scratch, (params.scratch_size,))
    e, x, c = params.units, params.slot_places_size, params.common_places_size
    parts = parts_of(weights, e, x, c, params.columns)
    work = work_in(scratch, e, x, c, seen.table.shape[0])
    fill_logits(observation, seen.npu.running_slot >= 0, params, parts, work, logits)
    return largest(logits, mask)


_PARAMS = observed_dtype("units", "columns", "ready", arrays=("slot_places", "common_places"))
_ENTRY = policy_entry("table", _choose, _PARAMS)


def table_chooser(shape: TableShape, flat: np.ndarray, config: EnvConfig) -> Chooser:
    """Return the network with the (size,) ``flat`` weights as a compiled policy for one thread.

    Raises :class:`prema_gym.errors.PolicyError` where it can't play on ``config``.
    """
    layout = shape.check_plays(config)
    params, holds = observed_params(
        _PARAMS,
        layout,
        config,
        compiled_weights(shape, flat),
        scratch_size(shape, config.num_slots),
        units=shape.units,
        columns=len(shape.mechanisms),
        ready=layout["ready"].start,
        slot_places=slot_places(layout),
        common_places=common_places(layout),
    )
    return Chooser(_ENTRY, params, holds=holds)
