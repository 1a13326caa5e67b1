"""One perceptron over the features of all slots: the usual network, which has to learn each slot by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.learning.arguments import Arguments
from prema_gym.config import EnvConfig

if TYPE_CHECKING:
    from agents.network.actor_critic import ActorCritic

HIDDEN_UNITS = (128, 128)
"""Units of the hidden layers."""


def build(arguments: Arguments, *, masked: bool) -> tuple[Any, dict[str, Any]]:
    """Return stable-baselines3's own perceptron; it starts from random weights."""
    return "MlpPolicy", {"net_arch": list(HIDDEN_UNITS)}


def module(arguments: Arguments, config: EnvConfig) -> ActorCritic:
    """Return two perceptrons, actor and critic, with orthogonal random weights."""
    from agents.network.actor_critic import Perceptron
    from prema_gym.envs.observation import Layout

    return Perceptron(Layout.of(config), config.mechanisms, HIDDEN_UNITS, getattr(arguments.options, "commitment", 0.0))
