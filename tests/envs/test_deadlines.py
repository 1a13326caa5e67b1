"""Deadlines: when they are missed, by how much, and what no schedule could have made."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest

from prema_gym import Program, register_program
from prema_gym.errors import TraceError

MODELS = {"short": 100, "long": 300}


def episode(trace: list[dict[str, Any]], actions: list[int], **workload: Any) -> tuple[dict[str, Any], dict[str, float], Any]:
    """Play ``trace`` by ``actions``; return metrics, summed reward terms and the environment."""
    for name, cycles in MODELS.items():
        register_program(name, Program.from_points(cycles, [cycles]))
    env = gymnasium.make(
        "prema_gym:Prema-v0",
        workload={"models": list(MODELS), "num_tasks": len(trace), **workload},
        mechanisms=["CHECKPOINT"],
        disable_env_checker=True,
    ).unwrapped
    env.reset(options={"trace": trace})
    terms: dict[str, float] = {}
    for action in actions:
        *_, info = env.step(action)
        for name, value in info["reward_terms"].items():
            terms[name] = terms.get(name, 0.0) + value
    return info["metrics"], terms, env


def first_long(**deadline: Any) -> list[dict[str, Any]]:
    """Return a long task and two short ones at 0; the first short one has the deadline."""
    return [
        {"arrival_cycles": 0, "model": "long"},
        {"arrival_cycles": 0, "model": "short", **deadline},
        {"arrival_cycles": 0, "model": "short"},
    ]


IN_ORDER = [1, 2]
"""Long, then the short ones: they complete at 300, 400, 500."""


def test_a_task_that_completes_at_its_deadline_has_met_it() -> None:
    metrics, _, _ = episode(first_long(deadline_cycles=400), IN_ORDER)
    assert (metrics["deadline_misses"], metrics["tardiness"], metrics["goodput"]) == (0.0, 0.0, 1.0)


def test_a_cycle_later_it_has_missed_it_and_is_late_by_that_cycle() -> None:
    metrics, _, _ = episode(first_long(deadline_cycles=399), IN_ORDER)
    assert metrics["deadline_misses"] == 1.0  # of the one task that has a deadline
    assert metrics["tardiness"] == pytest.approx(1 / 100)
    assert metrics["goodput"] == pytest.approx(2 / 3)


def test_a_multiple_counts_from_the_arrival_and_by_the_prediction() -> None:
    _, _, env = episode(first_long(sla=3.5), IN_ORDER)
    assert [task["deadline_cycles"] for task in env.tasks()] == [-1, 350, -1]


def test_milliseconds_count_at_the_clock_of_the_npu() -> None:
    _, _, env = episode(first_long(sla={"ms": 0.001}), IN_ORDER)
    assert env.tasks()[1]["deadline_cycles"] == 700


def test_a_deadline_below_the_isolated_time_is_impossible() -> None:
    assert episode(first_long(deadline_cycles=99), IN_ORDER)[0]["impossible_deadlines"] == 1.0
    assert episode(first_long(deadline_cycles=100), IN_ORDER)[0]["impossible_deadlines"] == 0.0


def test_without_deadlines_nothing_is_missed_and_all_that_completes_is_good() -> None:
    metrics, terms, _ = episode(first_long(), IN_ORDER)
    assert [metrics[name] for name in ("deadline_misses", "tardiness", "impossible_deadlines", "goodput")] == [0.0, 0.0, 0.0, 1.0]
    assert (terms["deadline_misses"], terms["tardiness"], terms["goodput"]) == (0.0, 0.0, pytest.approx(1.0))


@pytest.mark.parametrize("deadline", [50, 250, 399, 400, 1000])
def test_the_terms_sum_to_the_metrics(deadline: int) -> None:
    metrics, terms, _ = episode(first_long(deadline_cycles=deadline), IN_ORDER)
    assert terms["deadline_misses"] == pytest.approx(-metrics["deadline_misses"])
    assert terms["tardiness"] == pytest.approx(-metrics["tardiness"])
    assert terms["goodput"] == pytest.approx(metrics["goodput"])


def test_drawn_requests_have_the_deadline_of_their_workload() -> None:
    for name, cycles in MODELS.items():
        register_program(name, Program.from_points(cycles, [cycles]))
    env = gymnasium.make(
        "prema_gym:Prema-v0", workload={"models": list(MODELS), "num_tasks": 6, "sla": 2.5}, disable_env_checker=True
    ).unwrapped
    env.reset(seed=3)
    for task in env.tasks():
        assert task["deadline_cycles"] == task["arrival_cycles"] + 2.5 * task["predicted_cycles"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"deadline_cycles": 0}, "after the arrival"),
        ({"deadline_cycles": 5, "deadline_ms": 1.0}, "give one of them"),
        ({"deadline_cycles": 5, "sla": 1.0}, "give one of them"),
        ({"sla": 0}, r"trace\[1\]\['sla'\] = 0: must be None"),
        ({"deadline_ms": float("nan")}, "number of milliseconds"),
    ],
)
def test_a_wrong_deadline_is_one_error_that_says_what_is_allowed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        episode(first_long(**given), IN_ORDER)
