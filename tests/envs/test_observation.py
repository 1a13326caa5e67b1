"""The observation says enough: the actions of PREMA and of the index rule can be read off it."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest

from baselines import make_policy
from prema_gym.envs.observation import BLOCKS, LOG_SCALE, REFERENCE_CYCLES, F, G, Layout

KEEP = 0
ROWS, STEPS = 64, 400


class Table:
    """A context table decoded from one observation (T * F + G,), in float64."""

    def __init__(self, observation: np.ndarray) -> None:
        layout = Layout((len(observation) - G) // F)
        column = {name: observation[layout[name]].astype(np.float64) for name in layout}
        self.present = column["present"] == 1
        self.running = column["running"] == 1
        self.priority = np.exp(LOG_SCALE * column["log_priority"])
        self.token = np.exp(LOG_SCALE * column["log_token"])
        self.predicted = REFERENCE_CYCLES * np.exp(LOG_SCALE * column["log_predicted"])
        self.remaining = REFERENCE_CYCLES * np.exp(LOG_SCALE * column["log_remaining"])
        self.waited_share = np.expm1(LOG_SCALE * column["log_elapsed"])
        self.elapsed = self.waited_share * self.predicted

    def smallest(self, key: np.ndarray) -> int:
        """Return the slot of the smallest key; ties to the running task, the earlier arrival, the lower slot."""
        order = np.lexsort((np.arange(len(key)), -self.elapsed, ~self.running, np.where(self.present, key, np.inf)))
        return int(order[0])


def prema_action(table: Table) -> int:
    """Algorithms 2 and 3 on a decoded table."""
    largest = table.token[table.present].max()
    threshold = max(level for level in (1, 3, 9) if level <= largest * (1 + 1e-6))
    chosen = table.smallest(np.where(table.token >= threshold * (1 - 1e-6), table.predicted, np.inf))
    running = np.flatnonzero(table.running)
    if not len(running):
        return 1 + 3 * chosen
    now = int(running[0])
    if chosen == now or table.remaining[chosen] / table.predicted[now] > table.remaining[now] / table.predicted[chosen]:
        return KEEP
    return 1 + 3 * chosen


def index_action(table: Table) -> int:
    """INDEX-SIMPLE on a decoded table."""
    chosen = table.smallest(-table.priority * (1 + table.waited_share) / np.maximum(table.predicted, 1e-9) ** 0.25)
    running = np.flatnonzero(table.running)
    return KEEP if len(running) and chosen == running[0] else 1 + 3 * chosen


@pytest.mark.parametrize(("name", "decode"), [("PREMA", prema_action), ("INDEX-SIMPLE", index_action)])
def test_the_action_can_be_decoded_from_the_observation(name: str, decode: Callable[[Table], int]) -> None:
    policy = make_policy(name)
    env = gym.make_vec("Prema-v0", ROWS, "vector_entry_point", decision_every=4)
    observations, _ = env.reset(seed=0)
    equal = total = switches = 0
    for _ in range(STEPS):
        actions = policy.act(env.unwrapped.view())
        over = np.array([not row[:-G].any() for row in observations])
        decoded = np.array([decode(Table(row)) if not done else KEEP for row, done in zip(observations, over, strict=True)])
        equal += int(((decoded == actions) | over).sum())
        total += ROWS
        switches += int((actions > 0).sum())
        observations, *_ = env.step(actions)
    assert switches > 1000
    assert equal / total >= 0.999


def test_every_feature_stays_within_its_bounds() -> None:
    env = gym.make_vec("Prema-v0", ROWS, "vector_entry_point", decision_every=16, workload={"window": 0.1, "num_tasks": 16})
    observations, info = env.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        assert (observations >= env.single_observation_space.low).all()
        assert (observations <= env.single_observation_space.high).all()
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in info["action_mask"]])
        observations, _, _, _, info = env.step(actions)


def test_an_empty_slot_shows_nothing() -> None:
    env = gym.make("Prema-v0", slots=12)
    observation, _ = env.reset(seed=0)
    features = observation[: 12 * F].reshape(F, 12)
    present = env.unwrapped.view().present[0]
    assert (features[:, ~present] == 0).all()
    assert (features[0, present] == 1).all()


def test_features_are_named_once_and_documented() -> None:
    features = [feature for block in BLOCKS for feature in block.features]
    assert len({feature.name for feature in features}) == len(features)
    assert all(feature.meaning and feature.low < feature.high for feature in features)
