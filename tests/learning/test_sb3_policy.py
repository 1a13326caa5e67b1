"""Models of stable-baselines3 at the table: they are played as they were trained, and measured while they learn."""

from __future__ import annotations

import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from agents import policy_from_sb3
from agents.learning.sb3.adapter import PremaVecEnv
from agents.learning.sb3.curve import LearningCurve, plot_curves
from baselines import evaluate
from prema_gym.envs.core import Core
from prema_gym.errors import ConfigError, PolicyError

SMALL = {"workload": {"num_tasks": 3}}


@pytest.fixture(scope="module")
def model():
    env = PremaVecEnv(2, mechanisms=["CHECKPOINT"], decision_every=4, **SMALL)
    return MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu")


def test_a_model_is_asked_as_it_was_trained(model):
    policy = policy_from_sb3(model, "MINE")
    assert (policy.name, policy.mechanisms, policy.asked_every) == ("MINE", ("CHECKPOINT",), 4)
    results = evaluate([policy], episodes=3, **SMALL)
    assert np.isfinite(results.mean("MINE", "antt"))


def test_single_environments_behind_wrappers_tell_as_well():
    env = make_vec_env("prema_gym:Prema-v0", 2, env_kwargs={"mechanisms": ["CHECKPOINT", "KILL"], **SMALL})
    policy = policy_from_sb3(PPO("MlpPolicy", env, n_steps=8, batch_size=16, seed=0, device="cpu"))
    assert (policy.name, policy.mechanisms, policy.asked_every) == ("PPO", ("CHECKPOINT", "KILL"), None)


def test_a_loaded_model_has_no_environment_and_its_actions_tell_the_mechanisms(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = MaskablePPO.load(tmp_path / "model", device="cpu")
    policy = policy_from_sb3(loaded)
    assert (policy.mechanisms, policy.actions, policy.asked_every) == (None, 4, None)
    stated = policy_from_sb3(loaded, "STATED", mechanisms=["CHECKPOINT"], asked_every=4)
    results = evaluate([policy, stated, policy_from_sb3(model, "AS-TRAINED")], episodes=3, **SMALL)
    assert results.asked_every == {"MaskablePPO": None, "STATED": 4, "AS-TRAINED": 4}
    assert results.mean("STATED", "antt") == results.mean("AS-TRAINED", "antt")
    with pytest.raises(
        PolicyError, match=r"has 4 actions, this environment has 10 \(3 slots by CHECKPOINT, KILL, DRAIN\): state its"
    ):
        evaluate([policy], episodes=1, mechanisms=["CHECKPOINT", "KILL", "DRAIN"], **SMALL)


def test_other_slots_than_in_training_are_refused(model):
    core = Core({"workload": {"num_tasks": 4}, "mechanisms": ["CHECKPOINT"]}, 1)
    with pytest.raises(PolicyError, match="as many slots"):
        policy_from_sb3(model).act(core.view())


@pytest.mark.parametrize(
    ("bad", "message"),
    [(object(), "must be a model"), (None, r"policy_from_sb3\(None\): must be a model"), ("PPO", "PPO: is no file")],
)
def test_what_is_no_model_is_refused(bad, message):
    with pytest.raises(PolicyError, match=message):
        policy_from_sb3(bad)


def test_a_curve_holds_the_model_and_its_rivals(model, tmp_path):
    curve = LearningCurve(16, episodes=3, rivals=("NP-FCFS",), **SMALL)
    model.learn(32, callback=curve)
    assert [point["steps"] for point in curve.points] == [0, 16, 32]
    assert set(curve.points[0]) == {"steps", "seconds", "weighted_antt", "antt"}
    assert curve.rivals["NP-FCFS"]["antt"] == evaluate(["NP-FCFS"], 3, split="valid", **SMALL).mean("NP-FCFS", "antt")
    figure = plot_curves({"one": curve}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5_000
    assert [axes.get_title() for axes in figure.axes] == ["weighted ANTT", "ANTT"]


def test_a_curve_of_an_unknown_measure_is_refused():
    with pytest.raises(ConfigError, match="fastness"):
        LearningCurve(measures=["fastness"])
