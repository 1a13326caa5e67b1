"""A scheduler sees nothing that it can't know: views depend on the past and on predictions alone, and on slots only by position."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from prema_gym import Program, register_program
from prema_gym.envs.observation import F, Visible, observe
from prema_gym.types import SLOT, STATUS

TRUTH = {"isolated_cycles", "completion_cycles", "output_length", "horizon_cycles", "tasks", "next_task", "quantum_due_cycles"}
"""Fields of the hidden records that no scheduler could know."""


def _make(**arguments: Any) -> Any:
    arguments = {"quantum_cycles": 20, "decision_every": 1, "scheduler_latency_cycles": 2, **arguments}
    return gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments).unwrapped


def _points(rng: random.Random) -> list[int]:
    return np.cumsum([rng.randint(5, 40) for _ in range(30)]).tolist()


def _seen(env: Any) -> tuple[Any, ...]:
    """Return all that a policy may know, as plain values."""
    view = env.view()
    return view.table.tolist(), view.npu.tolist(), view.mask.tolist(), view.observation.tolist(), view.batches.tolist()


def _clock(env: Any) -> int:
    return int(env.view().npu["clock_cycles"][0])


def _play_until(envs: tuple[Any, Any], shows: Callable[[int], bool], rng: random.Random) -> int:
    """Play the same random actions on both; views must agree until ``shows(cycle)``. Return how many were compared."""
    compared = 0
    while not any(shows(_clock(env)) for env in envs):
        assert _seen(envs[0]) == _seen(envs[1])
        compared += 1
        legal = np.flatnonzero(envs[0].action_masks())
        action = 0 if 0 in legal and rng.random() < 0.6 else int(rng.choice(legal))
        if any(env.step(action)[2] for env in envs):
            break
    return compared


def _completed(env: Any, task: int, cycle: int) -> bool:
    completion = env.tasks()[task]["completion_cycles"]
    return 0 <= completion <= cycle


# --- What is still to come ---------------------------------------------------------------------------------------------------


def _unequal_lengths(seed: int) -> int:
    """Play two episodes that differ only in the true length of the first task; return how many views were compared."""
    rng = random.Random(seed)
    points = _points(rng)
    shared = {"save_bytes": 700, "restore_bytes": 900, "refill_cycles": 3, "predicted_cycles": points[20]}
    envs = []
    for last in (15, 25):
        register_program("of unknown length", Program.from_points(points[last], points[: last + 1], **shared))
        register_program("other", Program.from_points(400, range(20, 401, 20), 512))
        envs.append(_make(workload={"models": ["of unknown length", "other"], "num_tasks": 4}))
    trace = [{"arrival_cycles": 50 * k, "model": "other" if k else "of unknown length"} for k in range(4)]
    for env in envs:
        env.reset(options={"trace": trace})
    first, second = envs
    return _play_until((first, second), lambda cycle: _completed(first, 0, cycle) or _completed(second, 0, cycle), rng)


def test_true_lengths_stay_hidden_until_a_task_completes() -> None:
    assert sum(_unequal_lengths(seed) for seed in range(20)) >= 100


@pytest.mark.parametrize("batching", [1, 4])
def test_output_lengths_of_translations_stay_hidden_until_they_complete(batching: int) -> None:
    shared = {"workload": {"models": ["RNN-MT1"], "batches": [1], "num_tasks": 2}, "batching": batching}
    first, second = (_make(**shared, quantum_cycles=400_000, mechanisms=["CHECKPOINT"]) for _ in range(2))
    task = {"model": "RNN-MT1", "batch": 1, "input_length": 20}
    for env, length in ((first, 18), (second, 31)):
        env.reset(options={"trace": [{"arrival_cycles": 0, "output_length": length} | task, {"arrival_cycles": 9000} | task]})
    shows = lambda cycle: _completed(first, 0, cycle) or _completed(second, 0, cycle)  # noqa: E731
    assert _play_until((first, second), shows, random.Random(0)) >= 5


def _unequal_futures(seed: int) -> int:
    """Play two episodes of which one has two more tasks, late; return how many views were compared."""
    rng = random.Random(seed)
    for name in ("one", "two"):
        points = _points(rng)
        register_program(name, Program.from_points(points[-1], points, 300))
    first, second = (_make(workload={"models": ["one", "two"], "num_tasks": 5}) for _ in range(2))
    known = [{"arrival_cycles": 40 * k, "model": rng.choice(("one", "two")), "priority": 3} for k in range(3)]
    late = rng.randint(500, 900)
    first.reset(options={"trace": known})
    second.reset(options={"trace": [*known, *({"arrival_cycles": late, "model": "one", "priority": p} for p in (9, 1))]})
    return _play_until((first, second), lambda cycle: cycle >= late, rng)


def test_tasks_to_come_stay_hidden_until_they_arrive() -> None:
    assert sum(_unequal_futures(seed) for seed in range(20)) >= 100


def test_the_window_of_arrivals_shows_nowhere() -> None:
    register_program("drawn", Program.from_points(900, range(30, 901, 30), 300))
    workloads = ({"models": ["drawn"], "num_tasks": 6, "window": window} for window in (0.4, 9.0))
    narrow, wide = (_make(workload=workload, mechanisms=["CHECKPOINT"]) for workload in workloads)
    narrow.reset(seed=3)
    trace = [{key: task[key] for key in ("arrival_cycles", "model", "priority")} for task in narrow.tasks()]
    for env in (narrow, wide):
        env.reset(options={"trace": trace})
    assert _play_until((narrow, wide), lambda _: False, random.Random(3)) >= 20


# --- By signature ------------------------------------------------------------------------------------------------------------


def test_observe_has_no_argument_that_holds_the_truth() -> None:
    parameters = inspect.signature(getattr(observe, "py_func", observe)).parameters
    assert set(parameters) == {"seen", "out", "several", "stream"}
    assert set(Visible._fields) == {"status", "npus", "table", "predictions", "batches", "rules"}


def test_visible_records_hold_no_hidden_field() -> None:
    assert TRUTH.isdisjoint(STATUS.names or ())
    assert TRUTH.isdisjoint(SLOT.names or ())


# --- Slots -------------------------------------------------------------------------------------------------------------------


def _by_slot(observation: np.ndarray, slots: int) -> tuple[np.ndarray, np.ndarray]:
    cut = slots * F
    return observation[:cut].reshape(F, slots).T, observation[cut:]


@pytest.mark.parametrize("seed", range(20))
def test_permuting_slots_permutes_the_observation(seed: int) -> None:
    rng = random.Random(seed)
    count = 5
    names = [f"distinct {k}" for k in range(count)]
    for name in names:
        points = _points(rng)
        predicted = points[-1] + rng.randint(-50, 200)
        register_program(name, Program.from_points(points[-1], points, rng.randint(0, 4096), predicted_cycles=predicted))
    order = rng.sample(range(count), count)
    tasks = [{"arrival_cycles": 0, "model": name, "priority": rng.choice((1, 3, 9))} for name in names]
    plain, permuted = (_make(workload={"models": names, "num_tasks": count}) for _ in range(2))
    plain.reset(options={"trace": tasks})
    permuted.reset(options={"trace": [tasks[k] for k in order]})
    over = False
    while not over:
        rows, common = _by_slot(plain.view().observation[0], count)
        permuted_rows, permuted_common = _by_slot(permuted.view().observation[0], count)
        np.testing.assert_array_equal(permuted_rows, rows[order])
        np.testing.assert_allclose(permuted_common, common, rtol=1e-6)
        action = int(rng.choice(np.flatnonzero(plain.action_masks())))
        slot, mechanism = divmod(action - 1, 3)
        over = plain.step(action)[2]
        moved = 1 + 3 * order.index(slot) + mechanism if action else 0
        assert permuted.step(moved)[2] == over
