"""The network over slots: its mathematics, its sizes, and its weights as named parts of one flat array.

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
from typing import Any, NamedTuple

import numpy as np

from agents.network.form import MOST_UNITS, Form, check_entries, fingerprint, whole
from agents.network.slots.inputs import ROW_INPUTS, SLOT_INPUTS, R, S
from prema_gym._jit import jit_inline
from prema_gym.config import MECHANISMS

ADVANTAGE_SCALE = 4.0
"""index_i - max index is divided by this before it enters the encoder."""
INPUT_NAMES = (*(name for name, *_ in SLOT_INPUTS), "advantage", "above_cap", "held", "held_log_remaining", "lagging")
"""What is known of a slot, y above: the rows of B."""
CONTEXT_NAMES = ("constant", *(name for name, *_ in ROW_INPUTS), *(f"mean_{name}" for name in INPUT_NAMES))
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
RUNNING, MEDIUM, HIGH, ELAPSED, PREDICTED, REMAINING, PROJECTED = (
    INPUT_NAMES.index(name)
    for name in (
        "running", "priority_medium", "priority_high", "log_elapsed", "log_predicted", "log_remaining", "log_projected_ntt"
    )
)  # fmt: skip
"""Inputs of a slot that are read by themselves; input 0 is "present"."""
LEAST_PP, MOST_PP = (CONTEXT_NAMES.index(name) - 1 for name in ("min_log_pp", "max_log_pp"))
"""Inputs of the row: ln of the least and the largest progress per priority of finished tasks, both 0 where none has finished."""


@dataclass(frozen=True)
class Shape(Form):
    """Sizes of a network over slots."""

    kind, words = "slots", "the slot network"
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
            "encoder.global": (e, R),
            "encoder.bias": (e,),
            "decoder.own": (h, e),
            "decoder.mean": (h, e),
            "decoder.max": (h, e),
            "decoder.bias": (h,),
            "head.weight": (m, h),
            "head.bias": (m,),
        }

    @property
    def described(self) -> dict[str, Any]:
        """E, H and M."""
        return {"encoder": self.encoder, "decoder": self.decoder, "mechanisms": self.mechanisms}

    @classmethod
    def from_described(cls, described: Mapping[str, Any]) -> Shape:
        """Return the form that a card describes; raises :class:`prema_gym.errors.PolicyError` saying what is wrong."""
        most = {"encoder": MOST_UNITS, "decoder": MOST_UNITS, "mechanisms": len(MECHANISMS)}
        check_entries(described, tuple(most))
        return cls(**{name: whole(described, name, limit) for name, limit in most.items()})

    @property
    def schema(self) -> dict[str, Any]:
        """The inputs of :mod:`agents.network.slots.inputs`, with their bounds and scales."""
        return {"fingerprint": fingerprint(S, R, [*SLOT_INPUTS, *ROW_INPUTS]), "F": S, "G": R}

    @property
    def mechanism_names(self) -> tuple[str, ...]:
        """The first M."""
        return MECHANISMS[: self.mechanisms]

    def sizes(self, mechanisms: int, slots: int) -> np.ndarray:
        """(5,) int64 for compiled code: E, H, M, the bits of the ``mechanisms`` that the environment allows, and T."""
        return np.array([self.encoder, self.decoder, self.mechanisms, mechanisms, slots], np.int64)

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


class Parts(NamedTuple):
    """The weights by name, as views of the flat array: an array each, in the order and the shapes of :attr:`Shape.tensors`."""

    prior: Any
    scale: Any
    keep_bias: Any
    hold: Any
    bilinear: Any
    encoder_slot: Any
    encoder_global: Any
    encoder_bias: Any
    decoder_own: Any
    decoder_mean: Any
    decoder_max: Any
    decoder_bias: Any
    head_weight: Any
    head_bias: Any


@jit_inline
def parts_of(weights, e, h, m):
    """Return the (size,) flat ``weights`` of a network with E, H and M units as :class:`Parts`."""
    hold, bilinear = 5, 8
    slot = bilinear + INPUTS * CONTEXT
    row = slot + e * INPUTS
    bias = row + e * R
    own = bias + e
    mean = own + h * e
    most = mean + h * e
    after = most + h * e
    head = after + h
    head_bias = head + m * h
    return Parts(
        weights[:3],
        weights[3:4],
        weights[4:hold],
        weights[hold:bilinear],
        weights[bilinear:slot].reshape((INPUTS, CONTEXT)),
        weights[slot:row].reshape((e, INPUTS)),
        weights[row:bias].reshape((e, R)),
        weights[bias:own],
        weights[own:mean].reshape((h, e)),
        weights[mean:most].reshape((h, e)),
        weights[most:after].reshape((h, e)),
        weights[after:head],
        weights[head:head_bias].reshape((m, h)),
        weights[head_bias : head_bias + m],
    )
