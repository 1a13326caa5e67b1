"""MaskablePPO of stable-baselines3 with callbacks, and ANTT in TensorBoard: ``python examples/sb3_callbacks.py``.

Then ``tensorboard --logdir results/sb3`` shows, beside what the library logs itself:

* ``train_episodes/...``: metrics of the episodes that training plays, with all their exploration;
* ``valid/...``: the model as it would be used, and PREMA, on episodes of the split "valid".

The model that was best on "valid" is kept in ``best.zip``, a model of every 100 000 steps in ``checkpoints/``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback

from agents import policy_from_sb3
from agents.learning.sb3.adapter import PremaVecEnv
from baselines import evaluate

ROWS = 64
MEASURES = ("antt", "weighted_antt", "sla_violation", "fairness")
JUDGED_BY = "weighted_antt"  # what the default reward pays for


class LogEpisodes(BaseCallback):
    """Logs the metrics of the episodes that end during a rollout, as their means."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[dict[str, float]] = []

    def _on_step(self) -> bool:
        self.ended += [info["metrics"] for info in self.locals["infos"] if "metrics" in info]
        return True

    def _on_rollout_end(self) -> None:
        for measure in MEASURES if self.ended else ():
            self.logger.record(f"train_episodes/{measure}", float(np.mean([metrics[measure] for metrics in self.ended])))
        self.ended.clear()


class KeepBest(BaseCallback):
    """Plays the model on episodes of the split "valid" every so many steps, logs its measures and PREMA's, and keeps the best."""

    def __init__(self, path: Path, every: int, episodes: int) -> None:
        super().__init__()
        self.path, self.every, self.episodes = path, every, episodes
        self.prema = evaluate(["PREMA"], episodes, split="valid")
        self.best, self.due = np.inf, every

    def _on_rollout_end(self) -> None:
        if self.num_timesteps >= self.due:
            self.measure()
            self.due = self.num_timesteps + self.every

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.measure()
        self.logger.dump(self.num_timesteps)

    def measure(self) -> None:
        """Play, log, and keep the model if it is the best so far."""
        mine = evaluate([policy_from_sb3(self.model, "MINE")], self.episodes, split="valid")
        for measure in MEASURES:
            self.logger.record(f"valid/{measure}", mine.mean("MINE", measure))
            self.logger.record(f"valid/{measure}_of_prema", self.prema.mean("PREMA", measure))
        cost = mine.mean("MINE", JUDGED_BY)
        print(f"{self.num_timesteps:8} steps: {JUDGED_BY} {cost:.3f}, PREMA {self.prema.mean('PREMA', JUDGED_BY):.3f}")
        if cost < self.best:
            self.best = cost
            self.model.save(self.path)


def train(steps: int, episodes: int, seed: int, folder: Path) -> MaskablePPO:
    """Train for ``steps`` steps; return the model that was best on "valid"."""
    torch.set_num_threads(1)  # so small a network is not worth a second thread
    env = PremaVecEnv(ROWS, split="train", mechanisms=["CHECKPOINT"])
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=128, batch_size=2048, gamma=1.0, seed=seed, device="cpu", tensorboard_log=str(folder)
    )
    best = folder / "best.zip"
    callbacks = [
        LogEpisodes(),
        KeepBest(best, every=50_000, episodes=episodes),
        CheckpointCallback(100_000 // ROWS, str(folder / "checkpoints")),
    ]
    model.learn(steps, callback=callbacks, tb_log_name="maskable_ppo")
    model.set_parameters(str(best))
    return model


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300_000, help="of training, over all rows (default 300000: some 20 seconds)")
    parser.add_argument("--episodes", type=int, default=300, help='of the comparison, and on "valid" (default 300)')
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    parser.add_argument(
        "--output", type=Path, default=Path("results") / "sb3", help="folder of logs and models (default results/sb3)"
    )
    options = parser.parse_args()
    model = train(options.steps, options.episodes, options.seed, options.output)
    print(evaluate(["PREMA", "WSRPT", policy_from_sb3(model, "MINE")], options.episodes))


if __name__ == "__main__":
    main()
