"""Evaluation of streams: every policy plays the same ones, and the results hold the cohort's measures and pooled quantiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import evaluate, make_policy
from baselines.evaluation.pooled import quantile_name
from baselines.evaluation.streams import STREAM_MEASURES, StreamResults
from baselines.policies.policy import Policy
from prema_gym import Program, register_program


class InPython(Policy):
    """NP-FCFS, asked through Python: its streams are played side by side in rows."""

    name = "FCFS in Python"
    clairvoyant = False

    def __init__(self) -> None:
        self._own = make_policy("NP-FCFS")

    def act(self, view: Any) -> np.ndarray:
        """Answer for every row."""
        return self._own.act(view)


@pytest.fixture(scope="module")
def results() -> StreamResults:
    for name, cycles in (("long", 900), ("short", 70)):
        register_program(name, Program.from_points(cycles, range(10, cycles + 1, 10), 512))
    workload = {
        "models": ["long", "short"], "batches": [1], "sla": 4.0, "arrivals": {"process": "poisson", "utilisation": 0.8},
    }  # fmt: skip
    found = evaluate(
        ["NP-FCFS", "P-SJF", InPython()], episodes=6, seed=3, threads=1, workload=workload, slots=4, horizon_requests=100
    )
    assert isinstance(found, StreamResults)
    return found


def test_a_policy_plays_the_same_streams_compiled_and_in_python(results: StreamResults) -> None:
    for measure in STREAM_MEASURES:
        compiled, interpreted = (results.per_episode(name, measure) for name in ("NP-FCFS", "FCFS in Python"))
        np.testing.assert_array_equal(compiled, interpreted, err_msg=measure)
    for measure in results.pooled_measures:
        assert results.mean("NP-FCFS", measure) == results.mean("FCFS in Python", measure)


def test_short_requests_wait_less_where_they_go_first(results: StreamResults) -> None:
    assert results.mean("P-SJF", "antt") < results.mean("NP-FCFS", "antt")
    assert results.mean("P-SJF", "utilisation") == pytest.approx(results.mean("NP-FCFS", "utilisation"), abs=0.1)
    assert 0 < results.mean("NP-FCFS", "deadline_misses") < 1
    assert [share.mean for share in results.utilisation("NP-FCFS")] == [pytest.approx(results.mean("NP-FCFS", "utilisation"))]


def test_quantiles_rise_and_are_pooled_by_priority(results: StreamResults) -> None:
    assert results.priorities == (1, 3, 9)
    for priority in results.priorities:
        p50, p95, p99 = (results.mean("NP-FCFS", quantile_name(q, priority)) for q in (0.5, 0.95, 0.99))
        assert 1 <= p50 < p95 <= p99
    histogram = results.played["NP-FCFS"].histograms
    assert histogram.sum() == 6 * 70  # numbers 10 to 79 of 100


def test_results_leave_python(results: StreamResults, tmp_path: Path) -> None:
    results.to_json(tmp_path / "results.json")
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["horizon_requests"] == 100
    assert written["policies"]["P-SJF"]["antt"]["mean"] == pytest.approx(results.mean("P-SJF", "antt"))
    assert len(list(results.rows("episode"))) == 3 * 6
    assert "P-SJF" in str(results)  # prints as its table
