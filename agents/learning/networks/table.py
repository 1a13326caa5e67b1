"""The network over slots that reads every group of the observation: deadlines, other NPUs, the stream; it starts from a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.learning.arguments import Arguments
from agents.learning.options import option
from prema_gym.config import EnvConfig

if TYPE_CHECKING:
    from agents.network.actor_critic import ActorCritic

_WSRPT = {"log_priority": 4.0, "log_predicted": -4.0, "log_remaining": -4.0}
PRIORS: dict[str, dict[str, float]] = {
    "none": {},
    "SRPT": {"log_remaining": -4.0},
    "WSRPT": _WSRPT,
    "WSRPT-FASTEST": {**_WSRPT, "log_slowdown": -4.0},
}
"""Rules to start from, as weights of features; features are a quarter of a logarithm. An observation may lack some of them."""


@dataclass(frozen=True)
class Options:
    """Options of the network over the table."""

    units: int = option(64, "Units of each layer.")
    prior: str = option(
        "WSRPT",
        "Rule to start from: WSRPT (priority / (predicted * remaining)), WSRPT-FASTEST (the same times fastest time / time here),"
        " SRPT, or none.",
        choices=tuple(PRIORS),
    )
    sharpness: float = option(3.0, "Factor on the rule's logits: with a larger one the policy explores less.")


def module(arguments: Arguments, config: EnvConfig) -> ActorCritic:
    """Return actor and critic; the actor plays the rule at first."""
    from agents.network.table_network import TableNetwork
    from prema_gym.envs.observation import Layout

    options: Options = arguments.network_options
    return TableNetwork(Layout.of(config), config.mechanisms, options.units, PRIORS[options.prior], options.sharpness)
