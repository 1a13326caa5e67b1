"""Does a training script as people write it learn? ``python benchmarks/stock_ppo.py --seeds 1 2 3``.

MaskablePPO with stock settings on eight single environments with the environment's defaults, measured after 100 000 and 300 000
steps on 600 episodes of the split "eval" beside PREMA (asked at every quantum) and WSRPT. ``--settings recommended`` trains with
the settings that the page on learning recommends: CHECKPOINT alone, 64 native rows, no discount, until ``--seconds`` of wall-clock
time have passed. ``--figure`` draws the learning curves, on episodes of "valid".
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from agents import policy_from_sb3
from agents.learning.sb3.adapter import PremaVecEnv
from agents.learning.sb3.curve import RIVALS, LearningCurve, plot_curves
from baselines import evaluate

MARKS = (100_000, 300_000)


class UntilTime(BaseCallback):
    """Stops training after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.end = time.monotonic() + seconds

    def _on_step(self) -> bool:
        return time.monotonic() < self.end


def report(model: Any, episodes: int, note: str) -> None:
    """Print what ``model`` does beside its rivals."""
    results = evaluate([*RIVALS, policy_from_sb3(model)], episodes)
    cells = (f"{name} {results.mean(name, 'antt'):.3f} / {results.mean(name, 'weighted_antt'):.3f}" for name in results.policies)
    print(f"{note}, {model.num_timesteps} steps: ANTT / weighted ANTT: {', '.join(cells)}", flush=True)


def stock(seed: int, episodes: int, curve: LearningCurve | None) -> None:
    """Train with stock settings and report at each of MARKS."""
    env = make_vec_env("prema_gym:Prema-v0", 8, seed=seed)
    model = MaskablePPO("MlpPolicy", env, seed=seed, device="cpu")
    for steps in MARKS:
        model.learn(steps - model.num_timesteps, callback=curve, reset_num_timesteps=False)
        report(model, episodes, f"stock, seed {seed}")


def recommended(seed: int, episodes: int, seconds: float, curve: LearningCurve | None) -> None:
    """Train with the recommended settings for ``seconds`` and report."""
    env = PremaVecEnv(64, split="train", mechanisms=["CHECKPOINT"])
    env.seed(seed)
    model = MaskablePPO("MlpPolicy", env, n_steps=128, batch_size=2048, gamma=1.0, seed=seed, device="cpu")
    model.learn(10**9, callback=[UntilTime(seconds), *([] if curve is None else [curve])])
    report(model, episodes, f"recommended, seed {seed}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds to train with (default 1 2 3)")
    parser.add_argument("--episodes", type=int, default=600, help="episodes of the split 'eval' (default 600)")
    parser.add_argument("--settings", nargs="+", choices=("stock", "recommended"), default=["stock"], help="(default stock)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of training with the recommended settings (default 120)")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the learning curves into this file")
    options = parser.parse_args()
    torch.set_num_threads(1)  # small networks: two threads wait for each other more than they compute
    curves: dict[str, LearningCurve] = {}
    for settings in options.settings:
        for seed in options.seeds:
            curve = LearningCurve() if options.figure else None
            if settings == "recommended":
                recommended(seed, options.episodes, options.seconds, curve)
            else:
                stock(seed, options.episodes, curve)
            if curve is not None:
                curves[f"{settings} settings, seed {seed}"] = curve
    if curves:
        plot_curves(curves, options.figure)


if __name__ == "__main__":
    main()
