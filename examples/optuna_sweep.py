"""A search over hyperparameters with Optuna: ``python examples/optuna_sweep.py`` (extras ``rl`` and ``examples``).

Every trial trains MaskablePPO with other settings for a while. Trials are judged by the weighted ANTT on episodes of the split
"valid", and given up early where they are behind the others. What the best one is worth is said on the split "eval", which no
trial has seen: the best of many was partly lucky on "valid".
"""

from __future__ import annotations

import argparse
from typing import Any

import optuna
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from agents import policy_from_sb3
from agents.learning.sb3.adapter import PremaVecEnv
from baselines import evaluate

ROWS = 64
REPORTS = 5  # of each trial: how often it can be given up
MEASURE = "weighted_antt"


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Return the settings of a trial."""
    width = trial.suggest_categorical("width", [32, 64, 128])
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        "n_steps": trial.suggest_categorical("n_steps", [32, 64, 128]),
        "ent_coef": trial.suggest_float("ent_coef", 1e-5, 1e-2, log=True),
        "gae_lambda": trial.suggest_float("gae_lambda", 0.8, 1.0),
        "clip_range": trial.suggest_float("clip_range", 0.1, 0.4),
        "policy_kwargs": {"net_arch": [width, width]},
    }


def build(settings: dict[str, Any]) -> MaskablePPO:
    """Return an untrained model: CHECKPOINT alone, no discount, and the trial's settings."""
    env = PremaVecEnv(ROWS, split="train", mechanisms=["CHECKPOINT"])
    return MaskablePPO("MlpPolicy", env, batch_size=1024, gamma=1.0, seed=0, device="cpu", **settings)


def cost(model: Any, episodes: int) -> float:
    """Return the model's weighted ANTT on "valid"."""
    return evaluate([policy_from_sb3(model, "TRIAL")], episodes, split="valid").mean("TRIAL", MEASURE)


class Report(BaseCallback):
    """Tells Optuna how a trial is doing, and stops it where that is worse than most others were at this point."""

    def __init__(self, trial: optuna.Trial, every: int, episodes: int) -> None:
        super().__init__()
        self.trial, self.every, self.episodes, self.reported = trial, every, episodes, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        number = self.num_timesteps // self.every
        if number > self.reported:
            self.reported = number
            self.trial.report(cost(self.model, self.episodes), number)
            if self.trial.should_prune():
                raise optuna.TrialPruned


def sweep(trials: int, steps: int, episodes: int, seed: int) -> optuna.Study:
    """Run the trials; return the study."""

    def objective(trial: optuna.Trial) -> float:
        model = build(suggest(trial))
        model.learn(steps, callback=Report(trial, max(steps // REPORTS, 1), episodes))
        return cost(model, episodes)

    sampler, pruner = optuna.samplers.TPESampler(seed=seed), optuna.pruners.MedianPruner(n_startup_trials=4)
    study = optuna.create_study(
        sampler=sampler, pruner=pruner
    )  # storage="sqlite:///sweep.db" would keep it, for many processes too
    study.optimize(objective, trials)
    return study


def main() -> None:
    """Search, train with the best settings, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="(default 20)")
    parser.add_argument(
        "--steps", type=int, default=100_000, help="of a trial; the best is trained on three times as many (default 100000)"
    )
    parser.add_argument("--episodes", type=int, default=300, help="of the comparison, and of a judgement (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so small a network is not worth a second thread

    study = sweep(options.trials, options.steps, options.episodes, options.seed)
    print(f"best of {len(study.trials)} trials: {MEASURE} {study.best_value:.3f} on valid, with {study.best_params}")
    model = build(suggest(optuna.trial.FixedTrial(study.best_params)))
    model.learn(3 * options.steps)
    print(evaluate(["PREMA", "WSRPT", policy_from_sb3(model, "TUNED")], options.episodes))


if __name__ == "__main__":
    main()
