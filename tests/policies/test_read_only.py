"""A policy can't touch the machine: what it is handed is read-only, and a result better than its bound is an error."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import evaluate, make_policy
from baselines.evaluation.bounds import check_against_bounds
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import BoundError

SMALL = {"workload": {"num_tasks": 3, "models": ("CNN-AN", "CNN-MN", "RNN-SA"), "window": 0.2}}


class Writes:
    """Plays SJF once ``write`` has done something to what it was handed."""

    name = "WRITES"

    def __init__(self, write, clairvoyant: bool = False) -> None:
        self.write, self.clairvoyant = write, clairvoyant

    def act(self, view, truth=None):
        self.write(view, truth)
        return make_policy("P-SJF").act(view)


def finish_everything(view, truth):
    view.table["executed_cycles"] = view.table["predicted_cycles"]


@pytest.mark.parametrize(
    "write",
    [
        finish_everything,
        lambda view, truth: view.npu.__setitem__("clock_cycles", 0),
        lambda view, truth: view.mask.fill(1),
        lambda view, truth: view.observation.fill(0),
        lambda view, truth: view.table[0, 0].__setitem__("priority", 9),
        lambda view, truth: setattr(view.mask.view().flags, "writeable", True),
    ],
)
def test_a_policy_that_writes_into_its_view_gets_an_error(write):
    with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
        evaluate([Writes(write)], episodes=2, **SMALL)


def test_a_clairvoyant_policy_that_writes_the_truth_gets_an_error():
    with pytest.raises(ValueError, match="read-only"):
        evaluate([Writes(lambda view, truth: truth.fill(1), clairvoyant=True)], episodes=2, **SMALL)


@pytest.mark.parametrize("make", [PremaEnv, lambda: PremaVectorEnv(3)])
def test_views_of_both_environments_are_read_only(make):
    env = make()
    env.reset(seed=1)
    view = env.view()
    for array in (view.npu, view.table, view.mask, view.observation):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


@pytest.mark.parametrize("make", [PremaEnv, lambda: PremaVectorEnv(3)])
def test_the_view_after_a_step_shows_the_new_decision(make):
    env = make()
    _, info = env.reset(seed=1)
    env.view()
    action = int(np.flatnonzero(np.atleast_2d(info["action_mask"])[0])[-1])
    observation, *_, info = env.step(action if isinstance(env, PremaEnv) else env.view().mask.argmax(axis=1))
    view = env.view()
    np.testing.assert_array_equal(view.observation, np.atleast_2d(observation))
    np.testing.assert_array_equal(view.mask, np.atleast_2d(info["action_mask"]))
    np.testing.assert_array_equal(view.table["state"], env._core.simulator.state.table["state"])


def test_a_view_shows_the_copy_of_an_environment_that_it_was_asked_of():
    import copy

    env = PremaEnv()
    env.reset(seed=1)
    twin = copy.deepcopy(env._core)
    twin.simulator.state.status["clock_cycles"] = 7
    assert twin.view().npu["clock_cycles"][0] == 7
    assert env.view().npu["clock_cycles"][0] == 0


def test_a_result_better_than_its_bound_is_an_error_that_says_both():
    values, bounds = np.array([[1.2, 1.5], [1.1, 0.225]]), np.array([[1.2, 1.3], [1.0, 1.27]])
    with pytest.raises(BoundError, match=r"policy 'X': antt 0\.225 in episode 1 is below 1\.27"):
        check_against_bounds("X", ("weighted_antt", "antt"), values, bounds)


def test_a_result_that_is_below_its_bound_by_rounding_only_is_none():
    check_against_bounds("X", ("antt",), np.array([[1.27 * (1 - 1e-12)]]), np.array([[1.27]]))
