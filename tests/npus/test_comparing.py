"""Comparing policies on several NPUs: the use of each NPU, no bounds, and ``compare --npus``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from baselines import evaluate
from baselines.commands.compare import ON_SEVERAL_NPUS, default_policies, main
from prema_gym import Program, register_program
from prema_gym.config import EnvConfig

AT_ONCE = {"models": ["small"], "batches": [1], "num_tasks": 2, "window": 0.0}
"""Two tasks of 200 cycles (600 on edge) that arrive together at cycle 0."""


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    register_program("small", {"prema": Program.from_points(200, [200], 512), "edge": Program.from_points(600, [600], 512)})


def test_the_use_of_each_npu_is_its_share_of_the_time() -> None:
    like = evaluate(["NP-FCFS"], episodes=2, threads=1, npus=["prema", "prema"], workload=AT_ONCE)
    assert [share.mean for share in like.utilisation("NP-FCFS")] == [1.0, 1.0]
    unlike = evaluate(["NP-FCFS", "LEAST-LOADED/NP-FCFS"], episodes=2, threads=1, npus="prema,edge", workload=AT_ONCE)
    for name in unlike.policies:
        assert [share.mean for share in unlike.utilisation(name)] == pytest.approx([1 / 3, 1.0])
        assert unlike.mean(name, "antt") == 2.0  # 1 on prema, 3 times the fastest on edge


def test_policies_that_want_idle_npus_may_have_them_beside_those_that_do_not() -> None:
    gate = evaluate(["NP-FCFS", "GATE"], episodes=2, threads=1, npus="prema,edge", workload=AT_ONCE)
    assert gate.mean("NP-FCFS", "antt") == 2.0
    assert gate.mean("GATE", "antt") == 1.5  # both on prema, one after the other: edge is beyond the gate
    assert [share.mean for share in gate.utilisation("GATE")] == [1.0, 0.0]


def test_there_is_no_bound_on_several_npus(tmp_path: Path) -> None:
    results = evaluate(["NP-FCFS"], episodes=2, threads=1, npus="prema,edge", workload=AT_ONCE)
    assert not results.has_bounds
    assert math.isnan(results.bound("antt").mean)
    results.to_json(tmp_path / "results.json")
    written: dict[str, Any] = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written["bound"]["antt"]["mean"] is None
    assert (written["npu"], written["npus"]) == ("prema, edge", ["prema", "edge"])
    assert [entry["mean"] for entry in written["policies"]["NP-FCFS"]["utilisation"]] == pytest.approx([1 / 3, 1.0])
    (row,) = results.rows()
    assert row["utilisation_1"] == 1.0


def test_compare_takes_npus_and_shows_the_use_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--episodes", "2", "--tasks", "4", "--models", "small", "--batches", "1", "--quiet", "--threads", "1"]
    assert main([*few, "--npus", "prema,edge", "--policies", "NP-FCFS", "JSQ/SJF", "GATE", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for text in ("NPUs prema, edge", "JSQ/SJF", "NPUs in use, % of the time", "0: prema", "1: edge", "no bound is given here"):
        assert text in shown
    assert (tmp_path / "compare.png").stat().st_size > 500


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--npus", "prema,egde"], "unknown NPUConfig preset 'egde'. Did you mean 'edge'?"),
        (["--npus", "prema,edge", "--policies", "JSQ/WSRP"], "unknown rule 'WSRP'. Did you mean 'WSRPT'?"),
        (["--npu", "edge", "--npus", "prema,edge"], "npu and npus are both given"),
    ],
)
def test_a_wrong_option_is_an_error_of_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*options, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_the_policies_for_several_npus_are_compared_where_there_are_several() -> None:
    assert set(default_policies(EnvConfig(npus=["prema", "edge"]))) - set(default_policies(EnvConfig())) == set(ON_SEVERAL_NPUS)
