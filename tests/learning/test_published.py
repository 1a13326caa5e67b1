"""Published networks: files that are refused, equal forwards in compiled code, torch and ONNX, any number and order of slots."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from agents.commands.evaluate import latency_us, report
from agents.commands.evaluate import main as evaluate_main
from agents.learning.index_rule import index_prior, index_rule
from agents.network.slots.inputs import R, S
from agents.network.slots.layout import HIGH, LEAST_PP, MEDIUM, MOST_PP, PROJECTED, REMAINING, Shape
from agents.network.slots.torch_network import SlotNetwork
from agents.publishing.policies import PRETRAINED, LearnedPolicy, pretrained
from agents.publishing.weights import decode_tensors, encode_tensors, load_weights, save_weights
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.evaluate import evaluate
from baselines.policies.heuristic import Heuristic
from baselines.policies.kinds import policy_of
from baselines.policies.registry import POLICIES, make_policy
from prema_gym.config import MECHANISMS, EnvConfig, mechanism_bits
from prema_gym.envs.actions import count_actions
from prema_gym.envs.observation import F
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError

PRESENT, LOW = 0, 2
SHAPES = [Shape(1, 1, 1), Shape(5, 7, 3)]


def random_weights(shape: Shape, seed: int = 0) -> np.ndarray:
    flat = shape.initial(np.array([1.0, 0.25, 0.2]), seed)
    flat = flat + 0.3 * np.random.default_rng(seed).standard_normal(flat.size)
    return flat.astype(np.float32).astype(np.float64)


class Asked:
    """A policy of which nothing is known but how it answers."""

    clairvoyant = False

    def __init__(self, policy: LearnedPolicy) -> None:
        self.name, self.act = policy.name, policy.act


def decisions(
    slots: int = 8, steps: int = 60, rows: int = 16, mechanisms: Sequence[str] = MECHANISMS
) -> tuple[np.ndarray, np.ndarray]:
    """Return (observations, masks) met by random legal play."""
    env = PremaVectorEnv(rows, autoreset_mode="SameStep", decision_every=4, mechanisms=mechanisms, workload={"num_tasks": slots})
    rng = np.random.default_rng(0)
    observations, info = env.reset(seed=1)
    seen, masks = [observations], [info["action_mask"]]
    for _ in range(steps):
        actions = np.array([rng.choice(np.flatnonzero(mask[:2] if mask[0] else mask)) for mask in info["action_mask"]])
        observations, _, _, _, info = env.step(actions)
        seen.append(observations)
        masks.append(info["action_mask"])
    return np.concatenate(seen), np.concatenate(masks)


@pytest.fixture(scope="module")
def met() -> tuple[np.ndarray, np.ndarray]:
    return decisions()


# --- Forwards ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_gives_the_logits_and_actions_of_the_compiled_network(shape: Shape) -> None:
    observations, masks = decisions(mechanisms=MECHANISMS[: shape.mechanisms])
    flat = random_weights(shape)
    actions, logits = LearnedPolicy("n", shape, flat).evaluate(observations, masks)
    with torch.no_grad():
        others = SlotNetwork(shape, flat)(torch.from_numpy(observations)).numpy()
    open_ = np.isfinite(logits)
    np.testing.assert_allclose(others[open_], logits[open_], rtol=0, atol=1e-5)
    assert (np.where(open_, others, -np.inf).argmax(axis=1) == actions).all()


def test_onnx_gives_them_too(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    observations, masks = decisions(mechanisms=MECHANISMS[: SHAPES[0].mechanisms])
    save_weights(tmp_path / "net", SHAPES[0], random_weights(SHAPES[0]), {})
    command = [sys.executable, "-W", "ignore", "-m", "agents.export", str(tmp_path / "net"), str(tmp_path / "net.onnx")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (others,) = session.run(None, {"observations": observations})
    actions, _ = LearnedPolicy.load(tmp_path / "net").evaluate(observations, masks)
    assert (np.where(masks > 0, others, -np.inf).argmax(axis=1) == actions).all()


def test_with_nothing_learned_it_is_the_index_rule() -> None:
    index = index_rule("INDEX")
    policy = LearnedPolicy("n", SHAPES[0], SHAPES[0].initial(index_prior(index), 0))
    results = evaluate([policy, index], 40, 0, split="valid", decision_every=4)
    assert results.mean("n", "antt") == pytest.approx(results.mean("INDEX", "antt"), rel=1e-3)


def test_with_nothing_learned_but_what_holds_back_above_the_cap_it_is_the_capped_index_rule() -> None:
    index = index_rule("INDEX")
    capped = Heuristic("CAP", "CAP-INDEX", "CHECKPOINT", **index.parameters)
    policy = LearnedPolicy("n", SHAPES[0], SHAPES[0].initial(index_prior(index), 0, held=True))
    # Weights exposed: where more tasks complete at an NTT of 1 at once, more episodes differ (below).
    npu = {"weight_loading": "exposed"}
    results = evaluate([policy, capped, index], 40, 0, split="valid", decision_every=4, npu=npu)
    for measure in ("antt", "fairness"):  # but for episodes that begin with a completion at ln of 1, 0 in the observation
        assert results.mean("n", measure) == pytest.approx(results.mean("CAP", measure), rel=5e-3)
        assert results.mean("n", measure) != pytest.approx(results.mean("INDEX", measure), rel=2e-2)


def test_inputs_that_tell_what_would_cost_fairness_worked_out_by_hand() -> None:
    # ln PP, should they run on: low priority, not yet slowed: 0; high priority, at an NTT of 2: -ln 18. One has finished at -ln 6.
    # floor -2, room 0.5, near 0.25: lowest = -ln 18 = -2.890; cap = max(-ln 6, lowest + 0.5) = -1.792.
    shape, slots, common = SHAPES[0], np.zeros((1, 3, S), np.float32), np.zeros((1, R), np.float32)
    slots[0, 0, [PRESENT, LOW, REMAINING, PROJECTED]] = 1.0, 1.0, 0.5, 0.0
    slots[0, 2, [PRESENT, HIGH, REMAINING, PROJECTED]] = 1.0, 1.0, 0.25, np.log(2.0) / 4.0
    common[0, [LEAST_PP, MOST_PP]] = -np.log(6.0) / 4.0
    flat = shape.initial(np.zeros(3), 0)
    flat[5:8] = -2.0, 0.5, 0.25
    inputs = SlotNetwork(shape, flat).fairness(torch.from_numpy(slots), torch.from_numpy(common))[0].detach().numpy()
    above, held, held_log_remaining, lagging = inputs.T
    np.testing.assert_allclose(above, [np.log(6.0), 0.0, 0.0], atol=1e-6)
    np.testing.assert_array_equal(held, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(held_log_remaining, [2.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(lagging, [0.0, 0.0, 0.25], atol=1e-6)


def test_a_task_as_far_above_as_one_that_has_finished_is_not_held() -> None:
    shape, slots, common = SHAPES[0], np.zeros((1, 1, S), np.float32), np.zeros((1, R), np.float32)
    slots[0, 0, [PRESENT, MEDIUM]] = 1.0
    common[0, [LEAST_PP, MOST_PP]] = np.float32(np.log(1.0 / 3.0) / 4.0)
    inputs = SlotNetwork(shape, shape.initial(np.zeros(3), 0)).fairness(torch.from_numpy(slots), torch.from_numpy(common))
    assert inputs[0, 0, 1] == 0.0


def test_without_a_cap_nobody_is_held_back(met: tuple[np.ndarray, np.ndarray]) -> None:
    observations, masks = met
    prior = np.array([1.0, 0.25, 0.2])
    plain, held, uncapped = (
        LearnedPolicy("n", SHAPES[0], SHAPES[0].initial(prior, 0, **kind)).evaluate(observations, masks, MECHANISMS)[0]
        for kind in ({}, {"held": True}, {"held": True, "cap": False})
    )
    assert (uncapped == plain).all()
    assert (held != plain).any()


def test_the_order_of_slots_changes_nothing(met: tuple[np.ndarray, np.ndarray]) -> None:
    observations, _ = met
    order = np.random.default_rng(1).permutation(8)
    features = observations[:, : 8 * F].reshape(-1, F, 8)
    permuted = np.concatenate([features[:, :, order].reshape(len(features), -1), observations[:, 8 * F :]], axis=1)
    network = SlotNetwork(SHAPES[1], random_weights(SHAPES[1]))
    with torch.no_grad():
        first = network(torch.from_numpy(observations)).numpy()
        second = network(torch.from_numpy(permuted)).numpy()
    np.testing.assert_allclose(second[:, 0], first[:, 0], atol=1e-5)
    np.testing.assert_allclose(second[:, 1:].reshape(-1, 8, 3), first[:, 1:].reshape(-1, 8, 3)[:, order], atol=1e-5)


@pytest.mark.parametrize("slots", [1, 3, 20])
def test_one_set_of_weights_serves_any_number_of_slots(slots: int) -> None:
    observations, masks = decisions(slots, steps=10, rows=4)
    actions, _ = LearnedPolicy("n", SHAPES[1], random_weights(SHAPES[1])).evaluate(observations, masks, MECHANISMS)
    assert masks.shape[1] == count_actions(slots, mechanism_bits(MECHANISMS))
    assert (masks[np.arange(len(masks)), actions] == 1).all()


def test_a_network_of_checkpoints_keeps_where_only_kills_are_allowed() -> None:
    policy = LearnedPolicy("n", SHAPES[0], random_weights(SHAPES[0]))
    results = evaluate([policy], 5, 0, split="valid", decision_every=8, mechanisms=["KILL"])
    assert results.mean("n", "illegal_actions") == 0
    assert results.mean("n", "preemptions") == 0


@pytest.mark.parametrize("config", [{}, {"mechanisms": ["CHECKPOINT"], "decision_every": 4}, {"workload": {"num_tasks": 3}}])
def test_whole_episodes_in_compiled_code_are_those_of_the_vector_environment(config: dict[str, Any]) -> None:
    shape = SHAPES[1]
    policy = LearnedPolicy("n", shape, random_weights(shape))
    chosen = EnvConfig.coerce(config)
    compiled = play_policy(policy, chosen, 70, 3, split="valid", threads=2)
    asked = play_policy(Asked(policy), chosen, 70, 3, split="valid")
    assert (compiled.episodes["decisions"] == asked.episodes["decisions"]).all()
    np.testing.assert_array_equal(compiled.metrics, asked.metrics)
    np.testing.assert_array_equal(compiled.tasks, asked.tasks)


# --- Files ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return save_weights(tmp_path / "net.safetensors", SHAPES[0], random_weights(SHAPES[0]), {"seed": 7})


def test_what_was_saved_comes_back_and_other_readers_agree(published: Path, tmp_path: Path) -> None:
    weights = load_weights(published)
    assert (weights.flat == random_weights(SHAPES[0])).all()
    assert (weights.name, weights.shape, weights.card["seed"]) == ("net", SHAPES[0], 7)
    theirs = load_file(published)
    ours = decode_tensors(published.read_bytes(), "it")
    assert theirs.keys() == ours.keys()
    assert all((theirs[name] == ours[name]).all() for name in ours)
    save_file(theirs, tmp_path / "back.safetensors")
    assert decode_tensors((tmp_path / "back.safetensors").read_bytes(), "it").keys() == ours.keys()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no safetensors file"),
        (b"PK\x03\x04 a zip archive of something else", "no safetensors file, or truncated"),
        (b"\x02" + bytes(7) + b"[]", "not a JSON object"),
        (b"\x02" + bytes(7) + b"{x", "not JSON"),
        (encode_tensors({"a": np.zeros(3)})[:-4], "truncated"),
        (encode_tensors({"a": np.zeros(3)}) + b"more", "where its header names"),
        (encode_tensors({"a": np.zeros(3)}).replace(b"F32", b"I8 "), "dtype must be F32 or F64"),
        (encode_tensors({"a": np.zeros(3)}).replace(b"[3]", b"[4]"), "does not fit"),
    ],
)
def test_a_foreign_or_damaged_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        decode_tensors(data, "the file")


def header(text: str, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + body


@pytest.mark.parametrize(
    "data",
    [
        header("[" * 100_000),
        header('{"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 6]}}', b"123456"),
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0.0, 4.0]}}', b"1234"),
        header('{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 4]}}', b"1234"),
        header('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}'),
        header('{"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}', b"1234"),
        header('{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}', b"1234"),
        header('{"a": 1}'),
    ],
)
def test_a_hostile_header_is_refused_before_anything_is_allocated(data: bytes) -> None:
    with pytest.raises(PolicyError, match="the file"):
        decode_tensors(data, "the file")


def test_pipes_and_files_of_gigabytes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(40 << 30)
    for name, reason in (("pipe", "is no file"), ("sparse", "at most")):
        with pytest.raises(PolicyError, match=reason):
            load_weights(tmp_path / name)


def test_weights_that_are_not_those_of_the_card_are_refused(published: Path) -> None:
    published.write_bytes(encode_tensors(SHAPES[0].unpack(random_weights(SHAPES[0], seed=1))))
    with pytest.raises(PolicyError, match="SHA-256 differs"):
        LearnedPolicy.load(published)
    published.write_bytes(published.read_bytes()[:-10])
    with pytest.raises(PolicyError, match="truncated"):
        LearnedPolicy.load(published)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "is no card"),
        ({"version": 99}, "version 99"),
        ({"observation": {"fingerprint": "0", "F": 15, "G": 9}}, "another observation"),
        ({"network": {"encoder": 2, "decoder": 1, "mechanisms": 1}}, "must be"),
        ({"network": {"encoder": 10**9, "decoder": 1, "mechanisms": 1}}, "must be from 1 to"),
        ({"network": None}, "must be an object"),
        ({"network": {"kind": "slots", "encoder": 1}}, "must have encoder"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(published: Path, change: dict[str, object], message: str) -> None:
    card = json.loads(published.with_suffix(".json").read_text())
    published.with_suffix(".json").write_text(json.dumps({**card, **change}))
    with pytest.raises(PolicyError, match=message):
        LearnedPolicy.load(published)


def test_a_missing_card_or_file_is_named(published: Path) -> None:
    published.with_suffix(".json").unlink()
    with pytest.raises(PolicyError, match=r"net\.json: cannot be read"):
        LearnedPolicy.load(published)
    with pytest.raises(PolicyError, match="unknown policy"):
        policy_of("no such thing")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    flat = random_weights(SHAPES[0])
    flat[0] = np.nan
    with pytest.raises(PolicyError, match="not finite"):
        load_weights(save_weights(tmp_path / "net", SHAPES[0], flat, {}))


# --- What is published ---------------------------------------------------------------------------------------------------------


def test_published_policies_load_and_fit_this_observation() -> None:
    factories = pretrained()
    assert factories
    for name, factory in factories.items():
        policy = factory()
        assert policy.name == name
        assert policy.card["observation"]["fingerprint"] == policy.shape.schema["fingerprint"]  # type: ignore[attr-defined]
        assert policy.card["command"].startswith("python -m agents.")  # type: ignore[attr-defined]
        assert re.fullmatch(r"[0-9a-f]{40}", policy.card["revision"])  # type: ignore[attr-defined]


def test_the_card_tells_what_five_seeds_came_to() -> None:
    card = LearnedPolicy.load(PRETRAINED / "LEARNED-CMA").card
    assert [run["seed"] for run in card["runs"]] == [1, 2, 3, 4, 5]
    dominate = [all(gap["better"] for gap in run["versus"]["PREMA"].values()) for run in card["runs"]]
    assert sum(dominate) >= 4
    assert all(gap["better"] for gaps in card["runs"][0]["versus"].values() for gap in gaps.values())


def test_the_published_policy_is_what_its_card_says() -> None:
    run = LearnedPolicy.load(PRETRAINED / "LEARNED-CMA").card["runs"][0]
    # On the NPU that it was trained on: the default of version 0.1.
    results = evaluate(["LEARNED-CMA", "PREMA"], 300, 123, npu={"weight_loading": "exposed"})
    assert results.trained_elsewhere == ()
    for measure in ("antt", "stp", "sla_violation", "fairness"):
        estimate = results.estimate("LEARNED-CMA", measure)
        assert estimate.mean == pytest.approx(run["versus"]["PREMA"][measure]["policy"], abs=3 * estimate.half_width), measure
    assert results.difference("LEARNED-CMA", "PREMA", "antt").better


def test_published_policies_join_the_registry_without_torch() -> None:
    code = "import sys; from baselines.policies.registry import POLICIES, make_policy; print(sorted(POLICIES)); "
    code += f"[make_policy(name) for name in {sorted(pretrained())}]; "
    code += "print([name for name in ('torch', 'stable_baselines3', 'cmaes', 'safetensors') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert set(pretrained()) <= set(POLICIES)
    assert done.stdout.strip().endswith("[]")


def test_the_report_has_every_measure_against_every_opponent() -> None:
    results = evaluate(["INDEX", "PREMA", "P-SJF"], 20, 0, split="valid", decision_every=8)
    compared = report(results, "INDEX", ["PREMA", "P-SJF"])
    assert set(compared["versus"]) == {"PREMA", "P-SJF"}
    assert set(compared["versus"]["PREMA"]) == {"antt", "stp", "sla_violation", "fairness", "hp_tail"}
    assert set(compared["versus"]["PREMA"]["antt"]) == {"policy", "opponent", "difference", "ci95", "better"}


def test_a_policy_that_plays_illegal_actions_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        name, clairvoyant = "WRONG", False

        def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
            return view.mask.argmin(axis=1)

    monkeypatch.setattr("agents.commands.evaluate.policy_of", lambda name: Wrong())
    with pytest.warns(UserWarning, match=r"illegal actions were replaced .* WRONG 100\.0%"):
        assert evaluate_main(["--policy", "WRONG", "--versus", "PREMA", "--episodes", "4"]) == 0
    assert "‡ played illegal actions, which the environment replaced (per episode): WRONG " in capsys.readouterr().out


def test_a_decision_is_timed() -> None:
    assert 0 < latency_us(make_policy("PREMA"), rows=1, calls=20) < 1e6


def test_where_it_parts_from_an_opponent_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_main(["--policy", "P-SJF", "--versus", "P-HPF", "--where", "--episodes", "4"]) == 0
    out = capsys.readouterr().out
    assert "P-SJF runs another task than P-HPF at" in out
    assert "shorter, lower priority" in out
