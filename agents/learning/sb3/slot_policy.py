"""The network over slots as policies of stable-baselines3."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from agents.network.slots.layout import Shape
from agents.network.slots.torch_network import CRITIC_UNITS, SlotCritic, SlotNetwork


class SlotExtractor(nn.Module):
    """Actor and critic in the place where stable-baselines3 wants its multilayer perceptrons."""

    def __init__(self, shape: Shape, flat: np.ndarray, actions: int, sharpness: float) -> None:
        super().__init__()
        slots = (actions - 1) // shape.mechanisms
        self.actor = SlotNetwork(shape, flat, sharpness=sharpness, slots=slots)
        self.critic = SlotCritic(slots)
        self.latent_dim_pi = actions
        self.latent_dim_vf = CRITIC_UNITS

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logits, value features)."""
        return self.actor(features), self.critic(features)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return cast(torch.Tensor, self.actor(features))

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Return the value features."""
        return cast(torch.Tensor, self.critic(features))


class _SlotBuild:
    """What both policies below override: logits come straight from the actor, with weights as given."""

    def __init__(self, *args: Any, shape: Shape, flat: np.ndarray, sharpness: float = 1.0, **kwargs: Any) -> None:
        self._slot_arguments = (shape, flat, sharpness)
        super().__init__(*args, **{**kwargs, "ortho_init": False})

    def _build_mlp_extractor(self: Any) -> None:
        shape, flat, sharpness = self._slot_arguments
        self.mlp_extractor = SlotExtractor(shape, flat, int(self.action_space.n), sharpness)

    def _build(self: Any, lr_schedule: Any) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        self.action_net = nn.Identity()
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_constructor_parameters(self: Any) -> dict[str, Any]:
        shape, flat, sharpness = self._slot_arguments
        return {**super()._get_constructor_parameters(), "shape": shape, "flat": flat, "sharpness": sharpness}  # type: ignore[misc]


class MaskableSlotPolicy(_SlotBuild, MaskableActorCriticPolicy):  # type: ignore[misc]  # declares other modules there
    """For MaskablePPO."""


class SlotPolicy(_SlotBuild, ActorCriticPolicy):  # type: ignore[misc]  # likewise
    """For PPO: what the observation tells to be illegal is closed without a mask."""
