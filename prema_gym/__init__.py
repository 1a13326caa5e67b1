"""prema-gym: scheduling DNN inference on a preemptible accelerator, as a Gymnasium environment.

Importing the package registers ``Prema-v0``; ``gymnasium.make("prema_gym:Prema-v0")`` does both. The names below are imported when
they are first used, so that ``import prema_gym`` does not wait for numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING

import gymnasium

from prema_gym.config.scenarios import SCENARIOS

if TYPE_CHECKING:
    from prema_gym.config import EnvConfig, NPUConfig, WorkloadConfig, register_npu
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

__version__ = "0.2.0"

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
    "register_npu",
    "register_program",
]

_HOMES = {
    "config": ("EnvConfig", "NPUConfig", "WorkloadConfig", "register_npu"),
    "errors": ("ActionError", "ConfigError", "ModelError", "PolicyError", "PremaError", "TraceError", "UsageError"),
    "hardware.layers": ("BatchedGemm", "Conv2d", "Embedding", "Gemm", "Loop", "Network", "Vector"),
    "hardware.program": ("Program", "compile_model"),
    "workloads.models": ("MODELS", "Model", "register_model"),
    "workloads.programs": ("register_program",),
}
"""Public names by the module that defines them."""
_SUBPACKAGES = ("config", "errors", "hardware", "types", "workloads")
"""Reached as attributes too: ``prema_gym.workloads.MODELS``."""

if not TYPE_CHECKING:  # a type checker reads the imports above

    def __getattr__(name: str) -> object:
        if name in _SUBPACKAGES:
            return import_module(f"{__name__}.{name}")
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_SUBPACKAGES})


for _name in SCENARIOS:
    gymnasium.register(
        id=_name,
        entry_point="prema_gym.envs.prema_env:PremaEnv",
        vector_entry_point="prema_gym.envs.vector_env:PremaVectorEnv",
        kwargs={"scenario": _name} if SCENARIOS[_name].arguments else {},
    )
