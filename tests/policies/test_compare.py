"""``python -m baselines.compare``: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from baselines import POLICIES, evaluate
from baselines.commands.compare import DEFAULT_POLICIES, default_policies, main
from baselines.report.cells import best_policies
from baselines.report.isolated import isolated_times
from baselines.report.latex import latex_escape
from baselines.report.tables import fitting_table, headline
from prema_gym.config import EnvConfig

FEW = ["--episodes", "6", "--tasks", "4", "--models", "CNN-AN", "CNN-MN", "RNN-SA", "--quiet"]


def test_one_run_prints_a_table_and_writes_the_files(tmp_path, capsys):
    folder = tmp_path / "new"
    assert main([*FEW, "--seed", "5", "--output", str(folder), "--latex", "--per-episode", "--isolated", "--fairness"]) == 0
    out = capsys.readouterr().out
    for text in (
        "6 episodes of 4 tasks",
        "Isolated times in ms",
        *DEFAULT_POLICIES,
        "SRPT †",
        "PREMA over NP-FCFS",
        "No schedule",
        "Fairness and tails",
    ):
        assert text in out
    assert max(map(len, out.splitlines())) <= 120
    assert "…" not in out
    names = {
        "compare.json",
        "compare.csv",
        "compare.png",
        "compare.tex",
        "compare_fairness.tex",
        "compare_episodes.csv",
        "gantt.png",
    }
    assert {path.name for path in folder.iterdir()} == names
    assert all((folder / name).stat().st_size > 500 for name in names)
    written = json.loads((folder / "compare.json").read_text())
    assert written["episodes"] == 6
    assert written["seed"] == 5
    assert written["npu"] == "prema"
    assert list(written["policies"]) == default_policies(EnvConfig())
    assert set(written["versus_np_fcfs"]) == set(default_policies(EnvConfig())) - {"NP-FCFS"}
    for key in ("antt", "stp", "fairness", "sla_violation", "hp_tail", "weighted_antt", "preemptions", "overhead_share"):
        assert set(written["policies"]["PREMA"][key]) == {"mean", "ci95"}


def test_the_default_list_holds_the_papers_schedulers():
    paper = {"NP-FCFS", "NP-HPF", "NP-TOKEN", "NP-SJF", "NP-PREMA", "P-RRB", "P-HPF", "P-TOKEN", "P-SJF"}
    assert paper <= set(DEFAULT_POLICIES)
    assert {name for name in POLICIES if name.startswith("PREMA")} <= set(DEFAULT_POLICIES)
    assert {"SRPT", "WSPT", "WSRPT", "HRRN", "WFQ", "LAS", "MLFQ", "EDF", "LLF"} <= set(DEFAULT_POLICIES)
    assert {"INDEX-SIMPLE", "INDEX", "CAP-INDEX", "RANDOM"} <= set(DEFAULT_POLICIES)


def test_json_goes_to_stdout_alone(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*FEW, "--json", "--policies", "NP-FCFS", "PREMA", "--window", "0.2", "--decision-every", "4"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["window"] == 0.2
    assert written["config"]["decision_every"] == 4
    assert list(tmp_path.iterdir()) == []


def test_without_the_reference_there_are_no_factors(capsys, tmp_path):
    assert main([*FEW, "--policies", "PREMA", "P-SJF", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "better than" not in out
    assert "Fairness and tails" not in out
    assert "--fairness" in out  # how to see it
    assert json.loads((tmp_path / "compare.json").read_text())["versus_np_fcfs"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "PREMMA"], "error: unknown policy 'PREMMA'. Did you mean 'PREMA'?"),
        (["--episodes", "0"], "error: episodes = 0"),
        (["--episodes", "many"], "error: argument --episodes: invalid int value: 'many'"),
        (["--window", "-1"], "error: WorkloadConfig.window = -1.0"),
        (["--tasks", "0"], "error: WorkloadConfig.num_tasks = 0"),
        (["--npu", "gpu"], "error: unknown NPUConfig preset 'gpu'"),
        (["--models", "CNN-XY"], "error: WorkloadConfig.models: unknown model 'CNN-XY'"),
        (["--batches", "0"], "error: WorkloadConfig.batches = 0"),
        (["--mechanisms", "PAUSE"], "error: EnvConfig.mechanisms: unknown mechanism 'PAUSE'"),
        (["--split", "test"], "error: unknown split 'test'"),
        (["--threads", "0"], "error: threads = 0"),
        (["--decision-every", "-2"], "error: EnvConfig.decision_every = -2"),
        (["--frobnicate"], "error: unrecognized arguments: --frobnicate"),
        (["--output", "/dev/null/x"], "error: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path):
    output = [] if "--output" in arguments else ["--output", str(tmp_path)]
    try:
        code = main([*output, "--quiet", *arguments])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for text in ("examples:", "--episodes 200", "reading the table:", "make compare", "(default 1000)"):
        assert text in out


def test_every_policy_is_listed_with_its_rule(capsys):
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in POLICIES)
    assert "Algorithm 3" in out


def test_a_table_fits_the_terminal_it_is_for():
    results = evaluate(["NP-FCFS", "PREMA"], episodes=4, seed=1)
    for width in (80, 100, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(fitting_table(results, console, reference="NP-FCFS"))
        lines = console.file.getvalue().splitlines()
        assert "…" not in "".join(lines)
        assert max(map(len, lines)) <= width


def test_the_best_is_the_best_of_those_without_the_truth():
    results = evaluate(["NP-FCFS", "SRPT", "P-SJF"], episodes=20, seed=1)
    assert best_policies(results, "antt") == ["P-SJF"]
    assert headline(results) is None


def test_there_is_an_isolated_time_for_each_of_the_24_programs():
    times = isolated_times(EnvConfig())
    assert len(times) == 24
    by_name = {(row.model, row.batch): row for row in times}
    assert by_name["CNN-AN", 1].input_length is None
    assert by_name["RNN-MT1", 1].input_length == 20
    assert by_name["RNN-SA", 4].output_length is None
    assert all(row.ms == pytest.approx(row.cycles / 700e3) for row in times)
    assert all(row.roofline is not None and row.roofline.roofline_cycles < row.cycles for row in times)
    assert all(by_name[model, 1].ms < by_name[model, 16].ms for model in EnvConfig().workload.models)


def test_latex_specials_are_escaped():
    assert latex_escape("a_b & 5 %") == r"a\_b \& 5 \%"


def test_it_runs_as_a_module_and_is_readable_in_a_pipe(tmp_path):
    command = [sys.executable, "-m", "baselines.compare", *FEW, "--policies", "NP-FCFS", "PREMA", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "\x1b" not in done.stdout
    assert "*" in done.stdout
    assert done.stderr == ""
