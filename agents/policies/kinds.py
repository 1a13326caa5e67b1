"""The kinds of agents of other libraries: see :mod:`baselines.policies.kinds`. None of the libraries is loaded here."""

from __future__ import annotations

from agents.policies import onnx_file, sb3
from agents.policies.onnx_file import policy_from_onnx
from agents.policies.sb3 import is_sb3_model, policy_from_sb3
from agents.policies.torch_module import is_torch_module, policy_from_torch
from baselines.policies.kinds import Kind


def ends_in(suffix: str, thing: object) -> bool:
    """Whether ``thing`` is a path with ``suffix``."""
    return isinstance(thing, str) and thing.lower().endswith(suffix)


FOREIGN = (
    Kind("the path of a .zip of stable-baselines3", lambda thing: ends_in(sb3.SUFFIX, thing), policy_from_sb3),
    Kind("the path of an .onnx", lambda thing: ends_in(onnx_file.SUFFIX, thing), policy_from_onnx),
    Kind("a model of stable-baselines3", is_sb3_model, policy_from_sb3),
    Kind("a torch module", is_torch_module, policy_from_torch),
)
"""In the order in which they are asked."""
