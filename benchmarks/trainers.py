"""The project's own trainer against sb3-contrib's MaskablePPO, in one run: ``python benchmarks/trainers.py``.

First frames a second with the same perceptron (stable-baselines3's own: two layers of 64), rows, rollout, batch and epochs, on the
native environment, in turn, several times: the ratio of each pair.
Then, with ``--race``, the seconds of training from nothing to WSRPT's weighted ANTT + 5 %, each with the settings that its users
have: stock settings on eight single environments, and ``masked_ppo`` as the page on learning recommends. Importing, compiling and
measuring take no part in these seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_util import make_vec_env

from agents import policy_from_sb3
from agents.learning.gradients.ppo import Trainer
from agents.learning.registry import register_network
from agents.learning.run import Run
from agents.learning.sb3.adapter import PremaVecEnv
from agents.learning.training import make_arguments
from agents.network.actor_critic import Perceptron
from baselines import evaluate
from prema_gym.envs.observation import Layout

EPISODES = 300
"""Of the split "valid", at each measurement of the race."""
MARGIN = 1.05
"""The race ends at so many times WSRPT's weighted ANTT."""
MOST_STEPS = 2_000_000
"""The race is given up after so many steps."""
UNITS = (64, 64)
"""Of stable-baselines3's perceptron."""
SETTINGS = ((8, 256, 64, 10), (64, 128, 2048, 10), (256, 64, 4096, 4), (1024, 32, 8192, 4))
"""Rows, steps of a rollout, batch, epochs; the first batch and epochs are stable-baselines3's own."""
WORLD: dict[str, Any] = {"mechanisms": ["CHECKPOINT"]}
OURS: dict[str, Any] = {
    "network": "stock", "select": "weighted_antt", "reward": "weighted_antt", "valid_episodes": 20,
    "quiet": True, "threads": 1, "commitment": 0.0,
}  # fmt: skip
RECOMMENDED: dict[str, Any] = {"rows": 64, "rollout": 64, "batch": 1024, "epochs": 4, "learning_rate": 2e-3, "gae_lambda": 0.95}


def ours(folder: Path, seed: int = 0, **given: Any) -> Trainer:
    """Return a fresh trainer of the project's own."""
    arguments = make_arguments("masked_ppo", output=folder, seed=seed, **{**OURS, "steps": MOST_STEPS, **given})
    return Trainer(Run(arguments), arguments.options)


def theirs(rows: int, steps: int, batch: int, epochs: int) -> MaskablePPO:
    """Return a fresh MaskablePPO on the native vector environment, with the same perceptron."""
    env = PremaVecEnv(rows, split="train", **WORLD)
    return MaskablePPO("MlpPolicy", env, n_steps=steps, batch_size=batch, n_epochs=epochs, gamma=1.0, device="cpu", seed=0)


def seconds(action: Callable[[], object]) -> float:
    """Return how long ``action`` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare_rates(rows: int, steps: int, batch: int, epochs: int, pairs: int, updates: int, folder: Path) -> None:
    """Print frames a second of both, measured in turn, and the median and the range of their ratio."""
    trainer = ours(folder, rows=rows, rollout=steps, batch=batch, epochs=epochs, target_kl=None, gae_lambda=0.95)
    model = theirs(rows, steps, batch, epochs)
    frames = rows * steps * updates

    def learn() -> None:
        for _ in range(updates):
            trainer.collect()
            trainer.learn()

    learn()  # warm
    model.learn(rows * steps)
    found = [(frames / seconds(learn), frames / seconds(lambda: model.learn(frames))) for _ in range(pairs)]
    ratios = sorted(one / other for one, other in found)
    fast, slow = (statistics.median(pair[k] for pair in found) for k in (0, 1))
    print(
        f"{rows} rows, {steps} steps, batch {batch}, {epochs} epochs: ours {fast:,.0f} frames/s, MaskablePPO {slow:,.0f}; "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} in {pairs} pairs)",
        flush=True,
    )


def race(seed: int, folder: Path) -> None:
    """Print how many seconds of training each takes from nothing to the mark."""
    mark = MARGIN * evaluate(["WSRPT"], EPISODES, split="valid", **WORLD).mean("WSRPT", "weighted_antt")
    trainer = ours(folder, seed, **RECOMMENDED)

    def update() -> int:
        trainer.collect()
        trainer.learn()
        return trainer.done

    fast = until(mark, update, lambda: trainer.policy(), 50_000)
    model = MaskablePPO("MlpPolicy", make_vec_env("prema_gym:Prema-v0", 8, seed=seed, env_kwargs=WORLD), seed=seed, device="cpu")

    def learn() -> int:
        model.learn(16_384, reset_num_timesteps=False)
        return model.num_timesteps

    slow = until(mark, learn, lambda: policy_from_sb3(model), 16_384)
    print(f"seed {seed}, to weighted ANTT {mark:.3f}: ours {fast[0]:.1f} s ({fast[1]:,} steps), stock MaskablePPO {slow[0]:.1f} s "
          f"({slow[1]:,} steps); ratio {slow[0] / fast[0]:.1f}", flush=True)  # fmt: skip


def until(mark: float, update: Callable[[], int], policy: Callable[[], Any], every: int) -> tuple[float, int]:
    """Train until the policy's weighted ANTT is at ``mark``, measured every so many steps; return (seconds, steps)."""
    spent, done, measured = 0.0, 0, 0
    while done < MOST_STEPS:
        start = time.perf_counter()
        done = update()
        spent += time.perf_counter() - start
        if done < measured + every:
            continue
        measured, current = done, policy()
        found = evaluate([current], EPISODES, split="valid", **WORLD).mean(current.name, "weighted_antt")
        if found <= mark:
            break
    return spent, done


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each, in turn (default 5)")
    parser.add_argument("--updates", type=int, default=2, help="rollouts and updates of each measurement (default 2)")
    parser.add_argument("--race", type=int, nargs="*", default=[], metavar="SEED", help="race to WSRPT + 5 %% with these seeds")
    options = parser.parse_args()
    torch.set_num_threads(1)  # for both
    register_network("stock", module=lambda arguments, config: Perceptron(Layout.of(config), config.mechanisms, UNITS))
    with tempfile.TemporaryDirectory() as folder:
        for rows, steps, batch, epochs in SETTINGS if options.pairs else ():
            compare_rates(rows, steps, batch, epochs, options.pairs, options.updates, Path(folder))
        for seed in options.race:
            race(seed, Path(folder))


if __name__ == "__main__":
    main()
