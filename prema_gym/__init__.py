"""prema-gym: scheduling DNN inference on a preemptible accelerator, as a Gymnasium environment.

Importing the package registers ``Prema-v0``; ``gymnasium.make("prema_gym:Prema-v0")`` does both.
"""

import gymnasium

from prema_gym.config import EnvConfig, NPUConfig, WorkloadConfig
from prema_gym.errors import (
    ActionError,
    ConfigError,
    ModelError,
    PolicyError,
    PremaError,
    TraceError,
    UsageError,
)
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Loop, Network, Vector
from prema_gym.hardware.program import Program, compile_model
from prema_gym.workloads.models import MODELS, Model, register_model
from prema_gym.workloads.programs import register_program

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "ActionError",
    "BatchedGemm",
    "ConfigError",
    "Conv2d",
    "Embedding",
    "EnvConfig",
    "Gemm",
    "Loop",
    "Model",
    "ModelError",
    "NPUConfig",
    "Network",
    "PolicyError",
    "PremaError",
    "Program",
    "TraceError",
    "UsageError",
    "Vector",
    "WorkloadConfig",
    "compile_model",
    "register_model",
    "register_program",
]

gymnasium.register(
    id="Prema-v0",
    entry_point="prema_gym.envs.prema_env:PremaEnv",
    vector_entry_point="prema_gym.envs.vector_env:PremaVectorEnv",
)
