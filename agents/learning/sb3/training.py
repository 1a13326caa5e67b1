"""Training by gradients: what the algorithms of stable-baselines3 share on the native vector environment.

The environment and its adaptive reward, the callback that saves and evaluates between rollouts, checkpoints, and the training loop.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.save_util import load_from_zip_file, save_to_zip_file
from stable_baselines3.common.utils import set_random_seed

from agents.learning.arguments import Arguments
from agents.learning.checkpoint import load_arrays, save_arrays
from agents.learning.gradients.options import GradientOptions, OnPolicyOptions
from agents.learning.gradients.reward import AdaptiveReward, first_reward, seed_of_rows
from agents.learning.log import TENSORBOARD
from agents.learning.run import Run
from agents.learning.sb3.adapter import PremaVecEnv
from agents.network.slots.layout import Shape
from agents.policies.sb3 import policy_from_sb3
from agents.publishing.policies import LearnedPolicy
from baselines.policies.policy import Policy
from prema_gym.envs.state import arrays_of, state_of
from prema_gym.errors import PolicyError

_UNLIMITED = 10**12
"""Decisions asked of stable-baselines3 where the run ends by the clock."""
BuildModel = Callable[[Arguments, PremaVecEnv], BaseAlgorithm]


def build_env(arguments: Arguments, done: int) -> PremaVecEnv:
    """Return rows of the split "train"; a resumed run, after ``done`` steps, plays other episodes than it began with."""
    config, options = arguments.training_config, arguments.options
    env = PremaVecEnv(options.rows, split="train", **{**config.to_dict(), "reward": first_reward(arguments)})
    env.seed(seed_of_rows(arguments, done))
    return env


# --- Settings of stable-baselines3 ------------------------------------------------------------------------------------------------


def common_settings(arguments: Arguments) -> dict[str, Any]:
    """Return the constructor's arguments that all algorithms share; discounts are by time or not at all."""
    options: GradientOptions = arguments.options
    return {"seed": arguments.seed, "device": "cpu", "learning_rate": options.learning_rate, "gamma": 1.0}


def on_policy_settings(arguments: Arguments, env: PremaVecEnv) -> dict[str, Any]:
    """Return the constructor's arguments that PPO has with masks and without."""
    options: OnPolicyOptions = arguments.options
    return {
        "n_steps": options.rollout,
        "batch_size": options.batch,
        "n_epochs": options.epochs,
        "gae_lambda": options.gae_lambda,
        "ent_coef": options.entropy,
        "target_kl": options.target_kl,
        "rollout_buffer_kwargs": {"env": env, "horizon_ms": options.horizon_ms},
        **common_settings(arguments),
    }


# --- Policies -------------------------------------------------------------------------------------------------------------------


def slot_network(model: BaseAlgorithm) -> tuple[Shape, np.ndarray] | None:
    """Return (shape, flat weights) of a model whose actor is a slot network, else None."""
    extractor = getattr(model.policy, "mlp_extractor", None)
    actor = getattr(extractor, "actor", None)
    return None if actor is None else (actor.shape, actor.flat())


def policy_of(model: BaseAlgorithm) -> Policy:
    """Return the policy that plays the model's largest logits, in compiled code where the network has such a form."""
    network = slot_network(model)
    return policy_from_sb3(model, "learner") if network is None else LearnedPolicy("learner", *network)


# --- Training -------------------------------------------------------------------------------------------------------------------


class EvaluationCallback(BaseCallback):
    """Between rollouts: write a checkpoint, evaluate, adapt the reward; stop when the run is finished."""

    def __init__(self, run: Run, reward: AdaptiveReward) -> None:
        super().__init__()
        self.run = run
        self.reward = reward
        self._steps, self._time = run.done, time.monotonic()
        """Decisions and clock at the last evaluation."""

    def _on_rollout_start(self) -> None:
        """Called before each rollout, that is, after each update."""
        self.save_and_evaluate()

    def _on_step(self) -> bool:
        return not self.run.finished

    def save(self) -> None:
        """Write the checkpoint."""
        model = self.model
        self.run.checkpoint(model.num_timesteps, lambda path: save_model(model, path))

    def save_and_evaluate(self) -> None:
        """Write the checkpoint, and evaluate where that is due."""
        self.save()
        if self.run.evaluation_due:
            self.evaluate()
            self.save()

    def evaluate(self) -> None:
        """Evaluate the present policy and adapt the reward's weights."""
        done = self.model.num_timesteps
        rate = (done - self._steps) / max(time.monotonic() - self._time, 1e-9)
        note = f"{done:,} decisions, {rate:,.0f}/s"
        self.reward.update(self.run.evaluate(policy_of(self.model), note))
        self._steps, self._time = done, time.monotonic()


def save_model(model: BaseAlgorithm, path: Path) -> None:
    """Write a checkpoint: an archive of stable-baselines3 with the model's parameters, and where its environment stands."""
    archive = io.BytesIO()
    save_to_zip_file(archive, params=model.get_parameters())
    arrays, numbers = _standing(model)
    save_arrays(path, {"archive": np.frombuffer(archive.getvalue(), np.uint8), **arrays}, numbers)


def read_parameters(path: Path) -> dict[str, Any]:
    """Return the parameters in a checkpoint. Only tensors are read: the archive's pickled ``data`` is left alone."""
    arrays, _ = load_arrays(path)
    return _parameters(arrays, path)


def _parameters(arrays: dict[str, np.ndarray], path: Path) -> dict[str, Any]:
    try:
        _, parameters, _ = load_from_zip_file(io.BytesIO(arrays["archive"].tobytes()), load_data=False, device="cpu")
    except Exception as error:  # whatever a damaged archive makes of zip, pickle and torch
        raise PolicyError(f"{path}: is no checkpoint of a model ({error!r}).") from None
    return parameters


def _rows_of(model: BaseAlgorithm) -> PremaVecEnv:
    env = model.get_env()
    assert env is not None
    rows = env.unwrapped
    assert isinstance(rows, PremaVecEnv)
    return rows


def _standing(model: BaseAlgorithm) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, JSON) of what decides how training goes on beside the parameters: the rows, and what draws at random."""
    arrays: dict[str, np.ndarray] = {}
    if model._last_obs is not None:  # rows are in play
        arrays |= {f"env.{name}": array for name, array in arrays_of(_rows_of(model).native.get_state()).items()}
        arrays |= {"last_obs": np.asarray(model._last_obs), "last_starts": np.asarray(model._last_episode_starts)}
    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  # what stable-baselines3 draws from
    arrays |= {"numpy": np.asarray(keys), "torch": torch.get_rng_state().numpy()}
    return arrays, {"numpy": rest, "updates": model._n_updates}


def _resume(model: BaseAlgorithm, run: Run, checkpoint: Path) -> None:
    """Let a fresh model go on from the run's last checkpoint as if it had never stopped."""
    arrays, numbers = load_arrays(checkpoint)
    try:
        model.set_parameters(_parameters(arrays, checkpoint), exact_match=True, device="cpu")
        model.num_timesteps, model._n_updates = run.done, int(numbers["updates"])
        if "last_obs" in arrays:
            _rows_of(model).reset()
            kept = {name.removeprefix("env."): array for name, array in arrays.items() if name.startswith("env.")}
            native = _rows_of(model).native
            native.set_state(state_of(kept, like=native.get_state()))
            model._last_obs, model._last_episode_starts = arrays["last_obs"], arrays["last_starts"]
        set_random_seed(seed_of_rows(run.arguments, run.done))
        np.random.set_state(("MT19937", arrays["numpy"], *numbers["numpy"]))  # noqa: NPY002
        torch.set_rng_state(torch.from_numpy(arrays["torch"].copy()))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PolicyError(f"{checkpoint}: is no checkpoint of such a run ({error!r}).") from None


def train_model(run: Run, build_model: BuildModel) -> None:
    """Train the model that ``build_model(arguments, env)`` returns until the run is finished; evaluate it on the way."""
    torch.set_num_threads(1)
    env = build_env(run.arguments, run.done)
    model = build_model(run.arguments, env)
    checkpoint = run.last_checkpoint
    if checkpoint is not None:
        _resume(model, run, checkpoint)
    model.set_logger(configure(str(run.folder / TENSORBOARD), ["tensorboard"]))
    callback = EvaluationCallback(run, AdaptiveReward(run, env.set_reward_weights))
    steps = run.arguments.steps
    remaining = _UNLIMITED if steps is None else max(steps - run.done, 0)
    run.start_clock()
    if remaining:  # where it is stopped, the rollout under way is lost, and what was kept before it goes on
        model.learn(remaining, callback=callback, reset_num_timesteps=checkpoint is None, progress_bar=False)
    callback.model = model
    callback.save_and_evaluate()
