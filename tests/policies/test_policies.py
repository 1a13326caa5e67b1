"""One test of the interface that every policy of the registry passes, and what holds across policies."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from baselines import POLICIES, evaluate, make_policy, register_policy
from baselines.evaluation.bounds import antt_bound, weighted_antt_bound
from baselines.evaluation.episodes import play_policy
from baselines.policies.chance import RandomPolicy
from baselines.policies.needs import plays
from prema_gym.config import MECHANISMS, EnvConfig, mechanism_bits
from prema_gym.envs.actions import decode, encode
from prema_gym.envs.observation import F
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError
from prema_gym.metrics import ANTT, STP, UNFINISHED, WEIGHTED_ANTT
from prema_gym.types import EMPTY, NONE

ALL_MECHANISMS = mechanism_bits(MECHANISMS)
CONFIG = EnvConfig(workload={"num_tasks": 5, "window": 0.3, "models": ("CNN-AN", "CNN-MN", "RNN-SA", "RNN-ASR")})
ANYWHERE = [name for name in POLICIES if plays(make_policy(name), CONFIG)]
"""All but learned policies of other worlds: tests/learning plays those."""
MAY_NEVER_FINISH = {"P-RRB-KILL"}
"""Dropping each other's progress every quantum, two long tasks live for ever."""
EPISODES = 6


class InPython:
    """A policy whose every action passes through Python, one by one."""

    def __init__(self, policy, one_by_one: bool) -> None:
        self.name, self.clairvoyant = policy.name, policy.clairvoyant
        self._policy, self._one_by_one = policy, one_by_one

    def act(self, view, truth=None):
        truth = np.zeros(view.table.shape, np.int64) if truth is None else truth
        if not self._one_by_one:
            return self._policy.act(view, truth)
        return np.concatenate([self._policy.act(row_of(view, i), truth[i : i + 1]) for i in range(view.rows)])


def row_of(view: View, i: int) -> View:
    part = slice(i, i + 1)
    shown = (view.npu, view.table, view.mask, view.observation, view.npus, view.predictions, view.batches)
    return View(view.config, *(array[part] for array in shown))


def views_on_the_way(steps: int = 60, rows: int = 24, seed: int = 5) -> list[tuple[View, np.ndarray]]:
    """Return copies of views of rows driven by RANDOM, with the true totals."""
    env = gym.make_vec("Prema-v0", num_envs=rows, decision_every=40)
    env.reset(seed=seed)
    policy, found = RandomPolicy("mixer", seed), []
    for _ in range(steps):
        view = env.unwrapped.view()
        state = env.unwrapped._core.simulator.state
        truth = np.take_along_axis(state.tasks["isolated_cycles"], np.maximum(view.table["task"], 0), axis=1)
        found.append(
            (
                View(
                    view.config,
                    view.npu.copy(),
                    view.table.copy(),
                    view.mask.copy(),
                    view.observation.copy(),
                    view.npus,
                    view.predictions,
                    view.batches,
                ),
                truth.copy(),
            )
        )
        env.step(policy.act(view))
    return found


@pytest.fixture(scope="module")
def views():
    return views_on_the_way()


@pytest.mark.parametrize("name", ANYWHERE)
def test_every_policy_keeps_the_interface(name):
    policy = make_policy(name)
    assert policy.name == name
    compiled = play_policy(policy, CONFIG, EPISODES, seed=3)
    again = play_policy(make_policy(name), CONFIG, EPISODES, seed=3)
    batch = play_policy(InPython(policy, one_by_one=False), CONFIG, EPISODES, seed=3)
    single = play_policy(InPython(policy, one_by_one=True), CONFIG, EPISODES, seed=3)
    for other in (again, batch, single):
        np.testing.assert_array_equal(compiled.episodes, other.episodes)  # illegal actions are counted: none
        np.testing.assert_array_equal(compiled.tasks, other.tasks)
    assert not batch.episodes["illegal_actions"].any()
    if name not in MAY_NEVER_FINISH:
        assert not compiled.metrics[:, UNFINISHED].any()


@pytest.mark.parametrize("name", ANYWHERE)
def test_evaluation_plays_what_the_environment_plays(name):
    policy = make_policy(name)
    played = play_policy(policy, CONFIG, 2, seed=8, split="env")
    arguments = CONFIG.to_dict() | {"strict": True}
    env = gym.make("Prema-v0", disable_env_checker=True, **arguments).unwrapped
    for episode in range(2):
        env.reset(seed=8 if episode == 0 else None)
        isolated = np.array([task["isolated_cycles"] for task in env.tasks()])
        ended = False
        while not ended:
            view = env.view()
            truth = np.where(view.present, isolated[np.maximum(view.table["task"], 0)], 0)
            *_, terminated, truncated, info = env.step(int(policy.act(view, truth)[0]))
            ended = terminated or truncated
        assert [info["metrics"][key] for key in ("antt", "weighted_antt", "stp")] == played.metrics[
            episode, [ANTT, WEIGHTED_ANTT, STP]
        ].tolist()


def permuted(view: View, truth: np.ndarray, order: np.ndarray) -> tuple[View, np.ndarray]:
    """Return the view with slot ``order[i, k]`` of row i moved to slot k."""
    status = view.npu.copy()
    place = np.argsort(order, axis=1)
    for field in ("running_slot", "last_slot"):
        old = view.npu[field]
        status[field] = np.where(old >= 0, place[np.arange(len(old)), np.maximum(old, 0)], old)
    slots = np.take_along_axis(view.table, order, axis=1)
    count = slots.shape[1]
    features, columns = view.observation[:, : count * F], view.mask[:, 1:]
    features = np.take_along_axis(features.reshape(-1, F, count), order[:, None], axis=2).reshape(features.shape)
    columns = np.take_along_axis(columns.reshape(-1, count, 3), order[..., None], axis=1).reshape(columns.shape)
    mask = np.concatenate([view.mask[:, :1], columns], axis=1)
    observation = np.concatenate([features, view.observation[:, count * F :]], axis=1)
    moved = View(view.config, status, np.ascontiguousarray(slots), mask, observation, view.npus, view.predictions, view.batches)
    return moved, np.take_along_axis(truth, order, axis=1)


def renamed(actions: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the actions that mean the same once slots have moved."""
    place = np.argsort(order, axis=1)
    moved = []
    for row, action in enumerate(actions):
        slot, mechanism = decode(int(action), ALL_MECHANISMS)
        moved.append(0 if slot == NONE else encode(int(place[row, slot]), mechanism, ALL_MECHANISMS))
    return np.array(moved)


@pytest.mark.parametrize("name", [name for name in ANYWHERE if name != "RANDOM"])
def test_actions_follow_their_task_when_slots_are_permuted(name, views):
    policy, rng = make_policy(name), np.random.default_rng(4)
    busy = 0
    for view, truth in views:
        count = view.table.shape[1]
        if "RRB" in name:  # a turn is a matter of slots: turning the wheel is all that may be done
            order = (np.arange(count) + rng.integers(0, count, view.rows)[:, None]) % count
        else:
            order = rng.permuted(np.tile(np.arange(count), (view.rows, 1)), axis=1)
        actions = policy.act(view, truth)
        np.testing.assert_array_equal(policy.act(*permuted(view, truth, order)), renamed(actions, order))
        busy += (view.present.sum(axis=1) > 2).sum()
    assert busy > 300


@pytest.mark.parametrize("name", ANYWHERE)
def test_actions_are_legal_on_views_that_others_brought_about(name, views):
    policy = make_policy(name)
    for view, truth in views:
        actions = policy.act(view, truth)
        assert actions.dtype == np.int64
        assert view.mask[np.arange(view.rows), actions].all()


@pytest.mark.parametrize("window", [0.1, 1.0])
@pytest.mark.parametrize("npu", ["prema", "edge"])
def test_no_policy_beats_the_bound_ever(npu, window):
    config = EnvConfig(npu=npu, workload={"num_tasks": 4, "window": window, "models": ("CNN-AN", "CNN-GN", "CNN-MN", "RNN-SA")})
    for name in ANYWHERE:
        played = play_policy(make_policy(name), config, 40, seed=1)
        tasks = played.tasks
        weighted = weighted_antt_bound(tasks["arrival_cycles"], tasks["isolated_cycles"], tasks["priority"])
        plain = antt_bound(tasks["arrival_cycles"], tasks["isolated_cycles"])
        assert (played.metrics[:, WEIGHTED_ANTT] >= weighted - 1e-9).all(), name
        assert (played.metrics[:, ANTT] >= plain - 1e-9).all(), name


def test_without_preemption_first_come_first_served_has_a_closed_form():
    played = play_policy(make_policy("NP-FCFS"), EnvConfig(), 200, seed=2)
    for tasks in played.tasks:
        free = 0
        for task in tasks:
            free = max(free, task["arrival_cycles"]) + task["isolated_cycles"]
            assert task["ntt"] == (free - task["arrival_cycles"]) / task["isolated_cycles"]


def test_preemption_that_is_never_used_changes_nothing():
    results = evaluate(["NP-FCFS", "P-FCFS", "P-FCFS-KILL", "P-FCFS-DRAIN"], episodes=40, seed=2)
    first, *others = results.played.values()
    for other in others:
        np.testing.assert_array_equal(first.episodes, other.episodes)


def test_predictions_are_good_enough_that_true_times_change_little():
    results = evaluate(["PREMA", "PREMA-ORACLE", "SRPT", "P-SJF"], episodes=200, seed=2)
    assert results.mean("PREMA-ORACLE", "antt") == pytest.approx(results.mean("PREMA", "antt"), rel=0.1)
    assert results.mean("SRPT", "antt") <= results.mean("P-SJF", "antt")


def test_random_differs_from_seed_to_seed():
    one, other = (play_policy(RandomPolicy("r", seed), CONFIG, 4, seed=3) for seed in (1, 2))
    assert (one.metrics != other.metrics).any()


def test_every_policy_says_its_rule_and_source():
    for name in POLICIES:
        rule = make_policy(name).rule
        assert rule.startswith("Runs: ")
        assert rule.endswith(".")
    assert "Algorithm 3" in make_policy("PREMA").rule
    assert "Knows true times" in make_policy("SRPT").rule


def test_a_clairvoyant_policy_cannot_act_on_a_view_alone(views):
    with pytest.raises(PolicyError, match="knows true times"):
        make_policy("SRPT").act(views[0][0])


def test_unknown_and_taken_names_are_clear_errors():
    with pytest.raises(PolicyError, match=r"unknown policy 'PREMMA'\. Did you mean 'PREMA'\?"):
        make_policy("PREMMA")
    with pytest.raises(PolicyError, match="registered already"):
        register_policy("PREMA", lambda: make_policy("PREMA"))
    with pytest.raises(PolicyError, match=r"unknown policy 'prema'\. Did you mean 'PREMA'\?"):
        make_policy("prema")


def test_an_object_in_place_of_a_factory_is_refused():
    with pytest.raises(PolicyError, match=r"policy 'MINE': Heuristic object given: must be a function of no arguments"):
        register_policy("MINE", make_policy("PREMA"))


def test_a_name_is_replaced_where_that_is_said():
    before = POLICIES["RANDOM"]
    try:
        register_policy("RANDOM", lambda: make_policy("PREMA"), replace=True)
        assert make_policy("RANDOM").name == "PREMA"
    finally:
        register_policy("RANDOM", before, replace=True)


def test_empty_slots_are_never_chosen(views):
    for view, truth in views:
        for name in ("PREMA", "SRPT", "P-RRB", "INDEX-SIMPLE"):
            actions = make_policy(name).act(view, truth)
            slots = [(row, decode(int(action), ALL_MECHANISMS)[0]) for row, action in enumerate(actions)]
            assert all(view.table[row, slot]["state"] != EMPTY for row, slot in slots if slot != NONE)
