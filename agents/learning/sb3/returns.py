"""Returns in a semi-Markov process: steps cover different times, so a discount per step would favour policies that decide often.

A step that covers ``elapsed`` milliseconds discounts what follows it by exp(-elapsed / horizon); without a horizon nothing is
discounted (gamma = 1): episodes are finite and every reward sums to its metric.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from stable_baselines3.common.buffers import RolloutBuffer

from agents.learning.sb3.adapter import PremaVecEnv


def discounts(elapsed_ms: np.ndarray, horizon_ms: float | None) -> np.ndarray:
    """Return the discount of each step from the time that it covered."""
    return np.ones_like(elapsed_ms) if horizon_ms is None else np.exp(-elapsed_ms / horizon_ms)


def advantages(
    rewards: np.ndarray, values: np.ndarray, gammas: np.ndarray, alive: np.ndarray, last_values: np.ndarray, gae_lambda: float
) -> np.ndarray:
    """Return the (S, n) generalised advantages (Schulman et al., ICLR 2016) with a discount ``gammas`` (S, n) for each step.

    ``values`` are those of the states before each step, ``last_values`` (n,) of the one after the last; ``alive`` (S, n) is 0 where
    the step ended an episode, else 1.
    """
    result = np.zeros_like(rewards)
    following, carried = last_values, np.zeros_like(last_values)
    for step in reversed(range(len(rewards))):
        delta = rewards[step] + gammas[step] * alive[step] * following - values[step]
        carried = delta + gammas[step] * gae_lambda * alive[step] * carried
        result[step] = carried
        following = values[step]
    return result


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
