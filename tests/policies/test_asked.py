"""What policies need of their environment: stated by each, given by ``evaluate``, and missed with a warning."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from baselines import evaluate, make_policy
from baselines.evaluation.recording import record
from baselines.policies.needs import StatesNeeds, config_for, env_arguments
from prema_gym.config import MECHANISMS, EnvConfig
from prema_gym.envs.view import View

SMALL = {"num_tasks": 4, "window": 0.25, "models": ("CNN-AN", "CNN-MN", "RNN-SA"), "batches": (1,)}


class Noted:
    """A policy of a user's own: keeps, or dispatches the first that is ready; notes the configurations that it meets."""

    name = "NOTED"
    clairvoyant = False

    def __init__(self, **attributes: Any) -> None:
        self.met: list[EnvConfig] = []
        vars(self).update(attributes)

    def act(self, view: View) -> np.ndarray:
        self.met.append(view.config)
        return np.where(view.npu["running_slot"] < 0, view.give(view.ready.argmax(axis=1), view.config.mechanisms[0]), 0)


def test_prema_is_asked_at_every_quantum_and_shortest_job_first_on_events():
    assert make_policy("PREMA").env_arguments == {"decision_every": 1, "mechanisms": ("CHECKPOINT",)}
    assert make_policy("PREMA-COMMIT").env_arguments == {"decision_every": 1, "mechanisms": ("CHECKPOINT", "DRAIN")}
    assert make_policy("P-SJF").env_arguments == {"decision_every": None, "mechanisms": ("CHECKPOINT",)}
    assert make_policy("NP-FCFS").env_arguments == {"decision_every": None, "mechanisms": ("CHECKPOINT",)}


def test_a_policy_that_states_nothing_is_asked_on_events_with_all_mechanisms():
    assert env_arguments(Noted()) == {"decision_every": None, "mechanisms": MECHANISMS}


def test_several_policies_get_the_union_of_their_mechanisms_and_the_shortest_interval():
    arguments = env_arguments(Noted(asked_every=4, mechanisms=("KILL",)), Noted(asked_every=2, mechanisms=("CHECKPOINT",)))
    assert arguments == {"decision_every": 2, "mechanisms": ("CHECKPOINT", "KILL")}


def test_what_is_said_explicitly_holds_for_all():
    chosen = {"decision_every": 4}
    config = config_for(make_policy("PREMA"), EnvConfig.coerce(chosen), chosen)
    assert (config.decision_every, config.mechanisms) == (4, ("CHECKPOINT",))


def test_evaluate_gives_every_policy_what_it_needs():
    often, seldom = Noted(asked_every=1, mechanisms=("KILL",)), Noted(name="SELDOM")
    results = evaluate([often, seldom], episodes=3, workload=SMALL)
    assert {(config.decision_every, config.mechanisms) for config in often.met} == {(1, ("KILL",))}
    assert {(config.decision_every, config.mechanisms) for config in seldom.met} == {(None, MECHANISMS)}
    assert results.to_dict()["asked_every"] == {"NOTED": 1, "SELDOM": None}
    assert results.mean("NOTED", "decisions") > results.mean("SELDOM", "decisions")


def test_policies_play_the_same_episodes_however_often_they_are_asked():
    results = evaluate(["PREMA", "P-SJF"], episodes=5, workload=SMALL)
    one, other = (results.played[name].tasks for name in results.policies)
    for field in ("arrival_cycles", "isolated_cycles", "priority"):
        np.testing.assert_array_equal(one[field], other[field])


def test_an_explicit_interval_is_given_to_all():
    results = evaluate(["PREMA", "P-SJF"], episodes=3, workload=SMALL, decision_every=8)
    assert results.asked_every == {"PREMA": 8, "P-SJF": 8}


def test_prema_does_worse_when_it_is_asked_on_events_only():
    often, seldom = (evaluate(["PREMA"], episodes=200, **asked) for asked in ({}, {"decision_every": None}))
    assert seldom.mean("PREMA", "antt") > 1.2 * often.mean("PREMA", "antt")


def test_act_warns_once_where_the_environment_asks_less_often_than_the_policy_needs(monkeypatch):
    monkeypatch.setattr(StatesNeeds, "_warned", set())
    env: Any = gym.make("Prema-v0").unwrapped
    env.reset(seed=0)
    policy = make_policy("PREMA")
    with pytest.warns(UserWarning, match="PREMA is to be asked every 1 quanta, and this environment asks on arrivals"):
        policy.act(env.view())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.act(env.view())


def test_an_environment_made_with_a_policys_arguments_brings_no_warning(monkeypatch):
    monkeypatch.setattr(StatesNeeds, "_warned", set())
    policy = make_policy("PREMA")
    env: Any = gym.make("Prema-v0", **policy.env_arguments).unwrapped
    env.reset(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.act(env.view())


def test_a_recording_by_name_asks_as_often_as_the_policy_needs():
    assert any(row["cause"] == "quantum" for row in record("PREMA", seed=3).decisions or ())
    assert not any(row["cause"] == "quantum" for row in record("P-SJF", seed=3).decisions or ())
