"""Small worlds to plan in, and how a planner is asked in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.policies.lookahead import LookaheadPolicy, Planning, Search
from baselines.policies.registry import make_policy
from prema_gym import Program, register_program
from prema_gym.envs.prema_env import PremaEnv

SPEECH: dict[str, Any] = {"models": ["RNN-MT1", "CNN-AN"], "batches": [1]}
"""One network whose outputs end when they end, and one that is known."""
STREAM: dict[str, Any] = {
    "slots": 4,
    "horizon_requests": 40,
    "workload": {**SPEECH, "sla": 3.0, "arrivals": {"process": "poisson", "utilisation": 1.1}},
}
CLOSED: dict[str, Any] = {"workload": {**SPEECH, "num_tasks": 8, "window": 0.2, "sla": 1.5}}
WORLDS: dict[str, dict[str, Any]] = {
    "closed": CLOSED,
    "closed cluster": {**CLOSED, "npus": ["prema", "edge"], "allow_idle": True},
    "closed by a rate": {
        "workload": {**SPEECH, "num_tasks": 16, "sla": 3.0, "arrivals": {"process": "poisson", "utilisation": 2.0}},
    },
    "stream": STREAM,
    "bursts": {**STREAM, "workload": {**STREAM["workload"], "arrivals": {"process": "bursty", "utilisation": 0.8}}},
    "cluster": {**STREAM, "npus": ["prema", "prema", "edge"], "allow_idle": True},
}
TASKS = ("one", "two", "three")


def register_programs() -> None:
    """Register ``one``, ``two``, ``three``: so many times 100 000 cycles, a point every 10 000; half as much again on edge."""
    for times, name in enumerate(TASKS, start=1):
        total = times * 100_000
        points = np.arange(10_000, total + 1, 10_000)
        register_program(
            name,
            {
                "prema": Program.from_points(total, points, 512),
                "edge": Program.from_points(3 * total // 2, 3 * points // 2, 512),
            },
        )


def made(world: dict[str, Any], **arguments: Any) -> PremaEnv:
    """Return an environment of ``world`` in which only CHECKPOINT evicts."""
    return PremaEnv(**{"mechanisms": ["CHECKPOINT"], **world, **arguments})


def planner(env: PremaEnv, base: str = "WSRPT", *, clairvoyant: bool = False, **search: Any) -> Planning:
    """Return a lookahead over ``base`` on the rows of ``env``."""
    return LookaheadPolicy(make_policy(base), clairvoyant=clairvoyant, search=Search(**search)).on_rows(env._core)


def asked(env: PremaEnv, planning: Planning) -> tuple[int, np.ndarray]:
    """Return the action for the present decision, and (K, S) what each action paid in each future; NaN where it wasn't tried."""
    planning.returns[:] = np.nan
    return int(planning.act(env.view())[0]), planning.returns.copy()


def play_on(env: PremaEnv, steps: int, base: str = "WSRPT") -> bool:
    """Play ``steps`` decisions by ``base``; return whether the episode goes on."""
    policy = make_policy(base)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(int(policy.act(env.view())[0]))
        if terminated or truncated:
            return False
    return True
