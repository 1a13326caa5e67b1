"""The stable-baselines3 adapter does what DummyVecEnv over single environments does, step by step, masks included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import prema_gym  # noqa: F401  # registers Prema-v0
from agents.learning.sb3.adapter import PremaVecEnv

COMMON: dict[str, Any] = {
    "workload": {"models": ["CNN-AN", "CNN-MN", "RNN-SA"], "batches": [1, 4], "num_tasks": 4},
    "quantum_cycles": 500_000,
}


def both(rows: int, **arguments: Any) -> tuple[PremaVecEnv, DummyVecEnv]:
    native = PremaVecEnv(rows, **COMMON, **arguments)
    dummy = DummyVecEnv([lambda: gym.make("Prema-v0", **COMMON, **arguments) for _ in range(rows)])
    native.seed(5)
    dummy.seed(5)
    return native, dummy


def play_both(native: PremaVecEnv, dummy: DummyVecEnv, steps: int) -> int:
    """Play random legal actions, compare everything; return how many episodes ended."""
    rng = np.random.default_rng(0)
    assert (native.reset() == dummy.reset()).all()
    ended = 0
    for _ in range(steps):
        masks = get_action_masks(native)
        assert (masks == get_action_masks(dummy)).all()
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        observations, rewards, dones, infos = native.step(actions)
        expected = dummy.step(actions)
        assert (observations == expected[0]).all()
        assert (rewards == expected[1]).all()
        assert rewards.dtype == expected[1].dtype
        assert (dones == expected[2]).all()
        for done, info, other in zip(dones, infos, expected[3], strict=True):
            if done:
                assert (info["terminal_observation"] == other["terminal_observation"]).all()
                assert info["TimeLimit.truncated"] == other["TimeLimit.truncated"]
                assert info["metrics"]["antt"] == other["metrics"]["antt"]
        ended += int(dones.sum())
    return ended


@pytest.mark.parametrize("rows", [1, 5])
def test_every_step_equals_dummy_vec_env(rows: int) -> None:
    assert play_both(*both(rows), steps=300) >= rows


def test_masks_after_an_episode_are_those_of_the_next_one() -> None:
    native, _ = both(2, mechanisms=["CHECKPOINT"])
    native.reset()
    for _ in range(400):
        masks = native.action_masks()
        _, _, dones, _ = native.step(masks.argmax(axis=1))
        if dones.any():
            row = int(np.flatnonzero(dones)[0])
            assert not native.action_masks()[row, 0]  # an idle NPU: a new episode's first decision
            return
    pytest.fail("no episode ended")


def test_masking_is_found_and_monitors_count_episodes() -> None:
    native, _ = both(3)
    assert is_masking_supported(native)
    monitored = VecMonitor(native)
    assert is_masking_supported(monitored)
    monitored.reset()
    lengths: list[int] = []
    for _ in range(300):
        _, _, _, infos = monitored.step(get_action_masks(monitored).argmax(axis=1))
        lengths += [info["episode"]["l"] for info in infos if "episode" in info]
    assert lengths
    assert min(lengths) >= 1


def test_episodes_are_reported_without_a_monitor_as_with_one() -> None:
    plain, inner = both(3)[0], both(3)[0]
    monitored = VecMonitor(inner)
    for env in (plain, monitored):
        env.seed(5)
        env.reset()
    ended = 0
    for _ in range(200):
        actions = plain.action_masks().argmax(axis=1)
        for own, other in zip(plain.step(actions)[3], monitored.step(actions)[3], strict=True):
            assert ("episode" in own) == ("episode" in other)
            if "episode" in own:
                ended += 1
                assert own["episode"]["l"] == other["episode"]["l"]
                assert own["episode"]["r"] == pytest.approx(other["episode"]["r"], rel=1e-5)
    assert ended > 3


def test_the_loggers_of_stable_baselines3_show_episodes(tmp_path: Path) -> None:
    env = PremaVecEnv(2, mechanisms=["CHECKPOINT"], **COMMON)
    model = MaskablePPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(256)
    model.logger.close()
    names, *rows = (line.split(",") for line in (tmp_path / "progress.csv").read_text().splitlines())
    last = dict(zip(names, rows[-1], strict=True))
    assert float(last["rollout/ep_rew_mean"]) < 0
    assert float(last["rollout/ep_len_mean"]) > 1


def test_a_limit_of_steps_is_a_truncation_with_metrics_and_a_last_observation() -> None:
    native = PremaVecEnv(2, max_episode_steps=5, **COMMON)
    native.seed(1)
    native.reset()
    for step in range(1, 11):
        before = native.action_masks().argmax(axis=1)
        _, _, dones, infos = native.step(before)
        assert dones.tolist() == [step % 5 == 0] * 2
        for info in infos:
            if info:
                assert info["TimeLimit.truncated"]
                assert info["episode"]["l"] == 5
                assert info["metrics"]["antt"] >= 0
                assert info["terminal_observation"].shape == native.observation_space.shape


def test_reward_weights_change_from_the_next_step_on() -> None:
    native, _ = both(2)
    native.reset()
    native.set_reward_weights({"antt": 2.0})
    for _ in range(20):
        _, rewards, _, _ = native.step(native.action_masks().argmax(axis=1))
        assert rewards == pytest.approx(2.0 * native.reward_terms["antt"])


def test_rows_are_not_objects_of_their_own() -> None:
    native, _ = both(2)
    assert native.env_is_wrapped(gym.Wrapper) == [False, False]
    assert native.get_attr("num_envs", indices=[0]) == [2]
    with pytest.raises(NotImplementedError, match="rows share"):
        native.set_attr("x", 1)
    with pytest.raises(AttributeError, match="action_masks only"):
        native.env_method("render")
