"""Numbers stay numbers: what could leave 64 bits is refused where it comes in, and the largest episode plays without a NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prema_gym import Program, register_program
from prema_gym.checks import LATEST_CYCLES, MOST_CYCLES
from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.errors import ConfigError, ModelError, TraceError
from prema_gym.sim.simulator import Simulator

HALF = MOST_CYCLES // 2
QUANTUM = {"quantum_cycles": 1 << 40}


@pytest.fixture(scope="module", autouse=True)
def programs():
    register_program("tiny", Program.from_points(100, [10, 50]))
    register_program("half", Program.from_points(HALF, [10]))
    register_program("whole", Program.from_points(MOST_CYCLES, [10]))
    register_program("wide", Program.from_points(100, [10], save_bytes=(1 << 31) - 1))


def _workload(model="tiny", tasks=2, **fields):
    return {"models": [model], "num_tasks": tasks, "batches": [1], **fields}


def _play(env, trace=None):
    _, info = env.reset(seed=5, options=None if trace is None else {"trace": trace})
    rewards, ended = [], False
    while not ended:
        legal = np.flatnonzero(info["action_mask"])
        observation, reward, terminated, truncated, info = env.step(legal[len(rewards) % len(legal)])
        assert np.isfinite(observation).all()
        rewards.append(reward)
        ended = terminated or truncated
    return rewards, info["metrics"]


def _finite(metrics):
    """Whether the metrics are numbers; those of deadlines are None or NaN where no task has one."""
    return all(np.isfinite(value).all() for name, value in metrics.items() if name in ("antt", "weighted_antt", "stp", "fairness"))


def test_the_largest_episode_has_rewards_and_metrics_that_are_numbers():
    env = PremaEnv(workload=_workload("half"), reward={"antt": 1e9, "stp": -1e9}, **QUANTUM)
    trace = [{"arrival_cycles": 0, "model": "half"}, {"arrival_cycles": LATEST_CYCLES, "model": "half"}]
    for rewards, metrics in (_play(env), _play(env, trace)):
        assert np.isfinite(rewards).all()
        assert metrics["antt"] >= 1.0
        assert _finite(metrics)


def test_two_programs_of_the_largest_size_are_refused():
    with pytest.raises(ConfigError, match=r"2\^57"):
        PremaEnv(workload=_workload("whole"), **QUANTUM)


@pytest.mark.parametrize("window", [1e11, 4e12, 1e300, math.inf])
def test_a_window_beyond_a_million_is_refused(window):
    with pytest.raises(ConfigError, match=r"window = .*: must be a number from 0 to 10\^6"):
        PremaEnv(workload=_workload(window=window))


def test_a_window_in_which_the_work_comes_too_late_is_refused_with_the_largest_that_is_allowed():
    with pytest.raises(ConfigError, match=r"window = 10: must be at most 8 here"):
        PremaEnv(workload=_workload("half", window=10.0), **QUANTUM)


def test_arrivals_and_deadlines_that_are_drawn_stay_in_order_at_the_limits():
    workload = _workload("half", window=8.0, sla=4.0)
    env = PremaEnv(workload=workload, **QUANTUM)
    for seed in range(20):
        env.reset(seed=seed)
        arrivals = [task["arrival_cycles"] for task in env.tasks()]
        assert arrivals[0] == 0
        assert arrivals == sorted(arrivals)
        assert arrivals[-1] <= LATEST_CYCLES
        assert all(task["arrival_cycles"] < task["deadline_cycles"] <= 2 * LATEST_CYCLES for task in env.tasks())


@pytest.mark.parametrize(
    "workload",
    [
        _workload("half", sla=1e6),
        _workload("half", predictor_error=4.0),
        _workload(arrivals={"process": "poisson", "requests_per_second": 1e-300}),
        _workload(arrivals={"process": "poisson", "utilisation": 1e-300}),
        _workload(arrivals={"process": "bursty", "utilisation": 0.5, "burst_share": 1e-15}),
        _workload(arrivals={"process": "bursty", "utilisation": 0.5, "burst_requests": 1e-9}),
        _workload(arrivals={"process": "closed", "think_ms": 1e9}),
    ],
    ids=["deadline", "prediction", "rate", "utilisation", "calm", "burst", "thinking"],
)
def test_what_could_be_drawn_too_late_is_refused_before_it_is_drawn(workload):
    with pytest.raises(ConfigError):
        PremaEnv(workload=workload, **QUANTUM)


@pytest.mark.parametrize(
    "entry",
    [
        {"arrival_cycles": LATEST_CYCLES + 1},
        {"arrival_cycles": 0, "deadline_cycles": 1 << 62},
        {"arrival_cycles": 0, "sla": 1e6},
        {"arrival_cycles": 0, "prediction_factor": 1e9},
        {"arrival_ms": 10**400},
    ],
    ids=["arrival", "deadline", "sla", "prediction", "digits"],
)
def test_a_trace_beyond_the_limits_is_refused(entry):
    env = PremaEnv(workload=_workload("half"), **QUANTUM)
    with pytest.raises(TraceError):
        env.reset(options={"trace": [{"model": "half", **entry}]})


def test_a_trace_of_too_much_work_is_refused():
    env = PremaEnv(workload=_workload("half"), slots=3, **QUANTUM)
    with pytest.raises(TraceError, match=r"2\^57"):
        env.reset(options={"trace": [{"arrival_cycles": 0, "model": "half"}] * 3})


def test_work_that_would_be_cut_into_endless_quanta_is_refused():
    with pytest.raises(ConfigError, match=r"quantum_cycles = 1: must be at least"):
        PremaEnv(workload=_workload("half"), quantum_cycles=1)


def test_contexts_that_would_take_years_to_save_are_refused():
    with pytest.raises(ConfigError, match="to save the buffer takes too long"):
        NPUConfig(clock_hz=(1 << 42) - 1)
    with pytest.raises(ModelError, match="takes too long"):
        PremaEnv(workload=_workload("wide"), npu={"clock_hz": 1 << 32})


@pytest.mark.parametrize("weight", [1e308, -1e10, math.nan, 10**400, True, "1"])
def test_a_reward_weight_beyond_a_thousand_million_is_refused(weight):
    with pytest.raises(ConfigError, match=r"reward"):
        PremaEnv(workload=_workload(), reward={"antt": weight})


def test_the_paper_at_its_largest_is_far_from_the_limits():
    simulator = Simulator(EnvConfig(workload={"num_tasks": 4096, "window": 100.0, "sla": 1e3}))
    assert int(simulator.draws.totals.max()) * 4096 * 100 < MOST_CYCLES
