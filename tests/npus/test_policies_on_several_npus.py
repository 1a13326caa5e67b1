"""Heuristics play on several NPUs through the one that is asked."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest

from baselines import make_policy
from prema_gym import Program, register_program

NAMES = ("NP-FCFS", "P-RRB", "P-HPF", "P-SJF-KILL", "P-TOKEN-DRAIN", "PREMA", "INDEX-SIMPLE", "EDF", "LLF", "RANDOM")


@pytest.fixture(scope="module")
def environments() -> list[Any]:
    for name, cycles in (("long", 900), ("short", 200)):
        points = range(50, cycles + 1, 50)
        register_program(
            name,
            {"prema": Program.from_points(cycles, points, 512), "edge": Program.from_points(3 * cycles, points, 512)},
        )
    workload = {"models": ["long", "short"], "batches": [1], "num_tasks": 8, "window": 0.2}
    return [
        gymnasium.make(
            "prema_gym:Prema-v0", npus=npus, quantum_cycles=100, workload=workload, strict=True, disable_env_checker=True
        ).unwrapped
        for npus in (["prema"] * 4, ["prema", "edge", "edge"])
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_heuristic_plays_legally_on_several_npus(name: str, environments: list[Any]) -> None:
    policy = make_policy(name)
    for env in environments:
        for seed in range(2):
            env.reset(seed=seed)
            over = False
            while not over:
                _, _, terminated, truncated, _ = env.step(int(policy.act(env.view())[0]))
                over = terminated or truncated
            assert terminated


def test_prema_goes_by_the_tokens_of_candidates(environments: list[Any]) -> None:
    env, policy = environments[0], make_policy("PREMA")
    trace = [
        *({"arrival_cycles": 0, "model": "long", "priority": 9} for _ in range(4)),
        {"arrival_cycles": 10, "model": "short", "priority": 1},
    ]
    env.reset(options={"trace": trace})
    for _ in range(3):
        env.step(int(policy.act(env.view())[0]))
    # Four tasks of priority 9 run. The asked NPU compares its own with the short one, which is no candidate yet.
    assert env.view().npu["clock_cycles"][0] == 10
    assert policy.act(env.view()).tolist() == [0]
