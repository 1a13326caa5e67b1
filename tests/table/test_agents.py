"""Agents of other libraries, and trained ones by their paths, are played as they were trained, or refused in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import VecNormalize

from agents import policy_from_onnx, policy_from_sb3, policy_from_torch
from agents.commands.evaluate import main as evaluate_main
from agents.commands.export import main as export_main
from agents.learning.sb3.adapter import PremaVecEnv
from agents.network.slots.layout import Shape
from agents.policies.card import Card, read_card, write_card
from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import save_weights
from baselines import evaluate, policy_of
from baselines.commands.compare import main as compare_main
from baselines.evaluation import episodes as episodes_module
from prema_gym.cli import main as prema_gym_main
from prema_gym.envs.core import Core
from prema_gym.errors import MissingPackage, PolicyError

pytestmark = pytest.mark.filterwarnings("ignore:illegal actions were replaced")  # models without masks that have learned nothing
SMALL: dict[str, Any] = {"workload": {"num_tasks": 3}}
TASKS = ["--tasks", "3"]
ALGORITHMS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "PPO": (PPO, "MlpPolicy", {"n_steps": 8, "batch_size": 16}),
    "A2C": (A2C, "MlpPolicy", {}),
    "DQN": (DQN, "MlpPolicy", {"buffer_size": 10}),
    "MaskablePPO": (MaskablePPO, "MlpPolicy", {"n_steps": 8, "batch_size": 16}),
    "RecurrentPPO": (RecurrentPPO, "MlpLstmPolicy", {"n_steps": 8, "batch_size": 16}),
}


def made(algorithm: str, **arguments: Any) -> Any:
    kind, policy, settings = ALGORITHMS[algorithm]
    env = PremaVecEnv(2, **{**SMALL, "mechanisms": ["CHECKPOINT"], "decision_every": 4, **arguments})
    return kind(policy, env, seed=0, device="cpu", **settings)


class Net(torch.nn.Module):
    """A perceptron for three slots and CHECKPOINT alone."""

    def __init__(self, features: int, actions: int = 4) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(features, 8), torch.nn.Tanh(), torch.nn.Linear(8, actions))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layers(observations)


@pytest.fixture(scope="module")
def features() -> int:
    return int(PremaVecEnv(1, **SMALL).observation_space.shape[0])  # type: ignore[index]


@pytest.fixture
def net(features: int) -> Net:
    torch.manual_seed(0)
    return Net(features)


def export(net: torch.nn.Module, features: int, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the exporter is an old one, and suffices
        torch.onnx.export(
            net, (torch.zeros(2, features),), str(path), input_names=["o"], output_names=["l"],
            dynamic_axes={"o": {0: "b"}, "l": {0: "b"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    return path


# --- stable-baselines3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_archive_with_its_card_plays_as_the_model_does(algorithm: str, tmp_path: Path, capsys) -> None:
    model = made(algorithm)
    path = policy_from_sb3(model).save(tmp_path / "mine")
    assert read_card(path) == Card(("CHECKPOINT",), 4)
    results = evaluate([model, str(path)], episodes=4, **SMALL)
    assert results.policies == [algorithm, "mine"]
    assert results.mean(algorithm, "antt") == results.mean("mine", "antt")
    assert results.asked_every == {algorithm: 4, "mine": 4}
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith("mine.zip: opening an archive of stable-baselines3 runs code that it holds: open only what you trust.\n")


def test_an_archive_without_a_card_says_what_is_assumed(tmp_path: Path, capsys) -> None:
    made("PPO").save(tmp_path / "bare")
    results = evaluate([tmp_path / "bare.zip"], episodes=2, **SMALL)
    assert results.asked_every == {"bare": None}
    assert "It has no card (bare.zip.json): its number of actions tells its mechanisms" in capsys.readouterr().err


def test_a_recurrent_model_forgets_where_episodes_start(monkeypatch) -> None:
    model = made("RecurrentPPO")
    with torch.no_grad():  # a memory that matters
        for name, parameter in model.policy.named_parameters():
            if "lstm_actor" in name or "action_net" in name:
                parameter.mul_(8.0)
    found = []
    for rows in (64, 2):
        monkeypatch.setattr(episodes_module, "BATCH_ROWS", rows)
        found.append(evaluate([policy_from_sb3(model)], episodes=7, **SMALL).played["RecurrentPPO"].metrics)
    np.testing.assert_array_equal(*found)
    forgetful = policy_from_sb3(model)
    forgetful.start_episodes = lambda starts: None  # type: ignore[method-assign]
    other = evaluate([forgetful], episodes=7, **SMALL).played["RecurrentPPO"].metrics
    assert (other != found[1]).any()


def test_a_model_that_learned_on_normalised_observations_is_shown_such() -> None:
    env = VecNormalize(PremaVecEnv(2, mechanisms=["CHECKPOINT"], **SMALL))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, seed=0, device="cpu")
    model.learn(128)
    policy = policy_from_sb3(model)

    class ByHand:
        name, clairvoyant, mechanisms = "BY-HAND", False, ("CHECKPOINT",)

        def act(self, view: Any) -> np.ndarray:
            return model.predict(env.normalize_obs(view.observation), deterministic=True)[0]

    results = evaluate([policy, ByHand()], episodes=4, **SMALL)
    assert results.mean("PPO", "antt") == results.mean("BY-HAND", "antt")
    with pytest.raises(PolicyError, match="PPO: was trained on normalised observations"):
        policy.save("never.zip")


def test_a_policy_from_an_archive_is_not_saved_as_one(tmp_path: Path) -> None:
    path = policy_from_sb3(made("A2C")).save(tmp_path / "mine.v1")
    assert path.name == "mine.v1.zip"
    with pytest.raises(PolicyError, match=r"mine\.v1: was read from an archive: copy that file"):
        policy_from_sb3(path).save(tmp_path / "other")


def test_other_rows_than_before_start_anew() -> None:
    model = made("RecurrentPPO")
    policy = policy_from_sb3(model)
    for rows in (3, 2, 4):
        core = Core({"mechanisms": ["CHECKPOINT"], **SMALL}, rows)
        assert policy.act(core.view()).shape == (rows,)


def test_other_sizes_are_refused_before_anything_is_played() -> None:
    model = made("PPO")
    seen: list[str] = []
    with pytest.raises(
        PolicyError, match=r"PPO: takes observations of \d+ numbers, these have \d+: play it on as many slots as in"
    ):
        evaluate(["PREMA", model], episodes=2, progress=lambda name, count: seen.append(name))
    assert seen == []


@pytest.mark.parametrize(
    ("content", "message"), [(b"PK\5\6" + 18 * b"\0", "can't be read as an archive"), (b"nothing", "is no archive of stable-")]
)
def test_what_is_no_archive_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(PolicyError, match=rf"x\.zip: {message}") as caught:
        policy_of(str(tmp_path / "x.zip"))
    assert "\n" not in str(caught.value)


def test_the_whole_command_line_takes_an_archive(tmp_path: Path, capsys) -> None:
    path = str(policy_from_sb3(made("MaskablePPO")).save(tmp_path / "mine"))
    compared = ["--policies", "PREMA", path, "PREMA", *TASKS, "--episodes", "3", "--json", "--quiet"]
    assert compare_main(compared) == 0
    assert list(json.loads(capsys.readouterr().out)["policies"]) == ["PREMA", "mine"]
    assert prema_gym_main(["simulate", "--policy", path, *TASKS, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["policies"]) == ["mine"]
    assert prema_gym_main(["simulate", "--policy", path]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("error: mine: takes observations of ")


# --- torch ------------------------------------------------------------------------------------------------------------------------


def test_a_torch_module_plays_its_largest_legal_logit(net: Net) -> None:
    class Answer:
        name, clairvoyant, mechanisms = "BY-HAND", False, ("CHECKPOINT",)

        def act(self, view: Any) -> np.ndarray:
            with torch.no_grad():
                logits = net(torch.tensor(view.observation)).numpy()
            return np.where(view.mask == 1, logits, -np.inf).argmax(axis=1)

    results = evaluate([policy_from_torch(net, "NET", mechanisms=["CHECKPOINT"]), Answer()], episodes=4, **SMALL)
    assert results.mean("NET", "antt") == results.mean("BY-HAND", "antt")
    assert results.illegal == ()
    assert net.training


def test_a_torch_module_says_what_it_needs_by_attributes(net: Net) -> None:
    net.mechanisms, net.asked_every = ["CHECKPOINT"], 4  # type: ignore[assignment]
    assert evaluate([net], episodes=2, **SMALL).asked_every == {"Net": 4}


def test_a_torch_module_with_a_memory_is_told_where_episodes_start(features: int) -> None:
    class Memory(Net):
        def start_episodes(self, starts: np.ndarray) -> None:
            self.told = [*getattr(self, "told", []), starts.tolist()]

    module = Memory(features)
    evaluate([policy_from_torch(module, mechanisms="CHECKPOINT")], episodes=2, **SMALL)  # type: ignore[arg-type]
    assert module.told[:2] == [[True], [True, True]]  # the first look, then the rows


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            lambda size: Net(size),
            r"returned \(1, 4\) for 1 rows, must be \(1, 10\), a logit for each action: state its mechanisms=",
        ),
        (
            lambda size: Net(size + 1),
            r"can't be asked about observations of \(1, \d+\) \(mat1 and mat2 shapes cannot be multiplied",
        ),
        (lambda size: torch.nn.LSTM(size, 4), "returned a tuple, must be a tensor"),
    ],
)
def test_a_module_that_does_not_fit_is_refused(module: Any, message: str, features: int) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        evaluate([module(features)], episodes=1, **SMALL)
    assert "\n" not in str(caught.value)


def test_logits_that_are_no_numbers_are_refused(net: Net) -> None:
    with torch.no_grad():
        net.layers[2].bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(PolicyError, match=r"Net: returned logits that are no numbers \(NaN\)"):
        evaluate([policy_from_torch(net, mechanisms=["CHECKPOINT"])], episodes=1, **SMALL)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"mechanisms": ["PAUSE"]}, "unknown mechanism 'PAUSE'"),
        ({"mechanisms": []}, r"mechanisms = \[\]: must be names among"),
        ({"asked_every": 0}, "asked_every = 0: must be None or a whole number of at least 1"),
        ({"asked_every": "often"}, "asked_every = 'often'"),
    ],
)
def test_what_is_stated_is_checked(net: Net, stated: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        policy_from_torch(net, **stated)


# --- ONNX -------------------------------------------------------------------------------------------------------------------------


def test_an_onnx_file_plays_as_the_module_does(net: Net, features: int, tmp_path: Path) -> None:
    path = export(net, features, tmp_path / "net.onnx")
    results = evaluate([str(path), policy_from_torch(net, "TORCH", mechanisms=["CHECKPOINT"])], episodes=4, **SMALL)
    assert results.mean("net", "antt") == results.mean("TORCH", "antt")
    write_card(path, Card(("CHECKPOINT",), 4))
    assert policy_from_onnx(path).asked_every == 4
    assert policy_from_onnx(path, asked_every=2).asked_every == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")  # the exporter is an old one
def test_an_exported_policy_brings_its_card(tmp_path: Path, capsys) -> None:
    path = tmp_path / "learned.onnx"
    assert export_main(["LEARNED-CMA", str(path), "--slots", "3"]) == 0
    results = evaluate(["LEARNED-CMA", str(path)], episodes=4, **SMALL)
    assert results.asked_every == {"LEARNED-CMA": 1, "learned": 1}
    assert results.mean("learned", "antt") == pytest.approx(results.mean("LEARNED-CMA", "antt"))
    with pytest.raises(PolicyError, match=r"learned: takes observations of \d+ numbers"):
        evaluate([str(path)], episodes=1)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(PolicyError, match=r"x\.onnx: is no ONNX file, or a damaged one") as caught:
        policy_of(tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("[]", "is no card: must be a JSON object, it is a list"),
        ("{", "is no card: no JSON"),
        ('{"mechanisms": ["X"]}', "unknown mechanism 'X'"),
    ],
)
def test_a_damaged_card_is_refused(card: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    (tmp_path / "x.onnx.json").write_text(card)
    with pytest.raises(PolicyError, match=rf"x\.onnx\.json: {message}"):
        policy_of(tmp_path / "x.onnx")


# --- Trained here -----------------------------------------------------------------------------------------------------------------


def test_a_runs_folder_and_its_weights_play_under_the_folders_name(tmp_path: Path, capsys) -> None:
    shape = Shape(1, 1, 1)
    folder = tmp_path / "cma-1"
    save_weights(folder / "best", shape, shape.initial(np.zeros(3), 0), {"asked_every": 4})
    for path in (folder, folder / "best", folder / "best.safetensors"):
        policy = policy_of(path)
        assert isinstance(policy, LearnedPolicy)
        assert (policy.name, policy.asked_every) == ("cma-1", 4)
    save_weights(tmp_path / "MINE", shape, shape.initial(np.zeros(3), 0), {})
    assert policy_of(str(tmp_path / "MINE")).name == "MINE"
    assert evaluate_main(["--policy", str(folder), "--versus", "PREMA", "--episodes", "4"]) == 0
    assert "cma-1, 4 episodes" in capsys.readouterr().out


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"holds no best\.safetensors, the best policy of a run of agents\.train"):
        policy_of(str(tmp_path))


# --- Without the libraries --------------------------------------------------------------------------------------------------------


def test_looking_at_kinds_loads_no_heavy_library() -> None:
    code = (
        "import sys; from baselines import policy_of; from prema_gym.errors import PolicyError\n"
        "for thing in ('PREMA', lambda view: 0):\n    policy_of(thing)\n"
        "for thing in (3, 'x.onxx'):\n    try:\n        policy_of(thing)\n    except PolicyError:\n        pass\n"
        "print([name for name in ('torch', 'stable_baselines3', 'sb3_contrib', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("suffix", "package", "extra"), [(".zip", "stable_baselines3", "rl"), (".onnx", "onnxruntime", "onnx")])
def test_a_missing_library_is_named_with_its_extra(
    suffix: str, package: str, extra: str, tmp_path: Path, monkeypatch, net, features
):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".zip":
        made("PPO").save(path)
    else:
        export(net, features, path)
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Refuse(package), *sys.meta_path])
    with pytest.raises(MissingPackage, match=rf"mine\{suffix} needs {package}.*not installed: pip install 'prema-gym\[{extra}\]'"):
        policy_of(path)


class Refuse:
    """An importer that knows no package of one name."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
