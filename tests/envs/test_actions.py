"""Actions: what each number means under every set of mechanisms, and which are legal."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import prema_gym  # noqa: F401  # registers Prema-v0
from prema_gym import ConfigError
from prema_gym.config import MECHANISMS, mechanism_bits
from prema_gym.envs.actions import NO_ACTION, count_actions, decode, dispatch, encode, is_action, is_legal
from prema_gym.types import CHECKPOINT, DRAIN, KILL, NONE

SUBSETS = [subset for count in (1, 2, 3) for subset in itertools.combinations(MECHANISMS, count)]
TRACE = [{"arrival_cycles": cycle, "model": "CNN-AN", "batch": 1, "priority": 1} for cycle in (0, 10)]


def busy_env(mechanisms: tuple[str, ...]) -> Any:
    """Return an environment in which one task runs and another waits."""
    env: Any = gym.make("Prema-v0", mechanisms=mechanisms, workload={"num_tasks": 2}).unwrapped
    env.reset(options={"trace": TRACE})
    env.step(int(dispatch(0, mechanism_bits(mechanisms))))
    return env


def test_with_all_mechanisms_an_action_is_one_plus_three_times_the_slot_plus_the_mechanism():
    everything = mechanism_bits(MECHANISMS)
    assert count_actions(2, everything) == 7
    assert [encode(1, mechanism, everything) for mechanism in (CHECKPOINT, KILL, DRAIN)] == [4, 5, 6]
    assert [decode(action, everything) for action in range(4)] == [(NONE, CHECKPOINT), (0, CHECKPOINT), (0, KILL), (0, DRAIN)]


def test_with_two_mechanisms_the_columns_are_those_two_in_order():
    bits = mechanism_bits(("DRAIN", "CHECKPOINT"))
    assert count_actions(3, bits) == 7
    assert [encode(2, mechanism, bits) for mechanism in (CHECKPOINT, KILL, DRAIN)] == [5, NO_ACTION, 6]
    assert [decode(action, bits) for action in (5, 6)] == [(2, CHECKPOINT), (2, DRAIN)]


@pytest.mark.parametrize("subset", SUBSETS)
def test_decoding_undoes_encoding(subset):
    bits = mechanism_bits(subset)
    met = []
    for slot, name in itertools.product(range(3), subset):
        action = encode(slot, MECHANISMS.index(name), bits)
        assert decode(action, bits) == (slot, MECHANISMS.index(name))
        met.append(action)
    assert sorted(met) == list(range(1, int(count_actions(3, bits))))


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_action_space_has_a_column_for_every_mechanism_allowed(subset):
    env = busy_env(subset)
    assert env.action_space.n == 1 + 2 * len(subset)
    # slot 0 runs, slot 1 waits: keep, or give the NPU to slot 1 by any of the mechanisms
    assert env.action_masks().tolist() == [True] + [False] * len(subset) + [True] * len(subset)


@pytest.mark.parametrize("subset", SUBSETS)
def test_actions_are_the_numbers_from_keep_to_the_last_column(subset):
    bits = mechanism_bits(subset)
    assert [action for action in range(-2, 20) if is_action(action, 5, bits)] == list(range(1 + 5 * len(subset)))


@pytest.mark.parametrize("subset", SUBSETS)
def test_what_is_legal_is_what_the_mask_says_and_no_number_beyond_it(subset):
    env = busy_env(subset)
    state = env._core.simulator.state
    status, table = (array.view(np.recarray)[0] for array in (state.status, state.table))
    legal = [action for action in range(-7, 15) if is_legal(status, table, mechanism_bits(subset), action)]
    assert legal == np.flatnonzero(env.action_masks()).tolist()


@pytest.mark.parametrize("subset", SUBSETS)
def test_an_idle_npu_takes_a_task_by_the_first_column_alone(subset):
    env: Any = gym.make("Prema-v0", mechanisms=subset, workload={"num_tasks": 2}).unwrapped
    env.reset(options={"trace": TRACE})
    assert np.flatnonzero(env.action_masks()).tolist() == [1]


@pytest.mark.parametrize("name", MECHANISMS)
def test_each_mechanism_does_what_it_is_called_whatever_the_others(name):
    outcomes = set()
    for subset in (subset for subset in SUBSETS if name in subset):
        env = busy_env(subset)
        env.step(int(env.view().give(1, name)[0]))
        view = env.view()
        outcomes.add((int(view.npu["clock_cycles"][0]), *view.table["executed_cycles"][0].tolist()))
    assert len(outcomes) == 1


def test_a_view_gives_the_npu_by_dispatching_where_it_is_idle():
    env: Any = gym.make("Prema-v0", mechanisms=["KILL", "DRAIN"], workload={"num_tasks": 2}).unwrapped
    env.reset(options={"trace": TRACE})
    assert env.view().give(0, "DRAIN").tolist() == [1]
    env.step(1)
    assert env.view().give(1, "DRAIN").tolist() == [4]
    with pytest.raises(ConfigError, match="mechanism 'CHECKPOINT': this environment allows KILL, DRAIN"):
        env.view().give(1)
