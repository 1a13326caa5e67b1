"""``evaluate``: the same episodes for everyone, however they are played, and clear errors."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import evaluate, make_policy
from baselines.evaluation.episodes import BATCH_ROWS, CHUNK, play_policy
from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, PolicyError
from prema_gym.workloads.seeding import episode_seeds

SMALL = {"workload": {"num_tasks": 3, "models": ("CNN-AN", "CNN-MN", "RNN-SA"), "window": 0.2}}


class Shim:
    """A policy that no compiled loop knows."""

    clairvoyant = False

    def __init__(self, name: str = "shim", answer=None) -> None:
        self.name, self._answer = name, answer

    def act(self, view, truth=None):
        assert truth is None
        return make_policy("P-SJF").act(view) if self._answer is None else self._answer(view)


def same(a, b) -> bool:
    return bool((a.episodes == b.episodes).all() and (a.tasks == b.tasks).all())


def test_policies_play_the_same_episodes_of_the_split_asked_for():
    for split in ("eval", "valid"):
        results = evaluate(["NP-FCFS", "PREMA", Shim()], episodes=5, seed=9, split=split, **SMALL)
        for played in results.played.values():
            np.testing.assert_array_equal(played.episodes["seed"], episode_seeds(split, 9, 5))
            for field in ("arrival_cycles", "isolated_cycles", "priority"):
                np.testing.assert_array_equal(played.tasks[field], results.played["PREMA"].tasks[field])


def test_threads_change_nothing():
    one, two = (evaluate(["PREMA"], episodes=2 * CHUNK + 5, seed=1, threads=threads, **SMALL) for threads in (1, 2))
    assert same(one.played["PREMA"], two.played["PREMA"])


def test_more_episodes_are_the_fewer_ones_and_then_some():
    few, many = (play_policy(make_policy("PREMA"), EnvConfig(**SMALL), count, 4) for count in (7, CHUNK + 9))
    np.testing.assert_array_equal(few.episodes, many.episodes[:7])


def test_a_policy_in_python_plays_more_episodes_than_it_has_rows():
    count = BATCH_ROWS + 70
    results = evaluate([Shim(), "P-SJF"], episodes=count, seed=2, **SMALL)
    assert same(results.played["shim"], results.played["P-SJF"])


def test_episodes_of_one_task_are_played():
    results = evaluate(["PREMA", Shim()], episodes=4, seed=2, workload={"num_tasks": 1})
    for played in results.played.values():
        np.testing.assert_array_equal(played.ntt, 1.0)
        np.testing.assert_array_equal(played.episodes["decisions"], 1)


def test_progress_adds_up():
    seen = {"PREMA": 0, "shim": 0}

    def report(name: str, count: int) -> None:
        seen[name] += count

    evaluate(["PREMA", Shim()], episodes=CHUNK + 3, seed=2, progress=report, **SMALL)
    assert seen == {"PREMA": CHUNK + 3, "shim": CHUNK + 3}


def test_an_interrupt_in_the_progress_report_stops_the_evaluation():
    def report(name: str, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(["PREMA"], episodes=10 * CHUNK, seed=2, threads=2, progress=report, **SMALL)


def test_truth_is_handed_to_the_clairvoyant_alone():
    class Knows:
        name, clairvoyant = "knows", True
        seen = 0

        def act(self, view, truth=None):
            assert truth.shape == view.table.shape
            assert ((truth > 0) == view.present).all()
            self.seen += 1
            return make_policy("SRPT").act(view, truth)

    policy = Knows()
    results = evaluate([policy, "SRPT", Shim()], episodes=6, seed=5, **SMALL)
    assert policy.seen > 0
    assert same(results.played["knows"], results.played["SRPT"])
    assert results.clairvoyant == ("knows", "SRPT")


def test_illegal_actions_are_replaced_and_counted():
    with pytest.warns(UserWarning, match=r"illegal actions were replaced .* shim 100\.0% of decisions"):
        results = evaluate([Shim(answer=lambda view: np.full(view.rows, 10_000))], episodes=4, seed=5, **SMALL)
    played = results.played["shim"]
    np.testing.assert_array_equal(played.episodes["illegal_actions"], played.episodes["decisions"])
    assert results.mean("shim", "illegal_actions") > 0
    head, _, row = results.table().splitlines()[:3]
    assert head.rstrip().endswith("illegal")
    assert float(row.split()[-1]) == pytest.approx(results.mean("shim", "illegal_actions"), rel=0.01)


@pytest.mark.parametrize(
    "answer", [lambda view: np.zeros(view.rows + 1, int), lambda view: np.zeros(view.rows), lambda view: None, lambda view: 0]
)
def test_answers_of_the_wrong_form_are_one_clear_error(answer):
    with pytest.raises(PolicyError, match=r"policy 'shim' returned actions of shape .* must be \(4,\) whole numbers"):
        evaluate([Shim(answer=answer)], episodes=4, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policies": ["PREMMA"]}, PolicyError, "unknown policy 'PREMMA'"),
        ({"policies": []}, PolicyError, "non-empty list"),
        ({"policies": "PREMA"}, PolicyError, "non-empty list"),
        ({"policies": [3]}, PolicyError, "policies"),
        ({"policies": ["PREMA", "PREMA"]}, PolicyError, "named 2 times"),
        ({"episodes": 0}, ConfigError, "episodes = 0"),
        ({"episodes": 1.5}, ConfigError, "episodes = 1.5"),
        ({"seed": "x"}, ConfigError, "seed = 'x'"),
        ({"threads": 0}, ConfigError, "threads = 0"),
        ({"split": "test"}, ConfigError, "unknown split 'test'"),
        ({"window": 0.5}, ConfigError, "window=0.5"),
        ({"workload": {"num_tasks": 0}}, ConfigError, "num_tasks = 0"),
        ({"npu": "tpu"}, ConfigError, "unknown NPUConfig preset 'tpu'"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(**{"policies": ["PREMA"], "episodes": 2, **arguments})


def test_negative_and_huge_seeds_are_seeds():
    for seed in (-1, 1 << 80):
        compiled, python = evaluate(["P-SJF", Shim()], episodes=3, seed=seed, **SMALL).played.values()
        assert same(compiled, python)
