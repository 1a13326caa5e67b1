"""Does a training script as people write it learn? ``python benchmarks/stock_ppo.py --seeds 1 2 3``.

MaskablePPO with stock settings on eight single environments with the environment's defaults, measured after 100 000 and 300 000
steps on 600 episodes beside PREMA (asked at every quantum) and WSRPT. ``--recommended`` trains with the settings that the page on
learning recommends instead: CHECKPOINT alone, 64 native rows, no discount, until ``--seconds`` of wall-clock time have passed.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from agents.learning.sb3.adapter import PremaVecEnv
from baselines import evaluate
from prema_gym.envs.view import View

RIVALS = ("PREMA", "WSRPT")
MARKS = (100_000, 300_000)


class Trained:
    """A model as a policy; it is asked as it was trained."""

    clairvoyant = False
    asked_every = None

    def __init__(self, model: Any, name: str, mechanisms: tuple[str, ...]) -> None:
        self.model, self.name, self.mechanisms = model, name, mechanisms

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions: the most likely legal one."""
        actions, _ = self.model.predict(view.observation, action_masks=view.mask.astype(bool), deterministic=True)
        return np.asarray(actions, np.int64)


class UntilTime(BaseCallback):
    """Stops training after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.end = time.monotonic() + seconds

    def _on_step(self) -> bool:
        return time.monotonic() < self.end


def report(policy: Trained, episodes: int, note: str) -> None:
    """Print what ``policy`` does beside its rivals."""
    results = evaluate([*RIVALS, policy], episodes)
    cells = (f"{name} {results.mean(name, 'antt'):.3f} / {results.mean(name, 'weighted_antt'):.3f}" for name in results.policies)
    print(f"{note}: ANTT / weighted ANTT: {', '.join(cells)}", flush=True)


def stock(seed: int, episodes: int) -> None:
    """Train with stock settings and report at each of MARKS."""
    env = make_vec_env("prema_gym:Prema-v0", 8, seed=seed)
    model = MaskablePPO("MlpPolicy", env, seed=seed, device="cpu")
    for steps in MARKS:
        model.learn(steps - model.num_timesteps, reset_num_timesteps=False)
        policy = Trained(model, f"PPO-{seed}", ("CHECKPOINT", "KILL", "DRAIN"))
        report(policy, episodes, f"stock, seed {seed}, {model.num_timesteps} steps")


def recommended(seed: int, episodes: int, seconds: float) -> None:
    """Train with the recommended settings for ``seconds`` and report."""
    env = PremaVecEnv(64, split="train", mechanisms=["CHECKPOINT"])
    env.seed(seed)
    model = MaskablePPO("MlpPolicy", env, n_steps=128, batch_size=2048, gamma=1.0, seed=seed, device="cpu")
    model.learn(10**9, callback=UntilTime(seconds))
    report(Trained(model, f"PPO-{seed}", ("CHECKPOINT",)), episodes, f"recommended, seed {seed}, {model.num_timesteps} steps")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds to train with (default 1 2 3)")
    parser.add_argument("--episodes", type=int, default=600, help="episodes of the split 'eval' (default 600)")
    parser.add_argument("--recommended", action="store_true", help="train with the recommended settings")
    parser.add_argument("--seconds", type=float, default=120.0, help="of training with the recommended settings (default 120)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # small networks: two threads wait for each other more than they compute
    for seed in options.seeds:
        if options.recommended:
            recommended(seed, options.episodes, options.seconds)
        else:
            stock(seed, options.episodes)


if __name__ == "__main__":
    main()
