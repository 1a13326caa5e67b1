"""Rollout buffers of stable-baselines3 with discounts by the time that steps cover (:mod:`agents.learning.gradients.returns`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from stable_baselines3.common.buffers import RolloutBuffer

from agents.learning.gradients.returns import advantages, discounts
from agents.learning.sb3.adapter import PremaVecEnv


class _SemiMarkov:
    """What both buffers below add: the time of each step, asked of the environment, and discounts by it."""

    def __init__(self, *args: Any, env: PremaVecEnv, horizon_ms: float | None = None, **kwargs: Any) -> None:
        self._env = env
        self._horizon_ms = horizon_ms
        super().__init__(*args, **kwargs)

    def reset(self: Any) -> None:
        self.elapsed_ms = np.zeros((self.buffer_size, self.n_envs), np.float32)
        super().reset()  # type: ignore[misc]

    def add(self: Any, *args: Any, **kwargs: Any) -> None:
        self.elapsed_ms[self.pos] = self._env.elapsed_ms
        super().add(*args, **kwargs)  # type: ignore[misc]

    def compute_returns_and_advantage(self: Any, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Fill ``advantages`` and ``returns``."""
        last = last_values.clone().cpu().numpy().ravel()
        starts = np.concatenate([self.episode_starts[1:], dones[None].astype(np.float32)])
        gammas = discounts(self.elapsed_ms, self._horizon_ms)
        self.advantages = advantages(self.rewards, self.values, gammas, 1.0 - starts, last, self.gae_lambda)
        self.returns = self.advantages + self.values


class SemiMarkovBuffer(_SemiMarkov, RolloutBuffer):
    """For PPO."""


class MaskableSemiMarkovBuffer(_SemiMarkov, MaskableRolloutBuffer):
    """For MaskablePPO."""
