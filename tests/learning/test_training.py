"""Training: returns in elapsed time by hand, repeatable runs, runs that go on after being killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.commands.train import build_parser, main, parse
from agents.learning.algorithms import ALGORITHMS, maskable_ppo, ppo
from agents.learning.algorithms.cma import Search
from agents.learning.arguments import Arguments
from agents.learning.checkpoint import load
from agents.learning.gradients.returns import advantages, discounts
from agents.learning.index_rule import index_prior, index_rule
from agents.learning.networks import NETWORKS, slots
from agents.learning.objective import SCALES, headline_values, improvements, objective_weights, parse_margins
from agents.learning.options import option, option_fields
from agents.learning.registry import NoOptions, register_algorithm, register_network
from agents.learning.sb3.training import build_env, read_parameters, slot_network
from agents.learning.training import make_arguments, train
from agents.network.slots.layout import Shape
from agents.network.slots.rollouts import Rollouts
from agents.publishing.policies import PRETRAINED, LearnedPolicy
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
    given = make_arguments("maskable_ppo", rows=2, rollout=8, batch=16, horizon_ms=5.0, output=tmp_path)
    env = build_env(given, 0)
    model = maskable_ppo.build_model(given, env)
    model.learn(16)
    buffer = model.rollout_buffer  # type: ignore[attr-defined]
    assert (buffer.elapsed_ms > 0).all()
    last = model.policy.predict_values(torch.as_tensor(model._last_obs)).detach().numpy().ravel()
    starts = np.concatenate([buffer.episode_starts[1:], model._last_episode_starts[None]])
    values, rewards = buffer.values.reshape(2, 8).T, buffer.rewards
    expected = advantages(rewards, values, discounts(buffer.elapsed_ms, 5.0), 1.0 - starts, last, given.options.gae_lambda)
    assert expected.shape == (8, 2)


# --- Networks in stable-baselines3 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [maskable_ppo, ppo])
def test_the_slot_policy_starts_from_the_index_rule(algorithm: Any, tmp_path: Path) -> None:
    given = make_arguments(algorithm.__name__.split(".")[-1], rows=2, rollout=8, batch=16, output=tmp_path)
    env = build_env(given, 0)
    model = algorithm.build_model(given, env)
    observations = env.reset()
    actions, _ = model.predict(observations, deterministic=True)
    assert (env.action_masks()[np.arange(2), actions]).all()
    network = slot_network(model)
    assert network is not None
    np.testing.assert_allclose(network[1][:3], index_prior(index_rule("INDEX")), rtol=1e-6)


@pytest.mark.parametrize("algo", ["maskable_ppo", "ppo", "dqn"])
def test_every_algorithm_trains_and_the_same_seed_gives_the_same_weights(algo: str, tmp_path: Path) -> None:
    def parameters(folder: Path) -> np.ndarray:
        rollout = {} if algo == "dqn" else {"rollout": 16}
        given = make_arguments(algo, rows=4, batch=64, steps=256, evaluations=2, output=folder, **rollout, **SMALL)
        train(given)
        saved = read_parameters(payload_of(folder))
        return np.concatenate([value.numpy().ravel() for value in saved["policy"].values()])

    assert (parameters(tmp_path / "a") == parameters(tmp_path / "b")).all()


# --- CMA-ES -----------------------------------------------------------------------------------------------------------------------


def test_the_smallest_improvement_has_the_largest_weight() -> None:
    weights = objective_weights(np.array([0.0, 1.0, 2.0, 2.0, 5.0]))
    assert weights.sum() == pytest.approx(1.0)
    assert (np.diff(weights) <= 0).all()
    assert weights[0] > 0.8


def test_a_search_starts_from_its_opponent_and_holds_back_what_would_cost_fairness() -> None:
    opponent = index_rule("INDEX")
    config = EnvConfig(decision_every=8)
    search = Search.begin(Shape(1, 1), opponent, 0, 4)
    mine = Rollouts(search.shape, config, "train").play(search.origin, 300, 5)
    theirs = play_policy(opponent, config, 300, 5, split="train")
    assert (mine.episodes["seed"] == theirs.episodes["seed"]).all()
    gains = dict(zip(SCALES, improvements(headline_values(mine), headline_values(theirs)), strict=True))
    assert gains["fairness"] > 0
    np.testing.assert_array_equal(search.origin[:3], index_prior(opponent))


def test_a_search_goes_on_from_a_published_network_of_its_shape(tmp_path: Path) -> None:
    search = Search.begin(Shape(1, 1), index_rule("INDEX"), 0, 4)
    other = search.origin + 0.5
    saved = load_weights(save_weights(tmp_path / "net", search.shape, other, {}))
    search.start_from(saved.shape, saved.flat)
    np.testing.assert_allclose(search.weights_at(np.zeros(int((search.deviations > 0).sum()))), other, atol=1e-6)
    with pytest.raises(PolicyError, match="goes on from"):
        search.start_from(Shape(2, 2), Shape(2, 2).initial(np.zeros(3), 0))


def test_margins_are_read_by_measure() -> None:
    np.testing.assert_array_equal(parse_margins("antt=2,hp_tail=-0.5"), [2.0, 0.0, 0.0, 0.0, -0.5])
    assert not parse_margins("").any()


@pytest.mark.parametrize(("text", "message"), [("anttt=1", "Did you mean 'antt'"), ("antt", "a measure, '=' and a number")])
def test_a_margin_that_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_margins(text)


def run_cma(folder: Path, steps: int, *, resume: bool = False) -> np.ndarray:
    given = make_arguments("cma", steps=steps, population=4, episodes=16, evaluations=2, output=folder, resume=resume, **SMALL)
    policy = train(given)
    assert policy is not None
    return Search.load(payload_of(folder)).mean_weights


def payload_of(folder: Path) -> Path:
    """Return a file of what the algorithm kept in the run's checkpoint."""
    payload = load(folder / "checkpoint").payload
    assert payload is not None
    (folder / "payload").write_bytes(payload)
    return folder / "payload"


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


def test_every_argument_is_an_option_with_a_sentence_of_help() -> None:
    text = build_parser().format_help()
    assert "--decision-every" in text
    assert parse(["--algo", "cma", "--window", "0.25"]).selection_config.workload.window == 0.25
    for registry in (ALGORITHMS, NETWORKS):
        for entry in registry.values():
            for field in [*option_fields(Arguments), *option_fields(entry.options)]:
                assert re.match("[A-Z'].*[.]$", field.metadata["help"]), field.name


def test_options_lie_with_their_algorithm_and_its_network() -> None:
    given = parse(["--algo", "ppo", "--seed", "3", "--rows", "8", "--encoder", "5"])
    assert (given.seed, given.options, given.network_options) == (3, ppo.Options(rows=8), slots.Options(encoder=5))
    assert parse(["--algo", "ppo", "--network", "mlp"]).network_options == NoOptions()
    assert parse(["--algo", "cma"]).network_options is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["--population", "4"],
            "--population is an option of algorithm cma; this run has those of all runs, algorithm maskable_ppo",
        ),
        (["--algo", "cma", "--epochs=2"], "--epochs is an option of algorithm maskable_ppo, algorithm ppo"),
        (["--network", "mlp", "--encoder", "4"], "--encoder is an option of network slots"),
        (["--algo", "cma", "--populaton", "4"], "Did you mean '--population'"),
        (["--algo", "cmaes"], "unknown algorithm 'cmaes'. Did you mean 'cma'"),
        (["--network", "slot"], "unknown network 'slot'. Did you mean 'slots'"),
        (["--import", "no_such_module"], "--import no_such_module: No module named"),
    ],
)
def test_an_option_that_the_run_does_not_have_says_whose_it_is(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_a_name_or_an_option_that_is_taken_is_refused() -> None:
    @dataclass(frozen=True)
    class Seeded:
        seed: int = option(1, "A seed of its own.")

    with pytest.raises(PolicyError, match="'cma' is registered already"):
        register_algorithm("cma", lambda run, options: None)
    with pytest.raises(PolicyError, match="every run has the option 'seed' already"):
        register_algorithm("seeded", lambda run, options: None, Seeded)
    assert "seeded" not in ALGORITHMS


def test_a_network_of_your_own_is_trained_by_its_name(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    @dataclass(frozen=True)
    class Units:
        units: int = option(8, "Units of the hidden layer.")

    def build(arguments: Arguments, *, masked: bool) -> tuple[str, dict[str, Any]]:
        return "MlpPolicy", {"net_arch": [arguments.network_options.units]}

    register_network("small", build, Units)
    request.addfinalizer(lambda: NETWORKS.pop("small"))
    command = ["--network", "small", "--units", "3", "--rows", "2", "--rollout", "8", "--batch", "16", "--output", str(tmp_path)]
    given = parse(command)
    model = maskable_ppo.build_model(given, build_env(given, 0))
    assert model.policy.mlp_extractor.policy_net[0].out_features == 3
    assert parse(given.command.split()[3:]).network_options == Units(units=3)


def test_the_recorded_command_gives_the_same_arguments_again() -> None:
    given = make_arguments("ppo", seed=7, margins="antt=2", network="mlp", entropy=0.1, resume=True, threads=3)
    assert given.command == "python -m agents.train --algo ppo --seed 7 --margins antt=2 --network mlp --entropy 0.1"
    assert parse(given.command.split()[3:]).recorded() == given.recorded()


def test_the_command_of_a_published_card_still_parses() -> None:
    command = LearnedPolicy.load(PRETRAINED / "LEARNED-CMA").card["command"].split()
    assert parse(command[3:]).margins == "antt=1,sla_violation=1.5"


@pytest.mark.parametrize("command", [["--algo", "cma", "--opponent", "NOBODY"], ["--algo", "cma", "--window", "-1"]])
def test_a_bad_option_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*command, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
