"""Options mean the same in every command that plays; what can't apply is refused in one line that says why."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from baselines.commands.options import WORLD, add_world, env_arguments, reward_of, workload_of
from prema_gym.cli import main
from prema_gym.cli.commands import parser_of
from prema_gym.config import EnvConfig
from prema_gym.errors import EXTRAS, ConfigError, missing_package
from prema_gym.exits import ERROR, FAILED, INTERRUPTED, Parser, guarded

SHARED = (*WORLD, "--reward", "--seed", "--episodes", "--json", "--quiet")
PLAYING = ("compare", "evaluate", "simulate", "train", "reproduce", "sweep")
REFUSED = {
    "compare": {"--reward"},
    "evaluate": {"--reward"},
    "simulate": {"--episodes"},
    "train": {"--models", "--batches", "--utilisation", "--batching"},
    "reproduce": {*WORLD, "--reward"},
    "sweep": {"--window", "--utilisation", "--tasks", "--reward"},
}
"""By command what it does not take; a run of maskable_ppo has no --episodes, which is an option of cma."""
OF_AN_ALGORITHM = {("train", "--episodes")}
SMALL = ["--tasks", "3", "--models", "CNN-AN", "CNN-MN", "--batches", "1"]


def said(capsys: Any, *arguments: str) -> str:
    """Run a command that is wrong; return its one line."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def parsed(*words: str) -> dict[str, Any]:
    parser = Parser("test")
    add_world(parser)
    return env_arguments(parser.parse_args(words))


@pytest.mark.parametrize("name", PLAYING)
def test_every_shared_option_is_taken_or_refused_with_a_reason(name: str, capsys) -> None:
    actions = {flag: action for action in parser_of(name)._actions for flag in action.option_strings}  # type: ignore[union-attr]
    for flag in SHARED:
        if (name, flag) in OF_AN_ALGORITHM:
            assert f"{flag} is an option of algorithm cma; this run has those of" in said(capsys, name, flag, "3")
        elif flag in REFUSED[name]:
            assert actions[flag].help == argparse.SUPPRESS
            required = ["--policy", "PREMA"] if name == "evaluate" else []
            line = said(capsys, name, *required, flag, "3")
            assert line.startswith(f"error: {flag}: does not apply here: ")
            assert len(line) > len(f"error: {flag}: does not apply here: ") + 60
        else:
            assert actions[flag].help != argparse.SUPPRESS


@pytest.mark.parametrize("name", PLAYING)
def test_the_help_fits_and_lists_no_refused_option(name: str, capsys) -> None:
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 132
    listed = {word.strip("[],") for word in printed.partition("options")[2].split() if word.startswith("--")}
    assert not REFUSED[name] & {line.split()[0] for line in printed.splitlines() if line.strip().startswith("--")}
    assert listed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cnn", {"mix": "cnn"}),
        ('{"window": 0.25, "num_tasks": 4}', {"window": 0.25, "num_tasks": 4}),
        (' {"sla": {"ms": 5}}', {"sla": {"ms": 5}}),
    ],
)
def test_a_workload_is_a_name_or_json(text: str, expected: dict[str, Any]) -> None:
    assert workload_of(text) == expected
    EnvConfig.coerce({"workload": workload_of(text)})


def test_a_workload_is_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"num_tasks": 5}')
    assert workload_of(str(tmp_path / "mine.json")) == {"num_tasks": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cn", r"unknown WorkloadConfig preset 'cn'\. Did you mean 'cnn'"),
        ("{", "--workload: is no JSON"),
        ("no/such.json", r"--workload no/such\.json: can't be read \(No such file"),
    ],
)
def test_a_wrong_workload_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        workload_of(text)


def test_a_workload_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ConfigError, match="must be an object of fields, it is a list"):
        workload_of(str(tmp_path / "list.json"))


def test_options_take_the_place_of_what_scenario_and_workload_say() -> None:
    given = parsed(
        "--scenario", "PremaStream-v0", "--workload", '{"sla": 2.0, "num_tasks": 4}', "--tasks", "6", "--utilisation", "0.5"
    )
    config = EnvConfig.coerce(given)
    assert config.workload.num_tasks == 6
    assert config.workload.sla == 2.0
    assert config.workload.arrivals is not None
    assert config.workload.arrivals.utilisation == 0.5
    assert config.stream


def test_what_is_left_out_is_each_policys_to_say() -> None:
    assert parsed() == {}
    assert parsed("--decision-every", "0") == {"decision_every": None}
    assert parsed("--mechanisms", "KILL", "DRAIN") == {"mechanisms": ("KILL", "DRAIN")}


def test_a_reward_is_a_name_or_weights() -> None:
    assert reward_of("antt") == "antt"
    assert reward_of('{"antt": 1, "stp": 0.5}') == {"antt": 1, "stp": 0.5}
    with pytest.raises(ConfigError, match="--reward: is no JSON"):
        reward_of("{antt}")


def test_simulate_shows_the_return_where_a_reward_is_asked_for(capsys) -> None:
    assert main(["simulate", *SMALL, "--reward", "antt", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["policies"]["PREMA"]["metrics"]
    assert metrics["return"] == pytest.approx(-metrics["antt"])
    assert main(["simulate", *SMALL, "--reward", "antt"]) == 0
    assert " return " in capsys.readouterr().out.splitlines()[2]
    assert main(["simulate", *SMALL]) == 0
    assert " return " not in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["simulate", *SMALL],
        ["compare", *SMALL, "--episodes", "2", "--policies", "NP-FCFS", "PREMA", "--output", "out"],
        ["evaluate", *SMALL, "--policy", "P-SJF", "--versus", "P-HPF", "--episodes", "4"],
    ],
)
def test_json_goes_to_a_file_beside_the_tables_or_takes_their_place(command: list[str], tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--quiet", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []
    assert main([*command, "--quiet", "--json", "new/mine.json"]) == 0
    assert json.loads(Path("new/mine.json").read_text()) == printed
    table = capsys.readouterr().out
    assert "antt" in table.lower()
    assert "wrote" not in table


def test_evaluate_plays_any_world(capsys) -> None:
    command = ["evaluate", "--policy", "P-SJF", "--versus", "P-HPF", "P-SJF", "P-HPF", "--quiet", "--episodes", "3"]
    assert main([*command, "--npus", "prema,edge", *SMALL, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["versus"]) == ["P-HPF"]
    assert main([*command, *SMALL, "--where", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["versus"]) == ["P-HPF"]
    assert "--grid says which worlds are played" in said(capsys, *command, "--grid", "--npu", "edge")
    assert "names nobody but P-SJF itself" in said(capsys, "evaluate", "--policy", "P-SJF", "--versus", "P-SJF")


def test_train_takes_a_world_of_closed_episodes(capsys) -> None:
    from agents.commands.train import parse

    arguments = parse(
        ["--algo", "cma", "--npus", "prema,edge", "--workload", '{"models": ["CNN-AN"], "num_tasks": 4}', "--window", "0.3"]
    )
    config = arguments.training_config
    assert [npu.preset_name for npu in config.all_npus] == ["prema", "edge"]
    assert (config.workload.models, config.workload.num_tasks, config.workload.window) == (("CNN-AN",), 4, 0.3)
    again = parse(shlex.split(arguments.command)[3:])
    assert again.training_config == config
    assert parse(["--algo", "cma", "--decision-every", "0"]).training_config.decision_every is None
    assert "algorithm cma trains on closed episodes" in said(capsys, "train", "--algo", "cma", "--scenario", "PremaStream-v0")


@pytest.mark.parametrize(
    ("words", "count"), [(["CHECKPOINT"], 1), (["KILL", "CHECKPOINT"], 2), (["CHECKPOINT", "KILL", "DRAIN"], 3), (["2"], 2)]
)
def test_train_takes_mechanisms_by_name(words: list[str], count: int) -> None:
    from agents.commands.train import parse

    arguments = parse(["--algo", "cma", "--mechanisms", *words])
    assert arguments.mechanisms == count
    assert arguments.command.endswith(
        " ".join(["--mechanisms", "CHECKPOINT", "KILL", "DRAIN"][: 1 + count]) if count > 1 else "cma"
    )
    assert parse(shlex.split(arguments.command)[3:]) == arguments


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["KILL"], "--mechanisms KILL: runs train with CHECKPOINT, or CHECKPOINT KILL"),
        (["KIL"], "Did you mean 'KILL'"),
        (["4"], "'4'"),
    ],
)
def test_mechanisms_that_no_network_has_are_refused(words: list[str], message: str, capsys) -> None:
    assert message in said(capsys, "train", "--algo", "cma", "--mechanisms", *words)


# --- How commands end -------------------------------------------------------------------------------------------------------------


def test_a_missing_extra_is_one_line_with_its_remedy(capsys, monkeypatch, tmp_path) -> None:
    class Refuse:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name.partition(".")[0] == "cmaes":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.delitem(sys.modules, "cmaes", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
    line = said(capsys, "train", "--algo", "cma", "--steps", "1", "--quiet", "--output", str(tmp_path / "run"))
    assert line == "error: this command needs cmaes, which is not installed: pip install 'prema-gym[rl]', or make install.\n"


def test_every_optional_package_has_the_extra_that_declares_it() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package, extra in EXTRAS.items():
        declared = [requirement.lower() for requirement in project["optional-dependencies"][extra]]
        assert any(requirement.startswith(package.replace("_", "-")) for requirement in declared), package
        assert f"prema-gym[{extra}]" in str(missing_package("x", package))


def test_other_errors_of_ones_own_code_are_not_swallowed() -> None:
    def run() -> None:
        raise ModuleNotFoundError("No module named 'mine'", name="mine")

    with pytest.raises(ModuleNotFoundError, match="mine"):
        guarded(run)


def test_the_exit_codes(capsys) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    def full() -> None:
        raise OSError(28, "No space left on device")

    assert guarded(lambda: FAILED) == 1
    assert guarded(stopped) == INTERRUPTED == 130
    assert guarded(full) == ERROR == 2
    assert capsys.readouterr().err == "stopped\nerror: [Errno 28] No space left on device\n"
