"""Comparing policies on traces of one's own: lists of tasks and JSONL files."""

from __future__ import annotations

import json

import pytest

from baselines import evaluate
from prema_gym import Program, register_program
from prema_gym.errors import ConfigError, TraceError

TASKS = [
    {"arrival_cycles": 0, "model": "trace_long", "deadline_cycles": 500},
    {"arrival_cycles": 10, "model": "trace_short", "deadline_cycles": 120},
]


ONLY = {"models": ["trace_long", "trace_short"]}


@pytest.fixture(autouse=True)
def programs():
    """Register the models of the tasks."""
    register_program("trace_long", Program.from_points(400, [100, 200, 300, 400], save_bytes=[0, 0, 0, 0]))
    register_program("trace_short", Program.from_points(100, [100]))


def lines(path, tasks):
    """Write ``tasks`` as JSONL; return the file's name."""
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return str(path)


def test_every_policy_plays_the_same_traces_one_episode_each(tmp_path):
    later = [{**task, "arrival_cycles": 3 * task["arrival_cycles"]} for task in TASKS]
    results = evaluate(["NP-FCFS", "P-SJF"], traces=[lines(tmp_path / "a.jsonl", TASKS), later], workload=ONLY)
    assert (results.episodes, results.split) == (2, "trace")
    first = results.per_episode("NP-FCFS", "antt")
    assert first.tolist() == pytest.approx([(1 + 490 / 100) / 2, (1 + 470 / 100) / 2])
    assert results.mean("NP-FCFS", "deadline_misses") == 0.5
    assert results.mean("P-SJF", "antt") < results.mean("NP-FCFS", "antt")


def test_wrong_traces_are_said_so_before_anything_is_played(tmp_path):
    with pytest.raises(ConfigError, match="traces hold 1, 2 tasks: must all hold as many"):
        evaluate(["NP-FCFS"], traces=[TASKS, TASKS[:1]], workload=ONLY)
    with pytest.raises(ConfigError, match="must be a list of traces"):
        evaluate(["NP-FCFS"], traces="a.jsonl", workload=ONLY)
    with pytest.raises(TraceError, match=r"b\.jsonl:2: arrives before the line above it"):
        evaluate(["NP-FCFS"], traces=[lines(tmp_path / "b.jsonl", TASKS[::-1])], workload=ONLY)
