"""A perceptron that never samples an illegal action, as a module of RLlib (new API stack)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import nn

from agents.network.actor_critic import SMALL_GAIN, perceptron
from agents.network.perceptron import PerceptronShape
from prema_gym.config import EnvConfig
from prema_gym.envs.observation import Layout

CLOSED = -1e8
"""Logit of an illegal action."""


def published(actor: nn.Module, config: EnvConfig) -> tuple[PerceptronShape, np.ndarray]:
    """Return the actor of a run on ``config``, of one NPU, as (form, (size,) flat weights); it favours keeping by nothing."""
    layout = Layout.of(config)
    hidden = tuple(int(layer.out_features) for layer in actor.children() if isinstance(layer, nn.Linear))[:-1]
    shape = PerceptronShape(layout.npus, layout.groups, tuple(config.mechanisms), layout.slots, hidden)
    tensors = {f"actor.{name}": tensor.detach().cpu().numpy() for name, tensor in actor.state_dict().items()}
    return shape, shape.pack({**tensors, "commitment.size": np.zeros(1)})


class MaskedPerceptron(TorchRLModule, ValueFunctionAPI, InferenceOnlyAPI):
    """Actor and critic apart. Observations are those of :class:`agents.learning.rllib.rows.MaskedRows`: the mask comes last."""

    def setup(self) -> None:
        """Make both perceptrons; ``model_config["hidden"]`` are their hidden units."""
        actions = int(self.action_space.n)
        self.features = self.observation_space.shape[0] - actions
        hidden = tuple(self.model_config["hidden"])
        self.actor = perceptron([self.features, *hidden, actions], SMALL_GAIN)
        self.critic = perceptron([self.features, *hidden, 1], 1.0)
        self.action_dist_cls = TorchCategorical

    def get_non_inference_attributes(self) -> list[str]:
        """Return what runners are not sent."""
        return ["critic"]

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        observations, mask = batch[Columns.OBS].split([self.features, int(self.action_space.n)], dim=-1)
        return {Columns.ACTION_DIST_INPUTS: torch.where(mask > 0, self.actor(observations), CLOSED)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        """Return the critic's values."""
        values: torch.Tensor = self.critic(batch[Columns.OBS][..., : self.features])
        return values.squeeze(-1)
