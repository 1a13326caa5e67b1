"""Learning by gradients: MaskablePPO, PPO and DQN of stable-baselines3 on the native vector environment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecMonitor

from agents.learning.arguments import Arguments
from agents.learning.cma import MEMORY, emphasis, index_prior, opponent_of
from agents.learning.objective import SCALES, five
from agents.learning.returns import MaskableSemiMarkovBuffer, SemiMarkovBuffer
from agents.learning.run import Run
from agents.learning.sb3_adapter import PremaVecEnv
from agents.network.slotnet import Shape, grown
from agents.network.torch_network import MaskableSlotPolicy, SlotPolicy
from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import load_weights
from baselines.evaluation.episodes import Played
from prema_gym.envs.view import View
from prema_gym.metrics import HP_EXCESS

REWARD_SIZE = 0.02
"""Scale of rewards: episodes return about 1 in each improvement's unit."""
TERMS = {"antt": "antt", "stp": "stp", "sla_violation": "sla", "fairness": "fairness_shaped", "hp_tail": "hp_excess"}
"""The reward term that stands for each measure; no sum over steps is a percentile, so ``hp_excess`` stands for ``hp_tail``."""
TAIL_SCALE = 0.2
"""Scale of ``hp_excess``, which moves about ten times as far as ``hp_tail``."""


LEAST_SHARE = 0.02
"""What every improvement counts at least."""


class Emphasis:
    """The reward's weights: the gradient of the improvements over an opponent, most on what lags behind."""

    def __init__(self, run: Run, env: PremaVecEnv) -> None:
        self.run = run
        self.env = env
        self.gains = np.array(run.state.get("gains", run.aims))
        """(5,) running mean of the improvements found at selection."""
        played = run.opponent(run.arguments.opponent)
        values = five(played)
        excess = max(float(played.metrics[:, HP_EXCESS].mean()), 1e-3)
        scales = np.array(list(SCALES.values())) * values
        scales[list(SCALES).index("hp_tail")] = TAIL_SCALE * excess
        self._per_share = REWARD_SIZE / scales
        self.apply()

    @property
    def shares(self) -> np.ndarray:
        """(5,) how much each improvement counts, most what is furthest from its aim; sums to 1."""
        shares = np.maximum(emphasis(self.gains - self.run.aims), LEAST_SHARE)
        return shares / shares.sum()

    def apply(self) -> None:
        """Make the environment pay by the present shares."""
        if self.run.arguments.reward == "dominance":
            weights = dict(zip(TERMS.values(), (self.shares * self._per_share).tolist(), strict=True))
            self.env.set_reward_weights(weights)

    def move(self, gains: np.ndarray) -> None:
        """Take account of the (5,) improvements found at selection."""
        self.gains = MEMORY * self.gains + (1 - MEMORY) * gains
        self.run.state["gains"] = self.gains.tolist()
        self.apply()


class TorchPolicy:
    """A model of stable-baselines3 behind the interface of all policies: for networks that have no compiled form."""

    clairvoyant = False

    def __init__(self, model: BaseAlgorithm, name: str) -> None:
        self.name = name
        self._model = model

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions."""
        masks: dict[str, Any] = {"action_masks": view.mask.astype(np.bool_)} if isinstance(self._model, MaskablePPO) else {}
        actions, _ = self._model.predict(view.observation, deterministic=True, **masks)
        return np.asarray(actions, np.int64)


class Keeper(BaseCallback):
    """Between rollouts: checkpoint, evaluate, say how it goes, stop when the time is over."""

    def __init__(self, run: Run, emphasis: Emphasis) -> None:
        super().__init__()
        self.run = run
        self.emphasis = emphasis
        self._steps, self._time = 0, time.monotonic()

    def _on_rollout_start(self) -> None:
        """Called before each rollout, that is, after each update."""
        if self.num_timesteps == self._steps == 0 and self.run.state["evaluated"] > 0:
            return
        self.save()
        if self.run.evaluation_due:
            self.evaluate()

    def _on_step(self) -> bool:
        return not self.run.over

    def save(self) -> None:
        """Write the checkpoint."""
        model = self.model
        self.run.checkpoint(self.num_timesteps, lambda path: save_model(model, path))

    def evaluate(self) -> None:
        """Play the episodes of selection and move the reward's weights."""
        now = time.monotonic()
        speed = f"{self.num_timesteps:,} decisions, {(self.num_timesteps - self._steps) / max(now - self._time, 1e-9):,.0f}/s"
        network = slot_network(self.model)
        gains = self.run.evaluate(played_by(self.run, self.model), speed, network)
        self.emphasis.move(gains)
        self._steps, self._time = self.num_timesteps, time.monotonic()


def slot_network(model: BaseAlgorithm) -> tuple[Shape, np.ndarray] | None:
    """Return (shape, flat weights) of a model whose actor is a slot network, else None."""
    extractor = getattr(model.policy, "mlp_extractor", None)
    actor = getattr(extractor, "actor", None)
    return None if actor is None else (actor.shape, actor.flat())


def played_by(run: Run, model: BaseAlgorithm) -> Played:
    """Play the episodes of selection under the model's largest logits."""
    network = slot_network(model)
    policy = TorchPolicy(model, "learner") if network is None else LearnedPolicy("learner", *network)
    return run.play_valid(policy)


def save_model(model: BaseAlgorithm, path: Path) -> None:
    """Write a checkpoint: the model with its optimizer, as stable-baselines3 does (load only your own: it runs code)."""
    with path.open("wb") as file:
        model.save(file)


def build_env(arguments: Arguments, done: int) -> PremaVecEnv:
    """Return the environment; after ``done`` decisions it goes on with other episodes than it began with."""
    config = arguments.training_config
    reward = "weighted_antt" if arguments.reward == "dominance" else arguments.reward
    env = PremaVecEnv(
        arguments.rows,
        split="train",
        workload=config.workload,
        mechanisms=config.mechanisms,
        decision_every=config.decision_every,
        reward=reward,
    )
    env.seed(arguments.seed * 1_000_003 + done)
    return env


def initial_network(arguments: Arguments) -> tuple[Shape, np.ndarray]:
    """Return (shape, flat weights) to start from: the opponent's rule, or a published network with fresh hidden layers."""
    shape = Shape(arguments.encoder, arguments.decoder, arguments.mechanisms)
    if arguments.init is None:
        prior = index_prior(opponent_of(arguments.opponent))
        return shape, shape.initial(prior, arguments.seed, held=True, cap=not arguments.no_cap)
    weights = load_weights(arguments.init)
    if weights.shape == shape:
        return shape, weights.flat
    return shape, grown(weights.shape, weights.flat, shape, arguments.seed)


def _policy(arguments: Arguments) -> tuple[Any, dict[str, Any]]:
    """Return (policy class or name, its arguments)."""
    if arguments.network == "mlp" or arguments.algo == "dqn":
        return "MlpPolicy", {"net_arch": [128, 128]}
    shape, flat = initial_network(arguments)
    chosen = MaskableSlotPolicy if arguments.algo == "maskable_ppo" else SlotPolicy
    return chosen, {"shape": shape, "flat": flat, "sharpness": arguments.sharpness}


def build_model(arguments: Arguments, env: PremaVecEnv) -> BaseAlgorithm:
    """Return a fresh model."""
    policy, policy_kwargs = _policy(arguments)
    common: dict[str, Any] = {
        "seed": arguments.seed,
        "device": "cpu",
        "policy_kwargs": policy_kwargs,
        "learning_rate": arguments.learning_rate,
        "gamma": 1.0,
    }
    if arguments.algo == "dqn":
        return DQN(policy, VecMonitor(env), batch_size=512, train_freq=8, gradient_steps=8, exploration_fraction=0.2, **common)
    on_policy: dict[str, Any] = {
        "n_steps": arguments.rollout,
        "batch_size": arguments.batch,
        "n_epochs": arguments.epochs,
        "gae_lambda": arguments.gae_lambda,
        "ent_coef": arguments.entropy,
        "target_kl": arguments.target_kl,
        "rollout_buffer_kwargs": {"env": env, "horizon_ms": arguments.horizon_ms},
    }
    if arguments.algo == "ppo":
        return PPO(policy, VecMonitor(env), rollout_buffer_class=SemiMarkovBuffer, **on_policy, **common)
    return MaskablePPO(policy, VecMonitor(env), rollout_buffer_class=MaskableSemiMarkovBuffer, **on_policy, **common)


def _resumed(arguments: Arguments, run: Run, env: PremaVecEnv, checkpoint: Path) -> BaseAlgorithm:
    """Return the model of the last checkpoint."""
    fresh = build_model(arguments, env)
    with checkpoint.open("rb") as file:
        fresh.set_parameters(_parameters(file), exact_match=True, device="cpu")
    fresh.num_timesteps = run.state["done"]
    set_random_seed(arguments.seed * 1_000_003 + run.state["done"])
    return fresh


def _parameters(file: Any) -> dict[str, Any]:
    from stable_baselines3.common.save_util import load_from_zip_file

    _, parameters, _ = load_from_zip_file(file, device="cpu")
    return parameters


def train(arguments: Arguments, run: Run) -> LearnedPolicy | None:
    """Train by gradients until the run is over; return the best policy, None where it has no publishable form."""
    torch.set_num_threads(1)
    env = build_env(arguments, run.state["done"])
    checkpoint = run.last_checkpoint
    model = build_model(arguments, env) if checkpoint is None else _resumed(arguments, run, env, checkpoint)
    model.set_logger(configure(str(run.folder / "tensorboard"), ["tensorboard"]))
    keeper = Keeper(run, Emphasis(run, env))
    left = 10**12 if arguments.steps is None else max(arguments.steps - run.state["done"], 0)
    run.start_clock()
    try:
        if left:
            model.learn(left, callback=keeper, reset_num_timesteps=checkpoint is None, progress_bar=False)
    finally:
        keeper.save()
    if run.evaluation_due:
        keeper.evaluate()
    best = run.folder / "best.safetensors"
    return LearnedPolicy.load(best) if best.exists() else None
