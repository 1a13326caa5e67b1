"""Sweeps: cells are files, a stopped sweep goes on, a cell that fails is named, and processes change nothing."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from baselines.commands import sweep
from baselines.commands.sweep import Cell, build_parser, cells_of, main, play, read_cell

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
    original = sweep.play_cell
    monkeypatch.setattr(sweep, "play_cell", lambda cell, folder: (played.append(cell), original(cell, folder)))
    assert main([*arguments, "--json"]) == 0
    assert len(played) == 2
    assert json.loads(capsys.readouterr().out) == json.loads(whole)
    assert (tmp_path / "sweep.json").read_bytes() == whole


def test_a_cell_that_fails_is_named_and_the_rest_stands(tmp_path):
    cells = [Cell(name, 0.5, 1, 0, "eval", json.dumps({"workload": {"num_tasks": 2}})) for name in ("P-SJF", "NO-SUCH")]
    outcomes = {cell.policy: problem for cell, problem in play(cells, tmp_path, workers=1)}
    assert outcomes["P-SJF"] == ""
    assert "NO-SUCH" in outcomes["NO-SUCH"]
    assert [read_cell(cell, tmp_path) is None for cell in cells] == [False, True]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1870.4, "1870"), (39.5, "39.5"), (0.2351, "0.235"), (0.000654, "0.0007"), (0.0, "0"), (float("nan"), "nan")],
)
def test_numbers_of_the_table_are_short_and_have_no_exponent(value, shown):
    assert sweep.short_number(value) == shown


def test_processes_change_nothing(tmp_path):
    options = build_parser().parse_args([*SMALL, "--loads", "0.9"])
    cells = cells_of(options)
    for workers in (1, 2):
        assert not any(problem for _, problem in play(cells, tmp_path / str(workers), workers))
    for cell in cells:
        assert read_cell(cell, tmp_path / "1") == read_cell(cell, tmp_path / "2") is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--loads", "0"], "--loads 0"),
        (["--loads", "many"], "invalid float"),
        (["--policies", "PREMMA"], "Did you mean"),
        (["--scenario", "Stream"], "unknown scenario"),
        (["--episodes", "0"], "--episodes 0"),
        (["--npus", "prema,tiny"], "tiny"),
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
from baselines.commands.sweep import end_with_parent
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
