"""MaskablePPO: PPO (see :mod:`agents.learning.algorithms.ppo`) that never samples an illegal action (Huang & Ontañón, FLAIRS 2022).

The implementation is sb3-contrib's. torch is loaded when the algorithm runs, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.learning.arguments import Arguments
from agents.learning.gradients.options import OnPolicyOptions
from agents.learning.registry import builder
from agents.learning.run import Run

if TYPE_CHECKING:
    from sb3_contrib import MaskablePPO

    from agents.learning.sb3.adapter import PremaVecEnv


@dataclass(frozen=True)
class Options(OnPolicyOptions):
    """Options of MaskablePPO."""


def build_model(arguments: Arguments, env: PremaVecEnv) -> MaskablePPO:
    """Return a fresh model on ``env``."""
    from sb3_contrib import MaskablePPO
    from stable_baselines3.common.vec_env import VecMonitor

    from agents.learning.sb3.returns import MaskableSemiMarkovBuffer
    from agents.learning.sb3.training import on_policy_settings

    policy, policy_kwargs = builder(arguments.options.network)(arguments, masked=True)
    return MaskablePPO(
        policy,
        VecMonitor(env),
        rollout_buffer_class=MaskableSemiMarkovBuffer,
        policy_kwargs=policy_kwargs,
        **on_policy_settings(arguments, env),
    )


def train(run: Run, options: Options) -> None:
    """Train until the run is finished."""
    from agents.learning.sb3.training import train_model

    train_model(run, build_model)
