"""A perceptron over all of an observation: its sizes, and what it computes in compiled code.

:class:`agents.network.actor_critic.Perceptron` trains it: layers with tanh between them, and the commitment to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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
from prema_gym._jit import jit_borrowing
from prema_gym.config import EnvConfig, mechanism_bits
from prema_gym.envs.actions import KEEP, count_actions
from prema_gym.errors import PolicyError, shown

MOST_LAYERS, MOST_SLOTS = 8, 64
_LAYERS_APART = 2
"""Layers of torch are every second module: tanh is between them."""


@dataclass(frozen=True)
class PerceptronShape(Observed):
    """Sizes of a perceptron, which is bound to its number of slots."""

    kind, words = "perceptron", "a perceptron"
    slots: int
    """T."""
    hidden: tuple[int, ...]
    """Units of the hidden layers."""

    @property
    def layers(self) -> list[int]:
        """Numbers that go in, units of the hidden layers, actions."""
        actions = int(count_actions(self.slots, mechanism_bits(self.mechanisms)))
        return [self.layout(self.slots).size, *self.hidden, actions]

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, as torch has it."""
        found: dict[str, tuple[int, ...]] = {}
        for number, (inputs, outputs) in enumerate(pairwise(self.layers)):
            found[f"actor.{_LAYERS_APART * number}.weight"] = (outputs, inputs)
            found[f"actor.{_LAYERS_APART * number}.bias"] = (outputs,)
        return {**found, "commitment.size": (1,)}

    def refusal(self, config: EnvConfig) -> str | None:
        """Return why the network can't play on ``config``: another layout, or another number of slots; None where it can."""
        if config.num_slots != self.slots:
            return f"the perceptron reads {self.slots} slots, this environment has {config.num_slots}."
        return super().refusal(config)

    @property
    def described(self) -> dict[str, Any]:
        """What a card says of the form."""
        return {**super().described, "slots": self.slots, "hidden": list(self.hidden)}

    @classmethod
    def from_described(cls, described: Mapping[str, Any]) -> PerceptronShape:
        """Return the form that a card describes; raises :class:`prema_gym.errors.PolicyError` saying what is wrong."""
        check_entries(described, (*ENTRIES, "slots", "hidden"))
        hidden = described["hidden"]
        if not isinstance(hidden, list) or len(hidden) > MOST_LAYERS:
            raise PolicyError(f"network hidden = {shown(hidden)}: must be a list of at most {MOST_LAYERS} whole numbers.")
        units = tuple(whole({"hidden": each}, "hidden", MOST_UNITS) for each in hidden)
        return cls(**observed_entries(described), slots=whole(described, "slots", MOST_SLOTS), hidden=units)


def compiled_weights(shape: PerceptronShape, flat: np.ndarray) -> np.ndarray:
    """Return the flat float32 array that compiled code takes: layer by layer inputs by units, then biases; the commitment."""
    tensors = shape.unpack(flat)
    return np.concatenate([(tensor.T if tensor.ndim == 2 else tensor).ravel() for tensor in tensors.values()])


@jit_borrowing
def fill_logits(observation, layers, weights, scratch, logits):
    """Fill ``logits`` (A,); ``layers`` (L + 1,) are the numbers that go in and the units of each layer."""
    most, at = scratch.shape[0] // 2, 0
    for number in range(layers.shape[0] - 1):
        inputs, units = layers[number], layers[number + 1]
        before, after = (number % 2) * most, (1 - number % 2) * most
        given = observation if number == 0 else scratch[before : before + inputs]
        out = logits if number == layers.shape[0] - 2 else scratch[after : after + units]
        matrix = weights[at : at + inputs * units].reshape((inputs, units))
        at += inputs * units
        copy(weights[at : at + units], out)
        at += units
        add_product(matrix, given, out)
        if number < layers.shape[0] - 2:
            for u in range(units):
                out[u] = np.tanh(out[u])


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
    layers = places_at(params.layers, (params.layers_size,))
    fill_logits(observation, layers, weights, scratch, logits)
    commitment = weights[weights.shape[0] - 1]
    logits[KEEP] += commitment if seen.npu.running_slot >= 0 else -commitment
    return largest(logits, mask)


_PARAMS = observed_dtype(arrays=("layers",))
_ENTRY = policy_entry("perceptron", _choose, _PARAMS)


def perceptron_chooser(shape: PerceptronShape, flat: np.ndarray, config: EnvConfig) -> Chooser:
    """Return the network with the (size,) ``flat`` weights as a compiled policy for one thread.

    Raises :class:`prema_gym.errors.PolicyError` where it can't play on ``config``.
    """
    layout, widest = shape.check_plays(config), max((*shape.hidden, 1))
    params, holds = observed_params(
        _PARAMS, layout, config, compiled_weights(shape, flat), 2 * widest, layers=np.array(shape.layers, np.int64)
    )
    return Chooser(_ENTRY, params, holds=holds)
