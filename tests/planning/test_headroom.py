"""Head room: the best rule is found on "valid", lookaheads over it play "eval", and the page's tables come from the file."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planning.worlds import STREAM
from planning.worlds import WORLDS as WORLDS_OF_TESTS

from baselines.commands.headroom import main
from baselines.evaluation.estimates import Estimate
from baselines.evaluation.evaluate import evaluate
from baselines.policies.heuristic import Heuristic
from baselines.policies.kinds import policy_of
from baselines.studies import headroom
from baselines.studies.headroom import RULES, WORLDS, World, gain, is_track, measure, tuned
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import with_scenario

DOCS = Path(__file__).parents[2] / "docs"
SMALL = World("small", {**STREAM, "horizon_requests": 30}, requests=4)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return measure(SMALL, ["NP-FCFS", "WSRPT", "EDF"], episodes=6, tuning=0, futures=4, actions=4)


def test_the_best_rule_of_valid_plays_eval(found):
    valid = evaluate(["NP-FCFS", "WSRPT", "EDF"], 6, split="valid", **SMALL.arguments)
    assert found["valid"] == {name: valid.mean(name, "deadline_misses") for name in valid.policies}
    best = min(found["valid"], key=found["valid"].get)
    assert found["best"] == best
    assert list(found["policies"]) == [best, f"LOOKAHEAD/{best}", f"LOOKAHEAD-CLAIRVOYANT/{best}"]
    on_eval = evaluate([best], 6, **SMALL.arguments)
    assert found["policies"][best]["deadline_misses"]["mean"] == pytest.approx(on_eval.mean(best, "deadline_misses"))


def test_a_gate_is_the_best_of_its_grid_on_train(monkeypatch):
    grid = ({"gate": 1.5, "advantage_power": 0.0}, {"gate": 10.0, "advantage_power": 0.0})
    monkeypatch.setitem(headroom.GRIDS, "MINE", ("GATE/EDF-FEASIBLE", grid))
    world = World("cluster", {**WORLDS_OF_TESTS["cluster"], "horizon_requests": 30})
    best = tuned(world, "MINE", 8, 0, lambda name, count: None)
    rules = [Heuristic(f"{k}", "GATE/EDF-FEASIBLE", "CHECKPOINT", **parameters) for k, parameters in enumerate(grid)]
    results = evaluate(rules, 8, split="train", **world.arguments)
    means = [results.mean(rule.name, "deadline_misses") for rule in rules]
    assert means[0] != means[1]
    assert (best.name, best.parameters["gate"]) == ("MINE", grid[int(np.argmin(means))]["gate"])


def test_a_gain_is_a_share_of_the_rules_mean_with_a_paired_interval(found):
    for name, entry in found["gains"].items():
        ours = found["policies"][name]["deadline_misses"]["mean"]
        theirs = found["policies"][found["best"]]["deadline_misses"]["mean"]
        assert entry["gain"] == pytest.approx(1 - ours / theirs)
        assert entry["ci95"][0] <= entry["gain"] <= entry["ci95"][1]
    results = evaluate(["NP-FCFS", "WSRPT"], 6, **SMALL.arguments)
    same = gain(results, "WSRPT", "WSRPT", "weighted_antt")
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    draws = 1 - results.draws("WSRPT", "weighted_antt") / results.draws("NP-FCFS", "weighted_antt")
    assert gain(results, "WSRPT", "NP-FCFS", "weighted_antt").low == pytest.approx(np.percentile(draws, 2.5))


@pytest.mark.parametrize(
    ("best", "low", "measure", "track"),
    [
        (0.06, 0.11, "deadline_misses", True),
        (0.04, 0.5, "deadline_misses", False),
        (0.06, 0.09, "deadline_misses", False),
        (0.04, 0.11, "tardiness", True),
        (0.06, float("nan"), "deadline_misses", False),
    ],
)
def test_what_a_track_is(best, low, measure, track):
    assert is_track(best, Estimate(0.3, low, float("nan") if low != low else 0.5), measure) is track


def test_every_world_and_rule_exists():
    for world in WORLDS.values():
        config = EnvConfig.coerce(with_scenario(world.arguments))
        assert config.stream
        assert config.workload.has_deadlines
    for name in RULES:
        assert policy_of(name).name == name


def test_the_command_goes_on_with_what_is_missing_and_the_page_shows_it(tmp_path, monkeypatch, capsys):
    other = World("other", {**SMALL.arguments, "slots": 6}, requests=4)
    monkeypatch.setitem(WORLDS, "small", SMALL)
    monkeypatch.setitem(WORLDS, "other", other)
    played = []
    monkeypatch.setattr(
        "baselines.commands.headroom.measure",
        lambda world, *rest, **more: played.append(world.name) or headroom.measure(world, *rest, **more),
    )
    path = tmp_path / "deep" / "headroom.json"
    options = ["--rules", "WSRPT", "--episodes", "2", "--futures", "2", "--actions", "3", "--quiet", "--output", str(path)]
    options += ["--requests", "20", "--tuning", "0"]
    assert main(["--worlds", "small", *options]) == 0
    assert main(["--worlds", "small", "other", *options]) == 0
    assert played == ["small", "other"]
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in out] == ["small", "small", "other"]
    assert out[0] == out[1]
    assert list(json.loads(path.read_text())) == ["small", "other"]

    monkeypatch.syspath_prepend(str(DOCS))
    spec = importlib.util.spec_from_file_location("tracks_tables", DOCS / "tracks_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tracks_tables", tables)
    spec.loader.exec_module(tables)
    page = tmp_path / "tracks.md"
    page.write_text((DOCS / "tracks.md").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(tables, "PAGE", page)
    assert tables.main([str(path)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "| small | 2 of 20 | `WSRPT` |" in text
    assert "LOOKAHEAD-CLAIRVOYANT/WSRPT †" in text


def test_an_unknown_world_is_one_line(capsys, tmp_path):
    assert main(["--worlds", "PremaStream-v1", "--output", str(tmp_path / "none.json")]) != 0
    error = capsys.readouterr().err
    assert "PremaStream-v0" in error
    assert error.count("\n") == 1
