"""A dict observation with the mask in it, for libraries that want it so: ``python examples/dict_observation.py``.

``Prema-v0`` observes a flat ``Box`` and gives the mask in ``info``. Many libraries look for both in the observation: RLlib's
masking under ``observations`` and ``action_mask``, PettingZoo's agents under ``observation`` and ``action_mask``. The wrapper below
is all that it takes. A learner that could hardly be smaller uses it: a linear softmax policy by the policy gradient, in NumPy.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import numpy as np

from baselines import evaluate

EPISODES = 16  # of a batch
LEARNING_RATE, DECAYS = 0.03, (0.9, 0.99)
MECHANISMS = ("CHECKPOINT",)


class MaskInObservation(gym.Wrapper):
    """Observes ``{"observations": Box, "action_mask": Box of 0 and 1}``; the names of the keys are yours to choose."""

    def __init__(self, env: gym.Env, observation_key: str = "observations", mask_key: str = "action_mask") -> None:
        super().__init__(env)
        self.keys = (observation_key, mask_key)
        mask = gym.spaces.Box(0, 1, (int(env.action_space.n),), np.int8)
        self.observation_space = gym.spaces.Dict({observation_key: env.observation_space, mask_key: mask})

    def _both(self, observation: np.ndarray, info: dict[str, Any]) -> dict[str, np.ndarray]:
        return dict(zip(self.keys, (observation, info["action_mask"]), strict=True))

    def reset(self, **given: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(**given)
        return self._both(observation, info), info

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Play an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._both(observation, info), float(reward), terminated, truncated, info


def probabilities(weights: np.ndarray, observations: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return (n, A) probabilities of the actions, 0 for those that are illegal."""
    logits = np.where(masks, observations @ weights, -np.inf)
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


class Linear:
    """The weights as a policy that :func:`baselines.evaluate` plays: the likeliest legal action, asked as in training."""

    name, clairvoyant, mechanisms, asked_every = "LINEAR", False, MECHANISMS, None

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def act(self, view, truth=None) -> np.ndarray:
        """Return an action for each row."""
        return probabilities(self.weights, view.observation, view.mask).argmax(axis=1)


def play(env: gym.Env, weights: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Play an episode; return the gradient of its log-probability at each step (S, D, A), and the rewards (S,)."""
    gradients, rewards = [], []
    observed, _ = env.reset()
    over = False
    while not over:
        chances = probabilities(weights, observed["observations"][None], observed["action_mask"][None])[0]
        action = int(rng.choice(len(chances), p=chances))
        direction = -chances
        direction[action] += 1
        gradients.append(np.outer(observed["observations"], direction))
        observed, reward, terminated, truncated, _ = env.step(action)
        rewards.append(reward)
        over = terminated or truncated
    return np.array(gradients), np.array(rewards)


def train(steps: int, seed: int) -> np.ndarray:
    """Train for about ``steps`` steps; return the (D, A) weights."""
    rng = np.random.default_rng(seed)
    env = MaskInObservation(gym.make("prema_gym:Prema-v0", mechanisms=MECHANISMS))
    env.reset(seed=seed)
    weights = np.zeros((env.observation_space["observations"].shape[0], int(env.action_space.n)))
    first, second = np.zeros_like(weights), np.zeros_like(weights)  # Adam's means
    done, batch, recent = 0, 0, []
    while done < steps:
        episodes = [play(env, weights, rng) for _ in range(EPISODES)]
        to_come = [np.cumsum(rewards[::-1])[::-1] for _, rewards in episodes]
        everything = np.concatenate(to_come)
        gradient = np.zeros_like(weights)
        for (gradients, _), returns in zip(episodes, to_come, strict=True):
            gradient += np.tensordot((returns - everything.mean()) / (everything.std() + 1e-9), gradients, axes=1)
        done, batch = done + len(everything), batch + 1
        gradient /= len(everything)
        first = DECAYS[0] * first + (1 - DECAYS[0]) * gradient
        second = DECAYS[1] * second + (1 - DECAYS[1]) * gradient**2
        unbiased = first / (1 - DECAYS[0] ** batch), second / (1 - DECAYS[1] ** batch)
        weights += LEARNING_RATE * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        recent.append(np.mean([returns[0] for returns in to_come]))
        if batch % 50 == 0 or done >= steps:
            print(f"{done:8} steps, return of the last episodes {np.mean(recent[-20:]):.2f}")
    return weights


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000, help="of training (default 100000: some 10 seconds)")
    parser.add_argument("--episodes", type=int, default=300, help="of the comparison (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    options = parser.parse_args()
    print(evaluate(["PREMA", "WSRPT", Linear(train(options.steps, options.seed))], options.episodes))


if __name__ == "__main__":
    main()
