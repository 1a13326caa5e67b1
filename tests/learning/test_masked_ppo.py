"""The project's own trainer: returns, probabilities and the loss by hand, runs that learn, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.commands.evaluate import cells, grid
from agents.commands.pictures import _level, curves
from agents.commands.publish import best_of, publish
from agents.commands.train import main
from agents.learning.algorithms.masked_ppo import Options
from agents.learning.checkpoint import load
from agents.learning.gradients.ppo import Batch, Spread, Trainer, entropies, log_probabilities, loss_of
from agents.learning.gradients.returns import advantages, discounts
from agents.learning.gradients.rows import Rows, at_loads, share_out
from agents.learning.networks import NETWORKS
from agents.learning.registry import register_network
from agents.learning.run import Run
from agents.learning.training import make_arguments, train
from agents.network.actor_critic import ActorCritic, Perceptron
from agents.network.table_network import TableNetwork
from agents.publishing.policies import LearnedPolicy
from baselines import evaluate
from baselines.evaluation.streams import STREAM_HEADLINES, STREAM_MEASURES
from baselines.policies.kinds import policy_of
from baselines.policies.registry import make_policy
from prema_gym.config import EnvConfig
from prema_gym.envs.observation import Layout
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import ConfigError, PolicyError

TINY: dict[str, Any] = {"rows": 4, "rollout": 8, "batch": 16, "valid_episodes": 20, "quiet": True, "threads": 1}
STREAM: dict[str, Any] = {"scenario": "PremaStream-v0", "horizon_requests": 32, "valid_episodes": 2}


def trainer_of(folder: Path, **given: Any) -> Trainer:
    """Return a trainer that has done nothing yet."""
    arguments = make_arguments("masked_ppo", output=folder, **{**TINY, **given})
    return Trainer(Run(arguments), arguments.options)


# --- Returns ----------------------------------------------------------------------------------------------------------------------


def test_advantages_of_two_rows_by_hand() -> None:
    # Row 0 terminates with its second step, row 1 is cut there: 50 would have followed. Every step covers ln 2 horizons: gamma 1/2.
    gammas = discounts(np.full((3, 2), 3.0), 3.0 / np.log(2.0))
    rewards, values = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]), np.array([[8.0, 8.0], [6.0, 6.0], [2.0, 2.0]])
    alive = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    cuts = np.array([[0.0, 0.0], [0.0, 50.0], [0.0, 0.0]])
    found = advantages(rewards, values, gammas, alive, np.array([10.0, 10.0]), 0.5, cuts)
    # Last step: 4 + 10/2 - 2 = 7. Second: 2 - 6 = -4, or with the cut 2 + 25 - 6 = 21. First: 1 + 6/2 - 8 = -4 and a quarter of it.
    np.testing.assert_allclose(found, [[-5.0, 1.25], [-4.0, 21.0], [7.0, 7.0]])


def test_a_discount_per_decision_and_one_by_time_multiply() -> None:
    np.testing.assert_allclose(discounts(np.array([0.0, 2.0]), 2.0, 0.9), [0.9, 0.9 / np.e])


def test_an_episode_that_is_cut_is_worth_what_would_have_followed(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, **STREAM, network="mlp", rollout=96)
    trainer.collect()
    assert trainer.rollout.cuts, "streams of 32 requests end within 96 decisions"
    step, rows, final = trainer.rollout.cuts[0]
    trainer.spread.update(np.array([3.0, 5.0]))
    before = trainer._values(trainer.rollout.observations)
    batch = trainer.batch()
    row, moved = int(rows[0]), batch.advantages.reshape(96, 4).numpy()
    gamma = trainer.options.gamma
    expected = trainer.rollout.rewards[step, row] + gamma * _value_before(trainer, final[:1])[0] - before[step, row]
    assert trainer.rollout.alive[step, row] == 0
    assert moved[step, row] == pytest.approx(expected, rel=1e-4)


def _value_before(trainer: Trainer, observations: np.ndarray) -> np.ndarray:
    """Return values in the units that held before the rollout's returns were taken account of: those of 3 and 5."""
    mean, deviation = 4.0, 1.0
    with torch.no_grad():
        return mean + deviation * trainer.network.values(torch.from_numpy(observations)).numpy()


def test_the_spread_of_returns_is_that_of_all_rollouts() -> None:
    spread = Spread()
    assert spread.units == (0.0, 1.0)
    spread.update(np.array([1.0, 3.0]))
    assert spread.units == pytest.approx((2.0, 1.0))
    spread.update(np.array([12.0, 12.0]))
    assert spread.units[0] == pytest.approx((0.9 * 2.0 + 12.0) / 1.9)


# --- Probabilities and the loss ---------------------------------------------------------------------------------------------------


def test_illegal_actions_have_no_probability_and_no_gradient() -> None:
    logits = torch.tensor([[1.0, 99.0, 1.0 + np.log(3.0)]], requires_grad=True)
    logs = log_probabilities(logits, torch.tensor([[True, False, True]]))
    np.testing.assert_allclose(logs.exp().detach().numpy(), [[0.25, 0.0, 0.75]], rtol=1e-6)
    entropy = entropies(logs)
    assert float(entropy.detach()) == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75), rel=1e-6)
    (entropy.sum() + logs[0, 2]).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0.0
    assert logits.grad[0, 0] != 0.0


class Constant(ActorCritic):
    """The same logits and the same value everywhere."""

    def __init__(self, logits: list[float], value: float) -> None:
        super().__init__()
        self.logits, self.value = torch.nn.Parameter(torch.tensor(logits)), torch.nn.Parameter(torch.tensor(value))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(observations), -1)

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(observations))


def test_the_loss_of_two_decisions_by_hand() -> None:
    # Both actions have probability 1/2 now; the first had 1/4 when it was played, the second 1/2: ratios 2 (clipped to 1.2) and 1.
    network = Constant([0.0, 0.0], 2.0)
    batch = Batch(
        torch.zeros(2, 1), torch.ones(2, 2, dtype=torch.bool), torch.tensor([0, 1]), torch.tensor([0.25, 0.5]).log(),
        torch.tensor([3.0, 1.0]), torch.tensor([1.0, 5.0]),
    )  # fmt: skip
    gain = 1.0 / np.sqrt(2.0)  # (3 - 2) over the deviation of 3 and 1; the other is its negative
    loss = loss_of(network, batch, Options(clip=0.2, value_weight=0.5, entropy=0.1))
    assert float(loss.policy) == pytest.approx(-(1.2 * gain - gain) / 2, rel=1e-5)
    assert float(loss.value) == pytest.approx((1.0 + 9.0) / 2)
    assert float(loss.total.detach()) == pytest.approx(float(loss.policy) + 0.5 * 5.0 - 0.1 * np.log(2.0), rel=1e-5)
    assert float(loss.divergence) == pytest.approx((2.0 - 1.0 - np.log(2.0)) / 2, rel=1e-5)
    assert float(loss.clipped) == 0.5
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert network.value.grad is not None
    assert float(network.value.grad) == pytest.approx(0.5 * (1.0 - 3.0))


def test_actions_are_drawn_with_the_probabilities_of_the_legal_ones(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, network="mlp", rollout=64, rows=8)
    trainer.collect()
    legal = torch.from_numpy(trainer.rollout.masks[:-1]).gather(2, trainer.rollout.actions.unsqueeze(2))
    assert (legal == 1).all()
    batch = trainer.batch()
    played = log_probabilities(trainer.network(batch.observations), batch.masks).gather(1, batch.actions.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(played, batch.logs, atol=1e-5, rtol=1e-5)
    assert len(set(batch.actions.tolist())) > 3


# --- Networks ---------------------------------------------------------------------------------------------------------------------

CLUSTER = EnvConfig.coerce({"scenario": "PremaCluster-v0", "slots": 5})


def seen_by(layout: Layout, rows: int = 6, seed: int = 0) -> torch.Tensor:
    """Return random (rows, D) observations within their bounds, with tasks that are ready in all slots and none that runs."""
    low, high = layout.bounds
    found = np.random.default_rng(seed).uniform(np.maximum(low, -1), np.minimum(high, 1), (rows, layout.size)).astype(np.float32)
    for name, value in {"present": 1.0, "ready": 1.0, "running": 0.0}.items():
        found[:, layout[name]] = value
    return torch.from_numpy(found)


def test_the_table_network_starts_from_its_rule_and_knows_no_order_of_slots() -> None:
    torch.manual_seed(0)
    layout = Layout.of(CLUSTER)
    network = TableNetwork(layout, ["CHECKPOINT"], 8, {"log_priority": 4.0, "log_remaining": -4.0}, 3.0)
    observations = seen_by(layout)
    logits = network(observations).detach()
    rule = observations[:, layout["log_priority"]] - observations[:, layout["log_remaining"]]
    assert (logits[:, 1:].argmax(dim=1) == rule.argmax(dim=1)).all()
    order = [3, 0, 4, 1, 2]
    turned = observations.clone()
    for block in layout.blocks:
        for feature in block.features if block.of == "slot" else ():
            turned[:, layout[feature.name]] = observations[:, layout[feature.name]][:, order]
    torch.testing.assert_close(network(turned)[:, 1:], logits[:, 1:][:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network.values(turned), network.values(observations), atol=1e-5, rtol=1e-5)


def test_a_task_is_evicted_where_something_has_come_or_ended_only() -> None:
    torch.manual_seed(0)
    layout = Layout.of(CLUSTER)
    observations = seen_by(layout)
    observations[:, layout["running"]] = torch.eye(6, 5)  # the last row's NPU is idle
    for name in ("completion", "arrival", "quantum"):
        observations[:, layout[name]] = 0.0
    observations[1, layout["arrival"]] = 1.0
    network = Perceptron(layout, ["CHECKPOINT"], [8], commitment=2.0)
    added = network.commitment(observations).detach().numpy()
    np.testing.assert_allclose(added, [1002.0, 2.0, 1002.0, 1002.0, 1002.0, -2.0])


# --- Rows -------------------------------------------------------------------------------------------------------------------------


def test_rows_are_shared_out_over_loads_and_go_on_from_where_they_stood() -> None:
    assert [part.stop - part.start for part in share_out(5, 3)] == [2, 2, 1]
    configs = at_loads(EnvConfig.coerce({"scenario": "PremaStream-v0"}), "0.3,0.9")
    arrivals = [config.workload.arrivals for config in configs]
    assert [each.utilisation for each in arrivals if each is not None] == [0.3, 0.9]
    one, other = Rows(configs, 3, "sla"), Rows(configs, 3, "sla")
    seen, masks = np.zeros((3, one.features), np.float32), np.zeros((3, one.actions), np.int8)
    one.reset(7, seen, masks)
    first = seen.copy()
    one.step(masks.argmax(axis=1), seen, masks)
    assert (seen != first).any(axis=1).all(), "the step has written into the arrays that it was given"
    other.go_on_from(one.arrays())
    theirs, their_masks = seen.copy(), masks.copy()
    for _ in range(30):
        ours = one.step(masks.argmax(axis=1), seen, masks)
        yours = other.step(their_masks.argmax(axis=1), theirs, their_masks)
        np.testing.assert_array_equal(ours.rewards, yours.rewards)
        np.testing.assert_array_equal(seen, theirs)


def test_only_arrays_that_fit_are_written_into() -> None:
    env = PremaVectorEnv(2)
    shape = env.observation_space.shape
    assert shape is not None
    for wrong in (np.zeros(shape), np.zeros((shape[1], shape[0]), np.float32).T, np.zeros((3, shape[1]), np.float32)):
        with pytest.raises(ConfigError, match=r"write_into\(observations"):
            env.write_into(wrong, np.zeros((2, 25), np.int8))


# --- Runs -------------------------------------------------------------------------------------------------------------------------


SMALL_WORLD: dict[str, Any] = {"valid_episodes": 100, "quiet": True, "threads": 1, "tasks": 4}


def test_a_perceptron_learns_within_seconds_and_its_run_is_a_policy(tmp_path: Path) -> None:
    given = make_arguments(
        "masked_ppo", network="mlp", select="antt", reward="antt", steps=24_576, evaluations=12, rows=32,
        rollout=64, batch=512, learning_rate=2e-3, output=tmp_path, **SMALL_WORLD,
    )  # fmt: skip
    train(given)
    log = [json.loads(line) for line in load(tmp_path / "checkpoint").log.splitlines()]
    first, best = log[0]["values"]["antt"], min(line["values"]["antt"] for line in log)
    assert best < 0.85 * first
    assert log[-1]["training"]["torch_threads"] == 1
    card = json.loads((tmp_path / "best.json").read_text())
    assert card["selection"]["results"]["antt"] == pytest.approx(best)
    played = evaluate([str(tmp_path)], 100, 20_000, split="valid", workload={"num_tasks": 4})
    assert played.mean(tmp_path.name, "antt") == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("network", ["slots", "table"])
def test_a_stream_is_trained_on_at_several_loads(network: str, tmp_path: Path) -> None:
    given = make_arguments("masked_ppo", network=network, steps=64, loads="0.5,0.9", output=tmp_path, **{**TINY, **STREAM})
    train(given)
    line = json.loads(load(tmp_path / "checkpoint").log.splitlines()[-1])
    assert next(iter(line["values"])) == "deadline_misses"
    assert line["score"] == -line["values"]["deadline_misses"]


# --- Refused ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--device", "cuda"], "--device cuda: torch finds no such device here"),
        (["--loads", "0.5,0.9"], "--loads 0.5,0.9: is for arrivals that have a rate"),
        (["--scenario", "PremaStream-v0", "--loads", "0.5,much"], "'much' is no number"),
        (
            ["--scenario", "PremaStream-v0", "--select", "dominance"],
            "--select dominance: compares the metrics of an episode's tasks",
        ),
        (["--scenario", "PremaStream-v0", "--reward", "dominance"], "this run chooses by deadline_misses"),
        (["--select", "anntt"], "Did you mean 'antt'"),
        (["--algo", "cma", "--scenario", "PremaStream-v0"], "algorithm cma trains on closed episodes"),
        (["--algo", "maskable_ppo", "--network", "table"], "--network table: is none of stable-baselines3"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda" in command and torch.cuda.is_available():
        pytest.skip("there is such a device here")
    algorithm = [] if "--algo" in command else ["--algo", "masked_ppo"]
    assert main([*algorithm, *command, "--steps", "64", "--output", str(tmp_path), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_network_for_stable_baselines3_alone_is_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    register_network("theirs", lambda arguments, *, masked: ("MlpPolicy", {}))
    request.addfinalizer(lambda: NETWORKS.pop("theirs"))
    with pytest.raises(PolicyError, match="--network theirs: is one of stable-baselines3 alone"):
        trainer_of(tmp_path, network="theirs")
    with pytest.raises(PolicyError, match="needs a function build, or module"):
        register_network("nobody's")


# --- Pictures and publishing ------------------------------------------------------------------------------------------------------


def logged(folder: Path, **values: float) -> Path:
    """Write the log of a run that has evaluated once, 0.25 better than PREMA in everything."""
    folder.mkdir()
    gains = dict.fromkeys(values, 0.25)
    line = {"done": 1, "seconds": 60.0, "values": values, "over_prema": gains, "over_opponent": gains}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_curves_of_runs_that_choose_by_a_measure_show_it_and_where_the_opponent_is(tmp_path: Path) -> None:
    run = logged(tmp_path / "one", deadline_misses=0.5, goodput=0.75)
    assert curves([run], tmp_path / "curves.png").stat().st_size > 1000
    entry = json.loads((run / "log.jsonl").read_text())
    assert _level(entry, STREAM_MEASURES["deadline_misses"], "over_prema") == 0.75
    assert _level(entry, STREAM_MEASURES["goodput"], "over_prema") == 0.5
    with pytest.raises(PolicyError, match="2 kinds of measures"):
        curves([run, logged(tmp_path / "other", antt=2.0)], tmp_path / "curves.png")


def test_a_policy_of_a_stream_is_published_with_a_comparison_in_its_own_world(tmp_path: Path) -> None:
    given = make_arguments("masked_ppo", network="table", steps=64, output=tmp_path / "run", **{**TINY, **STREAM})
    train(given)
    path = publish("MINE", [tmp_path / "run"], 2, 7, tmp_path / "published", ["EDF-FEASIBLE"])
    policy = policy_of(str(path))
    assert isinstance(policy, LearnedPolicy)
    assert policy.name == "MINE"
    compared = policy.card["runs"][0]["versus"]
    assert set(compared) == {"EDF-FEASIBLE"}
    assert set(compared["EDF-FEASIBLE"]) == set(STREAM_HEADLINES)
    played = evaluate([policy, "EDF-FEASIBLE"], 2, 7, scenario="PremaStream-v0")
    assert compared["EDF-FEASIBLE"]["tardiness"]["difference"] == pytest.approx(
        played.mean("MINE", "tardiness") - played.mean("EDF-FEASIBLE", "tardiness")
    )


def test_the_grid_of_a_scenario_of_streams_changes_one_thing_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [(axis, value) for axis, value, _ in cells(EnvConfig.coerce({"scenario": "PremaCluster-v0"}))]
    assert len(set(names)) == len(names) > 15
    assert {"utilisation", "arrivals", "deadlines", "predictor error", "priorities", "models", "slots", "latency", "npus"} == {
        axis for axis, _ in names
    }
    few = [cell for cell in cells(EnvConfig.coerce({"scenario": "PremaStream-v0"})) if cell[0] == "deadlines"]
    monkeypatch.setattr("agents.commands.evaluate.cells", lambda config: few)
    rows = list(grid(make_policy("EDF-FEASIBLE"), [make_policy("WSRPT")], 1, 7, "PremaStream-v0"))
    assert {row["value"] for row in rows} == {"2 times", "4 times", "8 times"}
    assert {row["measure"] for row in rows} >= set(STREAM_HEADLINES)


def test_a_graph_is_not_published_as_weights(tmp_path: Path) -> None:
    (tmp_path / "best.onnx").write_bytes(b"")
    with pytest.raises(PolicyError, match=r"hand on best\.onnx and its card"):
        best_of(tmp_path)
