"""DQN: deep Q-learning (Mnih et al., Nature 2015), as stable-baselines3 implements it, with a perceptron over all slots.

It knows neither masks nor discounts by time. torch is loaded when the algorithm runs, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agents.learning.arguments import Arguments
from agents.learning.gradients.options import GradientOptions
from agents.learning.options import option
from agents.learning.registry import builder
from agents.learning.run import Run

if TYPE_CHECKING:
    from stable_baselines3 import DQN

    from agents.learning.sb3.adapter import PremaVecEnv


@dataclass(frozen=True)
class Options(GradientOptions):
    """Options of DQN."""

    network: ClassVar[str] = "mlp"
    """The network that is trained; it is the only one."""
    batch: int = option(512, "Decisions in the batch of a gradient step.")
    train_every: int = option(8, "Decisions of each row between two updates.")
    gradient_steps: int = option(8, "Gradient steps of an update.")
    exploration: float = option(0.2, "Share of the run over which the rate of random actions falls to its final value.")


def build_model(arguments: Arguments, env: PremaVecEnv) -> DQN:
    """Return a fresh model on ``env``."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.vec_env import VecMonitor

    from agents.learning.sb3.training import common_settings

    options: Options = arguments.options
    policy, policy_kwargs = builder(options.network)(arguments, masked=False)
    return DQN(
        policy,
        VecMonitor(env),
        batch_size=options.batch,
        train_freq=options.train_every,
        gradient_steps=options.gradient_steps,
        exploration_fraction=options.exploration,
        policy_kwargs=policy_kwargs,
        **common_settings(arguments),
    )


def train(run: Run, options: Options) -> None:
    """Train until the run is finished."""
    from agents.learning.sb3.training import train_model

    train_model(run, build_model)
