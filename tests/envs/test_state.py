"""States and clones: what is taken out of an environment plays on exactly as it would have, wherever it is put."""

from __future__ import annotations

import pickle
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.states import CLOSED, KINDS, STREAM, play, play_rows, register, same

from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.state import arrays_of, state_of
from prema_gym.envs.vector_env import PremaVectorEnv

MODES = ["NextStep", "SameStep", "Disabled"]
MOST_BYTES = 64 << 10


@pytest.fixture(autouse=True)
def programs() -> None:
    """Register what is played."""
    register()


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
    copied = pickle.loads(pickle.dumps(original.clone()))
    assert same(go_on(original), untouched)
    assert same(go_on(copied), untouched)
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


# --- Cost -----------------------------------------------------------------------------------------------------------------------

SCENARIOS = {
    "Prema-v0": {},
    "PremaStream-v0": {**STREAM, "slots": 16, "horizon_requests": 512},
    "PremaCluster-v0": {**KINDS["cluster"], "npus": ["prema", "prema", "edge", "edge"], "slots": 32, "horizon_requests": 512},
    "PremaBatch-v0": {**KINDS["batches"], "slots": 64, "horizon_requests": 512},
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


def test_equal_states_are_equal_arrays() -> None:
    # Between the fields of an outcome lies whatever lay in the memory that a step was given.
    envs = PremaVectorEnv(3, **CLOSED)
    envs.reset(seed=4)
    kept = arrays_of(envs.get_state())
    outcomes = envs._core.outcomes.copy()
    envs._core.outcomes.view(np.uint8)[:] = 7
    for name in outcomes.dtype.names:
        envs._core.outcomes[name] = outcomes[name]
    assert not same(envs.get_state().memory, kept["memory"])
    assert same(arrays_of(envs.get_state()), kept)
