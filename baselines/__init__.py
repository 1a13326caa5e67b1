"""Baseline schedulers for prema-gym: the paper's and their relatives, one registry, and the fair comparison of them."""

from baselines.evaluate import evaluate
from baselines.policy import Policy
from baselines.registry import POLICIES, make_policy, register_policy
from baselines.results import Results

__all__ = ["POLICIES", "Policy", "Results", "evaluate", "make_policy", "register_policy"]
