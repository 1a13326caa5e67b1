"""A limit of steps: single or vector, given here or by a wrapper; the episode that it cuts off has metrics of what has arrived."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import prema_gym  # noqa: F401  # registers Prema-v0
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import ConfigError, UsageError

SMALL: dict[str, Any] = {"workload": {"models": ["CNN-AN", "CNN-MN", "RNN-SA"], "batches": [1, 4], "num_tasks": 5, "window": 1.0}}
STREAM: dict[str, Any] = {
    "horizon_requests": 60,
    "slots": 8,
    "mechanisms": ["CHECKPOINT"],
    "workload": {"models": ["CNN-AN", "CNN-MN"], "arrivals": {"process": "poisson", "utilisation": 0.7}},
}
LIMIT = 4


def first_legal(info: dict[str, Any]) -> int:
    return int(np.argmax(info["action_mask"]))


def played(env: gym.Env, seed: int | None = 3) -> tuple[int, bool, bool, dict[str, Any]]:
    """Play an episode; return its length, how it ended, and the last info."""
    _, info = env.reset(seed=seed)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        _, _, terminated, truncated, info = env.step(first_legal(info))
        steps += 1
    return steps, terminated, truncated, info


WAYS = {
    "make": lambda: gym.make("Prema-v0", max_episode_steps=LIMIT, **SMALL),
    "module:make": lambda: gym.make("prema_gym:Prema-v0", max_episode_steps=LIMIT, **SMALL),
    "wrapper": lambda: TimeLimit(gym.make("Prema-v0", **SMALL), LIMIT),
    "bare wrapper": lambda: TimeLimit(PremaEnv(**SMALL), LIMIT),
    "argument": lambda: PremaEnv(max_episode_steps=LIMIT, **SMALL),
    "the smaller counts": lambda: TimeLimit(gym.make("Prema-v0", max_episode_steps=50, **SMALL), LIMIT),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_limit_steps_ends_with_metrics(way: str) -> None:
    env = WAYS[way]()
    for seed in (3, 4):
        steps, terminated, truncated, info = played(env, seed)
        assert (steps, terminated, truncated) == (LIMIT, False, True)
        assert info["metrics"]["antt"] >= 0
        assert np.flatnonzero(info["action_mask"]).tolist() == [0]


def test_without_a_limit_nothing_changes() -> None:
    free, limited = played(gym.make("Prema-v0", **SMALL)), played(gym.make("Prema-v0", max_episode_steps=1000, **SMALL))
    assert (free[0], free[1:3], free[3]["metrics"]) == (limited[0], limited[1:3], limited[3]["metrics"])


def test_the_metrics_are_of_the_tasks_that_have_arrived() -> None:
    env = PremaEnv(max_episode_steps=LIMIT, **SMALL)
    metrics = played(env)[3]["metrics"]
    now = int(env.view().npu["clock_cycles"][0])
    arrived = [task for task in env.tasks() if task["arrival_cycles"] <= now]
    assert 0 < len(arrived) < 5
    ended = [task["completion_cycles"] if task["completion_cycles"] >= 0 else now for task in arrived]
    ntt = [(end - task["arrival_cycles"]) / task["isolated_cycles"] for end, task in zip(ended, arrived, strict=True)]
    weights = np.array([task["priority"] for task in arrived], float)
    assert metrics["antt"] == pytest.approx(np.mean(ntt))
    assert metrics["weighted_antt"] == pytest.approx(np.average(ntt, weights=weights))
    assert metrics["unfinished"] == sum(task["completion_cycles"] < 0 for task in arrived)


def test_the_next_episode_is_whole_again() -> None:
    limited, free = PremaEnv(max_episode_steps=LIMIT, **SMALL), PremaEnv(**SMALL)
    played(limited)
    _, info = limited.reset()
    free.reset(seed=3)
    _, expected = free.reset()
    for _ in range(LIMIT - 1):
        one, other = limited.step(first_legal(info)), free.step(first_legal(expected))
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        info, expected = one[4], other[4]


def test_after_the_limit_there_is_nothing_to_step() -> None:
    env = PremaEnv(max_episode_steps=1, **SMALL)
    played(env)
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)


def test_a_limited_environment_is_pickled_in_the_middle_of_an_episode() -> None:
    env = PremaEnv(max_episode_steps=LIMIT, **SMALL)
    _, info = env.reset(seed=3)
    env.step(first_legal(info))
    other = pickle.loads(pickle.dumps(env))
    for _ in range(LIMIT - 1):
        *_, truncated, info = other.step(int(np.argmax(other.action_masks())))
    assert truncated
    assert "metrics" in info


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("world", [SMALL, STREAM], ids=["closed", "stream"])
def test_rows_equal_single_environments(mode: str, world: dict[str, Any]) -> None:
    rows, limit = 3, 7
    envs = gym.make_vec(
        "Prema-v0", num_envs=rows, vectorization_mode="vector_entry_point", max_episode_steps=limit, autoreset_mode=mode, **world
    )
    singles = [PremaEnv(max_episode_steps=limit, **world) for _ in range(rows)]
    observations, info = envs.reset(seed=11)
    expected = [single.reset(seed=11 + row) for row, single in enumerate(singles)]
    ends, waiting = 0, [False] * rows
    for _ in range(60):
        masks = info["action_mask"]
        actions = masks.argmax(axis=1)
        observations, rewards, terminated, truncated, info = envs.step(actions)
        for row, single in enumerate(singles):
            if waiting[row]:  # NextStep: this step began the next episode
                expected[row], waiting[row] = single.reset(), False
                assert (rewards[row], truncated[row]) == (0.0, False)
                np.testing.assert_array_equal(observations[row], expected[row][0])
                continue
            observation, reward, over, cut, own = single.step(int(actions[row]))
            assert (rewards[row], bool(terminated[row]), bool(truncated[row])) == (reward, over, cut)
            last = info["final_obs"][row] if mode == "SameStep" and (over or cut) else observations[row]
            np.testing.assert_array_equal(last, observation)
            if over or cut:
                ends += 1
                assert info["_metrics"][row]
                np.testing.assert_equal(info["metrics"]["antt"][row], own["metrics"]["antt"])
                waiting[row] = mode == "NextStep"
                if mode == "SameStep":
                    np.testing.assert_array_equal(observations[row], single.reset()[0])
        done = terminated | truncated
        if mode == "Disabled" and done.any():
            observations, info = envs.reset(options={"reset_mask": done})
            for row in np.flatnonzero(done):
                np.testing.assert_array_equal(observations[row], singles[row].reset()[0])
    assert ends >= 2 * rows


def test_rows_that_play_traces_go_on_with_the_next_one() -> None:
    traces = [[{"arrival_cycles": 0, "model": model}, {"arrival_cycles": 10, "model": "CNN-MN"}] for model in ("CNN-AN", "CNN-GN")]
    envs = PremaVectorEnv(1, autoreset_mode="SameStep", max_episode_steps=1)
    envs.reset(options={"trace": [traces]})
    seen = []
    for _ in range(4):
        seen.append(int(envs.view().table["predicted_cycles"][0, 0]))
        *_, truncated, info = envs.step(envs.action_masks().argmax(axis=1))
        assert truncated[0]
        assert info["metrics"]["unfinished"][0] >= 1
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_the_state_of_rows_includes_their_steps() -> None:
    envs = PremaVectorEnv(2, max_episode_steps=3, **SMALL)
    envs.reset(seed=1)
    envs.step(envs.action_masks().argmax(axis=1))
    kept = envs.get_state()
    ends = [envs.step(envs.action_masks().argmax(axis=1))[3].tolist() for _ in range(2)]
    assert ends == [[False, False], [True, True]]
    envs.set_state(kept)
    assert [envs.step(envs.action_masks().argmax(axis=1))[3].tolist() for _ in range(2)] == ends


@pytest.mark.parametrize("limit", [0, -1, 1.5, "many", True])
def test_a_wrong_limit_is_one_sentence(limit: Any) -> None:
    for make in (PremaEnv, PremaVectorEnv):
        with pytest.raises(ConfigError, match=r"max_episode_steps = .*: must be a whole number of at least 1, or None\."):
            make(max_episode_steps=limit)
