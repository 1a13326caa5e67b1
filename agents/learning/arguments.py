"""Everything that a training run can be told, in one place: the fields are the options of ``python -m agents.train``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prema_gym.config import MECHANISMS, EnvConfig, WorkloadConfig

ALGOS = ("maskable_ppo", "ppo", "dqn", "cma")
NETWORKS = ("slots", "mlp")
_NO_MATTER = ("output", "resume", "quiet", "threads")
"""Arguments that change no weight."""


def _about(text: str, choices: Sequence[str] | None = None) -> dict[str, Any]:
    """Return what the command line says of a field."""
    return {"help": text, "choices": choices}


@dataclass(frozen=True)
class Arguments:
    """A training run. What is left out of a command line has the value given here."""

    algo: str = field(default="maskable_ppo", metadata=_about("how to learn", ALGOS))
    seed: int = field(
        default=0, metadata=_about("of episodes, initial weights and everything drawn; the same seed gives the same weights")
    )
    minutes: float = field(default=10.0, metadata=_about("stop after this long (a resumed run counts from its first start)"))
    steps: int | None = field(
        default=None, metadata=_about("stop after so many decisions (cma: generations); with it a run is repeatable to the bit")
    )
    output: Path | None = field(default=None, metadata=_about("folder of the run (default results/train/<algo>-<network>-<seed>)"))
    resume: bool = field(default=False, metadata=_about("go on from the folder's last checkpoint"))
    quiet: bool = field(default=False, metadata=_about("print nothing but the last line"))

    # What is played
    window: float = field(default=WorkloadConfig().window, metadata=_about("of the workload: smaller is busier"))
    tasks: int = field(default=WorkloadConfig().num_tasks, metadata=_about("per episode"))
    decision_every: int = field(
        default=4,
        metadata=_about("quanta between decisions in training; evaluation asks at every quantum"),
    )
    mechanisms: int = field(default=1, metadata=_about("columns of the network: 1 is CHECKPOINT alone, 2 adds KILL, 3 DRAIN"))
    opponent: str = field(
        default="INDEX", metadata=_about("the index rule that is to be beaten, and that the slot network starts from")
    )

    aims: str = field(
        default="antt=1,sla_violation=1.5",
        metadata=_about("improvements over the opponent, in units, that count as none yet; '' for none"),
    )

    # Selection
    valid_episodes: int = field(default=4000, metadata=_about("episodes of the split 'valid' at each evaluation"))
    evaluations: int = field(default=30, metadata=_about("how often to evaluate, evenly over the run"))

    # Network
    network: str = field(
        default="slots", metadata=_about("permutation-equivariant over slots, or one perceptron over all", NETWORKS)
    )
    encoder: int = field(default=16, metadata=_about("units of the slot network's encoder (cma searches B alone)"))
    decoder: int = field(default=16, metadata=_about("units of its decoder"))
    init: Path | None = field(default=None, metadata=_about("weights to start from (a published file) in place of the index rule"))
    no_cap: bool = field(default=False, metadata=_about("do without the inputs that tell what would cost fairness (an ablation)"))
    sharpness: float = field(default=6.0, metadata=_about("factor on the initial logits: larger explores less"))

    # Gradients
    rows: int = field(default=64, metadata=_about("environments that play at once"))
    rollout: int = field(default=512, metadata=_about("decisions of each row between updates"))
    batch: int = field(default=4096, metadata=_about("of a gradient step"))
    epochs: int = field(default=4, metadata=_about("passes over a rollout"))
    learning_rate: float = field(default=1e-3, metadata=_about("of Adam"))
    entropy: float = field(default=0.0, metadata=_about("weight of the entropy bonus"))
    gae_lambda: float = field(default=0.97, metadata=_about("of generalised advantages, per decision"))
    horizon_ms: float | None = field(
        default=None, metadata=_about("time constant of the discount; none: rewards are not discounted")
    )
    target_kl: float | None = field(default=0.02, metadata=_about("an update stops where the policy has moved this far"))
    reward: str = field(
        default="dominance",
        metadata=_about("'dominance' adapts the weights of five terms to the weakest gain; else a reward term's name"),
    )

    # CMA-ES
    population: int = field(default=16, metadata=_about("candidates of a generation"))
    episodes: int = field(default=512, metadata=_about("of the split 'train' that each candidate plays"))
    threads: int = field(default=os.cpu_count() or 1, metadata=_about("of compiled rollouts"))

    @property
    def folder(self) -> Path:
        """Where the run keeps its files."""
        return self.output or Path("results") / "train" / f"{self.algo}-{self.network}-{self.seed}"

    @property
    def training_config(self) -> EnvConfig:
        """The environment that is trained on."""
        return self._config(self.decision_every)

    @property
    def config(self) -> EnvConfig:
        """The environment that policies are chosen on: a decision at every quantum."""
        return self._config(1)

    def _config(self, decision_every: int) -> EnvConfig:
        workload = {"window": self.window, "num_tasks": self.tasks}
        mechanisms = MECHANISMS[: self.mechanisms]
        return EnvConfig.coerce({"workload": workload, "decision_every": decision_every, "mechanisms": mechanisms})

    @property
    def command(self) -> str:
        """The command line that repeats the run: what differs from the defaults and matters for the weights."""
        words = ["python", "-m", "agents.train"]
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if value != entry.default and entry.name not in _NO_MATTER:
                words += ["--" + entry.name.replace("_", "-"), *([] if value is True else [str(value)])]
        return shlex.join(words)

    def plain(self) -> dict[str, Any]:
        """Return the fields that matter for the weights as JSON types."""
        fields = {key: value for key, value in dataclasses.asdict(self).items() if key not in _NO_MATTER}
        return {key: str(value) if isinstance(value, Path) else value for key, value in fields.items()}


def build_parser() -> argparse.ArgumentParser:
    """Return a parser with one option for each field of :class:`Arguments`."""
    parser = argparse.ArgumentParser("python -m agents.train", description="Train a scheduler and publish its weights.")
    hints = typing.get_type_hints(Arguments)
    for entry in dataclasses.fields(Arguments):
        option = "--" + entry.name.replace("_", "-")
        text = f"{entry.metadata['help']} (default {'none' if entry.default is None else entry.default})"
        if hints[entry.name] is bool:
            parser.add_argument(option, action="store_true", help=entry.metadata["help"])
            continue
        kind = _plain_type(hints[entry.name])
        parser.add_argument(
            option, type=kind, default=entry.default, choices=entry.metadata["choices"], help=text.replace("%", "%%")
        )
    return parser


def _plain_type(hint: Any) -> Any:
    """Return the type of an option: ``X`` of ``X | None``."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def parse(arguments: Sequence[str] | None = None) -> Arguments:
    """Return the command line's arguments."""
    return Arguments(**vars(build_parser().parse_args(arguments)))
