"""Worlds small enough to be played hundreds of times, and how to see that two environments play them alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from prema_gym import Program, register_program
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.vector_env import PremaVectorEnv

LENGTHS = {"long": 900_000, "short": 300_000, "other": 300_000}
BATCHED = {1: 300_000, 2: 400_000, 4: 600_000}
"""Cycles of the network "batched", by samples."""
STREAM: dict[str, Any] = {
    "slots": 4,
    "horizon_requests": 40,
    "workload": {"models": ["long", "short"], "batches": [1], "sla": 3.0, "arrivals": {"process": "poisson", "utilisation": 0.9}},
}
CLOSED: dict[str, Any] = {
    "workload": {"models": ["long", "short"], "batches": [1], "num_tasks": 8, "window": 0.25},
    "decision_every": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "closed": CLOSED,
    "limited": {**CLOSED, "max_episode_steps": 6},
    "stream": STREAM,
    "closed clients": {
        **STREAM,
        "workload": {**STREAM["workload"], "arrivals": {"process": "closed", "clients": 3, "think_ms": 1.0}},
    },
    "cluster": {**STREAM, "npus": ["prema", "prema", "edge"], "allow_idle": True},
    "batches": {**STREAM, "batching": 4, "slots": 8, "workload": {**STREAM["workload"], "models": ["batched", "short"]}},
    "closed cluster": {**CLOSED, "npus": ["prema", "edge"]},
}


def register() -> None:
    """Register the networks that these worlds play."""

    def program(cycles: int) -> Program:
        return Program.from_points(cycles, range(1000, cycles + 1, 1000), 512)

    for name, cycles in LENGTHS.items():
        register_program(name, program(cycles))
    register_program("batched", {samples: program(cycles) for samples, cycles in BATCHED.items()})


def same(one: Any, other: Any) -> bool:
    """Whether two nests of arrays, numbers and names are equal; NaN equals NaN."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and one.dtype.names:
        return all(same(one[name], other[name]) for name in one.dtype.names)
    if isinstance(one, np.ndarray) and one.dtype == object:
        return same(list(one), list(other))
    if isinstance(one, (np.ndarray, float, np.floating)):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other)


def play(env: PremaEnv, steps: int, seed: int = 5) -> list[Any]:
    """Play at random through the ends of episodes; return all that was seen."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        step = env.step(int(rng.choice(np.flatnonzero(env.action_masks()))))
        seen.append(step)
        if step[2] or step[3]:
            seen += [env.events(), env.requests(), env.tasks()]
            seen.append(env.reset())
    return [*seen, env.events(), env.requests(), env.tasks(), env.view().npu.copy(), env.view().table.copy()]


def play_rows(envs: PremaVectorEnv, steps: int, seed: int = 5) -> list[Any]:
    """Play the rows at random; return all that was seen."""
    rngs, seen = [np.random.default_rng(seed + row) for row in range(envs.num_envs)], []
    for _ in range(steps):
        actions = [int(rng.choice(np.flatnonzero(mask))) for rng, mask in zip(rngs, envs.action_masks(), strict=True)]
        step = envs.step(np.array(actions))
        seen.append(step)
        ended = step[2] | step[3]
        if envs.autoreset_mode.value == "Disabled" and ended.any():
            seen.append(envs.reset(options={"reset_mask": ended}))
    return seen


def listed(model: str, count: int, gap_cycles: int = 150_000, priority: int = 3) -> list[dict[str, Any]]:
    """Return a trace of ``count`` requests, short ones and ``model`` in turn."""
    return [
        {"arrival_cycles": gap_cycles * k, "model": ("short", model)[k % 2], "batch": 1, "priority": priority} for k in range(count)
    ]
