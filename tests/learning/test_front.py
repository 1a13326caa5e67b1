"""Families of policies: hypervolume by hand, training and measuring a small one, publishing runs of several seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.commands import front, pictures, publish
from agents.learning.hypervolume import REFERENCE_POINT, compare_fronts, dominated, hypervolume
from agents.learning.objective import SCALES, improvements
from agents.learning.training import make_arguments, train
from agents.publishing.policies import LearnedPolicy, pretrained
from prema_gym.errors import PolicyError

E = np.e
SMALL = ["--generations", "1", "--population", "4", "--episodes", "8", "--valid-episodes", "8", "--threads", "1"]


def at(x: float, y: float) -> tuple[float, float]:
    """Return (ANTT, fairness) that lies x and y within the reference point, in logarithms."""
    return REFERENCE_POINT[0] / E**x, REFERENCE_POINT[1] * E**y


def test_hypervolume_worked_out_by_hand() -> None:
    # A staircase: (3, 1) alone covers 3; (1, 2) adds one row of 1; (0.5, 0.5) lies below; (-1, 5) is outside.
    points = np.array([at(3, 1), at(1, 2), at(0.5, 0.5), at(-1, 5)])
    assert hypervolume(*points.T) == pytest.approx(4.0)
    assert hypervolume(*points[::-1].T) == pytest.approx(4.0)
    assert hypervolume(*points[3:].T) == 0.0


def test_a_point_is_dominated_by_one_that_is_better_in_both() -> None:
    points = np.array([[2.0, 0.2], [1.5, 0.1], [3.0, 0.3]])
    assert dominated(points, np.array([[1.9, 0.21], [1.5, 0.15]])) == 1


def test_what_a_member_maximises() -> None:
    ours, theirs = np.array([1.5, 6.0, 0.02, 0.18, 1.7]), np.array([2.0, 5.0, 0.04, 0.2, 1.8])
    gain = front.front_weights(0.5) @ improvements(ours, theirs)
    assert gain == pytest.approx(-np.log(1.5 / 2.0) + 0.5 * np.log(0.18 / 0.2))
    assert len(SCALES) == 5


def test_a_family_is_trained_measured_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(front, "FRONT_POINTS", 2)
    assert front.main([*SMALL, "--output", str(tmp_path)]) == 0
    assert sorted(pretrained(tmp_path)) == ["LEARNED-FRONT-00", "LEARNED-FRONT-01"]
    card = LearnedPolicy.load(tmp_path / "LEARNED-FRONT-01").card
    assert card["command"] == "python -m agents.front --generations 1 --population 4 --episodes 8 --seed 1"
    assert front.main(["--measure", "--output", str(tmp_path), "--episodes", "40", "--figure", str(tmp_path / "front.png")]) == 0
    assert "LEARNED-FRONT" in capsys.readouterr().out
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_the_interval_is_that_of_paired_resamples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "FRONT_POINTS", 1)
    front.main([*SMALL, "--output", str(tmp_path)])
    compared = compare_fronts(tmp_path, 60, 3)
    assert compared.difference.low <= compared.difference.mean <= compared.difference.high
    assert compared.difference.mean == pytest.approx(compared.learned.mean - compared.index.mean)
    # One against sixteen: the difference is less uncertain than the sum of both, which meet the same episodes.
    assert compared.difference.half_width < compared.learned.half_width + compared.index.half_width
    assert pictures.fronts(compared, tmp_path / "picture.png").exists()


def test_a_folder_without_policies_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["--measure", "--output", str(tmp_path / "none")]) == 2
    assert "holds no policies" in capsys.readouterr().err


def test_a_published_policy_tells_of_all_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = []
    for seed in (1, 2):
        given = make_arguments("cma", seed=seed, steps=1, population=4, episodes=8, valid_episodes=8, evaluations=1, threads=1,
                          quiet=True, output=tmp_path / f"run{seed}")  # fmt: skip
        train(given)
        runs.append(str(given.output))
    assert publish.main(["MINE", *runs, "--episodes", "20", "--output", str(tmp_path / "out")]) == 0
    policy = LearnedPolicy.load(tmp_path / "out" / "MINE")
    assert policy.name == "MINE"
    assert (policy.flat == LearnedPolicy.load(tmp_path / "run1" / "best").flat).all()
    assert [run["seed"] for run in policy.card["runs"]] == [1, 2]
    assert set(policy.card["runs"][1]["versus"]) == {"PREMA", "INDEX"}
    assert policy.card["command"].startswith("python -m agents.train --algo cma --seed 1 --steps 1")
    assert str(tmp_path) not in json.dumps({**policy.card, "arguments": None})
    assert "seed 2: better in" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"holds no best\.safetensors"):
        publish.best_of(tmp_path)


def test_learning_curves_are_drawn_from_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gains = dict.fromkeys(SCALES, 1.0)
    for seed in (1, 2):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        lines = [json.dumps({"seconds": 60 * k, "over_prema": gains, "over_opponent": gains}) for k in range(3)]
        (folder / "log.jsonl").write_text("\n".join(lines))
    assert pictures.main([str(tmp_path / "run1"), str(tmp_path / "run2"), "--output", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert pictures.main([str(tmp_path), "--output", str(tmp_path / "none.png")]) == 2
    assert "holds no log.jsonl" in capsys.readouterr().err


def test_the_grid_is_drawn_with_gains_of_either_direction(tmp_path: Path) -> None:
    numbers = {"axis": "tasks", "value": "4", "versus": "PREMA", "verdict": "better"}
    rows = [
        {**numbers, "measure": "antt", "policy": 1.0, "opponent": 1.5},
        {**numbers, "measure": "stp", "policy": 3.0, "opponent": 2.0},
    ]
    assert [pictures.relative_gain(row) for row in rows] == pytest.approx([0.5, 0.5])
    assert pictures.grid(rows, tmp_path / "grid.png").stat().st_size > 1000
