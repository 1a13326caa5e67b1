"""Training: returns in elapsed time by hand, repeatable runs, runs that go on after being killed."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.commands.train import main, train
from agents.learning import arguments as arguments_of
from agents.learning.arguments import Arguments
from agents.learning.cma import Search, emphasis, index_prior, opponent_of
from agents.learning.gradients import build_env, build_model, slot_network
from agents.learning.objective import SCALES, five, improvements, parse_aims
from agents.learning.returns import advantages, discounts
from agents.learning.rollouts import Rollouts
from agents.network.slotnet import Shape
from agents.publishing.weights import load_weights, save_weights
from baselines.evaluation.episodes import play_policy
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError

SMALL = {"valid_episodes": 20, "quiet": True, "threads": 1}


# --- Returns ----------------------------------------------------------------------------------------------------------------------


def test_a_step_discounts_by_the_time_that_it_covers() -> None:
    np.testing.assert_allclose(discounts(np.array([0.0, 1.0, 2.0]), 2.0), [1.0, np.exp(-0.5), np.exp(-1.0)])
    assert (discounts(np.array([0.1, 50.0]), None) == 1.0).all()


def test_returns_worked_out_by_hand() -> None:
    # One row: rewards 1, 2, 3 over 1, 2, 4 ms; the episode ends with the second step; half of everything is lost in ln 2 ms.
    rewards, values = np.array([[1.0], [2.0], [3.0]]), np.array([[10.0], [20.0], [30.0]])
    gammas = discounts(np.array([[1.0], [2.0], [4.0]]), 1.0 / np.log(2.0))
    alive = np.array([[1.0], [0.0], [1.0]])
    found = advantages(rewards, values, gammas, alive, np.array([40.0]), gae_lambda=1.0) + values
    np.testing.assert_allclose(found[:, 0], [1.0 + 0.5 * 2.0, 2.0, 3.0 + 40.0 / 16.0])


def test_splitting_a_step_in_time_leaves_its_return_as_it_was() -> None:
    one = advantages(np.array([[5.0]]), np.zeros((1, 1)), discounts(np.array([[3.0]]), 2.0), np.ones((1, 1)), np.array([7.0]), 1.0)
    two = discounts(np.array([[1.0], [2.0]]), 2.0)
    split = advantages(np.array([[5.0], [0.0]]), np.zeros((2, 1)), two, np.ones((2, 1)), np.array([7.0]), 1.0)
    np.testing.assert_allclose(split[0], one[0])


def test_the_buffer_takes_the_times_from_the_environment(tmp_path: Path) -> None:
    given = Arguments(rows=2, rollout=8, batch=16, horizon_ms=5.0, output=tmp_path)
    env = build_env(given, 0)
    model = build_model(given, env)
    model.learn(16)
    buffer = model.rollout_buffer  # type: ignore[attr-defined]
    assert (buffer.elapsed_ms > 0).all()
    last = model.policy.predict_values(torch.as_tensor(model._last_obs)).detach().numpy().ravel()
    starts = np.concatenate([buffer.episode_starts[1:], model._last_episode_starts[None]])
    values, rewards = buffer.values.reshape(2, 8).T, buffer.rewards
    expected = advantages(rewards, values, discounts(buffer.elapsed_ms, 5.0), 1.0 - starts, last, given.gae_lambda)
    assert expected.shape == (8, 2)


# --- Networks in stable-baselines3 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["maskable_ppo", "ppo"])
def test_the_slot_policy_starts_from_the_index_rule(algo: str, tmp_path: Path) -> None:
    given = Arguments(algo=algo, rows=2, rollout=8, batch=16, output=tmp_path)
    env = build_env(given, 0)
    model = build_model(given, env)
    observations = env.reset()
    actions, _ = model.predict(observations, deterministic=True)
    assert (env.action_masks()[np.arange(2), actions]).all()
    network = slot_network(model)
    assert network is not None
    np.testing.assert_allclose(network[1][:3], index_prior(opponent_of("INDEX")), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["maskable_ppo", "ppo", "dqn"])
def test_every_algorithm_trains_and_the_same_seed_gives_the_same_weights(algo: str, tmp_path: Path) -> None:
    def parameters(folder: Path) -> np.ndarray:
        given = Arguments(algo=algo, rows=4, rollout=16, batch=64, steps=256, evaluations=2, output=folder, **SMALL)
        train(given)
        from stable_baselines3.common.save_util import load_from_zip_file

        with (folder / "checkpoint").open("rb") as file:
            _, saved, _ = load_from_zip_file(file)
        return np.concatenate([value.numpy().ravel() for value in saved["policy"].values()])

    assert (parameters(tmp_path / "a") == parameters(tmp_path / "b")).all()


# --- CMA-ES -----------------------------------------------------------------------------------------------------------------------


def test_emphasis_is_on_what_lags_behind() -> None:
    weights = emphasis(np.array([0.0, 1.0, 2.0, 2.0, 5.0]))
    assert weights.sum() == pytest.approx(1.0)
    assert (np.diff(weights) <= 0).all()
    assert weights[0] > 0.8


def test_a_search_starts_from_its_opponent_and_holds_back_what_would_cost_fairness() -> None:
    opponent = opponent_of("INDEX")
    config = EnvConfig(decision_every=8)
    search = Search.begin(Shape(1, 1), opponent, 0, 4)
    mine = Rollouts(search.shape, config, "train").play(search.start, 300, 5)
    theirs = play_policy(opponent, config, 300, 5, split="train")
    assert (mine.episodes["seed"] == theirs.episodes["seed"]).all()
    gains = dict(zip(SCALES, improvements(five(mine), five(theirs)), strict=True))
    assert gains["fairness"] > 0
    np.testing.assert_array_equal(search.start[:3], index_prior(opponent))


def test_a_search_goes_on_from_a_published_network_of_its_shape(tmp_path: Path) -> None:
    search = Search.begin(Shape(1, 1), opponent_of("INDEX"), 0, 4)
    other = search.start + 0.5
    saved = load_weights(save_weights(tmp_path / "net", search.shape, other, {}))
    search.start_from(saved.shape, saved.flat)
    np.testing.assert_allclose(search.weights(np.zeros(int((search.step > 0).sum()))), other, atol=1e-6)
    with pytest.raises(PolicyError, match="goes on from"):
        search.start_from(Shape(2, 2), Shape(2, 2).initial(np.zeros(3), 0))


def test_aims_are_read_by_measure() -> None:
    np.testing.assert_array_equal(parse_aims("antt=2,hp_tail=-0.5"), [2.0, 0.0, 0.0, 0.0, -0.5])
    assert not parse_aims("").any()


@pytest.mark.parametrize(("text", "message"), [("anttt=1", "Did you mean 'antt'"), ("antt", "a measure, '=' and a number")])
def test_an_aim_that_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_aims(text)


def run_cma(folder: Path, steps: int, *, resume: bool = False) -> np.ndarray:
    given = Arguments(algo="cma", steps=steps, population=4, episodes=16, evaluations=2, output=folder, resume=resume, **SMALL)
    policy = train(given)
    assert policy is not None
    return pickle.loads((folder / "checkpoint").read_bytes()).center


def test_the_same_seed_gives_the_same_weights_interrupted_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_cma(tmp_path / "whole", 4)
    advance = Search.advance

    def advance_thrice(self: Search, *given: Any) -> Any:
        if self.generation == 3:
            raise KeyboardInterrupt
        return advance(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "advance", advance_thrice)
        with pytest.raises(KeyboardInterrupt):
            run_cma(tmp_path / "parts", 4)
    assert (run_cma(tmp_path / "parts", 4, resume=True) == whole).all()


def test_a_run_keeps_its_log_and_a_card_that_says_how_it_was_made(tmp_path: Path) -> None:
    run_cma(tmp_path, 2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert set(lines[0]["over_prema"]) == {"antt", "stp", "sla_violation", "fairness", "hp_tail"}
    card = json.loads((tmp_path / "best.json").read_text())
    assert card["algorithm"] == "cma"
    assert card["arguments"]["population"] == 4
    assert card["training"]["decision_every"] == 4


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "agents.train",
        "--algo",
        "cma",
        "--population",
        "4",
        "--episodes",
        "16",
        "--valid-episodes",
        "20",
    ]
    command += ["--threads", "1", "--output", str(tmp_path)]
    killed = subprocess.Popen([*command, "--minutes", "10"])
    state = tmp_path / "state.json"
    for _ in range(600):
        if state.exists() and json.loads(state.read_text())["done"] >= 3:
            break
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = json.loads(state.read_text())["done"]
    subprocess.run([*command, "--steps", str(done + 2), "--resume"], check=True, timeout=300)
    assert json.loads(state.read_text())["done"] == done + 2


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "advance", interrupted)
    assert main(["--algo", "cma", "--valid-episodes", "5", "--output", str(tmp_path)]) == 130
    assert "--resume" in capsys.readouterr().out


def test_every_argument_is_an_option_with_a_word_of_help() -> None:
    text = arguments_of.build_parser().format_help()
    assert "--decision-every" in text
    assert arguments_of.parse(["--algo", "cma", "--window", "0.25"]).config.workload.window == 0.25


@pytest.mark.parametrize("command", [["--algo", "cma", "--opponent", "NOBODY"], ["--algo", "cma", "--window", "-1"]])
def test_a_bad_option_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*command, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
