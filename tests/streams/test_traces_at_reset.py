"""Streams that play a trace given at a reset, single and in vectors; and any stream exported and played again to the cycle."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from baselines import make_policy
from prema_gym import Program, register_program
from prema_gym.errors import TraceError
from prema_gym.workloads.jsonl import write_trace

POISSON = {"process": "poisson", "utilisation": 0.9}
Requests = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def programs() -> None:
    """Register what the requests ask for."""
    for name, cycles in (("long", 900), ("short", 100)):
        register_program(name, Program.from_points(cycles, range(10, cycles + 1, 10), 512))


def arguments(**given: Any) -> dict[str, Any]:
    """Return an environment's arguments: a stream of 40 requests with deadlines in three slots."""
    workload = {"models": ["long", "short"], "batches": [1], "arrivals": POISSON, "sla": 3.0, **given.pop("workload", {})}
    return {"slots": 3, "horizon_requests": 40, "workload": workload, **given}


def make(**given: Any) -> Any:
    """Return a single environment."""
    return gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments(**given)).unwrapped


def every(gap_cycles: int, count: int, **more: Any) -> Requests:
    """Return ``count`` short requests that arrive ``gap_cycles`` apart."""
    return [{"arrival_cycles": gap_cycles * k, "model": "short", **more} for k in range(count)]


def played(env: Any, policy: str = "EDF") -> tuple[Requests, list[dict[str, Any]], dict[str, Any]]:
    """Play the stream just begun under ``policy``; return its requests, events and metrics."""
    scheduler, over = make_policy(policy), False
    while not over:
        *_, over, info = env.step(int(scheduler.act(env.view())[0]))
    return env.requests(), env.events(), info["metrics"]


def same(metrics: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether metrics are the same; what is divided by the mean priority, drawn or expected, is left out."""
    compared = [name for name in metrics if name != "weighted_antt_all"]
    return all(np.array_equal(metrics[name], other[name], equal_nan=True) for name in compared)


def test_a_list_plays_to_its_last_arrival_whatever_the_horizon() -> None:
    # First come, first served: request k ends at 100 (k + 1). All is over at 450; of the cohort 1 to 7 four are unfinished.
    env = make(slots=2)
    env.reset(options={"trace": every(50, 10, sla=1.8)})
    requests, _, metrics = played(env, "NP-FCFS")
    assert metrics["antt"] == pytest.approx(sum([1.5, 2.0, 2.5, 2.5, 2.0, 1.5, 1.0]) / 7)
    assert metrics["unfinished_share"] == pytest.approx(4 / 7)
    assert [request["completion_cycles"] for request in requests] == [100, 200, 300, 400, *[-1] * 6]
    assert [request["deadline_cycles"] for request in requests] == [50 * k + 180 for k in range(10)]


def test_a_listed_deadline_counts_from_the_arrival_by_the_prediction_or_is_as_given() -> None:
    env = make()
    kinds = [{"sla": 1.8}, {"sla": 0.001}, {"deadline_cycles": 777}, {}]
    env.reset(options={"trace": [{"arrival_cycles": 50 * k, "model": "short", **kind} for k, kind in enumerate(kinds)]})
    requests, _, _ = played(env)
    assert [request["deadline_cycles"] for request in requests] == [180, 51, 777, -1]


def test_requests_that_all_come_at_once_are_asked_about_once() -> None:
    env = make(slots=2)
    _, info = env.reset(options={"trace": [{"arrival_cycles": 50, "model": "short"}] * 5})
    assert info["action_mask"].any()
    *_, truncated, info = env.step(1)
    assert truncated
    assert info["metrics"]["unfinished_share"] == 1.0
    assert env.view().npu["clock_cycles"][0] == 51


def test_the_first_step_pays_for_its_own_time_where_requests_come_late_and_find_the_table_full() -> None:
    env = make(slots=2)
    env.reset(options={"trace": [*({"arrival_cycles": 7, "model": "short"} for _ in range(3)), *every(500, 2)[1:]]})
    *_, info = env.step(1)
    assert env.view().npu["clock_cycles"][0] == 107
    assert info["reward_terms"]["antt"] == pytest.approx(-3.0)  # two in the table and one in the backlog, 100 cycles each


PLACES = {"one NPU": {}, "unlike NPUs": {"npus": ["prema", "edge"], "allow_idle": True}}
STREAMS: dict[str, dict[str, Any]] = {
    "poisson": {},
    "errors": {"predictor_error": 0.7, "priorities": [1, 2, 64]},
    "bursty": {"arrivals": {"process": "bursty", "utilisation": 1.1}},
    "closed": {"arrivals": {"process": "closed", "clients": 3, "think_ms": 0.0003}},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("workload", STREAMS.values(), ids=list(STREAMS))
def test_an_exported_stream_plays_again_to_the_cycle(tmp_path: Path, place: dict[str, Any], workload: dict[str, Any]) -> None:
    env = make(workload=workload, **place)
    env.reset(seed=7)
    requests, events, metrics = played(env)
    assert len(requests) == 40
    assert any(request["completion_cycles"] >= 0 for request in requests)
    write_trace(tmp_path / "stream.jsonl", requests)
    again = make(workload=workload, **place)
    again.reset(options={"trace": str(tmp_path / "stream.jsonl")})
    found = played(again)
    assert found[:2] == (requests, events)
    assert same(found[2], metrics)
    assert found[2]["weighted_antt_all"] > 0


def test_what_is_drawn_anew_is_what_the_table_showed() -> None:
    env = make()
    env.reset(seed=2)
    for _ in range(25):
        shown = {int(slot["task"]): slot for slot in env.view().table[0] if slot["task"] >= 0}
        requests = env.requests()
        for number, slot in shown.items():
            for name in ("arrival_cycles", "priority", "deadline_cycles"):
                assert requests[number][name] == slot[name]
        env.step(int(env.action_masks().nonzero()[0][-1]))


def test_a_traces_priorities_join_those_of_the_mix() -> None:
    env = make()
    env.reset(options={"trace": [*every(40, 8), {"arrival_cycles": 400, "model": "long", "priority": 50}]})
    levels = int(env.view().npu["levels"][0])
    assert [p for p in range(1, 65) if levels >> (p - 1) & 1] == [1, 3, 9, 50]
    assert played(env)[2]["hp_excess_all"] == 0.0  # nobody of the highest priority has waited
    env.reset(seed=1)
    levels = int(env.view().npu["levels"][0])
    assert [p for p in range(1, 65) if levels >> (p - 1) & 1] == [1, 3, 9]


def test_a_reset_without_a_trace_draws_again_or_plays_the_configurations_file(tmp_path: Path) -> None:
    env = make()
    env.reset(seed=4)
    drawn = played(env)
    env.reset(seed=4, options={"trace": every(70, 12)})
    assert len(played(env)[0]) == 12
    env.reset(seed=4)
    again = played(env)
    assert again[:2] == drawn[:2]
    assert same(again[2], drawn[2])
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(request) + "\n" for request in every(60, 9)))
    filed = make(horizon_requests=None, workload={"arrivals": {"process": "trace", "path": str(tmp_path / "own.jsonl")}})
    filed.reset(options={"trace": every(70, 12)})
    assert len(played(filed)[0]) == 12
    filed.reset()
    assert [request["arrival_cycles"] for request in played(filed)[0]] == [60 * k for k in range(9)]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_rows_of_a_vector_play_their_traces_in_turn_under_autoreset(tmp_path: Path, mode: str) -> None:
    filed = tmp_path / "c.jsonl"
    filed.write_text("".join(json.dumps(request) + "\n" for request in every(30, 8, priority=9, sla=2.0)))
    traces: list[list[Any]] = [[every(50, 6), every(20, 9, priority=64)], [str(filed)]]
    envs: Any = gymnasium.make_vec(
        "prema_gym:Prema-v0", 2, vectorization_mode="vector_entry_point", autoreset_mode=mode, **arguments()
    )
    single = make()
    expected: list[list[dict[str, Any]]] = []
    for turns in traces:
        expected.append([])
        for trace in turns:
            single.reset(options={"trace": trace})
            expected[-1].append(played(single)[2])
    envs.reset(seed=0, options={"trace": traces})
    ended: list[list[dict[str, Any]]] = [[], []]
    scheduler = make_policy("EDF")
    while min(len(own) for own in ended) < 3:
        *_, terminated, truncated, info = envs.step(scheduler.act(envs.view()))
        kept = info.get("final_info", info)
        for row in np.flatnonzero(terminated | truncated).tolist():
            ended[row].append({name: values[row] for name, values in kept["metrics"].items()})
    for own, turns_of in zip(ended, expected, strict=True):
        for episode, metrics in enumerate(own):
            wanted = turns_of[episode % len(turns_of)]
            for name, value in wanted.items():
                np.testing.assert_array_equal(metrics[name], value, err_msg=f"{name} of episode {episode}")


def test_rows_that_a_reset_leaves_out_go_on_with_their_traces() -> None:
    envs: Any = gymnasium.make_vec(
        "prema_gym:Prema-v0", 2, vectorization_mode="vector_entry_point", autoreset_mode="Disabled", **arguments()
    )
    single, scheduler = make(), make_policy("EDF")
    single.reset(options={"trace": every(45, 11)})
    expected = played(single)[2]
    envs.reset(seed=0, options={"trace": [every(45, 11), every(50, 30)]})
    envs.step(scheduler.act(envs.view()))
    envs.reset(options={"trace": [every(1, 2), every(33, 40)], "reset_mask": np.array([False, True])})
    while True:
        *_, truncated, info = envs.step(scheduler.act(envs.view()))
        if truncated[0]:
            break
        if truncated[1]:
            envs.reset(options={"reset_mask": np.array([False, True])})
    assert same({name: values[0] for name, values in info["metrics"].items() if name != "utilisation_per_npu"}, expected)


def test_a_copy_made_in_the_middle_goes_on_alike() -> None:
    env = make()
    env.reset(options={"trace": every(45, 20, sla=2.5)})
    for _ in range(5):
        env.step(int(env.action_masks().nonzero()[0][-1]))
    copy = pickle.loads(pickle.dumps(env))
    one, other = played(env), played(copy)
    assert one[0] == other[0]
    assert same(one[2], other[2])


def test_traces_that_are_too_long_together_or_no_stream_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prema_gym.workloads.listing.MOST_JOINED", 15)
    envs: Any = gymnasium.make_vec("prema_gym:Prema-v0", 2, vectorization_mode="vector_entry_point", **arguments())
    with pytest.raises(TraceError, match="hold 16 requests together: must be at most 15 where there are several"):
        envs.reset(options={"trace": [every(50, 8), every(50, 8)]})
    with pytest.raises(TraceError, match="trace holds 1 requests; a stream has at least 2"):
        envs.reset(options={"trace": [every(50, 1), every(50, 8)]})
    alone = every(50, 40)
    envs.reset(options={"trace": alone})  # one for all rows, of any length
    envs.close()
