"""What people get wrong in their first hour: each mistake is answered by one line that names the value and what is allowed."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest

from agents import policy_from_onnx, policy_from_sb3, policy_from_torch
from agents.learning.training import make_arguments
from baselines import evaluate, make_policy, policy_of, register_policy
from baselines.evaluation.recording import record
from prema_gym.cli import main
from prema_gym.config import NPUConfig
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import EXTRAS, PremaError
from prema_gym.rendering import gantt_compare
from prema_gym.workloads import from_onnx

SMALL: dict[str, Any] = {"workload": {"num_tasks": 3, "models": ["CNN-AN", "CNN-MN"], "batches": [1]}}


def make(**arguments: Any) -> gym.Env:
    return gym.make("prema_gym:Prema-v0", **arguments)


def begun(**arguments: Any) -> PremaEnv:
    env = PremaEnv(**SMALL, **arguments)
    env.reset(seed=0)
    return env


def rows(**arguments: Any) -> PremaVectorEnv:
    envs = PremaVectorEnv(2, **SMALL, **arguments)
    envs.reset(seed=0)
    return envs


def ended() -> PremaEnv:
    env = PremaEnv(max_episode_steps=1, **SMALL)
    _, info = env.reset(seed=0)
    env.step(int(np.argmax(info["action_mask"])))
    return env


def played(*policies: Any, **arguments: Any) -> Any:
    return evaluate(list(policies), 2, **{**SMALL, **arguments})


class Mistake(NamedTuple):
    """One of them, and what its line must hold: the value, and what is allowed or to be done."""

    made: Callable[[], Any]
    value: str
    allowed: str


MISTAKES: dict[str, Mistake] = {
    # Wrong names
    "an unknown NPU": Mistake(lambda: make(npu="tpu"), "'tpu'", "Did you mean 'tpu_v1'? Allowed: edge, prema"),
    "an unknown NPU among several": Mistake(lambda: make(npus="prema,egde"), "'egde'", "Did you mean 'edge'"),
    "an unknown argument": Mistake(lambda: make(decision_evry=1), "decision_evry", "Did you mean 'decision_every'"),
    "an unknown field of an NPU": Mistake(lambda: make(npu={"rows": 64}), "rows=64", "Allowed: accumulator_bytes"),
    "an unknown reward": Mistake(lambda: make(reward="ant"), "'ant'", "Did you mean 'antt'"),
    "an unknown network": Mistake(lambda: make(workload={"models": ["CNN-ANN"]}), "'CNN-ANN'", "Did you mean 'CNN-AN'"),
    "an unknown mix": Mistake(lambda: make(workload="papers"), "'papers'", "Did you mean 'paper'"),
    "an unknown process": Mistake(
        lambda: make(workload={"arrivals": {"process": "possion"}}), "'possion'", "Did you mean 'poisson'"
    ),
    "an unknown scenario": Mistake(lambda: played("PREMA", scenario="PremaStreams-v0"), "'PremaStreams-v0'", "Did you mean"),
    "an unknown policy": Mistake(lambda: played("PREMMA"), "'PREMMA'", "Did you mean 'PREMA'"),
    "an unknown dispatcher": Mistake(lambda: played("JQS/PREMA"), "'JQS'", "Did you mean 'JSQ'"),
    "an unknown split": Mistake(lambda: played("PREMA", split="test"), "'test'", "Allowed: env, eval, train, valid"),
    "an unknown measure": Mistake(lambda: played("P-SJF").mean("P-SJF", "atnt"), "'atnt'", "Did you mean 'antt'"),
    "a policy that was not played": Mistake(lambda: played("P-SJF").mean("PREMA", "antt"), "'PREMA'", "Allowed: P-SJF"),
    "an unknown option of reset": Mistake(lambda: begun().reset(options={"traces": []}), "'traces'", "Did you mean 'trace'"),
    "an unknown network in a trace": Mistake(
        lambda: begun().reset(options={"trace": [{"arrival_cycles": 0, "model": "AlexNet"}]}), "'AlexNet'", "Allowed: "
    ),
    "an unknown algorithm": Mistake(lambda: make_arguments("maskabel_ppo"), "'maskabel_ppo'", "Did you mean 'maskable_ppo'"),
    "an option of another algorithm": Mistake(lambda: make_arguments("ppo", population=8), "--population", "algorithm cma"),
    "a name that is taken": Mistake(lambda: register_policy("PREMA", lambda: make_policy("P-SJF")), "'PREMA'", "replace=True"),
    # The wrong case
    "an NPU in capitals": Mistake(lambda: NPUConfig.preset("EDGE"), "'EDGE'", "Did you mean 'edge'"),
    "a policy in small letters": Mistake(lambda: played("prema"), "'prema'", "Did you mean 'PREMA'"),
    "a mechanism in small letters": Mistake(lambda: make(mechanisms=["kill"]), "'kill'", "Did you mean 'KILL'"),
    "a measure in capitals": Mistake(lambda: played("P-SJF").estimate("P-SJF", "ANTT"), "'ANTT'", "Did you mean 'antt'"),
    "a mode in another style": Mistake(lambda: PremaVectorEnv(2, autoreset_mode="same_step"), "'same_step'", "'SameStep'"),
    # In the wrong place
    "tasks that belong to the workload": Mistake(lambda: make(num_tasks=8), "num_tasks=8", "workload={'num_tasks': 8}"),
    "rows that belong to the NPU": Mistake(lambda: make(array_rows=64), "array_rows=64", "npu={'array_rows': 64}"),
    "a load that belongs to the arrivals": Mistake(
        lambda: make(workload={"utilisation": 0.5}), "utilisation=0.5", "arrivals={'utilisation': 0.5}"
    ),
    "a window beside evaluate's arguments": Mistake(lambda: played("PREMA", window=0.5), "window=0.5", "workload={'window': 0.5}"),
    # The wrong type
    "an NPU by number": Mistake(lambda: make(npu=3), "= 3", "a preset's name or a mapping"),
    "how many NPUs in place of which": Mistake(lambda: make(npus=2), "= 2", "a list of 1 to 64 NPU configurations"),
    "a workload as a list": Mistake(lambda: make(workload=["CNN-AN"]), "['CNN-AN']", "a preset's name or a mapping"),
    "arrivals by name": Mistake(lambda: make(workload={"arrivals": "poisson"}), "'poisson'", "such as {'process': ...}"),
    "one batch in place of a list": Mistake(lambda: make(workload={"batches": 4}), "= 4", "a non-empty list"),
    "a reward as a list": Mistake(lambda: make(reward=["antt"]), "['antt']", "a mapping from names to numbers"),
    "half a quantum": Mistake(lambda: make(decision_every=0.5), "0.5", "None or a whole number from 1"),
    "a seed in quotes": Mistake(lambda: begun().reset(seed="7"), "'7'", "a whole number from 0"),  # type: ignore[arg-type]
    "an action by name": Mistake(lambda: begun().step("KEEP"), "'KEEP'", "a whole number from 0 to 9"),
    "a policy in place of a list": Mistake(lambda: evaluate("PREMA", 2), "'PREMA'", "a non-empty list"),
    "a class in place of a policy": Mistake(lambda: played(type("Mine", (), {})), "Mine", "Mine()"),
    "an object that is no agent": Mistake(lambda: policy_of(3.5), "3.5", "an object with name, clairvoyant and act(view)"),
    "episodes in quotes": Mistake(lambda: evaluate(["PREMA"], "100"), "'100'", "a whole number from 1"),  # type: ignore[arg-type]
    "an instance in place of a factory": Mistake(
        lambda: register_policy("MISTAKEN", make_policy("P-SJF")),
        "'MISTAKEN'",
        "a function of no arguments",  # type: ignore[arg-type]
    ),
    "no model of stable-baselines3": Mistake(lambda: policy_from_sb3("model"), "model", "is no file"),
    "no torch module": Mistake(lambda: policy_from_torch(len), "len", "a torch.nn.Module"),
    # Out of range
    "no tasks": Mistake(lambda: make(workload={"num_tasks": 0}), "= 0", "a whole number from 1 to 4096"),
    "a window before the first arrival": Mistake(lambda: make(workload={"window": -1}), "= -1", "a number from 0"),
    "an action beyond the last": Mistake(lambda: begun().step(10), "= 10", "from 0 to 9"),
    "an answer beyond the last action": Mistake(lambda: played(lambda view: np.full(view.rows, 10)), "10", "from 0 to 9"),
    "no episodes": Mistake(lambda: evaluate(["PREMA"], 0), "= 0", "a whole number from 1"),
    "no rows": Mistake(lambda: PremaVectorEnv(0), "= 0", "a whole number from 1"),
    "no steps": Mistake(lambda: PremaEnv(max_episode_steps=0), "= 0", "at least 1, or None"),
    # The wrong shape
    "actions for other rows": Mistake(lambda: rows().step(np.zeros(3, int)), "(3,)", "(2,) whole numbers"),
    "actions that are no whole numbers": Mistake(lambda: rows().step(np.zeros(2)), "float64", "(2,) whole numbers"),
    "seeds for other rows": Mistake(lambda: rows().reset(seed=[1]), "[1]", "one for each of 2 rows"),
    "one answer for all rows": Mistake(lambda: played(lambda view: 0), "()", "(2,) whole numbers"),
    "answers that are no whole numbers": Mistake(lambda: played(lambda view: np.zeros(view.rows)), "float64", "(2,) whole numbers"),
    "no recordings": Mistake(lambda: gantt_compare([]), "[]", "at least one recording"),
    # The wrong order
    "a step before the first reset": Mistake(lambda: PremaEnv(**SMALL).step(0), "step()", "call reset() first"),
    "a step after the end": Mistake(lambda: ended().step(0), "step()", "call reset() first, and again after"),
    "rows stepped before a reset": Mistake(lambda: PremaVectorEnv(2, **SMALL).step([0, 0]), "step()", "call reset() first"),
    # Not here
    "an illegal action where none is allowed": Mistake(lambda: begun(strict=True).step(0), "= 0", "Legal: 1"),
    "a mechanism that is closed": Mistake(
        lambda: begun(mechanisms=["KILL"]).view().give(0), "'CHECKPOINT'", "this environment allows KILL"
    ),
    "a picture of no request": Mistake(
        lambda: record("PREMA", scenario="PremaStream-v0", requests=0), "requests = 0", "at least 1"
    ),
    "a file that is not there": Mistake(lambda: policy_of("model.zip"), "model.zip", "is no file"),
    "a network that is not there": Mistake(lambda: from_onnx("net.onnx"), "net.onnx", "is no file"),
    "requests that are not there": Mistake(lambda: begun().reset(options={"trace": "mine.jsonl"}), "'mine.jsonl'", "No such file"),
    "a picture of an unknown kind": Mistake(lambda: played("P-SJF").plot("mine.doc"), "mine.doc", ".pdf"),
}

COMMANDS: dict[str, tuple[list[str], str, str]] = {
    "an unknown command": (["comparr"], "'comparr'", "Did you mean 'compare'"),
    "an unknown option": (["simulate", "--polcy", "PREMA"], "--polcy", "--help lists the options"),
    "a policy in small letters": (["simulate", "--policy", "prema"], "'prema'", "Did you mean 'PREMA'"),
    "words for a number": (["compare", "--episodes", "many"], "'many'", "invalid int value"),
    "NPUs with a gap": (["simulate", "--npus", "prema,,edge"], "''", "Allowed: edge, prema, tpu_v1"),
    "a workload that is no JSON": (["simulate", "--workload", "{tasks: 3}"], "--workload", "is no JSON"),
    "an option that can't apply": (["compare", "--reward", "antt"], "--reward", "prema-gym train takes a reward"),
    "a module that is not there": (["--import", "no_such_module", "compare"], "no_such_module", "No module named"),
    "a folder that can't be": (["compare", "--episodes", "2", "--output", "/dev/null/x"], "/dev/null/x", "Not a directory"),
    "an agent that is not there": (["compare", "--policies", "PREMA", "mine.onnx"], "mine.onnx", "is no file"),
    "a network for another size": (["train", "--algo", "cma", "--mechanisms", "DRAIN"], "DRAIN", "CHECKPOINT KILL DRAIN"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_by_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mistake = MISTAKES[name]
    with pytest.raises(PremaError) as caught:
        mistake.made()
    said = str(caught.value)
    assert "\n" not in said
    assert mistake.value in said
    assert mistake.allowed in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_command_is_answered_by_one_line(name: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    words, value, allowed = COMMANDS[name]
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert value in printed.err
    assert allowed in printed.err


class Refuse:
    """An importer that knows none of the optional packages."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


WITHOUT_EXTRAS: dict[str, Callable[[Path], Any]] = {
    "rl": lambda folder: policy_of(folder / "model.zip"),
    "onnx": lambda folder: policy_from_onnx(folder / "net.onnx"),
    "onnx of a network": lambda folder: from_onnx(folder / "net.onnx"),
    "notebooks": lambda folder: played("P-SJF").to_pandas(),
}


@pytest.mark.parametrize("name", WITHOUT_EXTRAS)
def test_a_missing_extra_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("data", "{}")
    (tmp_path / "net.onnx").write_bytes(b"")
    for module in [name for name in sys.modules if name.partition(".")[0] in EXTRAS]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
    with pytest.raises(PremaError) as caught:
        WITHOUT_EXTRAS[name](tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    assert f"prema-gym[{name.split()[0]}]" in said
