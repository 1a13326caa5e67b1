"""States of rows that play traces, in this process and in another; and what no environment goes on from."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from envs.states import CLOSED, KINDS, STREAM, listed, play, play_rows, register, same

from prema_gym import Program, register_program
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.state import arrays_of
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import ConfigError, UsageError
from prema_gym.workloads.programs import REGISTERED, ProgramTable


@pytest.fixture(autouse=True)
def programs() -> None:
    """Register what is played."""
    register()


# --- Traces ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closed", "stream", "cluster", "closed cluster"])
def test_a_state_of_a_trace_brings_the_trace(kind: str) -> None:
    new = f"new on {kind}"  # a program that the table hasn't got yet when the environments are made
    register_program(new, Program.from_points(500_000, range(1000, 500_001, 1000), 512))
    env, fresh = PremaEnv(**KINDS[kind]), PremaEnv(**KINDS[kind])
    env.reset(seed=2, options={"trace": listed(new, 5, priority=64)})
    play(env, 2)
    state = env.get_state()
    expected = play(env.clone(), 60)
    for given in (state, pickle.loads(pickle.dumps(state))):
        fresh.set_state(given)
        simulator = fresh._core.simulator
        assert len(simulator.tables.programs) == len(simulator.programs.keys)  # none lies outside of what is looked up in
        assert same(play(fresh, 60), expected)
    assert same(play(env, 60), expected)


def test_quantiles_count_nothing_of_the_list_that_was_played_before() -> None:
    env, fresh = PremaEnv(**STREAM), PremaEnv(**STREAM)
    fresh.reset(seed=3)
    state = fresh.get_state()
    env.reset(options={"trace": listed("long", 30, priority=64)})  # one more priority than what is drawn has
    while env._playing:
        env.step(int(env.action_masks().argmax()))
    env.set_state(state)
    assert same(play(env, 100), play(fresh, 100))


def test_a_row_that_goes_on_with_a_drawn_stream_has_no_list_any_more() -> None:
    env = PremaEnv(**STREAM)
    env.reset(seed=3)
    drawn = env.get_state()
    env.reset(options={"trace": listed("long", 30)})
    assert env._core.simulator.listing_in(0) is not None
    env.set_state(drawn)
    assert env._core.simulator.listing_in(0) is None


def test_a_stream_from_a_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(task) + "\n" for task in listed("long", 30)), encoding="utf-8")
    arguments = {
        "slots": 4,
        "workload": {"models": ["long", "short"], "batches": [1], "arrivals": {"process": "trace", "path": str(path)}},
    }
    env, fresh = PremaEnv(**arguments), PremaEnv(**arguments)
    env.reset(seed=2)
    play(env, 5)
    state = env.get_state()
    expected = play(env.clone(), 60)
    fresh.set_state(pickle.loads(pickle.dumps(state)))
    assert same(play(fresh, 60), expected)


@pytest.mark.parametrize("kind", ["closed", "stream"])
def test_traces_in_turn_go_on_in_turn(kind: str) -> None:
    envs, fresh = (PremaVectorEnv(2, autoreset_mode="SameStep", **KINDS[kind]) for _ in range(2))
    traces = [[listed("other", count) for count in (3, 4, 5)], listed("long", 4)]
    envs.reset(seed=1, options={"trace": traces})
    play_rows(envs, 7)
    state = envs.get_state()
    expected = play_rows(envs.clone(), 60)
    for given in (state, pickle.loads(pickle.dumps(state))):
        fresh.set_state(given)
        assert same(play_rows(fresh, 60), expected)
    with pytest.raises(UsageError, match="traces"):
        arrays_of(state)


def test_a_row_that_was_given_a_listed_stream_keeps_it_when_another_row_is_reset() -> None:
    envs, single = PremaVectorEnv(2, **STREAM), PremaEnv(**STREAM)
    envs.reset(seed=1)
    single.reset(options={"trace": listed("other", 20)})
    envs.set_state(single.get_state(), 1)
    alone = single.clone()
    envs.reset(options={"trace": [listed("long", 10), listed("long", 10)], "reset_mask": np.array([True, False])})
    for _ in range(12):
        observations, *_ = envs.step(envs.action_masks().argmax(axis=1))
        assert same(observations[1], alone.step(int(alone.action_masks().argmax()))[0])


@pytest.mark.parametrize("kind", ["closed", "closed cluster", "stream"])
def test_programs_of_traces_are_found_in_another_process_by_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register_program("another", Program.from_points(200_000, range(1000, 200_001, 1000), 512))
    env = PremaEnv(**KINDS[kind])
    env.reset(seed=2, options={"trace": listed("other", 5)})
    play(env, 2)
    pickled = pickle.dumps(env.get_state())
    monkeypatch.setattr(ProgramTable, "_tables", {})  # as a new process has them: other programs come first
    elsewhere = PremaEnv(**KINDS[kind])
    elsewhere.reset(options={"trace": listed("another", 5)})
    elsewhere.set_state(pickle.loads(pickled))
    assert same([step[:4] for step in play(elsewhere, 30)[:1]], [step[:4] for step in play(env, 30)[:1]])
    assert [task["model"] for task in elsewhere.tasks()] == [task["model"] for task in env.tasks()]


def test_a_program_that_is_another_one_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    env = PremaEnv(**CLOSED)
    env.reset(seed=2, options={"trace": listed("other", 5)})
    pickled = pickle.dumps(env.get_state())
    monkeypatch.setattr(ProgramTable, "_tables", {})
    register_program("other", Program.from_points(70, [70], 512))
    with pytest.raises(ConfigError, match=r"plays 'other', which is another program here\."):
        PremaEnv(**CLOSED).set_state(pickle.loads(pickled))


@pytest.mark.parametrize("kind", ["closed", "stream"])
def test_a_model_that_is_not_known_here_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register_program("gone", Program.from_points(200_000, range(1000, 200_001, 1000), 512))
    envs = PremaVectorEnv(1, **KINDS[kind])
    envs.reset(options={"trace": [[listed("short", 4), listed("gone", 4)]]})  # not in play yet: its turn comes
    pickled = pickle.dumps(envs.get_state())
    monkeypatch.setattr(ProgramTable, "_tables", {})
    monkeypatch.delitem(REGISTERED, "gone")
    with pytest.raises(ConfigError, match=r"the state plays 'gone', which is no known model here; register it first\."):
        PremaVectorEnv(1, **KINDS[kind]).set_state(pickle.loads(pickled))


# --- Refused --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, 3, "state", {}, {"memory": np.zeros(3)}, np.zeros(4)])
def test_what_is_no_state_is_refused(given: Any) -> None:
    env, envs = PremaEnv(**CLOSED), PremaVectorEnv(2, **CLOSED)
    envs.reset(seed=1)
    for refuses in (env.set_state, envs.set_state, lambda state: envs.set_state(state, 1)):
        with pytest.raises(ConfigError, match=r"set_state\(.*\): must be a state, as get_state\(\) returns\.") as caught:
            refuses(given)
        assert "\n" not in str(caught.value)


def test_states_of_other_environments_are_refused_by_what_differs() -> None:
    env = PremaEnv(**CLOSED)
    env.reset(seed=1)
    before = env.view().table.copy()
    for other, match in (
        (PremaEnv(**CLOSED, slots=9), "another configuration: its slots = 9, here None"),
        (PremaEnv(**CLOSED, reward="antt"), "its reward = 'antt'"),
        (PremaEnv(**STREAM), "its workload = "),
        (PremaVectorEnv(1, split="train", **CLOSED), "another split of seeds"),
        (PremaVectorEnv(2, **CLOSED), r"is of 2 rows: must be of 1\."),
    ):
        other.reset(seed=1)
        with pytest.raises(ConfigError, match=match):
            env.set_state(other.get_state())
        assert same(env.view().table, before)


def test_rows_refuse_what_they_could_not_go_on_from() -> None:
    ended, limited = PremaEnv(**CLOSED), PremaEnv(max_episode_steps=9, **CLOSED)
    ended.reset(seed=1)
    limited.reset(seed=1)
    while ended._playing:
        ended.step(int(ended.action_masks().argmax()))
    envs = PremaVectorEnv(3, autoreset_mode="SameStep", **CLOSED)
    with pytest.raises(UsageError, match="the others in play"):
        envs.set_state(ended.get_state(), 1)
    envs.reset(seed=1)
    with pytest.raises(ConfigError, match="episode is over"):
        envs.set_state(ended.get_state(), 1)
    with pytest.raises(ConfigError, match="max_episode_steps = 9; here it is None"):
        envs.set_state(limited.get_state(), 1)
    for rows in (3, -1, [0, 0], [], 1.5, True, "one", [[0]], [[0], [1, 2]], range(10**12), np.zeros((1, 1), int)):
        with pytest.raises(ConfigError, match="rows"):
            envs.set_state(envs.get_state(0), rows)
        with pytest.raises(ConfigError, match="row = "):
            envs.get_state(rows)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"is of 2 rows: must be of 1, or of 3 here"):
        envs.set_state(PremaVectorEnv.get_state(two_rows()))


def two_rows() -> PremaVectorEnv:
    envs = PremaVectorEnv(2, autoreset_mode="SameStep", **CLOSED)
    envs.reset(seed=1)
    return envs


def test_a_state_needs_an_episode() -> None:
    for env in (PremaEnv(**CLOSED), PremaVectorEnv(2, **CLOSED)):
        with pytest.raises(UsageError, match=r"call reset\(\) first"):
            env.get_state()


def test_a_state_cannot_be_changed() -> None:
    envs = two_rows()
    state = pickle.loads(pickle.dumps(envs.get_state()))
    for given in (state, envs.get_state()):
        with pytest.raises(ValueError, match="read-only"):
            given.memory[0, 0] = 1
