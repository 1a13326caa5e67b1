"""The arguments of a training run: those that every run has, and the options of its algorithm and of its network."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.learning.options import changed_words, option, recorded
from prema_gym.config import MECHANISMS, EnvConfig, WorkloadConfig

DEFAULT_ALGORITHM = "maskable_ppo"


@dataclass(frozen=True)
class Arguments:
    """A training run. :func:`agents.learning.training.make_arguments` makes one from names and values."""

    algo: str = option(DEFAULT_ALGORITHM, "The training algorithm.")
    seed: int = option(0, "Seed of episodes, initial weights and everything drawn: the same seed gives the same weights.")
    minutes: float = option(10.0, "Stop after so many minutes; a resumed run counts from its first start.")
    steps: int | None = option(
        None, "Stop after so many steps (decisions; generations of cma) instead: such a run is repeatable to the bit."
    )
    output: Path | None = option(
        None, "Folder of the run; without it results/train/<algo>-<network>-<seed>.", changes_weights=False
    )
    resume: bool = option(False, "Continue from the last checkpoint in the folder.", changes_weights=False)
    quiet: bool = option(False, "Print nothing but the last line.", changes_weights=False)

    # The environment
    window: float = option(WorkloadConfig().window, "Window of the workload's arrivals: a smaller one makes a busier NPU.")
    tasks: int = option(WorkloadConfig().num_tasks, "Number of tasks in an episode.")
    decision_every: int = option(4, "Quanta between decisions in training; evaluation has a decision at every quantum.")
    mechanisms: int = option(
        1, "Number of preemption mechanisms that may be used: 1 is CHECKPOINT alone, 2 adds KILL, 3 adds DRAIN."
    )

    # The objective
    opponent: str = option("INDEX", "The index rule to be better than. The slot network starts from it.")
    margins: str = option(
        "antt=1,sla_violation=1.5",
        "Improvements over the opponent that are required of single measures, in units of the objective's scales: only what"
        " exceeds them counts. '' requires none.",
        aliases=("--aims",),
    )

    # Selection of the best policy
    valid_episodes: int = option(4000, "Episodes of the split 'valid' in each evaluation.")
    evaluations: int = option(30, "Number of evaluations, evenly spaced over the run.")
    threads: int = option(os.cpu_count() or 1, "Threads that play episodes.", changes_weights=False)

    options: Any = None
    """The options of the algorithm: an instance of the dataclass that it was registered with."""
    network_options: Any = None
    """The options of the network, where the algorithm lets one choose it (its options have a field ``network``); else None."""

    @property
    def folder(self) -> Path:
        """Where the run keeps its files."""
        network = getattr(self.options, "network", None)
        name = "-".join(str(part) for part in (self.algo, network, self.seed) if part is not None)
        return self.output or Path("results") / "train" / name

    @property
    def training_config(self) -> EnvConfig:
        """The environment that is trained on."""
        return self._config(self.decision_every)

    @property
    def selection_config(self) -> EnvConfig:
        """The environment in which the best policy is chosen: a decision at every quantum."""
        return self._config(1)

    def _config(self, decision_every: int) -> EnvConfig:
        workload = {"window": self.window, "num_tasks": self.tasks}
        mechanisms = MECHANISMS[: self.mechanisms]
        return EnvConfig.coerce({"workload": workload, "decision_every": decision_every, "mechanisms": mechanisms})

    @property
    def _parts(self) -> tuple[Any, ...]:
        return tuple(part for part in (self, self.options, self.network_options) if part is not None)

    @property
    def command(self) -> str:
        """The command line that repeats the run: the options that differ from their defaults and can change weights."""
        return shlex.join(["python", "-m", "agents.train", *(word for part in self._parts for word in changed_words(part))])

    def recorded(self) -> dict[str, Any]:
        """Return all options that can change weights as JSON types, by name."""
        return {name: value for part in self._parts for name, value in recorded(part).items()}
