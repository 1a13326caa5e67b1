"""The native vector environment as RLlib takes one: the mask of legal actions rides behind the observation. It needs no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from prema_gym.envs.vector_env import PremaVectorEnv


class MaskedRows(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Rows of ``Prema-v0`` whose observations are (n, D + A) float32: D numbers, then A flags, 1 where the action is legal.

    ``arguments`` are the environment's.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012  # Gymnasium declares it so

    def __init__(self, num_envs: int, **arguments: Any) -> None:
        self.num_envs = num_envs
        self._native = PremaVectorEnv(num_envs, split="train", **arguments)
        seen = self._native.single_observation_space
        assert isinstance(seen, Box)
        actions = int(self._native.single_action_space.n)  # type: ignore[attr-defined]
        low, high = (np.concatenate([bound, np.full(actions, flag, np.float32)]) for bound, flag in ((seen.low, 0), (seen.high, 1)))
        self.single_observation_space = Box(low, high, dtype=np.float32)
        self.single_action_space = self._native.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every row."""
        observations, info = self._native.reset(seed=seed, options=options)
        return _joined(observations, info), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Carry out one action per row; infos are left out: RLlib would copy each of them for every row."""
        observations, rewards, terminations, truncations, info = self._native.step(np.asarray(actions))
        return _joined(observations, info), rewards, terminations, truncations, {}

    def close_extras(self, **_: Any) -> None:
        """Close the rows."""
        self._native.close()


def _joined(observations: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    return np.concatenate([observations, info["action_mask"]], axis=1, dtype=np.float32)
