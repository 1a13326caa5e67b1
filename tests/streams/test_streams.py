"""Streams: the kernel plays what the reference plays; memory, cohort, seeds, vectors and refusals."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
from reference.drawing import Stream
from streams import random_streams

from prema_gym import NPUConfig, Program, register_program
from prema_gym.errors import ConfigError, TraceError
from prema_gym.sim.streams.cohort import HISTOGRAM_BINS, histogram_bin
from prema_gym.sim.streams.metrics import histogram_quantiles
from prema_gym.types import EMPTY

POISSON = {"process": "poisson", "utilisation": 0.9}


def _make(npus: int = 1, **arguments: Any) -> Any:
    for name, cycles in (("long", 900), ("short", 70)):
        register_program(name, Program.from_points(cycles, range(10, cycles + 1, 10), 512))
    workload = {"models": ["long", "short"], "batches": [1], "arrivals": POISSON, **arguments.pop("workload", {})}
    arguments = {"slots": 3, "horizon_requests": 60, "npus": ["prema"] * npus, **arguments}
    return gymnasium.make("prema_gym:Prema-v0", workload=workload, disable_env_checker=True, **arguments).unwrapped


def _play(env: Any, info: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Play to the end with random legal actions; return the metrics and the sums of the terms."""
    totals = dict.fromkeys(info["reward_terms"], 0.0)
    while True:
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        _, _, terminated, truncated, info = env.step(int(action))
        for name, value in info["reward_terms"].items():
            totals[name] += value
        if terminated or truncated:
            assert truncated
            return {"metrics": info["metrics"], "totals": totals}


@pytest.mark.parametrize("first", [0, 40])
def test_the_kernel_plays_random_streams_as_the_reference_does(first: int) -> None:
    assert {random_streams.draw(number).given for number in range(first, first + 40)} == {"", "list", "file"}
    found, decisions = random_streams.differences(first, 40)
    assert found == []
    assert decisions > 400


@pytest.mark.parametrize("npus", [1, 2])
def test_rewards_sum_to_the_metrics_of_all_requests(npus: int) -> None:
    env = _make(npus, workload={"sla": 3.0})
    for seed in range(3):
        played = _play(env, env.reset(seed=seed)[1], np.random.default_rng(seed))
        metrics, totals = played["metrics"], played["totals"]
        for name in ("antt", "weighted_antt", "stp", "hp_excess", "deadline_misses", "tardiness", "goodput"):
            assert abs(totals[name]) == pytest.approx(metrics[f"{name}_all"]), name
        assert -totals["sla"] == pytest.approx(metrics["sla_violation_all"])


def test_tasks_lists_what_is_in_the_table_and_nothing_that_is_to_come() -> None:
    env, rng = _make(), np.random.default_rng(1)
    _, info = env.reset(seed=1)
    seen = set()
    for _ in range(40):
        tasks, table, now = env.tasks(), env.view().table[0], env.view().npu["clock_cycles"][0]
        present = np.sort(table["arrival_cycles"][table["state"] != EMPTY])
        assert [task["arrival_cycles"] for task in tasks] == present.tolist()
        assert all(task["arrival_cycles"] <= now and task["model"] in ("long", "short") for task in tasks)
        seen.add(len(tasks))
        _, _, _, truncated, info = env.step(int(rng.choice(np.flatnonzero(info["action_mask"]))))
        if truncated:
            break
    assert len(seen) > 1


def test_a_stream_is_fixed_by_its_seed_and_a_vectors_rows_are_single_streams() -> None:
    arguments = {"slots": 3, "horizon_requests": 60}
    single = _make(**arguments)
    envs: Any = gymnasium.make_vec(
        "prema_gym:Prema-v0", 2, vectorization_mode="vector_entry_point", autoreset_mode="SameStep", **arguments,
        workload={"models": ["long", "short"], "batches": [1], "arrivals": POISSON},
    )  # fmt: skip
    _, info = envs.reset(seed=5)
    _, alone = single.reset(seed=6)
    for _ in range(3 * 60):
        actions = info["action_mask"].argmax(axis=1)
        assert info["action_mask"][1].tolist() == alone["action_mask"].tolist()
        _, rewards, _, truncated, info = envs.step(actions)
        _, reward, _, over, alone = single.step(int(actions[1]))
        assert (rewards[1], truncated[1]) == (reward, over)
        if over:
            assert info["final_info"]["metrics"]["antt"][1] == alone["metrics"]["antt"]
            assert info["final_info"]["metrics"]["utilisation_per_npu"].shape == (2, 1)
            _, alone = single.reset()


def test_what_a_row_holds_does_not_depend_on_the_horizon() -> None:
    sizes = [sum(array.nbytes for array in _make(horizon_requests=H)._core.simulator.state.arrays) for H in (20, 2_000_000)]
    assert sizes[0] == sizes[1]


def test_the_status_tells_of_the_backlog() -> None:
    env = _make(slots=1, workload={"arrivals": {"process": "poisson", "utilisation": 3.0}})
    env.reset(seed=1)
    *_, info = env.step(1)
    assert info["metrics"]["unfinished_share"] > 0.3
    status = env.view().npu[0]
    assert status["backlog"] > 20
    assert 0 <= status["oldest_backlog_cycles"] < status["last_arrival_cycles"] == status["clock_cycles"]
    assert status["arrival_gap_cycles"] > 0


def test_closed_clients_never_have_more_requests_than_there_are_of_them() -> None:
    env = _make(horizon_requests=None, workload={"arrivals": {"process": "closed", "clients": 2, "think_ms": 0.001}})
    _, info = env.reset(seed=3)
    arrivals, most = 0, 0
    played = _play(env, info, np.random.default_rng(0))
    for event in env.events():
        arrivals += {"arrival": 1, "completion": -1}.get(event["event"], 0)
        most = max(most, arrivals)
    assert most == 2
    assert sum(event["event"] == "arrival" for event in env.events()) == 512
    assert played["metrics"]["utilisation"] > 0.5


def test_clients_think_as_plain_python_draws_and_whoever_is_done_first_sends() -> None:
    # The first to have thought sends at 0. Every think time is the next of the episode; a completion starts one.
    clients, think = 3, 2000.0
    arrivals = {"process": "closed", "clients": clients, "think_ms": 1000 * think / NPUConfig().clock_hz}
    env = _make(workload={"arrivals": arrivals})
    _, info = env.reset(seed=3)
    _play(env, info, np.random.default_rng(0))
    drawn = Stream(int(env._core.simulator.state.machine[0]["episode_seed"]))
    thoughts = (int(think * drawn.substream(7, number).exponential(0) + 0.5) for number in itertools.count())
    first = [next(thoughts) for _ in range(clients)]
    sends = [cycle - min(first) for cycle in first]
    for event in env.events():
        if event["event"] == "arrival":
            assert event["cycle"] == min(sends)
            sends.remove(min(sends))
        elif event["event"] == "completion":
            sends.append(event["cycle"] + next(thoughts))


def test_what_a_stream_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="'fairness' compares the tasks of one episode"):
        _make(reward="fairness")
    with pytest.raises(ConfigError, match="requests of a stream are poisson, bursty, closed or of a trace"):
        _make(workload={"arrivals": {"process": "window"}})
    with pytest.raises(ConfigError, match="must be at most the slots of the table, 3 here"):
        _make(workload={"arrivals": {"process": "closed", "clients": 4}})
    with pytest.raises(ConfigError, match="horizon_requests = 1"):
        _make(horizon_requests=1)
    with pytest.raises(TraceError, match="trace holds 1 requests; a stream has at least 2"):
        _make().reset(options={"trace": [{"arrival_cycles": 0, "model": "long"}]})


def test_a_quantile_is_within_a_bin_of_the_truth() -> None:
    ntt = np.random.default_rng(1).lognormal(1.0, 1.0, 5000) + 1
    histogram = np.bincount([histogram_bin(x) for x in ntt], minlength=HISTOGRAM_BINS)
    np.testing.assert_allclose(histogram_quantiles(histogram), np.quantile(ntt, [0.5, 0.95, 0.99]), rtol=0.03)
    assert np.isnan(histogram_quantiles(np.eye(1, HISTOGRAM_BINS, dtype=int)[0] * 19)).all()
