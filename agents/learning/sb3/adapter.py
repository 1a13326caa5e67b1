"""The native vector environment as a stable-baselines3 ``VecEnv``: ``DummyVecEnv`` over single environments, but fast."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from prema_gym.envs.reward import reward_weights
from prema_gym.envs.vector_env import PremaVectorEnv

Indices = None | int | Iterable[int]


class PremaVecEnv(VecEnv):
    """``num_envs`` rows of ``Prema-v0`` for stable-baselines3; ``arguments`` are the environment's.

    A row whose episode ends starts the next one in the same step: the observation returned is the next episode's, and the row's
    info holds ``terminal_observation``, ``TimeLimit.truncated``, ``metrics``, and ``episode`` (return, length and seconds), which
    loggers and callbacks of stable-baselines3 show: no ``VecMonitor`` is needed for it. Masks (``env_method("action_masks")``) are
    those of the next decision. Infos of rows in play are empty; what every step has is in :attr:`elapsed_ms` and
    :attr:`reward_terms`.
    """

    def __init__(self, num_envs: int, *, split: str = "env", **arguments: Any) -> None:
        self.native = PremaVectorEnv(num_envs, autoreset_mode=AutoresetMode.SAME_STEP, split=split, **arguments)
        self.elapsed_ms = np.zeros(num_envs)
        """(n,) time that the latest step covered."""
        self.reward_terms: dict[str, np.ndarray] = {}
        """(n,) terms of the latest step's reward, by name."""
        self._actions = np.zeros(num_envs, np.int64)
        self._returns, self._lengths = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        self._started = time.monotonic()
        self._next_seeds: int | None = None
        super().__init__(num_envs, self.native.single_observation_space, self.native.single_action_space)

    # --- Play -----------------------------------------------------------------------------------------------------------------

    def reset(self) -> np.ndarray:
        """Start an episode in every row and return the (n, D) observations."""
        observations, info = self.native.reset(seed=self._next_seeds)
        self._next_seeds = None
        self._returns[:], self._lengths[:] = 0.0, 0
        self.reset_infos = [{"action_mask": mask} for mask in info["action_mask"]]
        return observations

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Make the next reset start from ``seed``; row i gets ``seed + i``. None draws one."""
        chosen = int(np.random.default_rng().integers(1 << 32)) if seed is None else seed
        self._next_seeds = chosen
        return [chosen + row for row in range(self.num_envs)]

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step every row; return (observations, float32 rewards, dones, infos)."""
        observations, rewards, terminations, truncations, info = self.native.step(self._actions)
        dones = terminations | truncations
        self.elapsed_ms, self.reward_terms = info["elapsed_ms"], info["reward_terms"]
        self._returns += rewards
        self._lengths += 1
        seconds = round(time.monotonic() - self._started, 6)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(dones):
            infos[row] = {
                "terminal_observation": info["final_obs"][row],
                "TimeLimit.truncated": bool(truncations[row] and not terminations[row]),
                "metrics": {name: column[row] for name, column in info["metrics"].items()},
                "episode": {"r": round(float(self._returns[row]), 6), "l": int(self._lengths[row]), "t": seconds},
            }
        self._returns[dones], self._lengths[dones] = 0.0, 0
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Close the environment."""
        self.native.close()

    # --- Masks and rewards ----------------------------------------------------------------------------------------------------

    def action_masks(self) -> np.ndarray:
        """Return the (n, A) bool masks of the decisions that are asked now."""
        return self.native.action_masks()

    def set_reward_weights(self, weights: dict[str, float]) -> None:
        """Change what the reward is made of, from the next step on."""
        self.native._core.weights[:] = reward_weights(weights)

    # --- VecEnv's access to its rows ---------------------------------------------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute as each row has it: the masks' method, or what all rows share."""
        owner = self if attr_name == "action_masks" else self.native
        return [getattr(owner, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Refuse: rows share their attributes."""
        raise NotImplementedError(f"set_attr({attr_name!r}): rows share their attributes; make another environment.")

    def env_method(self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of each row; ``action_masks`` is the one that rows have."""
        if method_name != "action_masks":
            raise AttributeError(f"env_method({method_name!r}): rows have action_masks only.")
        masks = self.action_masks()
        return [masks[row] for row in self._rows(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Indices = None) -> list[bool]:
        """Return False for every row: nothing wraps it."""
        return [False] * len(self._rows(indices))

    def _rows(self, indices: Indices) -> list[int]:
        return list(self._get_indices(indices))
