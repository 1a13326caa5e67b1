"""``evaluate``: the same episodes for everyone, however they are played, and clear errors."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import evaluate, make_policy
from baselines.evaluation.episodes import BATCH_ROWS, CHUNK, play_policy
from baselines.policies.compiled import Chooser, CompiledPolicy, policy_entry
from prema_gym._jit import jit_borrowing
from prema_gym.config import EnvConfig
from prema_gym.errors import ActionError, ConfigError, PolicyError
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


@jit_borrowing
def _fixed(seen, params):
    return params.action


_FIXED = np.dtype([("action", np.int64)])
_ENTRY = policy_entry("FIXED", _fixed, _FIXED)


class Fixed(CompiledPolicy):
    """A compiled policy that always gives the same answer."""

    name = "FIXED"

    def __init__(self, action: int) -> None:
        self.action = action

    def chooser(self, config):
        return Chooser(_ENTRY, np.array([(self.action,)], _FIXED))


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
        results = evaluate([Shim(answer=lambda view: view.mask.argmin(axis=1))], episodes=4, seed=5, **SMALL)
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


@pytest.mark.parametrize(("action", "most"), [(10_000, 9), (10, 9), (-1, 9), (np.uint64(1 << 63), 9)])
def test_an_action_out_of_range_ends_the_evaluation(action, most):
    with pytest.raises(ActionError, match=rf"policy 'shim' answered with action -?\d+: must be a whole number from 0 to {most}\."):
        evaluate([Shim(answer=lambda view: np.full(view.rows, action))], episodes=4, seed=5, **SMALL)


def test_a_row_whose_episodes_are_all_played_may_be_answered_anything():
    def answer(view):
        over = (view.mask[:, 1:] == 0).all(axis=1) & (view.npu["running_slot"] < 0)
        return np.where(over, 10_000, make_policy("P-SJF").act(view))

    results = evaluate([Shim(answer=answer), "P-SJF"], episodes=4, seed=5, **SMALL)
    assert same(results.played["shim"], results.played["P-SJF"])


@pytest.mark.parametrize("answer", [10_000, -3])
def test_a_compiled_action_out_of_range_ends_the_evaluation(answer):
    policy = Fixed(answer)
    with pytest.raises(ActionError, match=rf"policy 'FIXED' answered with action {answer}: must be a whole number from 0 to 9"):
        evaluate([policy], episodes=3, threads=1, **SMALL)


def test_compiled_illegal_actions_are_counted_and_under_strict_refused():
    with pytest.warns(UserWarning, match=r"illegal actions were replaced .* FIXED"):
        evaluate([Fixed(0)], episodes=3, threads=1, **SMALL)
    for policy in (Fixed(0), Shim(answer=lambda view: np.zeros(view.rows, int))):
        with pytest.raises(ActionError, match="answered with action 0: illegal there, and strict=True allows no illegal one"):
            evaluate([policy], episodes=3, threads=1, strict=True, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policies": ["PREMMA"]}, PolicyError, "unknown policy 'PREMMA'"),
        ({"policies": []}, PolicyError, "non-empty list"),
        ({"policies": "PREMA"}, PolicyError, "non-empty list"),
        ({"policies": [3]}, PolicyError, "policies: 3: must be one of"),
        ({"policies": [Shim(), Shim()]}, PolicyError, "two different ones are called 'shim'"),
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


def test_what_is_named_twice_is_played_once():
    policy = Shim()
    assert evaluate(["PREMA", policy, "PREMA", policy], episodes=2, **SMALL).policies == ["PREMA", "shim"]


def test_negative_and_huge_seeds_are_seeds():
    for seed in (-1, 1 << 80):
        compiled, python = evaluate(["P-SJF", Shim()], episodes=3, seed=seed, **SMALL).played.values()
        assert same(compiled, python)
