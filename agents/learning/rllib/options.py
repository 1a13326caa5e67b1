"""Options of the recipe. Importing them loads neither torch nor Ray."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from agents.learning.options import option
from prema_gym.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Options:
    """How masked PPO of RLlib trains: the settings that the page on learning recommends, on as many runners as there are cores."""

    minutes: float = option(
        10.0, "Stop after so many minutes of training and evaluation; a resumed run counts from its first start."
    )
    runners: int = option(2, "Processes that play, of one core each; 0 plays in the process that learns.")
    rows: int = option(64, "Environments that each of them steps together.")
    rollout: int = option(8192, "Decisions of all runners between two updates.")
    batch: int = option(2048, "Decisions in the batch of a gradient step.")
    epochs: int = option(10, "Passes over a rollout in each update.")
    learning_rate: float = option(3e-4, "Learning rate of Adam.")
    entropy: float = option(0.0, "Weight of the entropy bonus.")
    gamma: float = option(1.0, "Discount per decision.")
    gae_lambda: float = option(0.95, "Lambda of the generalised advantage estimate, per decision.")
    units: int = option(64, "Units of each of the two hidden layers, of actor and critic.")
    evaluations: int = option(10, "Number of evaluations, evenly spaced over the run.")
    valid_episodes: int = option(500, "Episodes of the split 'valid' in each evaluation.")
    output: Path | None = option(None, "Folder of the run; without it results/rllib/<seed>.", changes_weights=False)
    resume: bool = option(False, "Continue from the last checkpoint in the folder.", changes_weights=False)
    address: str | None = option(
        None, "Of a Ray cluster; without it $RAY_ADDRESS, else a head on this machine.", changes_weights=False
    )

    def check(self) -> None:
        """Raise :class:`UsageError` for an impossible number."""
        for name in ("rows", "rollout", "batch", "epochs", "units", "evaluations", "valid_episodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 1.")
        if self.runners < 0:
            raise UsageError(f"--runners {self.runners}: must be at least 0.")
        if self.batch > self.rollout:
            raise UsageError(f"--batch {self.batch}: must be at most --rollout, {self.rollout}.")
        if not 0 < self.minutes < float("inf"):
            raise UsageError(f"--minutes {self.minutes:g}: must be above 0.")
        if not 0 < self.gamma <= 1 or not 0 <= self.gae_lambda <= 1:
            raise UsageError(f"--gamma {self.gamma:g}, --gae-lambda {self.gae_lambda:g}: must lie in (0, 1] and [0, 1].")
        if not self.learning_rate > 0 or self.entropy < 0:
            raise UsageError(
                f"--learning-rate {self.learning_rate:g}, --entropy {self.entropy:g}: must be above 0, and at least 0."
            )
