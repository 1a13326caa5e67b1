"""Recordings of episodes under policies of the registry, by name."""

from __future__ import annotations

import dataclasses
from typing import Any

from baselines.policies.needs import env_arguments
from baselines.policies.policy import Policy
from baselines.policies.registry import is_built_in, make_policy
from prema_gym.config.scenarios import with_scenario
from prema_gym.rendering import Recording
from prema_gym.rendering import record as record_policy


def record(policy: str | Policy, **arguments: Any) -> Recording:
    """Play one episode under ``policy``, a name of ``POLICIES`` or an object, and return its recording.

    The arguments are those of :func:`prema_gym.rendering.record`: ``seed``, ``trace``, and the environment's. Where they leave out
    ``decision_every`` and ``mechanisms``, the policy is asked as often as it needs and plays the mechanisms that it states.
    """
    made = make_policy(policy) if isinstance(policy, str) else policy
    recording = record_policy(made, **{**env_arguments(made), **with_scenario(arguments)})
    return dataclasses.replace(recording, learned=not is_built_in(made.name))
