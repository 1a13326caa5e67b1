"""Networks over whole observations: what compiled code plays is what torch computes, in every kind of world; their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.network.actor_critic import ActorCritic, Perceptron
from agents.network.form import Form
from agents.network.table_network import TableNetwork
from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import form_of, load_weights, network_entry, save_weights
from baselines import evaluate
from baselines.commands.compare import chosen_policies
from baselines.evaluation.episodes import play_policy
from baselines.policies.registry import POLICIES, make_policy
from prema_gym.config import EnvConfig
from prema_gym.envs.observation import Layout
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import PolicyError

WORLDS: dict[str, dict[str, Any]] = {
    "closed episodes, all mechanisms": {},
    "a stream": {"scenario": "PremaStream-v0", "horizon_requests": 32},
    "unlike NPUs": {"scenario": "PremaCluster-v0", "horizon_requests": 32},
    "closed episodes on two NPUs": {"npus": ["prema", "edge"], "mechanisms": ["CHECKPOINT", "DRAIN"]},
    "batches": {"scenario": "PremaBatch-v0", "horizon_requests": 32, "slots": 16},
}
CLOSE = 1e-4
"""Logits that torch computes so close to each other may be ordered otherwise in compiled code."""


def network_of(kind: str, config: EnvConfig, seed: int = 0) -> ActorCritic:
    """Return a network with random weights everywhere, which is in no symmetry."""
    torch.manual_seed(seed)
    layout = Layout.of(config)
    network: ActorCritic = (
        TableNetwork(layout, config.mechanisms, 6, {"log_remaining": -4.0}, 1.0)
        if kind == "table"
        else Perceptron(layout, config.mechanisms, [7, 5], commitment=2.0)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return network


def policy_of(network: ActorCritic, name: str = "net", **card: Any) -> LearnedPolicy:
    published = network.published()
    assert published is not None
    return LearnedPolicy(name, *published, card)


@pytest.mark.parametrize("kind", ["table", "perceptron"])
@pytest.mark.parametrize("world", WORLDS)
def test_compiled_code_plays_what_torch_computes(kind: str, world: str) -> None:
    config = EnvConfig.coerce(WORLDS[world])
    network = network_of(kind, config)
    policy = policy_of(network, asked_every=None)
    env = PremaVectorEnv(8, autoreset_mode="SameStep", **WORLDS[world])
    observations, info = env.reset(seed=1)
    kept = played = 0
    for _ in range(150):
        mask = info["action_mask"] != 0
        with torch.no_grad():
            logits = np.where(mask, network(torch.from_numpy(observations.copy())).numpy(), -np.inf)
        actions = policy.act(env.view())
        assert mask[np.arange(8), actions].all()
        assert (logits.max(axis=1) - logits[np.arange(8), actions] < CLOSE).all()
        kept, played = kept + int((actions == 0).sum()), played + int((actions != 0).sum())
        observations, _, _, _, info = env.step(actions)
    assert kept > 0
    assert played > 0


@pytest.mark.parametrize("kind", ["table", "perceptron"])
def test_weights_are_the_same_network_after_a_file(kind: str, tmp_path: Path) -> None:
    config = EnvConfig.coerce(WORLDS["unlike NPUs"])
    policy = policy_of(network_of(kind, config), "net", allow_idle=True)
    read = load_weights(save_weights(tmp_path / "net", policy.shape, policy.flat, {"allow_idle": True}))
    assert read.shape == policy.shape
    np.testing.assert_array_equal(read.flat, policy.flat)
    loaded = LearnedPolicy.load(tmp_path / "net")
    assert (loaded.mechanisms, loaded.allow_idle, loaded.asked_every) == (("CHECKPOINT",), True, 1)
    mine, theirs = (play_policy(each, config, 2, 7) for each in (policy, loaded))
    np.testing.assert_array_equal(mine.metrics, theirs.metrics)


def test_a_network_is_marked_on_other_npus_than_those_of_its_training_alone() -> None:
    world = WORLDS["unlike NPUs"]
    trained = EnvConfig.coerce(world)
    policy = policy_of(network_of("table", trained), asked_every=None, training=trained.to_dict())
    assert evaluate([policy], 1, **world).trained_elsewhere == ()
    assert evaluate([policy], 1, **{**world, "npus": ["prema"] * 4}).trained_elsewhere == ("net",)


def test_a_network_over_the_table_serves_any_number_of_slots() -> None:
    config = EnvConfig.coerce(WORLDS["unlike NPUs"])
    policy = policy_of(network_of("table", config))
    for slots in (3, 64):
        play_policy(policy, EnvConfig.coerce({**WORLDS["unlike NPUs"], "slots": slots}), 1, 7)


@pytest.mark.parametrize(
    ("kind", "elsewhere", "said"),
    [
        ("table", "a stream", "net: the network reads base, npus, deadlines, streams of 4 NPUs, this environment shows"),
        ("perceptron", "a stream", "net: the perceptron reads 32 slots, this environment has"),
        ("table", "closed episodes on two NPUs", "net: the network reads base, npus, deadlines, streams of 4 NPUs"),
    ],
)
def test_an_environment_of_another_kind_is_refused(kind: str, elsewhere: str, said: str) -> None:
    policy = policy_of(network_of(kind, EnvConfig.coerce(WORLDS["unlike NPUs"])))
    with pytest.raises(PolicyError) as error:
        play_policy(policy, EnvConfig.coerce(WORLDS[elsewhere]), 1, 7)
    assert str(error.value).startswith(said)


def test_where_nobody_names_policies_those_of_other_worlds_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = EnvConfig.coerce(WORLDS["unlike NPUs"])
    policy = policy_of(network_of("table", world), "ELSEWHERE")
    monkeypatch.setitem(POLICIES._factories, "ELSEWHERE", lambda: policy)
    monkeypatch.setattr(POLICIES, "_plugins", [*POLICIES.plugins(), "ELSEWHERE"])
    for given in (None, ["all"]):
        assert "ELSEWHERE" in chosen_policies(given, world)
        assert "ELSEWHERE" not in chosen_policies(given, EnvConfig())
    assert chosen_policies(["ELSEWHERE"], EnvConfig()) == ["ELSEWHERE"]


@pytest.mark.parametrize("kind", ["table", "perceptron"])
@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("npus", 0, "network npus = 0: must be from 1 to 64."),
        ("groups", ["base", "nobody"], "network groups = ['base', 'nobody']: must be names among base, npus"),
        ("groups", "base", "network groups = 'base': must be names among"),
        ("mechanisms", [], "network mechanisms = []: must be names among CHECKPOINT, KILL, DRAIN, in this order."),
        ("more", 1, "must have npus, groups, mechanisms"),
        ("kind", "nobody", "unknown kind of network 'nobody'"),
    ],
)
def test_cards_of_impossible_networks_are_refused(kind: str, entry: str, value: object, said: str) -> None:
    shape: Form = policy_of(network_of(kind, EnvConfig.coerce(WORLDS["unlike NPUs"]))).shape
    assert form_of(json.loads(json.dumps(network_entry(shape)))) == shape
    with pytest.raises(PolicyError) as error:
        form_of({**network_entry(shape), entry: value})
    assert said in str(error.value)


def test_a_network_that_starts_as_a_rule_plays_nearly_as_the_rule_does() -> None:
    """What decides is one sum of logarithms, so that the two differ where a decision is nearly even only."""
    config = EnvConfig.coerce({"mechanisms": ["CHECKPOINT"]})
    torch.manual_seed(0)
    weights = {"log_priority": 4.0, "log_predicted": -4.0, "log_remaining": -4.0}
    policy = policy_of(TableNetwork(Layout.of(config), config.mechanisms, 8, weights, 100.0), asked_every=None)
    ours, theirs = (play_policy(each, config, 200, 3).metrics[:, 0].mean() for each in (policy, make_policy("WSRPT")))
    assert abs(ours / theirs - 1.0) < 0.02
