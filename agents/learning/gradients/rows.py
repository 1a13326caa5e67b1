"""The rows that a trainer plays: native vector environments side by side, one for each configuration, as one.

A step writes observations and masks into the caller's arrays, where a rollout keeps them. What is between episodes takes no step: a
row whose episode ends shows the first observation of the next one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.envs.reward import reward_weights
from prema_gym.envs.state import arrays_of, state_of
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import PolicyError

OPEN = ("poisson", "bursty")
"""Processes whose rate is a utilisation."""


class Stepped(NamedTuple):
    """What a step of n rows has brought beside observations and masks."""

    rewards: np.ndarray
    """(n,) float64."""
    elapsed_ms: np.ndarray
    """(n,) float64 time that the step covered."""
    ended: np.ndarray
    """(n,) bool: the step ended an episode."""
    cut: np.ndarray
    """(k,) int: rows whose episode was truncated: it would have gone on."""
    final: np.ndarray
    """(k, D) float32 the observations that these ended with."""


def at_loads(config: EnvConfig, loads: str | None) -> list[EnvConfig]:
    """Return ``config`` at each of the utilisations in ``loads``, as "0.5,0.9"; raises :class:`PolicyError` for what is none."""
    if loads is None:
        return [config]
    arrivals = config.workload.arrivals
    if arrivals is None or arrivals.process not in OPEN:
        raise PolicyError(f"--loads {loads}: is for arrivals that have a rate ({', '.join(OPEN)}), as those of PremaStream-v0.")
    found = []
    for word in loads.split(","):
        try:
            rate = dataclasses.replace(arrivals, utilisation=float(word), requests_per_second=None)
        except ValueError:
            raise PolicyError(f"--loads {loads}: {word!r} is no number: must be utilisations, as in 0.5,0.7,0.9.") from None
        found.append(dataclasses.replace(config, workload=dataclasses.replace(config.workload, arrivals=rate)))
    return found


def share_out(rows: int, parts: int) -> list[slice]:
    """Return which of ``rows`` each of so many parts has: as many each as can be, the first ones more."""
    counts = [rows // parts + (part < rows % parts) for part in range(parts)]
    ends = list(accumulate(counts))
    return [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]


class Rows:
    """n rows of one configuration or of several with the same spaces, shared out evenly; row i is seeded ``seed + i``."""

    def __init__(self, configs: Sequence[EnvConfig], rows: int, reward: str | Mapping[str, float], split: str = "train") -> None:
        self.parts = share_out(rows, len(configs))
        self.envs = [
            PremaVectorEnv(part.stop - part.start, autoreset_mode="SameStep", split=split, **{**config.to_dict(), "reward": reward})
            for config, part in zip(configs, self.parts, strict=True)
        ]
        self.config = self.envs[0].config
        self.features, self.actions = self.envs[0].layout.size, int(self.envs[0].single_action_space.n)  # type: ignore[attr-defined]

    def reset(self, seed: int, observations: np.ndarray, masks: np.ndarray) -> None:
        """Start an episode in every row; fill ``observations`` (n, D) float32 and ``masks`` (n, A) int8."""
        for env, part in zip(self.envs, self.parts, strict=True):
            env.write_into(observations[part], masks[part])
            env.reset(seed=seed + part.start)

    def step(self, actions: np.ndarray, observations: np.ndarray, masks: np.ndarray) -> Stepped:
        """Carry out ``actions`` (n,); fill the next ``observations`` and ``masks``."""
        steps = [self._step(env, part, actions, observations, masks) for env, part in zip(self.envs, self.parts, strict=True)]
        return steps[0] if len(steps) == 1 else Stepped(*map(np.concatenate, zip(*steps, strict=True)))

    @staticmethod
    def _step(env: PremaVectorEnv, part: slice, actions: np.ndarray, observations: np.ndarray, masks: np.ndarray) -> Stepped:
        env.write_into(observations[part], masks[part])
        _, rewards, terminated, truncated, info = env.step(actions[part])
        cut = np.flatnonzero(truncated & ~terminated)
        final = np.stack(info["final_obs"][cut]) if len(cut) else np.empty((0, observations.shape[1]), np.float32)
        return Stepped(rewards, info["elapsed_ms"], terminated | truncated, cut + part.start, final)

    def set_reward_weights(self, weights: dict[str, float]) -> None:
        """Change what the reward is made of, from the next step on."""
        for env in self.envs:
            env._core.weights[:] = reward_weights(weights)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return where all rows stand, as arrays by name."""
        states = [arrays_of(env.get_state()) for env in self.envs]
        return {f"{number}.{name}": array for number, state in enumerate(states) for name, array in state.items()}

    def go_on_from(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Let all rows go on from where :meth:`arrays` found them."""
        for number, env in enumerate(self.envs):
            own: dict[str, Any] = {
                name.partition(".")[2]: array for name, array in arrays.items() if name.partition(".")[0] == str(number)
            }
            env.reset(seed=0)
            env.set_state(state_of(own, like=env.get_state()))
