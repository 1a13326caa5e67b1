"""Masked PPO of RLlib (new API stack): runners play on other processes or machines, this one learns, evaluates and writes.

A runner that dies is started again, and training goes on with the others meanwhile. The folder of the run holds the best
network with its card, ``log.jsonl``, ``state.json``, and ``checkpoint``, RLlib's own.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from agents.learning.options import recorded
from agents.learning.rllib.module import MaskedPerceptron, published
from agents.learning.rllib.options import Options
from agents.learning.rllib.rows import MaskedRows
from agents.learning.selection import PREMA, SELECTION_SEED, SELECTION_SPLIT
from agents.policies.card import Card, write_card
from agents.policies.onnx_file import SUFFIX as ONNX
from agents.policies.onnx_file import write_onnx
from agents.policies.torch_module import policy_from_torch
from agents.publishing.policies import BEST
from agents.publishing.provenance import provenance
from agents.publishing.weights import SUFFIX as WEIGHTS
from agents.publishing.weights import save_weights
from baselines.evaluation.evaluate import evaluate
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError
from prema_gym.files import write_text

MEASURE = "weighted_antt"
"""What the best network is chosen by, on the split "valid"."""
CHECKPOINT, LOG, STATE = "checkpoint", "log.jsonl", "state.json"
_ROWS_STRIDE = 1_000_003
"""Seeds of two runners' rows lie this far apart."""
_RUNS_STRIDE = 10_000
"""Those of two runs lie so many runners apart."""
_RESTARTED = 5_000
"""Added to the seed of a runner that was started again: it plays other episodes than those it had begun with."""


@dataclass
class Progress:
    """What a resumed run goes on with, beside RLlib's checkpoint."""

    seconds: float = 0.0
    frames: int = 0
    evaluated: int = 0
    best: float | None = None
    log: list[dict[str, Any]] = field(default_factory=list)


class RunnerRows(MaskedRows):
    """A runner's environment, as RLlib makes it."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        """Take what RLlib hands over: the arguments of the environment, and the number of rows."""
        super().__init__(**{"num_envs": 1, **context})

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every row; RLlib gives a seed once, that of the run and the runner's number added up."""
        apart = None if seed is None else (seed + _started_again() * _RESTARTED) * _ROWS_STRIDE
        return super().reset(seed=apart, options=options)


def _started_again() -> bool:
    """Whether this process is a runner in the place of one that died."""
    here = ray.get_runtime_context()
    return here.get_actor_id() is not None and bool(here.was_current_actor_reconstructed)


def algorithm_config(options: Options, seed: int, arguments: dict[str, Any]) -> PPOConfig:
    """Return RLlib's configuration; ``arguments`` are the environment's, the reward among them."""
    units = (options.units, options.units)
    return (
        PPOConfig()
        .environment(env=RunnerRows, env_config=arguments)
        .env_runners(
            num_env_runners=options.runners,
            num_envs_per_env_runner=options.rows,
            gym_env_vectorize_mode="vector_entry_point",
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedPerceptron, model_config={"hidden": units}))
        .training(
            lr=options.learning_rate,
            gamma=options.gamma,
            lambda_=options.gae_lambda,
            train_batch_size=options.rollout,
            minibatch_size=options.batch,
            num_epochs=options.epochs,
            entropy_coeff=options.entropy,
            clip_param=0.2,
            vf_loss_coeff=0.5,
            vf_clip_param=1e6,
            use_kl_loss=False,
            grad_clip=0.5,
        )
        .fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.0)
        .debugging(seed=seed * _RUNS_STRIDE % 2**31, log_level="ERROR")
    )


class Training:
    """A run in its folder."""

    def __init__(self, options: Options, seed: int, arguments: dict[str, Any], command: str, say: Callable[[str], None]) -> None:
        self.options, self.seed, self.arguments, self.command, self.say = options, seed, arguments, command, say
        self.folder = options.output or Path("results") / "rllib" / str(seed)
        self.config = EnvConfig.coerce(arguments)
        self.card = Card(self.config.mechanisms, self.config.decision_every, self.config.allow_idle)
        self.progress = self._read() if options.resume else Progress()
        self.reference = float("nan")
        """What PREMA is worth on the episodes of selection."""
        self.restarts = 0
        """Runners that were started again, of this part of the run."""
        self._begun = time.monotonic()
        self._world = {name: value for name, value in arguments.items() if name != "reward"}

    # --- The run -----------------------------------------------------------------------------------------------------------------

    def run(self) -> Path:
        """Train until the minutes are over or Ctrl-C, on a connected Ray; return the path of the best network."""
        torch.set_num_threads(1)
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        self.reference = self._played(PREMA, mechanisms=None, decision_every=None)
        algorithm = algorithm_config(self.options, self.seed, self.arguments).build_algo()
        try:
            if self.options.resume:
                algorithm.restore_from_path(str((self.folder / CHECKPOINT).absolute()))
            else:
                shutil.rmtree(self.folder / CHECKPOINT, ignore_errors=True)
            self._begun = time.monotonic()
            self._train(algorithm)
        finally:
            algorithm.stop()
        return self.best

    @property
    def best(self) -> Path:
        """Where the best network lies: weights; on several NPUs, where published perceptrons evict on events only, a graph."""
        return self.folder / f"{BEST}{ONNX if len(self.config.all_npus) > 1 else WEIGHTS}"

    def _train(self, algorithm: PPO) -> None:
        self.progress.evaluated = int(self.share * self.options.evaluations)  # a resumed run may be longer than it was to be
        while self.share < 1.0:
            found = algorithm.train()
            self.progress.frames += int(found["env_runners"].get("num_env_steps_sampled", 0))
            self.restarts = int(found.get("fault_tolerance", {}).get("num_remote_worker_restarts", 0))
            if self.share * self.options.evaluations >= self.progress.evaluated + 1:
                self._evaluate(algorithm)
        if not self.progress.log or self.progress.log[-1]["frames"] != self.progress.frames:
            self._evaluate(algorithm)

    @property
    def seconds(self) -> float:
        """Time spent so far, earlier parts of a resumed run included."""
        return self.progress.seconds + time.monotonic() - self._begun

    @property
    def share(self) -> float:
        """How much of the run is over, in [0, 1]."""
        return min(1.0, self.seconds / (60.0 * self.options.minutes))

    # --- Evaluation --------------------------------------------------------------------------------------------------------------

    def _evaluate(self, algorithm: PPO) -> None:
        actor = copy.deepcopy(algorithm.get_module().actor)
        policy = policy_from_torch(actor, BEST, mechanisms=self.card.mechanisms, asked_every=self.card.asked_every)
        value, progress = self._played(policy), self.progress
        better = progress.best is None or value < progress.best
        if better:
            progress.best = value
            self._export(actor)
        progress.evaluated = max(progress.evaluated + 1, int(self.share * self.options.evaluations))
        progress.log.append(
            {
                "seconds": round(self.seconds, 1),
                "frames": progress.frames,
                MEASURE: value,
                "best": progress.best,
                "restarts": self.restarts,
            }
        )
        algorithm.save_to_path(str((self.folder / CHECKPOINT).absolute()))
        progress.seconds, self._begun = self.seconds, time.monotonic()
        write_text(self.folder / STATE, json.dumps(vars(progress)))
        write_text(self.folder / LOG, "".join(json.dumps(line) + "\n" for line in progress.log))
        rate = progress.frames / progress.seconds
        again = f", {self.restarts} runners started again" if self.restarts else ""
        self.say(
            f"{100 * self.share:3.0f} %  {progress.frames:,} decisions, {rate:,.0f}/s{again} | weighted ANTT {value:.3f} "
            f"(PREMA {self.reference:.3f}){' best' if better else ''}"
        )

    def _played(self, policy: Any, **changed: Any) -> float:
        """Return the measure of ``policy`` on "valid"; ``changed`` arguments that are None are the policy's own to say."""
        world = {name: value for name, value in (self._world | changed).items() if name not in changed or value is not None}
        found = evaluate([policy], self.options.valid_episodes, SELECTION_SEED, split=SELECTION_SPLIT, threads=1, **world)
        return found.mean(found.policies[0], MEASURE)

    def _export(self, actor: torch.nn.Module) -> None:
        """Write the best network, and a card that says what it needs and how it was made."""
        about = {
            "summary": "masked PPO of RLlib on a perceptron over all slots.",
            "command": self.command,
            "algorithm": "PPO (RLlib)",
            "ray": ray.__version__,
            "seed": self.seed,
            "arguments": recorded(self.options),
            "training": self.config.to_dict(),
            "selection": {
                "split": SELECTION_SPLIT,
                "seed": SELECTION_SEED,
                "episodes": self.options.valid_episodes,
                "results": {MEASURE: self.progress.best, f"{MEASURE} of {PREMA}": self.reference},
            },
            **provenance(),
        }
        if self.best.suffix == WEIGHTS:
            needs = {"asked_every": self.card.asked_every, "allow_idle": self.card.allow_idle}
            save_weights(self.best, *published(actor, self.config), {**needs, **about})
            return
        write_onnx(actor.eval(), self.config_features, self.best)
        write_card(self.best, self.card, about)

    @property
    def config_features(self) -> int:
        """Numbers of an observation, the mask left out."""
        rows = MaskedRows(1, **self.arguments)
        shape = rows.single_observation_space.shape
        assert shape is not None
        return int(shape[0] - rows.single_action_space.n)  # type: ignore[attr-defined]

    # --- Going on ----------------------------------------------------------------------------------------------------------------

    def _read(self) -> Progress:
        path = self.folder / STATE
        try:
            return Progress(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise PolicyError(f"{path}: nothing to go on from ({error}).") from error
