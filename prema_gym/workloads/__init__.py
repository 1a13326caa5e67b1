"""Workloads: networks, lengths, prediction, and the traces that episodes are made of."""

from prema_gym.workloads.models import MODELS, Model, register_model
from prema_gym.workloads.programs import register_program
from prema_gym.workloads.trace import TraceTask, parse_trace

__all__ = ["MODELS", "Model", "TraceTask", "parse_trace", "register_model", "register_program"]
