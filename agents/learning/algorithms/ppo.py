"""PPO: proximal policy optimisation (Schulman et al., arXiv 1707.06347), as stable-baselines3 implements it.

It is handed no masks: what the observation tells to be illegal is closed by the slot network; with the perceptron the environment
replaces illegal actions. torch is loaded when the algorithm runs, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.learning.arguments import Arguments
from agents.learning.gradients.options import OnPolicyOptions
from agents.learning.registry import builder
from agents.learning.run import Run

if TYPE_CHECKING:
    from stable_baselines3 import PPO

    from agents.learning.sb3.adapter import PremaVecEnv


@dataclass(frozen=True)
class Options(OnPolicyOptions):
    """Options of PPO."""


def build_model(arguments: Arguments, env: PremaVecEnv) -> PPO:
    """Return a fresh model on ``env``."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    from agents.learning.sb3.returns import SemiMarkovBuffer
    from agents.learning.sb3.training import on_policy_settings

    policy, policy_kwargs = builder(arguments.options.network)(arguments, masked=False)
    return PPO(
        policy,
        VecMonitor(env),
        rollout_buffer_class=SemiMarkovBuffer,
        policy_kwargs=policy_kwargs,
        **on_policy_settings(arguments, env),
    )


def train(run: Run, options: Options) -> None:
    """Train until the run is finished."""
    from agents.learning.sb3.training import train_model

    train_model(run, build_model)
