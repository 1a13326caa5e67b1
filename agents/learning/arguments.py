"""The arguments of a training run: those that every run has, and the options of its algorithm and of its network."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.learning.objective import DOMINANCE
from agents.learning.options import changed_words, option, recorded
from agents.learning.selection import check_measure
from baselines.commands.options import workload_of
from prema_gym.checks import one_of
from prema_gym.config import MECHANISMS, EnvConfig, WorkloadConfig
from prema_gym.config.scenarios import scenario_of
from prema_gym.errors import PolicyError

DEFAULT_ALGORITHM = "maskable_ppo"
DECISION_EVERY = 4
"""Quanta between decisions in training to dominate, where nothing is said."""
DEFAULT_MEASURE = "weighted_antt"
"""What the best policy of a stream is chosen by, where neither the run nor a scenario says."""


def mechanism_count(words: Sequence[str]) -> int:
    """Return how many mechanisms ``words`` name: the network's columns are the first ones, CHECKPOINT, KILL, DRAIN."""
    if len(words) == 1 and words[0].isdecimal() and 1 <= int(words[0]) <= len(MECHANISMS):
        return int(words[0])
    for word in words:
        one_of("mechanism", word, MECHANISMS, error=PolicyError)
    if set(words) != set(MECHANISMS[: len(set(words))]):
        allowed = ", or ".join(" ".join(MECHANISMS[:count]) for count in range(1, len(MECHANISMS) + 1))
        raise PolicyError(f"--mechanisms {' '.join(words)}: runs train with {allowed}.")
    return len(set(words))


def with_workload(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a run with ``workload`` as JSON, and the window and the tasks that it says as options of their own."""
    if given.get("workload") is None:
        return dict(given)
    fields = workload_of(given["workload"])
    said = {name: fields.pop(field) for name, field in (("window", "window"), ("tasks", "num_tasks")) if field in fields}
    return {**said, **given, "workload": json.dumps(fields, sort_keys=True)}


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
    scenario: str | None = option(None, "Scenario whose arguments the other options change.")
    npu: str | None = option(None, "Hardware preset of the NPU (prema where nothing is said).")
    npus: str | None = option(None, "Several NPUs behind one context table, as in prema,prema,edge.")
    workload: str | None = option(None, "What is asked for: a mix's name, a .json file, or JSON; other options take its place.")
    window: float = option(WorkloadConfig().window, "Window of the workload's arrivals: a smaller one makes a busier NPU.")
    tasks: int = option(WorkloadConfig().num_tasks, "Number of tasks in an episode.")
    decision_every: int | None = option(
        None,
        "Quanta between decisions in training, 0 for arrivals and completions only. Without it 4, and evaluation has a decision at"
        " every quantum; where the best policy is chosen by one measure 0, and evaluation asks as training does.",
    )
    mechanisms: int = option(
        1,
        "Ways to evict that may be used: CHECKPOINT, CHECKPOINT KILL, or all three; a number says how many.",
        words=mechanism_count,
        said=lambda count: MECHANISMS[:count],
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
    select: str | None = option(
        None,
        "What the best policy is chosen by: 'dominance', all headline measures over the opponent's; or one measure's name. Without"
        " it dominance; on streams the scenario's main measure.",
    )
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
        dominates = self.chosen_by == DOMINANCE
        return self._config((DECISION_EVERY if dominates else 0) if self.decision_every is None else self.decision_every)

    @property
    def selection_config(self) -> EnvConfig:
        """The environment in which the best policy is chosen; by dominance with a decision at every quantum."""
        return self._config(1) if self.chosen_by == DOMINANCE else self.training_config

    @property
    def chosen_by(self) -> str:
        """What the best policy is chosen by: DOMINANCE, or a measure's name."""
        if self.select is not None:
            return self.select
        if not self._config(0).stream:
            return DOMINANCE
        return DEFAULT_MEASURE if self.scenario is None else scenario_of(self.scenario).measure

    def _config(self, decision_every: int) -> EnvConfig:
        named = {"scenario": self.scenario, "npu": self.npu, "npus": self.npus}
        workload = {**json.loads(self.workload or "{}"), "window": self.window, "num_tasks": self.tasks}
        given = {name: value for name, value in named.items() if value is not None}
        chosen = {"workload": workload, "decision_every": decision_every or None, "mechanisms": MECHANISMS[: self.mechanisms]}
        return EnvConfig.coerce({**given, **chosen})

    def check(self) -> None:
        """Raise :class:`PremaError` where the run can't train on what it is given."""
        if self.training_config.stream and self.chosen_by == DOMINANCE:
            raise PolicyError(
                f"--select {DOMINANCE}: compares the metrics of an episode's tasks, which a stream doesn't have: name a measure."
            )
        check_measure(self.chosen_by, stream=self.training_config.stream)

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
