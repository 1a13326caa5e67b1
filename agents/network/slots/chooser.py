"""The network over slots as a compiled policy: observation, mask and forward pass without returning to Python."""

from __future__ import annotations

import numpy as np

from agents.network.slots.compiled import choose, scratch_size
from agents.network.slots.inputs import base_size
from agents.network.slots.layout import Shape
from agents.network.workspace import features_at, fill_record, flags_at, numbers_at, record_dtype
from baselines.policies.compiled import Chooser, policy_entry
from prema_gym._jit import jit_borrowing
from prema_gym.config import EnvConfig, mechanism_bits
from prema_gym.envs.actions import count_actions, fill_mask
from prema_gym.envs.observation import observe_base

_ARRAYS = {"observation": np.float32, "mask": np.int8, "weights": np.float64, "scratch": np.float64, "logits": np.float64}
"""Weights and work space, by name: ``params`` holds the address and the size of each."""
_PARAMS = record_dtype(tuple(_ARRAYS), {"sizes": 5})


@jit_borrowing
def _choose(seen, params):
    """Return the action of the largest legal logit."""
    observation = features_at(params.observation, (params.observation_size,))
    mask = flags_at(params.mask, (params.mask_size,))
    weights = numbers_at(params.weights, (params.weights_size,))
    scratch = numbers_at(params.scratch, (params.scratch_size,))
    logits = numbers_at(params.logits, (params.logits_size,))
    observe_base(seen.npu, seen.table, seen.rules, observation)
    fill_mask(seen.npu, seen.table, seen.rules.mechanisms, True, mask)
    return choose(observation, mask, params.sizes, weights, scratch, logits)


_ENTRY = policy_entry("network", _choose, _PARAMS)


def network_chooser(shape: Shape, flat: np.ndarray, config: EnvConfig) -> Chooser:
    """Return the network with the (size,) ``flat`` weights as a compiled policy for one thread."""
    slots, bits = config.num_slots, mechanism_bits(config.mechanisms)
    actions = int(count_actions(slots, bits))
    sizes = {
        "observation": base_size(slots),
        "mask": actions,
        "scratch": scratch_size(shape, slots),
        "logits": actions,
    }
    arrays = {name: np.zeros(size, _ARRAYS[name]) for name, size in sizes.items()}
    arrays["weights"] = np.ascontiguousarray(flat, np.float64)
    params = fill_record(_PARAMS, arrays, {"sizes": shape.sizes(bits, slots)})
    return Chooser(_ENTRY, params, holds=tuple(arrays.values()))
