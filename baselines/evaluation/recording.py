"""Recordings of episodes under policies of the registry, by name."""

from __future__ import annotations

from typing import Any

from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy
from prema_gym.rendering import Recording
from prema_gym.rendering import record as record_policy


def record(policy: str | Policy, **arguments: Any) -> Recording:
    """Play one episode under ``policy``, a name of ``POLICIES`` or an object, and return its recording.

    The arguments are those of :func:`prema_gym.rendering.record`: ``seed``, ``trace``, and the environment's.
    """
    return record_policy(make_policy(policy) if isinstance(policy, str) else policy, **arguments)
