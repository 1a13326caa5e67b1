"""Every scenario is an environment that Gymnasium and stable-baselines3 accept, the same single, vector, pickled and once more."""

from __future__ import annotations

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import SCENARIOS, with_scenario
from prema_gym.errors import ConfigError

IDS = list(SCENARIOS)


def make(name, **arguments):
    short = {} if name == "Prema-v0" else {"horizon_requests": 24}
    return gym.make(f"prema_gym:{name}", **{**short, **arguments})


def play(env, seed, steps=60):
    """Return what random legal actions meet: observations, rewards, ends."""
    rng = np.random.default_rng(seed)
    obs, info = env.reset(seed=seed)
    met = [(obs.tobytes(), 0.0, False)]
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(int(rng.choice(np.flatnonzero(info["action_mask"]))))
        met.append((obs.tobytes(), reward, terminated or truncated))
        if terminated or truncated:
            break
    return met, info


@pytest.mark.parametrize("name", IDS)
@pytest.mark.filterwarnings("ignore:.*not within the observation space.*")
def test_gymnasium_and_sb3_accept_it(name):
    check_env(make(name).unwrapped)
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(make(name).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_the_same_seed_is_the_same_episode_also_after_pickling(name):
    first, _ = play(make(name), 5)
    again, _ = play(pickle.loads(pickle.dumps(make(name))), 5)
    assert first == again
    assert play(make(name), 6)[0] != first


@pytest.mark.parametrize("name", IDS)
def test_a_row_of_the_vector_environment_is_the_single_one(name):
    short = {} if name == "Prema-v0" else {"horizon_requests": 24}
    vector = gym.make_vec(f"prema_gym:{name}", 2, autoreset_mode=AutoresetMode.DISABLED, **short)
    singles = [make(name), make(name)]
    observations, info = vector.reset(seed=9)
    starts = [env.reset(seed=9 + row) for row, env in enumerate(singles)]
    assert np.array_equal(observations, np.stack([obs for obs, _ in starts]))
    for _ in range(10):
        actions = np.array([int(np.flatnonzero(mask)[-1]) for mask in info["action_mask"]])
        observations, rewards, terminations, truncations, info = vector.step(actions)
        for row, env in enumerate(singles):
            obs, reward, terminated, truncated, _ = env.step(int(actions[row]))
            assert np.array_equal(observations[row], obs)
            assert (rewards[row], terminations[row], truncations[row]) == (reward, terminated, truncated)
        if (terminations | truncations).any():
            break


@pytest.mark.parametrize("name", [name for name in IDS if name != "Prema-v0"])
def test_a_stream_is_truncated_and_then_has_metrics(name):
    met, info = play(make(name), 1, steps=5000)
    assert met[-1][2]
    assert info["metrics"]["deadline_misses"] >= 0.0


def test_the_cluster_is_of_unlike_npus_and_its_measure_cannot_be_made_small_by_giving_requests_up():
    config = EnvConfig.coerce({"scenario": "PremaCluster-v0"})
    assert len(config.all_npus) == 4
    assert len(config.configurations) > 1
    assert config.allow_idle
    assert SCENARIOS["PremaCluster-v0"].measure == "tardiness"


# --- What is given takes the scenario's place ---------------------------------------------------------------------------------


def test_fields_of_a_workload_take_their_place_one_by_one():
    merged = with_scenario({"scenario": "PremaStream-v0", "workload": {"arrivals": {"utilisation": 0.5}, "models": ["CNN-AN"]}})
    assert merged["workload"] == {
        "sla": 4.0,
        "models": ["CNN-AN"],
        "arrivals": {"process": "poisson", "utilisation": 0.5},
    }
    assert EnvConfig.coerce(merged).workload.arrivals.utilisation == 0.5


def test_a_rate_takes_the_place_of_a_utilisation_and_a_mix_that_of_the_short_form():
    mix = [{"model": "CNN-AN", "sla": 2.0}]
    merged = with_scenario({"scenario": "PremaStream-v0", "workload": {"mix": mix, "arrivals": {"requests_per_second": 100}}})
    assert merged["workload"] == {"mix": mix, "arrivals": {"process": "poisson", "requests_per_second": 100}}
    assert EnvConfig.coerce(merged).stream


def test_one_npu_takes_the_place_of_several():
    assert EnvConfig.coerce({"scenario": "PremaCluster-v0", "npu": "edge"}).npus is None


@pytest.mark.parametrize("name", ["PremaStrem-v0", 7, None])
def test_an_unknown_scenario_is_refused_with_those_there_are(name):
    with pytest.raises(ConfigError, match="PremaStream-v0"):
        EnvConfig.coerce({"scenario": name})
