"""Baseline schedulers for prema-gym: the paper's and their relatives, one registry, and the fair comparison of them."""

from baselines.evaluation.evaluate import evaluate
from baselines.evaluation.results import Results
from baselines.policies.policy import Policy
from baselines.policies.registry import POLICIES, make_policy, register_policy

__all__ = ["POLICIES", "Policy", "Results", "evaluate", "make_policy", "register_policy"]
