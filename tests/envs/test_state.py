"""States and clones: what is taken out of an environment plays on exactly as it would have, wherever it is put."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import prema_gym  # noqa: F401  # registers Prema-v0
from prema_gym import Program, register_program
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.state import arrays_of, state_of
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import ConfigError, UsageError
from prema_gym.workloads.programs import ProgramTable

LENGTHS = {"long": 900_000, "short": 300_000, "other": 300_000}
STREAM: dict[str, Any] = {
    "slots": 4,
    "horizon_requests": 40,
    "workload": {"models": ["long", "short"], "batches": [1], "sla": 3.0, "arrivals": {"process": "poisson", "utilisation": 0.9}},
}
CLOSED: dict[str, Any] = {
    "workload": {"models": ["long", "short"], "batches": [1], "num_tasks": 8, "window": 0.25},
    "decision_every": 1,
}
KINDS: dict[str, dict[str, Any]] = {
    "closed": CLOSED,
    "limited": {**CLOSED, "max_episode_steps": 6},
    "stream": STREAM,
    "closed clients": {
        **STREAM,
        "workload": {**STREAM["workload"], "arrivals": {"process": "closed", "clients": 3, "think_ms": 1.0}},
    },
    "cluster": {**STREAM, "npus": ["prema", "prema", "edge"], "allow_idle": True},
    "closed cluster": {**CLOSED, "npus": ["prema", "edge"]},
}
MODES = ["NextStep", "SameStep", "Disabled"]
MOST_BYTES = 64 << 10


@pytest.fixture(autouse=True)
def programs() -> None:
    """Register what is played."""
    for name, cycles in LENGTHS.items():
        register_program(name, Program.from_points(cycles, range(1000, cycles + 1, 1000), 512))


def same(one: Any, other: Any) -> bool:
    """Whether two nests of arrays, numbers and names are equal; NaN equals NaN."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and one.dtype.names:
        return all(same(one[name], other[name]) for name in one.dtype.names)
    if isinstance(one, np.ndarray) and one.dtype == object:
        return same(list(one), list(other))
    if isinstance(one, (np.ndarray, float, np.floating)):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other)


def play(env: PremaEnv, steps: int, seed: int = 5) -> list[Any]:
    """Play at random through the ends of episodes; return all that was seen."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        step = env.step(int(rng.choice(np.flatnonzero(env.action_masks()))))
        seen.append(step)
        if step[2] or step[3]:
            seen += [env.events(), env.requests(), env.tasks()]
            seen.append(env.reset())
    return [*seen, env.events(), env.requests(), env.tasks(), env.view().npu.copy(), env.view().table.copy()]


def play_rows(envs: PremaVectorEnv, steps: int, seed: int = 5) -> list[Any]:
    """Play the rows at random; return all that was seen."""
    rngs, seen = [np.random.default_rng(seed + row) for row in range(envs.num_envs)], []
    for _ in range(steps):
        actions = [int(rng.choice(np.flatnonzero(mask))) for rng, mask in zip(rngs, envs.action_masks(), strict=True)]
        step = envs.step(np.array(actions))
        seen.append(step)
        ended = step[2] | step[3]
        if envs.autoreset_mode.value == "Disabled" and ended.any():
            seen.append(envs.reset(options={"reset_mask": ended}))
    return seen


# --- Plays on exactly -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["begun", "amid", "over", "second episode"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_and_a_state_play_on_as_their_original(kind: str, moment: str) -> None:
    def arrived() -> PremaEnv:
        env = PremaEnv(**KINDS[kind])
        env.reset(seed=7)
        play(env, {"amid": 3, "second episode": 90}.get(moment, 0))
        while moment == "amid" and env._logged[0] == 0:  # until events lie in the log
            env.step(int(env.action_masks().argmax()))
        while moment == "over" and env._playing:
            env.step(int(env.action_masks().argmax()))
        return env

    def go_on(env: PremaEnv) -> list[Any]:
        return [*([env.reset()] if moment == "over" else []), *play(env, 90)]

    original, fresh = arrived(), PremaEnv(**KINDS[kind])
    state, clone = original.get_state(), original.clone()
    untouched = go_on(arrived())
    before = original.view().table.copy(), original.events()
    assert same(go_on(clone), untouched)
    assert same((original.view().table, original.events()), before)  # the clone has played, the original hasn't
    assert same(go_on(original), untouched)
    for env, given in ((fresh, state), (original, pickle.loads(pickle.dumps(state))), (clone, state)):
        env.set_state(given)
        assert same(go_on(env), untouched)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_all_rows_of_a_vector_play_on_as_they_would_have(kind: str, mode: str) -> None:
    def make() -> PremaVectorEnv:
        return PremaVectorEnv(3, autoreset_mode=mode, **KINDS[kind])

    original, fresh = make(), make()
    original.reset(seed=7)
    play_rows(original, 9)
    state, clone = original.get_state(), original.clone()
    expected = play_rows(clone, 90)
    assert same(play_rows(original, 90), expected)
    for given in (state, pickle.loads(pickle.dumps(state)), state_of(arrays_of(state), like=original.get_state())):
        fresh.set_state(given)
        assert same(play_rows(fresh, 90), expected)
    original.set_state(state)
    assert same(play_rows(original.clone().clone(), 90), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_goes_on_in_another_row_and_in_a_single_environment(kind: str) -> None:
    rows, other = (PremaVectorEnv(3, autoreset_mode="Disabled", **KINDS[kind]) for _ in range(2))
    single = PremaEnv(**KINDS[kind])
    single.reset(seed=7)
    rows.reset(seed=7)
    other.reset(seed=50)
    for _ in range(4):
        single.step(int(single.action_masks().argmax()))
        rows.step(rows.action_masks().argmax(axis=1))
    stayed = other.view().table[1].copy()
    other.set_state(rows.get_state(2), 0)
    other.set_state(single.get_state(), rows=[2])
    assert same(other.view().table[1], stayed)
    other.set_state(single.get_state())
    assert all(same(other.view().observation[row], single.view().observation[0]) for row in range(3))
    single.set_state(rows.get_state(1))
    over = False
    while not over:
        action = int(single.action_masks().argmax())
        alone = single.step(action)
        together = rows.step(rows.action_masks().argmax(axis=1))
        assert same(alone[:4], tuple(part[1] for part in together[:4]))
        over = alone[2] or alone[3] or bool((together[2] | together[3]).any())


@pytest.mark.parametrize("kind", ["closed", "stream", "cluster"])
def test_every_action_can_be_tried_on_copies_of_a_row(kind: str) -> None:
    env = PremaEnv(**KINDS[kind])
    env.reset(seed=3)
    play(env, 6)
    actions = np.flatnonzero(env.action_masks())
    rows = PremaVectorEnv(len(actions), **KINDS[kind])
    rows.set_state(env.get_state())
    observations, rewards, *_ = rows.step(actions)
    for action, observation, reward in zip(actions.tolist(), observations, rewards, strict=True):
        tried = env.clone().step(action)
        assert same((tried[0], tried[1]), (observation, float(reward)))


def test_what_was_returned_before_stays_as_it_is() -> None:
    envs = PremaVectorEnv(2, **CLOSED)
    start, infos = envs.reset(seed=1)
    state, row, kept = envs.get_state(), envs.get_state(1), (start.copy(), infos["action_mask"].copy())
    observations, _, _, _, infos_later = envs.step(envs.action_masks().argmax(axis=1))
    later = observations.copy(), infos_later["action_mask"].copy()
    envs.set_state(state)
    assert same((observations, infos_later["action_mask"]), later)
    envs.set_state(row, 1)
    assert same((start, infos["action_mask"]), kept)
    assert same(envs.view().observation, start)


def test_a_clone_before_the_first_reset_draws_the_same_seed() -> None:
    env = PremaEnv(**CLOSED)
    env.np_random = np.random.default_rng(3)
    assert same(env.clone().reset(), env.reset())


def test_a_limit_around_the_environment_holds_for_its_clones() -> None:
    env = gym.make("Prema-v0", max_episode_steps=3, **CLOSED)
    env.reset(seed=1)
    env.step(env.unwrapped.action_masks().argmax())
    clone = env.unwrapped.clone()
    ends = [clone.step(int(clone.action_masks().argmax()))[3] for _ in range(2)]
    assert ends == [False, True]
    clone.reset()
    assert [clone.step(int(clone.action_masks().argmax()))[3] for _ in range(3)] == [False, False, True]


def test_generators_and_weights_are_not_shared() -> None:
    env = PremaEnv(**CLOSED)
    env.reset(seed=1)
    env.action_space.seed(1)
    expected = [int(env.action_space.sample()) for _ in range(5)]
    env.action_space.seed(1)
    clone = env.clone()
    clone.action_space.sample()
    assert [int(env.action_space.sample()) for _ in range(5)] == expected
    assert clone.np_random is not env.np_random
    assert not np.shares_memory(clone._core.weights, env._core.weights)  # training may change them


# --- Traces ---------------------------------------------------------------------------------------------------------------------


def listed(model: str, count: int, gap_cycles: int = 150_000, priority: int = 3) -> list[dict[str, Any]]:
    return [
        {"arrival_cycles": gap_cycles * k, "model": ("short", model)[k % 2], "batch": 1, "priority": priority} for k in range(count)
    ]


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


# --- Cost -----------------------------------------------------------------------------------------------------------------------

SCENARIOS = {
    "Prema-v0": {},
    "PremaStream-v0": {**STREAM, "slots": 16, "horizon_requests": 512},
    "PremaCluster-v0": {**KINDS["cluster"], "npus": ["prema", "prema", "edge", "edge"], "slots": 32, "horizon_requests": 512},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_state_is_kilobytes_and_a_clone_microseconds(name: str) -> None:
    env = PremaEnv(**SCENARIOS[name])
    env.reset(seed=1)
    for _ in range(6):
        env.step(int(env.action_masks().argmax()))
    assert env.get_state().nbytes < MOST_BYTES
    assert len(pickle.dumps(env.get_state())) < MOST_BYTES
    seconds = []
    for _ in range(300):
        start = time.perf_counter()
        env.clone()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 200e-6


def test_states_share_the_log_and_stay_small() -> None:
    env = PremaEnv(**{**STREAM, "horizon_requests": 3000})
    env.reset(seed=1)
    over, states = False, []
    while not over:
        *_, over, _ = env.step(int(env.action_masks().argmax()))
        states.append(env.get_state())
    assert max(state.nbytes for state in states) < MOST_BYTES
    assert sum(map(len, states[-1].history)) == len(env.events()) > 6000
    assert states[-1].history[0] is states[-2].history[0]
    assert len(states[-1].history) < len(env.events()) / 100


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
    for rows in (3, -1, [0, 0], [], 1.5, True, "one", [[0]]):
        with pytest.raises(ConfigError, match="rows"):
            envs.set_state(envs.get_state(0), rows)
        if rows != [0, 0]:
            with pytest.raises(ConfigError, match="row"):
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
