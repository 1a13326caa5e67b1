"""The command line, as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prema_gym import __version__
from prema_gym.cli import main
from prema_gym.cli.commands import COMMANDS, load, parser_of

ROOT = Path(__file__).parents[2]
OWN = ("simulate", "inspect", "completion")
BASELINES = ("compare", "warmup", "bench", "reproduce")
SMALL = ["--tasks", "3", "--models", "CNN-AN", "CNN-MN", "--batches", "1", "--seed", "3"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "prema_gym", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd)


def fails(capsys, *arguments: str) -> str:
    """Run a command that is wrong; return its one line."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:  # argparse's way
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def prints(capsys, *arguments: str) -> str:
    """Run a command that is right; return what it prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


# --- The door ------------------------------------------------------------------------------------------------------------------


def test_the_console_script_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"prema-gym": "prema_gym.cli:main"}


def test_help_names_every_command_and_loads_nothing_heavy():
    code = "import sys; from prema_gym.cli import main; main(['--help']); heavy = {'numba', 'matplotlib', 'torch', 'scipy', 'rich'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(str(sorted(heavy & sys.modules.keys())) if heavy & sys.modules.keys() else 0)"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", done.stdout, re.MULTILINE)
    assert "examples:" in done.stdout
    assert "exit codes:" in done.stdout


def test_the_version_is_the_packages():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"prema-gym {__version__}\n")


def test_without_a_command_the_help_goes_to_the_error_stream():
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "commands:" in done.stderr


@pytest.mark.parametrize("name", [*OWN, *BASELINES])
def test_every_command_has_help_with_examples_under_its_own_name(capsys, name):
    text = prints(capsys, name, "--help")
    assert text.startswith(f"usage: prema-gym {name} ")
    assert "examples:" in text
    assert f"prema-gym {name}" in text.partition("examples:")[2]
    assert "python -m" not in text
    assert max(map(len, text.splitlines())) <= 132


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_learning_commands_print_their_help_or_say_what_they_lack(capsys, name):
    code = main([name, "--help"])
    printed = capsys.readouterr()
    if code:
        assert re.fullmatch(
            r"error: prema-gym \w+ needs \S+, which is not installed: pip install 'prema-gym\[rl\]'.*\n", printed.err
        )
    else:
        assert printed.out.startswith(f"usage: prema-gym {name}")


def test_a_missing_package_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "train", COMMANDS["train"]._replace(module="no_such_package.train"))
    assert "needs no_such_package, which is not installed: pip install 'prema-gym[rl]'" in fails(capsys, "train")


@pytest.mark.parametrize("name", [*OWN, *BASELINES])
def test_common_options_have_common_names(name):
    flags = {flag for action in parser_of(name)._actions for flag in action.option_strings}
    assert "--help" in flags
    if name not in ("completion", "warmup"):  # these write no files
        assert {"--output", "--quiet"} <= flags
    if name in ("simulate", "compare"):
        common = "--seed --window --tasks --npu --models --batches --mechanisms --decision-every --json"
        assert set(common.split()) <= flags
        shared = {flag for action in parser_of("compare")._actions for flag in action.option_strings}
        assert {"--scenario", "--utilisation", "--npus"} <= flags & shared
        assert parser_of(name).get_default("seed") == 0


@pytest.mark.parametrize("name", [*OWN, *BASELINES])
def test_every_command_can_be_had_as_a_module_with_main(name):
    assert callable(load(name).main)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulat"], "Did you mean 'simulate'"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--import", "no_such_module", "simulate"], "--import no_such_module: No module named 'no_such_module'"),
        (["simulate", "--policy", "PREMAA"], "unknown policy 'PREMAA'. Did you mean 'PREMA'?"),
        (["simulate", "--versus", "SJF"], "unknown policy 'SJF'"),
        (["simulate", "--seed", "x"], "--seed: invalid int value: 'x' (prema-gym simulate --help"),
        (["simulate", "--tasks", "0"], "WorkloadConfig.num_tasks = 0"),
        (["simulate", "--npu", "edgy"], "Did you mean 'edge'?"),
        (["simulate", "--npus", "prema,edgy"], "unknown NPUConfig preset 'edgy'. Did you mean 'edge'?"),
        (["simulate", "--npus", "prema,,edge"], "unknown NPUConfig preset ''"),
        (["simulate", "--npu", "edge", "--npus", "prema,edge"], "npu and npus are both given"),
        (["simulate", "--models", "CNN-XX"], "unknown model 'CNN-XX'"),
        (["simulate", "--gantt", "out.xyz"], "--gantt out.xyz: must end in one of "),
        (["simulate", "--arrivals", "no/such/file.json"], "no/such/file.json"),
        (["simulate", *SMALL, "--gantt", "out.png", "--gantt-window", "5", "2"], "window_ms = [5.0, 2.0]"),
        (["inspect"], "which MODEL? The name of a network"),
        (["inspect", "CNN-A"], "unknown model 'CNN-A'. Did you mean 'CNN-AN'?"),
        (["inspect", "CNN-AN", "--batch", "0"], "batch = 0: must be a whole number from 1 to 1048576"),
        (["inspect", "CNN-AN", "--input-length", "9"], "--input-length: CNN-AN takes none"),
        (["inspect", "RNN-SA", "--output-length", "9"], "--output-length: RNN-SA takes none"),
        (["inspect", "RNN-SA", "--input-length", "999"], "input_length = 999: must be a whole number from 10 to 80"),
        (["inspect", "CNN-AN", "--picture", "x.doc"], "--picture x.doc: must end in one of"),
        (["inspect", "CNN-AN", "--top", "-1"], "--top -1: must be"),
        (["completion", "tcsh"], "invalid choice: 'tcsh'"),
        (["compare", "--policies", "PREMAA"], "unknown policy 'PREMAA'"),
        (["bench", "--fast"], "unrecognized arguments: --fast"),
        (["reproduce", "--studies", "headlin"], "unknown study 'headlin'"),
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *arguments)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "results"])


def test_there_is_no_traceback_in_a_process_either():
    done = run("simulate", "--policy", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown policy 'nobody'")
    assert done.stderr.count("\n") == 1


def test_a_file_that_cannot_be_written_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in fails(capsys, "inspect", "CNN-MN", "--output", str(tmp_path / "file"))


# --- simulate ------------------------------------------------------------------------------------------------------------------


def test_the_line_of_the_readme_works(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "simulate --policy PREMA --versus P-SJF --seed 3 --gantt out.png --trace out.json"
    printed = prints(capsys, *line.split())
    assert re.search(r"^ *PREMA +1\.\d\d\d", printed, re.MULTILINE)
    assert re.search(r"^ *P-SJF +1\.\d\d\d", printed, re.MULTILINE)
    assert printed.endswith("wrote out.png\nwrote out.json\n")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert [name.split(" ")[0] for name in names.values()] == ["PREMA", "P-SJF"]
    for pid in names:  # both have an NPU track and one per task, with slices on them
        threads = [event["args"]["name"] for event in events if event["name"] == "thread_name" and event["pid"] == pid]
        assert threads[0] == "NPU"
        assert len(threads) == 1 + 8
        assert any(event["ph"] == "X" and event["pid"] == pid for event in events)


def test_simulate_plays_what_the_environment_plays(capsys):
    from baselines.evaluation.recording import record

    out = json.loads(prints(capsys, "simulate", "--versus", "NP-FCFS", "PREMA", "P-SJF", *SMALL, "--json"))
    assert list(out["policies"]) == ["PREMA", "NP-FCFS", "P-SJF"]  # each once, in the order given
    expected = record("P-SJF", seed=3, workload={"num_tasks": 3, "models": ["CNN-AN", "CNN-MN"], "batches": [1]})
    assert out["policies"]["P-SJF"]["metrics"]["antt"] == expected.metrics["antt"]
    assert out["policies"]["P-SJF"]["metrics"]["decisions"] == len(expected.decisions)
    assert [task["ntt"] for task in out["policies"]["P-SJF"]["tasks"]] == [expected.ntt(task) for task in range(3)]
    assert out["config"]["workload"]["num_tasks"] == 3
    assert "events" not in out["policies"]["PREMA"]


def test_events_are_printed_with_their_cycles(capsys):
    printed = prints(capsys, "simulate", *SMALL, "--events", "--quiet")
    assert "PREMA: events" in printed
    assert len(re.findall(r"^ +[\d.]+ +\d+  completion +\d +\d$", printed, re.MULTILINE)) == 3
    out = json.loads(prints(capsys, "simulate", *SMALL, "--events", "--json"))
    assert [event["event"] for event in out["policies"]["PREMA"]["events"]].count("completion") == 3


def test_a_folder_takes_every_file(capsys, tmp_path):
    printed = prints(capsys, "simulate", *SMALL, "--output", str(tmp_path / "out"), "--quiet")
    assert "wrote" not in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gantt.png", "simulate.json", "trace.json"]
    assert json.loads((tmp_path / "out" / "simulate.json").read_text())["seed"] == 3


def test_simulate_shows_where_tasks_ran_on_several_npus(capsys, tmp_path):
    arguments = ["simulate", *SMALL, "--npus", "prema,prema,edge"]
    out = json.loads(prints(capsys, *arguments, "--json"))["policies"]["PREMA"]
    assert [npu["configuration"] for npu in out["npus"]] == ["prema", "prema", "edge"]
    for npu, row in enumerate(out["npus"]):
        busy = row["useful_cycles"] + row["wasted_cycles"] + row["overhead_cycles"]
        assert sum(task[f"npu{npu}_cycles"] for task in out["tasks"]) == busy
        assert row["utilisation"] == pytest.approx(busy / (busy + row["idle_cycles"]))
    printed = prints(capsys, *arguments, "--events", "--trace", str(tmp_path / "x.json"))
    assert "NPU 0 prema, NPU 1 prema, NPU 2 edge" in printed.splitlines()[0]
    assert len(re.findall(r"^ *PREMA +NPU \d (?:prema|edge) +[\d.]+%", printed, re.MULTILINE)) == 3
    assert len(re.findall(r" \d: \d+\.\d\d *$", printed, re.MULTILINE)) == 3
    assert len(re.findall(r"^ +[\d.]+ +\d+  completion +\d +\d +[012]$", printed, re.MULTILINE)) == 3
    names = [event["args"].get("name") for event in json.loads((tmp_path / "x.json").read_text())["traceEvents"]]
    assert "NPU 2 edge" in names


def test_arrivals_of_ones_own_are_played(capsys, tmp_path):
    path = tmp_path / "tasks.json"
    tasks = [{"arrival_cycles": cycle, "model": "CNN-AN", "batch": 1, "priority": 9} for cycle in (0, 1000)]
    path.write_text(json.dumps(tasks))
    out = json.loads(prints(capsys, "simulate", "--arrivals", str(path), "--json"))
    assert out["seed"] is None
    assert [task["arrival_cycles"] for task in out["policies"]["PREMA"]["tasks"]] == [0, 1000]
    path.write_text("[{]")
    assert "is no JSON" in fails(capsys, "simulate", "--arrivals", str(path))
    path.write_text("{}")
    assert "must be a list of tasks" in fails(capsys, "simulate", "--arrivals", str(path))
    path.write_text('[{"model": "CNN-AN", "batches": 1}]')
    assert "batches" in fails(capsys, "simulate", "--arrivals", str(path))


# --- inspect -------------------------------------------------------------------------------------------------------------------


def test_inspect_prints_layers_and_what_bounds_them(capsys):
    printed = prints(capsys, "inspect", "CNN-AN", "--batch", "4")
    assert re.search(r"^ *fc6 +gemm .* fill *$", printed, re.MULTILINE)
    assert re.search(r"^ *conv2 +conv .* compute *$", printed, re.MULTILINE)
    for head in ("total", "roofline", "work", "bound by", "preemption", "context"):
        assert re.search(rf"^{head} ", printed, re.MULTILINE)


def test_inspect_in_json_adds_up(capsys):
    from prema_gym import MODELS

    out = json.loads(prints(capsys, "inspect", "CNN-AN", "--batch", "4", "--npu", "edge", "--json"))
    assert out["npu"]["array_rows"] == 32
    assert out["macs"] == MODELS["CNN-AN"].macs(4)
    assert sum(layer["cycles"] for layer in out["layers"]) == out["cycles"]
    assert sum(layer["share"] for layer in out["layers"]) == pytest.approx(1.0)
    assert max(out["dram_cycles"], out["peak_cycles"]) == out["roofline_cycles"] <= out["cycles"]
    assert sum(out["time_by_bound"].values()) == pytest.approx(1.0)
    assert all(0 <= layer["utilisation"] <= 1 for layer in out["layers"])
    context = out["context"]
    assert max(context["profile"]["save_bytes"]) == context["largest_save_bytes"]
    assert len(context["profile"]["ms"]) == len(context["profile"]["save_bytes"])
    assert (
        0
        < context["mean_save_bytes"]
        < context["largest_save_bytes"]
        <= context["largest_restore_bytes"]
        <= out["npu"]["ubuf_bytes"] * 2
    )


def test_inspect_takes_lengths_and_a_limit(capsys):
    printed = prints(capsys, "inspect", "RNN-SA", "--input-length", "12", "--top", "2", "--instructions", "3")
    assert "input length 12" in printed
    assert len(re.findall(r"(compute|fill|memory) *$", printed, re.MULTILINE)) == 2
    assert len(re.findall(r"^(LOAD_TILE|GEMM_OP|VECTOR_OP|STORE_TILE|CONV_OP) ", printed, re.MULTILINE)) == 3


def test_inspect_knows_output_lengths(capsys):
    cycles = [
        json.loads(prints(capsys, "inspect", "RNN-ASR", "--input-length", "200", "--output-length", length, "--json"))["cycles"]
        for length in ("10", "20")
    ]
    assert cycles[0] < cycles[1]


def test_inspect_draws_roofline_and_context(capsys, tmp_path):
    printed = prints(capsys, "inspect", "CNN-MN", "--picture", str(tmp_path / "r.png"), "--context", str(tmp_path / "c.svg"))
    assert "wrote" in printed
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "c.svg").read_text()
    prints(capsys, "inspect", "CNN-MN", "--output", str(tmp_path / "out"), "--quiet")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["context.png", "inspect.json", "roofline.png"]


def test_inspect_lists_the_networks(capsys):
    from prema_gym import MODELS

    rows = json.loads(prints(capsys, "inspect", "--list", "--json"))
    assert [row["model"] for row in rows] == list(MODELS)
    assert "NeurIPS" in prints(capsys, "inspect", "--list")


def test_modules_of_ones_own_register_networks_and_policies(tmp_path):
    (tmp_path / "my_things.py").write_text(
        "from prema_gym import Gemm, Model, Network, register_model\n"
        "from baselines import register_policy, make_policy\n"
        "register_model(Model('MyNet', lambda: Network('MyNet', 64, (Gemm(1, 64, 64, name='only'),))))\n"
        "register_policy('MINE', lambda: make_policy('P-SJF'))\n"
    )
    done = run("--import", "my_things", "inspect", "MyNet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "only" in done.stdout
    done = run("--import", "my_things", "simulate", "--policy", "MINE", "--models", "MyNet", "CNN-AN", "--tasks", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "MyNet" in done.stdout


# --- Delegation ----------------------------------------------------------------------------------------------------------------


def test_compare_is_the_comparison_of_baselines(capsys):
    from baselines.commands.compare import main as compare

    arguments = ["--episodes", "8", "--policies", "NP-FCFS", "PREMA", "--json", "--quiet", "--threads", "1"]
    here = prints(capsys, "compare", *arguments)
    assert compare(arguments) == 0
    assert json.loads(here)["policies"] == json.loads(capsys.readouterr().out)["policies"]


def test_a_reader_that_has_seen_enough_is_no_error():
    shell = f"{sys.executable} -m prema_gym simulate --events --tasks 3 --models CNN-AN CNN-MN | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr


# --- Completion ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory) -> Path:
    from prema_gym.cli.completion import bash, catalogue

    path = tmp_path_factory.mktemp("completion") / "prema-gym.bash"
    path.write_text(bash(catalogue()))
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ([""], {*COMMANDS, "--help", "--version", "--import"}),
        (["ins"], {"inspect"}),
        (["simulate", "--polic"], {"--policy"}),
        (["simulate", "--policy", "PREMA-K"], {"PREMA-KILL"}),
        (["simulate", "--versus", "P-SJF", "NP-S"], {"NP-SJF"}),
        (["inspect", "CNN-"], {"CNN-AN", "CNN-GN", "CNN-VN", "CNN-MN"}),
        (["inspect", "CNN-AN", "--npu", ""], {"prema", "tpu_v1", "edge"}),
        (["--import", "mine", "completion", ""], {"bash", "zsh", "fish"}),
        (["bench", "--qui"], {"--quick", "--quiet"}),
    ],
)
def test_bash_completes(bash_script, typed, offered):
    words = " ".join(f"'{word}'" for word in ["prema-gym", *typed])
    ask = f'COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _prema_gym; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"source {bash_script}; {ask}"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize(
    ("shell", "sign"), [("bash", "complete -o"), ("zsh", "#compdef prema-gym"), ("fish", "complete -c prema-gym")]
)
def test_every_shell_gets_a_script_that_knows_every_command(capsys, shell, sign):
    printed = prints(capsys, "completion", shell)
    assert sign in printed
    assert all(name in printed for name in COMMANDS)
    assert "INDEX-SIMPLE" in printed
