"""Sweeps: cells are files, a stopped sweep goes on, a cell that fails is named, and processes change nothing."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from baselines.commands import sweep
from baselines.commands.sweep import build_parser, cells_of, main
from baselines.sweeping import cells as sweeping
from baselines.sweeping import local
from baselines.sweeping.cells import Cell, Outcome, keep, read_cell
from baselines.sweeping.engines import Means, engine

SMALL = ["--policies", "NP-FCFS", "P-SJF", "--loads", "0.5", "1", "--episodes", "2", "--requests", "20", "--quiet"]


def test_cells_are_every_policy_at_every_load_once():
    options = build_parser().parse_args([*SMALL, "--policies", "P-SJF", "NP-FCFS", "P-SJF", "--loads", "1", "0.5", "1.0"])
    assert [(cell.policy, cell.load) for cell in cells_of(options)] == [
        ("P-SJF", 0.5),
        ("NP-FCFS", 0.5),
        ("P-SJF", 1.0),
        ("NP-FCFS", 1.0),
    ]
    assert len({cell.name for cell in cells_of(options)}) == 4


def test_a_sweep_writes_table_figure_and_cells_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    arguments = [*SMALL, "--workers", "1", "--output", str(tmp_path)]
    assert main(arguments) == 0
    assert "missed deadlines" in capsys.readouterr().out
    whole = (tmp_path / "sweep.json").read_bytes()
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], float(row["load"])) for row in rows] == [("NP-FCFS", 0.5), ("P-SJF", 0.5), ("NP-FCFS", 1), ("P-SJF", 1)]
    assert (tmp_path / "sweep.png").stat().st_size > 5_000
    kept = sorted((tmp_path / "cells").iterdir())
    kept[0].unlink()
    kept[1].write_text("{half")
    played = []
    original = sweeping.play_cell
    monkeypatch.setattr(sweeping, "play_cell", lambda cell: (played.append(cell), original(cell))[1])
    assert main([*arguments, "--json"]) == 0
    assert len(played) == 2
    assert json.loads(capsys.readouterr().out) == json.loads(whole)
    assert (tmp_path / "sweep.json").read_bytes() == whole


def test_scenarios_and_seeds_are_cells_of_their_own_and_seeds_are_shown_together(tmp_path, capsys):
    worlds = ["--scenarios", "PremaStream-v0", "Prema-v0", "--seeds", "3", "4", "3"]
    arguments = [*SMALL, "--loads", "0.5", "--policies", "P-SJF", *worlds, "--workers", "1", "--output", str(tmp_path)]
    assert [(cell.scenario, cell.seed) for cell in cells_of(build_parser().parse_args(arguments))] == [
        ("PremaStream-v0", 3),
        ("PremaStream-v0", 4),
        ("Prema-v0", 3),
        ("Prema-v0", 4),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "(PremaStream-v0, " in said
    assert "(Prema-v0, " in said
    assert {path.name for path in tmp_path.glob("*.png")} == {"sweep-PremaStream-v0.png", "sweep-Prema-v0.png"}
    with (tmp_path / "sweep.csv").open(newline="") as file:
        assert [(row["scenario"], row["seed"]) for row in csv.DictReader(file)] == [
            ("PremaStream-v0", "3"),
            ("PremaStream-v0", "4"),
            ("Prema-v0", "3"),
            ("Prema-v0", "4"),
        ]


def test_seeds_together_have_their_mean_and_the_root_of_the_sum_of_squares_of_their_half_widths():
    named = {"policy": "P-SJF", "scenario": "S", "load": 0.5, "episodes": 9, "split": "eval"}
    one, other = (
        {**named, "seed": seed, "measures": {"antt": {"mean": mean, "ci95": [mean - half, mean + half]}, "unfinished": 3}}
        for seed, mean, half in ((0, 2.0, 0.3), (1, 4.0, 0.4))
    )
    (both,) = sweeping.over_seeds([one, other])
    assert both["measures"] == {"antt": {"mean": 3.0, "ci95": pytest.approx([2.75, 3.25])}}
    assert sweeping.over_seeds([one]) == [one]
    without = {**other, "measures": {"antt": {"mean": 4.0, "ci95": [None, None]}}}
    assert sweeping.over_seeds([one, without])[0]["measures"]["antt"] == {"mean": 3.0, "ci95": [None, None]}


def test_a_cell_that_fails_is_named_and_the_rest_stands(tmp_path):
    cells = [
        Cell(name, "PremaStream-v0", 0.5, 1, 0, "eval", json.dumps({"workload": {"num_tasks": 2}})) for name in ("P-SJF", "NO-SUCH")
    ]
    outcomes = {outcome.cell.policy: outcome for outcome in engine("local")(cells, Means(workers=1))}
    assert outcomes["P-SJF"].problem == ""
    assert (outcomes["NO-SUCH"].text, "NO-SUCH" in outcomes["NO-SUCH"].problem) == ("", True)
    keep(outcomes["P-SJF"], tmp_path)
    assert [read_cell(cell, tmp_path) is None for cell in cells] == [False, True]


def test_another_release_or_another_file_where_a_cell_is_played_is_a_problem(tmp_path):
    cell = Cell("P-SJF", "PremaStream-v0", 0.5, 1, 0, "eval", json.dumps({"workload": {"num_tasks": 2}}))
    assert "the sweep another" in sweeping.outcome_of(cell, "P-SJF-0.5-of-another-release.json").problem
    (tmp_path / "mine.onnx").write_bytes(b"another")
    of_file = Cell(str(tmp_path / "mine.onnx"), "PremaStream-v0", 0.5, 1, 0, "eval", cell.arguments, content="0" * 64)
    assert "is not the file that the sweep was started with" in sweeping.outcome_of(of_file, of_file.name).problem


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1870.4, "1870"), (39.5, "39.5"), (0.2351, "0.235"), (0.000654, "0.0007"), (0.0, "0"), (float("nan"), "nan")],
)
def test_numbers_of_the_table_are_short_and_have_no_exponent(value, shown):
    assert sweep.short_number(value) == shown


def test_processes_change_nothing(tmp_path):
    options = build_parser().parse_args([*SMALL, "--loads", "0.9"])
    cells = cells_of(options)
    texts = [{outcome.cell: outcome.text for outcome in engine("local")(cells, Means(workers))} for workers in (1, 2)]
    assert texts[0] == texts[1]
    assert all(texts[0][cell] for cell in cells)


@pytest.mark.parametrize(
    ("deaths", "retries", "problem"), [(2, 3, ""), (2, 2, ""), (2, 1, "its process died 2 times"), (1, 0, "1 time")]
)
def test_cells_whose_process_dies_are_played_again_so_many_times(deaths, retries, problem, monkeypatch):
    cells = [Cell(name, "PremaStream-v0", 0.5, 1, 0, "eval", "{}") for name in ("P-SJF", "PREMA", "EDF")]
    rounds = []

    def once(given, workers):
        rounds.append([cell.policy for cell in given])
        broken = len(rounds) <= deaths
        yield from (Outcome(cell, problem=local._LOST if broken and k else "", text="played") for k, cell in enumerate(given))

    monkeypatch.setattr(local, "_play_once", once)
    outcomes = list(local.play(cells, Means(2, retries=retries)))
    assert sorted(outcome.cell.policy for outcome in outcomes) == ["EDF", "P-SJF", "PREMA"]
    assert rounds[:2] == [["P-SJF", "PREMA", "EDF"], ["PREMA", "EDF"]][: retries + 1]
    problems = {outcome.problem for outcome in outcomes} - {""}
    assert len(problems) == (problem != "")
    assert all(problem in found for found in problems)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--loads", "0"], "--loads 0"),
        (["--loads", "many"], "invalid float"),
        (["--policies", "PREMMA"], "Did you mean"),
        (["--scenario", "Stream"], "unknown scenario"),
        (["--episodes", "0"], "--episodes 0"),
        (["--npus", "prema,tiny"], "tiny"),
        (["--workers", "0"], "--workers 0"),
        (["--retries", "-1"], "--retries -1"),
        (["--engine", "Ray"], "Did you mean 'ray'"),
        (["--address", "auto"], "add --engine ray"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments, reason, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert reason in error
    assert error.count("\n") == 1


POOL = """
import concurrent.futures, multiprocessing, os, time
from baselines.sweeping.local import end_with_parent
context = multiprocessing.get_context("spawn")
pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context, initializer=end_with_parent)
pool.submit(os.getpid).result()
print("ready", flush=True)
time.sleep(600)
"""


def test_the_processes_of_a_sweep_that_is_killed_end_with_it() -> None:
    killed = subprocess.Popen([sys.executable, "-c", POOL], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    assert killed.stdout.readline() == b"ready\n"
    killed.kill()
    killed.communicate(timeout=60)  # they hold its output open for as long as they run
