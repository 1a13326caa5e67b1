"""The index rule that learning starts from and is measured against."""

from __future__ import annotations

import numpy as np

from baselines.policies.heuristic import Heuristic
from baselines.policies.registry import make_policy
from prema_gym.errors import PolicyError


def index_rule(name: str) -> Heuristic:
    """Return the registered heuristic ``name``; raises :class:`PolicyError` where it is no index rule."""
    policy = make_policy(name)
    if not isinstance(policy, Heuristic) or policy.selection != "INDEX":
        raise PolicyError(f"opponent {name!r} is no index rule: learning starts from one.")
    return policy


def index_prior(rule: Heuristic) -> np.ndarray:
    """Return the (3,) parameters a, c and log d of an index rule, as the slot network takes them."""
    known = rule.parameters
    return np.array([known["priority_power"], known["length_power"], np.log(known["wait_weight"])])
