"""The network whose weights are shared by all slots, whatever their number and order; it starts from an index rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.learning.arguments import Arguments
from agents.learning.index_rule import index_prior, index_rule
from agents.learning.objective import DOMINANCE
from agents.learning.options import option
from agents.network.slots.layout import Shape, enlarge_network
from agents.publishing.weights import load_weights
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError

if TYPE_CHECKING:
    from agents.network.actor_critic import ActorCritic

FIRST_RULE = "INDEX"
"""The index rule to start from where the opponent is to be beaten in one measure: it may be any policy."""


@dataclass(frozen=True)
class Options:
    """Options of the slot network."""

    encoder: int = option(16, "Units of the slot network's encoder.")
    decoder: int = option(16, "Units of the slot network's decoder.")
    init: Path | None = option(None, "Published weights to start from, in place of the index rule.")
    no_cap: bool = option(False, "Leave out the inputs that tell which task would cost fairness (an ablation).")
    sharpness: float = option(6.0, "Factor on the initial logits: with a larger one the policy explores less.")


def build(arguments: Arguments, *, masked: bool) -> tuple[Any, dict[str, Any]]:
    """Return the slot network as a policy of stable-baselines3, with its initial weights."""
    from agents.learning.sb3.slot_policy import MaskableSlotPolicy, SlotPolicy

    options: Options = arguments.network_options
    shape, flat = initial_network(arguments, options)
    return MaskableSlotPolicy if masked else SlotPolicy, {"shape": shape, "flat": flat, "sharpness": options.sharpness}


def module(arguments: Arguments, config: EnvConfig) -> ActorCritic:
    """Return the slot network and its critic, with its initial weights."""
    from agents.network.actor_critic import SlotActorCritic

    options: Options = arguments.network_options
    shape, flat = initial_network(arguments, options)
    return SlotActorCritic(shape, flat, config.num_slots, options.sharpness)


def initial_network(arguments: Arguments, options: Options) -> tuple[Shape, np.ndarray]:
    """Return (shape, flat weights) to start from: the opponent's rule, or a published network with fresh hidden layers."""
    shape = Shape(options.encoder, options.decoder, arguments.mechanisms)
    if options.init is None:
        rule = arguments.opponent if arguments.chosen_by == DOMINANCE else FIRST_RULE
        prior = index_prior(index_rule(rule))
        return shape, shape.initial(prior, arguments.seed, held=True, cap=not options.no_cap)
    weights = load_weights(options.init)
    if not isinstance(weights.shape, Shape):
        raise PolicyError(f"--init {options.init}: is no network over slots.")
    if weights.shape == shape:
        return shape, weights.flat
    return shape, enlarge_network(weights.shape, weights.flat, shape, arguments.seed)
