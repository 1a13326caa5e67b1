"""The gate: nothing is started on an NPU much slower than the task's best one, and an NPU prefers what it is good at."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from baselines import make_policy
from baselines.evaluation.episodes import play_policy
from baselines.policies.heuristic import Heuristic
from baselines.policies.needs import config_for
from prema_gym import Program, register_program
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError

UNLIKE = ["edge", "prema"]
"""The slow one is asked first."""


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    """Register ``triple`` (300 cycles, 900 on edge), ``fourfold`` (50 and 200) and ``even`` (250 on both)."""
    for name, fast, slow in (("triple", 300, 900), ("fourfold", 50, 200), ("even", 250, 250)):
        register_program(name, {"prema": Program.from_points(fast, [fast], 512), "edge": Program.from_points(slow, [slow], 512)})


def task(arrival: int, model: str, priority: int = 1) -> dict[str, Any]:
    return {"arrival_cycles": arrival, "model": model, "batch": 1, "priority": priority}


def play(policy: Any, trace: list[dict[str, Any]], **arguments: Any) -> tuple[list[int], list[int]]:
    """Play ``trace`` on UNLIKE; return the NPU of each task, in order of arrival, and its cycle of completion."""
    workload = {"models": ["triple", "fourfold", "even"], "batches": [1], "num_tasks": 8, "window": 0.2}
    settings = {"npus": UNLIKE, "workload": workload, "strict": True, **policy.env_arguments, **arguments}
    env = gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **settings).unwrapped
    env.record_events = True
    env.reset(options={"trace": trace})
    over = False
    while not over:
        _, _, over, _, _ = env.step(int(policy.act(env.view())[0]))
    homes = {event["task"]: event["npu"] for event in env.events() if event["event"] == "run"}
    return [homes[index] for index in range(len(trace))], [entry["completion_cycles"] for entry in env.tasks()]


def gate(name: str = "MINE", **parameters: float) -> Heuristic:
    return Heuristic(name, "GATE", "CHECKPOINT", **parameters)


# --- By hand ------------------------------------------------------------------------------------------------------------------


TWO = [task(0, "triple"), task(10, "triple")]


def test_without_a_gate_the_slow_npu_takes_what_it_is_asked_about_first() -> None:
    assert play(make_policy("WSRPT"), TWO) == ([0, 1], [900, 310])


def test_nothing_is_started_on_an_npu_slower_than_the_gate_allows() -> None:
    # Three times slower: below a gate of 3, above one of 2.9. The second task waits for the fast NPU, and the slow one idles.
    assert play(gate(gate=3.0), TWO) == ([0, 1], [900, 310])
    assert play(gate(gate=2.9), TWO) == ([1, 1], [300, 600])


def test_with_the_exponent_an_npu_prefers_the_task_that_it_is_good_at() -> None:
    # When the slow NPU is free at 250, the density of fourfold there is 1/200^2, of even 1/250^2. Times (50/200)^1 and (250/250)^1
    # even is ahead. The fast NPU is busy with triple (priority 9) till 300.
    trace = [task(0, "even", 9), task(0, "triple", 9), task(20, "fourfold"), task(20, "even")]
    plain, preferring = (Heuristic("MINE", "GATE", "NONE", gate=5.0, advantage_power=power) for power in (0.0, 1.0))
    assert play(plain, trace)[0] == [0, 1, 0, 1]
    assert play(preferring, trace)[0] == [0, 1, 1, 0]


def test_where_npus_may_not_idle_the_rule_chooses_among_all_tasks() -> None:
    with pytest.warns(UserWarning, match="HEMMED leaves NPUs idle while tasks wait"):
        assert play(gate("HEMMED", gate=2.9), TWO, allow_idle=False) == ([1, 0], [300, 910])


# --- What holds ---------------------------------------------------------------------------------------------------------------


def played(policy: Any, npus: list[str]) -> Any:
    arguments = {
        "npus": npus,
        "workload": {"models": ("triple", "fourfold", "even"), "batches": (1,), "num_tasks": 12, "window": 0.2},
    }
    return play_policy(policy, config_for(policy, EnvConfig.coerce(arguments), arguments), 60, seed=2, split="valid")


@pytest.mark.parametrize("npus", [["edge"], ["prema"] * 3])
def test_on_one_npu_and_on_like_npus_the_gate_changes_nothing(npus: list[str]) -> None:
    np.testing.assert_array_equal(played(gate(), npus).tasks, played(make_policy("WSRPT"), npus).tasks)


def test_a_wide_gate_without_exponent_is_the_rule_that_it_stands_over() -> None:
    wide = {"gate": 1e9, "advantage_power": 0.0}
    for base in ("SJF", "WSRPT", "FCFS"):
        over, plain = Heuristic("WIDE", f"GATE/{base}", "CHECKPOINT", **wide), Heuristic("PLAIN", base, "CHECKPOINT")
        np.testing.assert_array_equal(played(over, UNLIKE).tasks, played(plain, UNLIKE).tasks)


def test_the_gate_plays_no_illegal_action_and_helps_on_unlike_npus() -> None:
    with_gate, without = played(make_policy("GATE"), UNLIKE), played(make_policy("WSRPT"), UNLIKE)
    assert not with_gate.episodes["illegal_actions"].any()
    assert with_gate.metrics[:, 0].mean() < without.metrics[:, 0].mean()


def test_the_gate_stands_over_any_rule_with_the_parameters_of_both() -> None:
    policy = make_policy("GATE/PREMA")
    frozen = make_policy("GATE").parameters  # type: ignore[attr-defined]
    assert policy.parameters == {"whole_wait": False, **frozen}  # type: ignore[attr-defined]
    assert policy.env_arguments == {"decision_every": 1, "mechanisms": ("CHECKPOINT",), "allow_idle": True}  # type: ignore[attr-defined]
    assert "gate" in policy.rule  # type: ignore[attr-defined]


@pytest.mark.parametrize("base", ["GATE", "RANDOM"])
def test_the_gate_over_something_else_is_an_error(base: str) -> None:
    with pytest.raises(PolicyError, match=rf"GATE/{base}: the gate stands over a selection rule, and {base} is none"):
        make_policy(f"GATE/{base}")
