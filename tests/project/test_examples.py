"""Every example runs with small numbers and ends in the comparison with PREMA; what each is about is held to."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from baselines import evaluate
from baselines.evaluation import episodes

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = ["dict_observation", "optuna_sweep", "plan_one_step", "ppo_cleanrl", "recurrent", "sb3_callbacks"]
MOST_LINES = 150


@pytest.fixture
def example(monkeypatch, tmp_path, capsys):
    """Return what runs an example as a script in an empty folder, and returns (its names, what it printed)."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    threads = torch.get_num_threads()

    def run(name: str, *arguments: str) -> tuple[dict[str, Any], str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        names = runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        return names, capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)


def compared(printed: str) -> list[str]:
    """Return the policies of the table that ``printed`` ends in."""
    return re.findall(r"^ ([A-Z][\w-]*) +\d+q? +\*?\d", printed, re.MULTILINE)


def test_the_examples_are_all_there_and_short():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == NAMES
    assert [name for name in NAMES if len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) >= MOST_LINES] == []


def test_masked_ppo_learns_on_the_vector_environment(example):
    _, printed = example("ppo_cleanrl", "--steps", "49152", "--episodes", "20")
    antts = [float(antt) for antt in re.findall(r"ANTT of the last episodes ([\d.]+)", printed)]
    assert antts[-1] < 0.6 * antts[0]
    assert compared(printed) == ["PREMA", "WSRPT", "PPO"]


def test_callbacks_log_antt_for_tensorboard_and_keep_the_best(example, tmp_path):
    from sb3_contrib import MaskablePPO
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, printed = example("sb3_callbacks", "--steps", "16384", "--episodes", "20")
    assert compared(printed) == ["PREMA", "WSRPT", "MINE"]
    (log,) = (tmp_path / "results" / "sb3").glob("maskable_ppo_*")
    events = EventAccumulator(str(log))
    events.Reload()
    assert {"train_episodes/antt", "valid/antt", "valid/antt_of_prema"} <= set(events.Tags()["scalars"])
    assert all(1 <= entry.value < 100 for entry in events.Scalars("train_episodes/antt"))
    prema = evaluate(["PREMA"], 20, split="valid").mean("PREMA", "antt")
    assert events.Scalars("valid/antt_of_prema")[0].value == pytest.approx(prema, rel=1e-5)
    assert MaskablePPO.load(tmp_path / "results" / "sb3" / "best.zip", device="cpu").num_timesteps == 16384


def test_a_sweep_trains_the_best_trial_once_more(example):
    _, printed = example("optuna_sweep", "--trials", "2", "--steps", "2048", "--episodes", "20")
    assert re.search(r"best of 2 trials: weighted_antt \d\.\d+ on valid, with \{'width'", printed)
    assert compared(printed) == ["PREMA", "WSRPT", "TUNED"]


def test_a_recurrent_policy_forgets_where_episodes_start(example, monkeypatch):
    names, printed = example("recurrent", "--steps", "4096", "--episodes", "10")
    assert compared(printed) == ["PREMA", "WSRPT", "GRU"]
    agent = names["train"](4096, seed=1)

    def antts(rows: int) -> np.ndarray:
        monkeypatch.setattr(episodes, "BATCH_ROWS", rows)
        results = evaluate([names["AtTheTable"](agent)], 30)
        return np.array([row["antt"] for row in results.rows("episode")])

    assert np.array_equal(antts(3), antts(30))  # a row plays ten episodes in a row, or each has a row of its own


def test_the_dict_observation_is_a_valid_one_that_holds_the_mask(example):
    names, printed = example("dict_observation", "--steps", "1500", "--episodes", "10")
    assert compared(printed) == ["PREMA", "WSRPT", "LINEAR"]
    env = names["MaskInObservation"](gym.make("prema_gym:Prema-v0"), "obs", "mask")
    observed, _ = env.reset(seed=3)
    over = False
    while not over:
        assert observed in env.observation_space
        assert np.array_equal(observed["mask"], env.unwrapped.action_masks())
        observed, _, terminated, truncated, _ = env.step(env.action_space.sample(observed["mask"]))
        over = terminated or truncated


def test_planning_with_clones_is_better_than_the_rule_that_it_rolls_out(example):
    _, printed = example("plan_one_step", "--episodes", "12")
    means = {name: float(value) for name, value in re.findall(r"^ ([A-Z]+) +(\d\.\d+)$", printed, re.MULTILINE)}
    assert list(means) == ["PREMA", "WSRPT", "PLAN"]
    assert means["PLAN"] < means["WSRPT"] < means["PREMA"]
