"""Row i of the vector environment is the single environment seeded seed + i, to the bit, in every autoreset mode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from prema_gym import Program, register_program
from prema_gym.errors import ActionError, ConfigError, UsageError

WORKLOAD = {"models": ["CNN-AN", "CNN-MN", "RNN-SA"], "batches": [1, 4], "num_tasks": 4}
COMMON = {"workload": WORKLOAD, "quantum_cycles": 500_000}
STEPS = 600


def make_vector(rows: int, mode: AutoresetMode, **arguments: Any) -> Any:
    return gym.make_vec("Prema-v0", rows, "vector_entry_point", autoreset_mode=mode, **COMMON, **arguments)


def choose(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a uniformly random legal action per row, and now and then an illegal keep."""
    actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks], np.int64)
    return np.where(rng.random(len(actions)) < 0.02, 0, actions)


class Singles:
    """n single environments with the autoreset of a vector environment, written as plainly as possible."""

    def __init__(self, rows: int, mode: AutoresetMode) -> None:
        self.envs = [gym.make("Prema-v0", **COMMON) for _ in range(rows)]
        self.mode = mode
        self.over = [False] * rows

    def reset(self, seed: int) -> list[tuple[np.ndarray, dict[str, Any]]]:
        return [env.reset(seed=seed + i) for i, env in enumerate(self.envs)]

    def step(self, i: int, action: int) -> tuple[Any, ...]:
        """Return (observation, reward, terminated, truncated, info, final or None)."""
        if self.over[i]:
            self.over[i] = False
            observation, info = self.envs[i].reset()
            return observation, 0.0, False, False, info, None
        observation, reward, terminated, truncated, info = self.envs[i].step(action)
        ended = terminated or truncated
        if ended and self.mode == AutoresetMode.SAME_STEP:
            final = (observation, info)
            observation, info = self.envs[i].reset()
            return observation, reward, terminated, truncated, info, final
        self.over[i] = ended
        return observation, reward, terminated, truncated, info, None


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_row_equals_its_single_environment(rows: int, mode: AutoresetMode) -> None:
    vector, singles = make_vector(rows, mode), Singles(rows, mode)
    rng = np.random.default_rng(rows)
    observations, infos = vector.reset(seed=11)
    for i, (observation, info) in enumerate(singles.reset(11)):
        assert (observations[i] == observation).all()
        assert (infos["action_mask"][i] == info["action_mask"]).all()
    episodes = 0
    for _ in range(STEPS if rows < 64 else STEPS // 4):
        if mode == AutoresetMode.DISABLED and any(singles.over):
            mask = np.array(singles.over)
            observations, infos = vector.reset(options={"reset_mask": mask})
            for i in np.flatnonzero(mask):
                assert (observations[i] == singles.step(i, 0)[0]).all()
        actions = choose(infos["action_mask"], rng)
        observations, rewards, terminations, truncations, infos = vector.step(actions)
        for i in range(rows):
            observation, reward, terminated, truncated, info, final = singles.step(i, int(actions[i]))
            assert (observations[i] == observation).all()
            assert (rewards[i], terminations[i], truncations[i]) == (reward, terminated, truncated)
            assert (infos["action_mask"][i] == info["action_mask"]).all()
            end = info if final is None else final[1]
            check_info(infos, i, end)
            if final is not None:
                assert (infos["final_obs"][i] == final[0]).all()
                assert infos["_final_info"][i]
                assert (infos["final_info"]["action_mask"][i] == final[1]["action_mask"]).all()
            episodes += terminated or truncated
    assert episodes >= rows


def check_info(infos: dict[str, Any], i: int, info: dict[str, Any]) -> None:
    """Compare row ``i`` of vector infos with the info of a single environment, metrics included."""
    for name, value in info["reward_terms"].items():
        assert infos["reward_terms"][name][i] == value
    assert infos["elapsed_ms"][i] == info["elapsed_ms"]
    assert infos["illegal_action"][i] == info["illegal_action"]
    if "metrics" not in info:
        assert "metrics" not in infos or np.isnan(infos["metrics"]["antt"][i])
        return
    assert infos["_metrics"][i]
    for name, value in info["metrics"].items():
        column = infos["metrics"][name][i]
        assert (column == list(value.values())).all() if name == "sla_violation_at" else column == value


def test_what_a_step_returned_stays_as_it_was() -> None:
    vector = make_vector(3, AutoresetMode.NEXT_STEP)
    rng = np.random.default_rng(0)
    observations, infos = vector.reset(seed=0)
    kept = observations.copy(), infos["action_mask"].copy()
    vector.step(choose(infos["action_mask"], rng))
    assert (observations == kept[0]).all()
    assert (infos["action_mask"] == kept[1]).all()


def test_one_trace_for_all_rows_or_one_for_each() -> None:
    vector = make_vector(2, AutoresetMode.NEXT_STEP)
    alexnet = [{"arrival_cycles": 0, "model": "CNN-AN"}]
    mobilenet = [{"arrival_cycles": 0, "model": "CNN-MN"}]
    same, _ = vector.reset(options={"trace": alexnet})
    assert (same[0] == same[1]).all()
    each, _ = vector.reset(options={"trace": [alexnet, mobilenet]})
    assert (each[0] == same[0]).all()
    assert (each[1] != same[1]).any()


def test_bad_use_is_one_clear_error() -> None:
    vector = make_vector(2, AutoresetMode.DISABLED)
    with pytest.raises(UsageError, match="call reset"):
        vector.step(np.zeros(2, np.int64))
    vector.reset(seed=0)
    with pytest.raises(ActionError, match=r"must be \(2,\) whole numbers"):
        vector.step(np.zeros(3, np.int64))
    with pytest.raises(ActionError, match=r"actions\[1\] = 99: must be a whole number from 0 to 12"):
        vector.step(np.array([1, 99]))
    with pytest.raises(ConfigError, match="reset_mask"):
        vector.reset(options={"reset_mask": [True, False]})
    with pytest.raises(ConfigError, match="num_envs = 0"):
        make_vector(0, AutoresetMode.NEXT_STEP)


def _alone(model: str, count: int = 1) -> list[dict[str, Any]]:
    return [{"arrival_cycles": 0, "model": model} for _ in range(count)]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_row_plays_its_traces_in_turn_under_autoreset(mode):
    for name, cycles in (("turn_a", 100), ("turn_b", 200), ("turn_c", 300)):
        register_program(name, Program.from_points(cycles, [cycles]))
    envs = gym.make_vec(
        "prema_gym:Prema-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        autoreset_mode=mode,
        workload={"models": ["turn_a"], "num_tasks": 1},
    )
    traces = [[_alone("turn_a"), _alone("turn_b")], _alone("turn_c")]
    _, info = envs.reset(seed=0, options={"trace": traces})
    seen: list[list[float]] = [[], []]
    for _ in range(8):
        _, _, terminated, _, info = envs.step(np.argmax(info["action_mask"], axis=1))
        for row in np.flatnonzero(terminated):
            seen[row].append(round(float(info["elapsed_ms"][row]) * envs.unwrapped.config.npu.clock_hz / 1000))
    count = len(seen[0])
    assert count == (8 if mode == "SameStep" else 4)
    assert seen == [[100, 200] * (count // 2), [300] * count]
    envs.reset(seed=0)
    *_, terminated, _, info = envs.step(np.argmax(info["action_mask"], axis=1))
    assert float(info["elapsed_ms"][1]) * envs.unwrapped.config.npu.clock_hz / 1000 == pytest.approx(100)  # drawn again
