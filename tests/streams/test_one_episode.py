"""What rests on one episode, or one stream, has no interval: it says nothing about others. Nothing prints or writes one."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from baselines import evaluate
from baselines.commands.compare import main as compare
from baselines.evaluation.estimates import Estimate, ends_of
from baselines.evaluation.results import Results
from prema_gym import Program, register_program

POISSON = {"process": "poisson", "utilisation": 0.8}


def played(episodes: int, **arguments: Any) -> Results:
    register_program("short", Program.from_points(70, range(10, 71, 10), 512))
    workload = {"models": ["short"], "batches": [1], **arguments.pop("workload", {})}
    return evaluate(["NP-FCFS", "P-SJF"], episodes=episodes, threads=1, workload=workload, **arguments)


@pytest.fixture(scope="module", params=["closed episodes", "streams"])
def results(request: pytest.FixtureRequest) -> Results:
    """One episode, closed or a stream."""
    stream = {"horizon_requests": 60, "workload": {"arrivals": POISSON}}
    return played(1, **(stream if request.param == "streams" else {}))


def test_the_estimate_says_so(results: Results) -> None:
    estimate = results.estimate("P-SJF", "antt")
    assert math.isfinite(estimate.mean)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert not estimate.has_interval
    assert repr(estimate).endswith(" (no interval)")
    assert all(not share.has_interval for share in results.utilisation("P-SJF"))
    assert repr(Estimate(2.194, 2.141, 2.243)) == "2.19 [2.14, 2.24]"


def test_no_difference_is_significant(results: Results) -> None:
    difference = results.difference("P-SJF", "NP-FCFS", "preemptions")
    assert not difference.better
    assert not difference.difference.has_interval
    assert not results.factor("P-SJF", "antt").ratio.has_interval


def test_tables_show_the_mean_alone(results: Results) -> None:
    assert "±" not in results.table().replace("mean ±", "")
    assert "Of one episode: no intervals" in results.table()
    assert r"\pm" not in results.latex()


def test_files_hold_no_interval(results: Results, tmp_path: Path) -> None:
    results.to_csv(tmp_path / "compare.csv")
    with (tmp_path / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert math.isfinite(float(row["antt"]))
        assert math.isnan(float(row["antt_low"]))
        assert math.isnan(float(row["antt_high"]))
    results.to_json(tmp_path / "compare.json")
    entry = json.loads((tmp_path / "compare.json").read_text())["policies"]["P-SJF"]["antt"]
    assert entry["ci95"] == [None, None]
    assert all(map(math.isnan, ends_of(entry)))


def test_pictures_are_drawn_without_it(results: Results, tmp_path: Path) -> None:
    results.plot(tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 0


def test_two_episodes_have_one() -> None:
    estimate = played(2).estimate("P-SJF", "antt")
    assert estimate.has_interval
    assert estimate.low <= estimate.mean <= estimate.high


def test_compare_draws_a_file_of_requests_and_prints_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register_program("short", Program.from_points(70, range(10, 71, 10), 512))
    requests = ({"arrival_cycles": 60 * k, "model": "short", "sla": 2.0} for k in range(90))
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))
    command = ["--trace", str(tmp_path / "mine.jsonl"), "--scenario", "PremaStream-v0", "--policies", "NP-FCFS", "EDF"]
    assert compare([*command, "--output", str(tmp_path / "out"), "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.json", "compare.csv", "compare.png", "gantt.png"}
    printed = " ".join(capsys.readouterr().out.split())  # a long path breaks lines
    assert "1 stream of 90 requests" in printed
    assert "±" not in printed
