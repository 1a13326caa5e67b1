"""Sampled futures are drawn from the right distributions: lengths given how far a task has come, gaps, the backlog, the window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from planning.worlds import CLOSED, SPEECH, STREAM, WORLDS, made, planner, play_on

from baselines.policies.lookahead import Planning
from baselines.policies.rollouts import FUTURE
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.sim.futures import NO_ARRIVAL_CYCLES
from prema_gym.types import EMPTY, RUNNING
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.residual import output_chances

DRAWS = 400


def futures(env: PremaEnv, read: Any, draws: int = DRAWS, **search: Any) -> list[Any]:
    """Return what ``read(memory)`` finds in each of many futures of the present decision, by planners of different seeds."""
    found = []
    planning: Planning | None = None
    for seed in range(draws):
        if planning is None:
            planning = planner(env, futures=2, actions=2, **search)
        planning._plan["seed"] = seed
        planning.returns[:] = np.nan
        planning.act(env.view())
        assert not np.isnan(planning.returns[0]).all(), "the decision wasn't looked at"
        assert planning._memory is not None
        found.append(read(planning._memory))
    return found


def running_unknown(env: PremaEnv, least: int) -> int:
    """Play until a task of unknown length runs that has been executed for ``least`` cycles at least; return its slot."""
    for seed in range(60):
        env.reset(seed=seed)
        while play_on(env, 1):
            table = env._core.simulator.state.table[0]
            found = np.flatnonzero((table["state"] == RUNNING) & table["length_estimated"] & (table["executed_cycles"] >= least))
            if len(found):
                return int(found[0])
    raise AssertionError("no such decision")


@pytest.mark.parametrize("world", ["closed", "closed cluster"])
def test_a_length_is_drawn_given_that_the_task_is_not_done(world):
    env = made({**WORLDS[world], "decision_every": 1, "quantum_cycles": 50_000})
    slot = running_unknown(env, 1)
    simulator = env._core.simulator
    entry = simulator.state.table[0, slot].copy()
    at, own = int(entry["task"]), max(int(entry["configuration"]), 0)
    program = simulator.programs.row_on(int(simulator.state.tasks[0, at]["program"]), own)
    record, key = simulator.tables.programs[program], simulator.programs.keys[program]
    spec = MODELS[key.model].lengths
    assert spec is not None
    totals = simulator.draws.totals[record["first_total"] :][: record["totals"]]
    chances = np.where(totals > entry["executed_cycles"], output_chances(spec, key.input_length), 0.0)
    chances = chances / chances.sum()
    lengths = np.arange(1, len(chances) + 1)
    mean = float(chances @ lengths)
    error = float(np.sqrt(chances @ (lengths - mean) ** 2 / DRAWS))

    # The row of memory holds the last future; it is looked at before the rollouts, which play in the other row.
    env._core.simulator.state.status[0]["cause"] = 1  # as if an event had asked: the quantum alone isn't looked at
    drawn = np.array(futures(env, lambda memory: int(memory.rows.state.tasks[FUTURE, at]["output_length"])))
    assert drawn.min() >= lengths[chances > 0][0]
    assert abs(drawn.mean() - mean) < 4 * error
    assert len(set(drawn.tolist())) > 3


def _stream_decision(backlog: int, **workload: Any) -> PremaEnv:
    """Return a stream at a decision with at least so many requests in the backlog."""
    world = {**STREAM, "workload": {**STREAM["workload"], **workload}}
    env = made(world)
    for seed in range(40):
        env.reset(seed=seed)
        while play_on(env, 1):
            status = env._core.simulator.state.status[0]
            if status["backlog"] >= backlog and status["ready"] > 1:
                return env
    raise AssertionError("no such decision")


def test_the_next_request_comes_after_a_gap_of_the_configuration():
    env = _stream_decision(0)
    now, gap = int(env.view().npu["clock_cycles"][0]), float(env._core.simulator.draws.draw[0]["gap_cycles"])
    gaps = np.array(futures(env, lambda memory: int(memory.rows.state.streams[FUTURE]["next_arrival_cycles"]) - now, requests=1))
    assert gaps.min() > 0
    assert abs(gaps.mean() / gap - 1) < 4 / np.sqrt(DRAWS)
    assert abs(gaps.std() / gap - 1) < 0.3


def test_the_backlog_keeps_its_ends_and_its_length():
    env = _stream_decision(4)
    status = env._core.simulator.state.status[0].copy()
    count = int(status["backlog"])

    def read(memory: Any) -> tuple[Any, ...]:
        listed, kinds = memory.draws.listed[: count + 4].copy(), memory.draws.kinds[:count]
        row = memory.rows.state
        firsts = memory.rows.tables.programs["first_total"][kinds["program"]]
        ends = np.minimum(kinds["output_length"], memory.rows.tables.programs["totals"][kinds["program"]])
        isolated = memory.draws.totals[firsts + ends - 1]
        head = row.tasks[FUTURE, env._core.simulator.slots + 1]
        return listed, head["arrival_cycles"].item(), (row.streams[FUTURE]["backlog_share"].item(), (1 / isolated).sum().item())

    found = futures(env, read, draws=40, requests=3)
    for listed, head, (share, summed) in found:
        arrivals = listed["arrival_cycles"]
        assert head == arrivals[0] == status["oldest_backlog_cycles"]
        assert arrivals[count - 1] == status["last_arrival_cycles"]
        assert (np.diff(arrivals) >= 0).all()
        assert (arrivals[count : count + 3] > status["clock_cycles"]).all()
        assert arrivals[count + 3] == NO_ARRIVAL_CYCLES
        assert share == pytest.approx(summed)
    assert len({share for *_, (share, _) in found}) > 5
    assert len({listed["arrival_cycles"][1].item() for listed, *_ in found}) > 30


def test_the_missing_tasks_of_a_window_come_in_what_is_left_of_it():
    env = made(CLOSED)
    env.reset(seed=0)
    while int(env._core.simulator.state.machine[0]["next_task"]) < 4 or env.view().npu["ready"][0] < 2:
        assert play_on(env, 1)
    simulator = env._core.simulator
    now, first = int(env.view().npu["clock_cycles"][0]), int(simulator.state.machine[0]["next_task"])
    known = simulator.state.tasks[0, :first].copy()
    assert first < 8

    found = futures(
        env, lambda memory: (memory.rows.state.tasks[FUTURE].copy(), memory.rows.state.machine[FUTURE].copy()), draws=60
    )
    for tasks, machine in found:
        assert machine["tasks"] == 8
        for name in ("arrival_cycles", "priority", "program", "deadline_cycles"):
            np.testing.assert_array_equal(tasks[name][:first], known[name])
        assert (tasks["arrival_cycles"][first:] > now).all()
        assert (np.diff(tasks["arrival_cycles"]) >= 0).all()
        assert machine["priority_sum"] == tasks["priority"].sum()
        assert machine["horizon_cycles"] > tasks["arrival_cycles"][-1]
    assert len({tasks["arrival_cycles"][-1].item() for tasks, _ in found}) > 50


def test_requests_without_a_rate_come_at_the_recent_one():
    """A trace has no distribution: its requests are taken to come as they have come of late."""
    env = made({**STREAM, "workload": SPEECH | {"sla": 3.0, "arrivals": {"process": "poisson", "utilisation": 1.1}}})
    trace = [{"arrival_cycles": 500_000 * k, "model": "CNN-AN", "batch": 1} for k in range(60)]
    env.reset(options={"trace": trace})
    while env.view().npu["arrival_gap_cycles"][0] == 0 or (env.view().table["state"] != EMPTY).sum() < 2:
        assert play_on(env, 1)
    env._core.simulator.draws.draw[0]["gap_cycles"] = 0.0
    now = int(env.view().npu["clock_cycles"][0])
    gaps = np.array(futures(env, lambda memory: int(memory.rows.state.streams[FUTURE]["next_arrival_cycles"]) - now, requests=1))
    assert abs(gaps.mean() / 500_000 - 1) < 4 / np.sqrt(DRAWS)
