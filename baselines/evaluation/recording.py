"""Recordings of episodes under policies of the registry, by name."""

from __future__ import annotations

import dataclasses
from typing import Any

from baselines.policies.kinds import policy_of
from baselines.policies.needs import env_arguments
from baselines.policies.registry import is_built_in
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import with_scenario
from prema_gym.rendering import Recording
from prema_gym.rendering import record as record_policy

_OF_RECORD = ("seed", "trace", "name", "requests")
"""Arguments of a recording, not of the environment."""


def record(policy: Any, **arguments: Any) -> Recording:
    """Play one episode under ``policy``, whatever :func:`baselines.policy_of` takes, and return its recording.

    The arguments are those of :func:`prema_gym.rendering.record`: ``seed``, ``trace``, and the environment's. Where they leave out
    ``decision_every`` and ``mechanisms``, the policy is asked as often as it needs and plays the mechanisms that it states.
    """
    made, given = policy_of(policy), with_scenario(arguments)
    config = EnvConfig.coerce({name: value for name, value in given.items() if name not in _OF_RECORD})
    recording = record_policy(made, **{**env_arguments(made, slots=config.num_slots), **given})
    return dataclasses.replace(recording, learned=not is_built_in(made.name))
