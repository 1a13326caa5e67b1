"""Rewards and metrics at their edges: bad weights, targets met to the cycle, episodes that are cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import gymnasium
import pytest

from prema_gym import Program, register_program
from prema_gym.envs.observation import F, G, Layout
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.reward import REWARD_TERMS, register_reward_term, reward_weights
from prema_gym.errors import ConfigError, UsageError
from prema_gym.metrics import targets_passed

LENGTH = 100


def _metrics(waits: int, priority: int = 9) -> dict[str, Any]:
    """Play two tasks of 100 cycles, the second of which waits for the first ``waits`` times 100 cycles; return the metrics."""
    register_program("first", Program.from_points(waits * LENGTH, [waits * LENGTH]))
    register_program("second", Program.from_points(LENGTH, [LENGTH]))
    workload = {"models": ["first", "second"], "num_tasks": 2}
    env = gymnasium.make("prema_gym:Prema-v0", workload=workload, decision_every=None, disable_env_checker=True).unwrapped
    trace = [{"arrival_cycles": 0, "model": name, "priority": priority} for name in ("first", "second")]
    env.reset(options={"trace": trace})
    *_, info = env.step(1)
    return info["metrics"]


@pytest.mark.parametrize("reward", [{}, [], None, 3, {"antt": True}, {"antt": float("nan")}, {"antt": "1"}, {"ntt": 1.0}, "ntt"])
def test_a_reward_is_a_term_or_finite_weights_of_terms(reward: Any) -> None:
    with pytest.raises(ConfigError, match="reward"):
        reward_weights(reward)


def test_weights_lie_in_the_order_of_the_terms() -> None:
    assert reward_weights("sla").tolist() == [float(name == "sla") for name in REWARD_TERMS]
    assert reward_weights({"stp": 2, "antt": 0.5}).tolist() == [0.5, 0, 0, 2.0, *[0] * (len(REWARD_TERMS) - 4)]


@pytest.mark.parametrize(
    ("name", "term", "error", "message"),
    [
        ("sla", _metrics, ConfigError, "must differ from the built-in terms"),
        ("", _metrics, ConfigError, "must be a non-empty string"),
        ("mine", 3, ConfigError, "must be a Python function"),
        ("mine", eval("lambda step: 0.0"), ConfigError, "must be defined in a module file"),
        ("mine", _metrics, UsageError, "before the first environment"),
    ],
)
def test_a_term_is_a_function_of_a_file_registered_in_time(name: str, term: Any, error: type[Exception], message: str) -> None:
    before = list(REWARD_TERMS)
    with pytest.raises(error, match=message):
        register_reward_term(name, term)
    assert list(REWARD_TERMS) == before


def test_a_target_is_violated_once_it_is_exceeded() -> None:
    assert _metrics(waits=2)["sla_violation_at"] == {str(target): 0.5 * (target == 2) for target in range(2, 21)}
    assert _metrics(waits=1)["sla_violation"] == 0
    assert _metrics(waits=20)["sla_violation"] == 0.5


@pytest.mark.parametrize(("elapsed", "passed"), [(0, 0), (20, 0), (21, 1), (30, 1), (31, 2), (200, 18), (201, 19), (9999, 19)])
def test_targets_passed_counts_from_2_to_20_isolated_times(elapsed: int, passed: int) -> None:
    assert targets_passed(elapsed, 10) == passed


def test_time_beyond_2_3_isolated_times_is_excess_of_high_priority_alone() -> None:
    assert _metrics(waits=2)["hp_excess"] == pytest.approx((3 - 2.3) / 2)
    assert _metrics(waits=2, priority=3)["hp_excess"] == 0


def test_high_priority_is_the_highest_that_the_mix_or_the_trace_has() -> None:
    assert _metrics(waits=2, priority=10)["hp_excess"] == pytest.approx((3 - 2.3) / 2)
    assert _metrics(waits=2, priority=9)["hp_excess"] == pytest.approx((3 - 2.3) / 2)
    assert _metrics(waits=2, priority=8)["hp_excess"] == 0


def test_a_fair_share_is_progress_per_priority() -> None:
    assert _metrics(waits=3)["fairness"] == pytest.approx(1 / 4)
    assert _metrics(waits=3)["stp"] == pytest.approx(1 + 1 / 4)


def test_an_episode_of_one_cycle_is_all_useful() -> None:
    register_program("instant", Program.from_points(1, [1]))
    env = gymnasium.make("prema_gym:Prema-v0", workload={"models": ["instant"], "num_tasks": 1}, disable_env_checker=True)
    env.reset(options={"trace": [{"arrival_cycles": 0, "model": "instant"}]})
    *_, info = env.step(1)
    assert info["metrics"]["useful_share"] == 1.0


def test_counts_are_whole_numbers() -> None:
    metrics = _metrics(waits=2)
    assert (type(metrics["preemptions"]), type(metrics["unfinished"])) == (int, int)


def test_every_element_of_an_observation_has_a_name() -> None:
    names = Layout(3).names()
    assert len(set(names)) == len(names) == 3 * F + G
    assert (names[0], names[1], names[3], names[3 * F]) == ("slot0.present", "slot1.present", "slot0.ready", "log_work")


def _numbers(cells: Iterable[str]) -> list[int]:
    """Return the numbers that cells such as "4, 5" and "6 to 8" stand for."""
    found: list[int] = []
    for cell in cells:
        numbers = [int(number) for number in re.findall(r"\d+", cell)]
        found += range(numbers[0], numbers[1] + 1) if " to " in cell else numbers
    return found


def test_the_environment_lists_every_feature_in_its_docstring() -> None:
    text = PremaEnv.__doc__ or ""
    assert f"feature by feature: {F} of all T slots, then {G} of the row" in text
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in text.splitlines() if re.match(r"\s+\| [ \d]", line)]
    slot, common = (_numbers(row[column] for row in rows) for column in (0, 2))
    assert (slot, common) == (list(range(F)), list(range(G)))
    words = " ".join(row[1] for row in rows)
    for name in ("present", "token", "overrun", "saved context", "projected NTT"):
        assert name in words
