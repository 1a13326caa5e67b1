"""Whatever can schedule has a place at the table: names, objects, functions; and what can't is told so in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import POLICIES, evaluate, make_policy, policy_of, register_policy
from baselines.evaluation import episodes as episodes_module
from baselines.evaluation.disagreement import disagreements
from baselines.evaluation.recording import record
from baselines.policies.kinds import KINDS, Kind, policies_of, register_kind
from baselines.policies.needs import env_arguments, mechanisms_of
from prema_gym.envs.view import View
from prema_gym.errors import ActionError, PolicyError

SMALL = {"workload": {"num_tasks": 3, "models": ("CNN-AN", "CNN-MN", "RNN-SA"), "window": 0.2}}


def shortest(view: View) -> np.ndarray:
    return make_policy("P-SJF").act(view)


class Counting:
    """Remembers, row by row, how many decisions its episode has had, and decides by it: an episode's play depends on its start."""

    name, clairvoyant = "COUNTING", False

    def __init__(self) -> None:
        self.decisions = np.zeros(0, np.int64)
        self.told: list[np.ndarray] = []

    def start_episodes(self, starts: np.ndarray) -> None:
        self.told.append(starts)
        if len(self.decisions) != len(starts):
            self.decisions = np.zeros(len(starts), np.int64)
        self.decisions[starts] = 0

    def act(self, view: View) -> np.ndarray:
        actions = []
        for row, mask in enumerate(view.mask):
            legal = np.flatnonzero(mask)
            actions.append(legal[self.decisions[row] % len(legal)])
        self.decisions += 1
        return np.array(actions)


def test_a_function_of_a_view_plays_under_its_own_name():
    results = evaluate([shortest, "P-SJF"], episodes=4, **SMALL)
    assert results.policies == ["shortest", "P-SJF"]
    assert results.mean("shortest", "antt") == results.mean("P-SJF", "antt")


def test_a_function_says_what_it_needs_by_attributes():
    def answer(view: View) -> np.ndarray:
        return shortest(view)

    answer.asked_every, answer.mechanisms, answer.name = 4, ("CHECKPOINT",), "MINE"  # type: ignore[attr-defined]
    results = evaluate([answer], episodes=2, **SMALL)
    assert (results.policies, results.asked_every) == (["MINE"], {"MINE": 4})


def test_mechanisms_that_a_policy_states_are_checked():
    def answer(view: View) -> np.ndarray:
        return shortest(view)

    answer.mechanisms = "CHECKPOINT"  # type: ignore[attr-defined]
    assert mechanisms_of(answer) == ("CHECKPOINT",)
    answer.mechanisms = ["checkpoint"]  # type: ignore[attr-defined]
    with pytest.raises(PolicyError, match=r"policy 'answer': unknown mechanism 'checkpoint'\. Did you mean 'CHECKPOINT'"):
        evaluate([answer], episodes=1, **SMALL)


def test_a_recording_and_a_disagreement_take_every_kind():
    assert record(shortest, seed=3, **SMALL).policy == "shortest"
    found = disagreements(shortest, "P-SJF", episodes=2, **SMALL)
    assert (found.policy, found.reference, found.rows) == ("shortest", "P-SJF", [])


def test_out_of_range_is_an_error_in_a_recording_and_a_disagreement_too():
    with pytest.raises(ActionError, match="action = 99: must be a whole number from 0 to 9"):
        record(lambda view: np.array([99]), **SMALL)
    with pytest.raises(ActionError, match="answered with action -1: must be a whole number from 0 to 9"):
        disagreements(lambda view: np.array([-1]), "P-SJF", episodes=1, **SMALL)


def test_a_name_of_the_registry_is_not_taken_by_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("PREMA").mkdir()
    assert policy_of("PREMA").name == "PREMA"
    assert policy_of("JSQ/PREMA").name == "JSQ/PREMA"
    with pytest.raises(PolicyError, match=r"\./PREMA: holds no best\.safetensors"):
        policy_of("./PREMA")


def test_who_remembers_is_told_where_episodes_start(monkeypatch):
    """However many rows play side by side, every episode is played as if it were alone."""
    alone, together = Counting(), Counting()
    monkeypatch.setattr(episodes_module, "BATCH_ROWS", 64)
    expected = evaluate([together], episodes=7, **SMALL).played["COUNTING"]
    monkeypatch.setattr(episodes_module, "BATCH_ROWS", 2)
    found = evaluate([alone], episodes=7, **SMALL).played["COUNTING"]
    np.testing.assert_array_equal(found.episodes, expected.episodes)
    assert sum(int(starts.sum()) for starts in alone.told) == 7
    assert together.told[0].tolist() == [True] * 7
    policy = Counting()
    record(policy, seed=1, **SMALL)
    assert [starts.tolist() for starts in policy.told] == [[True]]


def test_a_policy_looks_at_its_environment_before_anybody_plays():
    class Particular:
        name, clairvoyant = "PARTICULAR", False

        def act(self, view: View) -> np.ndarray:
            raise AssertionError("asked")

        def check(self, view: View) -> None:
            raise PolicyError(f"{view.config.num_slots} slots are too few.")

    seen: list[str] = []
    with pytest.raises(PolicyError, match="3 slots are too few"):
        evaluate(["PREMA", Particular()], episodes=2, progress=lambda name, count: seen.append(name), **SMALL)
    assert seen == []


@pytest.mark.parametrize(("slots", "expected"), [(4, 3), (6, 2), (12, 1), (5, 3), (2, 3), (None, 3)])
def test_the_number_of_actions_tells_the_mechanisms(slots: int | None, expected: int):
    class Network:
        mechanisms, actions = None, 13

    assert len(mechanisms_of(Network(), slots)) == expected
    assert len(env_arguments(Network(), slots=slots)["mechanisms"]) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"policies: 3: must be one of: a registered name; "),
        (None, "policies: None: must be one of"),
        (Counting, r"Counting is a class: give an instance of it, such as Counting\(\)"),
        ("", "unknown policy ''"),
        ("PREMMA", "unknown policy 'PREMMA'. Did you mean 'PREMA'"),
        ("runs/mine", "unknown dispatcher 'runs'.* Nor does an agent lie at the path 'runs/mine'"),
        ("mine.onxx", r"unknown policy 'mine\.onxx'.* Nor does an agent lie at the path"),
        ("no/model.zip", r"no/model\.zip: is no file"),
        ("no/model.onnx", r"no/model\.onnx: is no file"),
        ("no/model.safetensors", r"no/model\.json: cannot be read"),
    ],
)
def test_what_is_no_agent_is_one_sentence(given: Any, message: str):
    with pytest.raises(PolicyError, match=message) as caught:
        policy_of(given)
    assert "\n" not in str(caught.value)


def test_a_kind_of_ones_own_joins_the_list():
    class Telegram:
        pass

    before = list(KINDS)
    try:
        register_kind(Kind("a telegram", lambda thing: isinstance(thing, Telegram), lambda thing: make_policy("P-SJF")))
        assert policies_of(["PREMA", Telegram()])[1].name == "P-SJF"
        with pytest.raises(PolicyError, match="a telegram"):
            policy_of(3)
    finally:
        KINDS[:] = before


def test_registered_functions_stay_factories(monkeypatch):
    monkeypatch.setattr(POLICIES, "_factories", dict(POLICIES._factories))
    register_policy("SHORTEST-OF-KINDS", lambda: policy_of(shortest))
    assert policy_of("SHORTEST-OF-KINDS").name == "shortest"
