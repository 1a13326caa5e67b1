"""Workloads: networks, lengths, prediction, and the traces that episodes are made of."""

from prema_gym.workloads.importing import from_csv, from_file, from_onnx, from_profile, from_torch
from prema_gym.workloads.models import MODELS, Model, register_model
from prema_gym.workloads.programs import register_program
from prema_gym.workloads.trace import TraceTask, parse_trace

__all__ = [
    "MODELS",
    "Model",
    "TraceTask",
    "from_csv",
    "from_file",
    "from_onnx",
    "from_profile",
    "from_torch",
    "parse_trace",
    "register_model",
    "register_program",
]
