"""Masked PPO of RLlib: its environment, its module, killed runners, what it writes, and what is said without Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from scaling.on_ray import HAS_RAY, needs_ray
from tools.kills.workers import ROOT, below

from agents.commands.rllib import main
from agents.learning.rllib.rows import MaskedRows
from baselines import evaluate, policy_of
from prema_gym.envs.vector_env import PremaVectorEnv

WORLD = {"mechanisms": ("CHECKPOINT",), "workload": {"num_tasks": 3}}
RUNNER = "ray::SingleAgentEnvRunner"
TINY = [
    "--tasks",
    "3",
    "--rows",
    "8",
    "--rollout",
    "512",
    "--batch",
    "128",
    "--epochs",
    "2",
    "--evaluations",
    "6",
    "--valid-episodes",
    "20",
]


def test_rows_are_those_of_the_vector_environment_with_the_mask_behind():
    ours, native = MaskedRows(4, **WORLD), PremaVectorEnv(4, split="train", **WORLD)
    assert ours.metadata["autoreset_mode"] == native.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    seen, _ = ours.reset(seed=5)
    expected, info = native.reset(seed=5)
    size = expected.shape[1]
    assert seen.shape == (4, size + 4)
    rng = np.random.default_rng(0)
    for _ in range(40):
        np.testing.assert_array_equal(seen[:, :size], expected)
        np.testing.assert_array_equal(seen[:, size:], info["action_mask"])
        assert seen.dtype == np.float32
        assert ours.observation_space.contains(seen)
        actions = np.array([rng.choice(np.flatnonzero(mask)) if mask.any() else 0 for mask in info["action_mask"]])
        seen, *outcome, infos = ours.step(actions)
        expected, *others, info = native.step(actions)
        assert infos == {}
        for one, other in zip(outcome, others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_recipe_says_in_one_line_how_to_get_it(capsys):
    assert main(["--minutes", "1"]) == 2
    assert capsys.readouterr().err == (
        "error: agents.rllib needs ray, which is not installed: "
        "pip install 'prema-gym[ray]', in an environment of its own, or make ray.\n"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--runners", "-1"], "--runners -1"),
        (["--batch", "9000"], "--batch 9000: must be at most --rollout"),
        (["--minutes", "0"], "--minutes 0"),
        (["--mechanisms", "KIL"], "Did you mean 'KILL'"),
        (["--episodes", "3"], "a run is as long as --minutes says"),
    ],
)
def test_mistakes_are_answered_in_one_line(words, reason, capsys):
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert reason in error


@needs_ray
def test_the_module_never_offers_an_illegal_action():
    import torch
    from ray.rllib.core.columns import Columns

    from agents.learning.rllib.module import MaskedPerceptron

    rows = MaskedRows(64, **WORLD)
    module = MaskedPerceptron(
        observation_space=rows.single_observation_space, action_space=rows.single_action_space, model_config={"hidden": (8, 8)}
    )
    seen = torch.from_numpy(rows.reset(seed=0)[0])
    found = module.forward_exploration({Columns.OBS: seen})[Columns.ACTION_DIST_INPUTS]
    chances = torch.softmax(found, dim=1)
    legal = seen[:, -4:] > 0
    assert (chances[~legal] == 0).all()
    assert (chances[legal] > 0.05).all()
    torch.testing.assert_close(found[legal], module.actor(seen[:, :-4])[legal])


def start(folder: Path, minutes: float, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREMA_GYM_QUIET": "1"}
    command = [sys.executable, "-m", "agents.rllib", *TINY, "--minutes", str(minutes), "--output", str(folder), *more]
    return subprocess.Popen(command, env=environment, cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def runners(root: int) -> list[int]:
    return sorted(number for number, command in below(root).items() if command.startswith(RUNNER))


def wait_for(run: subprocess.Popen[str], happened) -> None:
    while not happened():
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)


def log_of(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@needs_ray
def test_a_killed_runner_does_not_end_the_run_and_what_it_learned_is_played_and_goes_on(tmp_path):
    folder = tmp_path / "mine"
    run = start(folder, 0.4, "--seed", "3")
    wait_for(run, lambda: log_of(folder) and len(runners(run.pid)) == 2)
    before = log_of(folder)[-1]["frames"]
    os.kill(runners(run.pid)[0], signal.SIGKILL)
    printed, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert "weighted ANTT" in printed
    log = log_of(folder)
    assert log[-1]["frames"] > before
    assert log[-1]["restarts"] >= 1
    assert log[-1]["best"] == min(line["weighted_antt"] for line in log)

    card = json.loads((folder / "best.json").read_text())
    assert (card["mechanisms"], card["asked_every"], card["seed"], card["algorithm"]) == (["CHECKPOINT"], None, 3, "PPO (RLlib)")
    policy = policy_of(str(folder))
    assert policy.name == "mine"
    results = evaluate([policy, "PREMA"], 20, 20_000, split="valid", workload={"num_tasks": 3})
    assert results.mean("mine", "weighted_antt") == pytest.approx(card["selection"]["results"]["weighted_antt"], rel=1e-6)
    assert results.mean("mine", "illegal_actions") == 0

    spent_minutes = json.loads((folder / "state.json").read_text())["seconds"] / 60
    again = start(folder, spent_minutes + 0.15, "--seed", "3", "--resume")
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert log_of(folder)[: len(log)] == log
    assert log_of(folder)[-1]["frames"] > log[-1]["frames"]
