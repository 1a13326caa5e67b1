"""Traces as JSONL: what is read, what is refused and how that is said, and that an exported episode plays again to the cycle."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from prema_gym import Program, register_program
from prema_gym.errors import TraceError
from prema_gym.workloads.jsonl import load_trace, read_trace, write_trace
from prema_gym.workloads.trace import TraceTask

KNOWN = ("CNN-AN", "RNN-MT1")
CLOCK_HZ = 700_000_000
GOOD = '{"arrival_ms": 1, "model": "CNN-AN"}\n'


def tasks_in(path: Path, text: str | bytes) -> list[TraceTask]:
    """Return what is read of a file with ``text``."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_trace(path, KNOWN, CLOCK_HZ))


def test_a_line_is_a_request_with_what_is_left_out_at_its_default(tmp_path):
    (task,) = tasks_in(tmp_path / "a.jsonl", '{"arrival_cycles": 7, "model": "CNN-AN"}')
    assert task == TraceTask(arrival_cycles=7, model="CNN-AN", batch=1, priority=1)


def test_milliseconds_are_cycles_of_the_clock(tmp_path):
    first, second = tasks_in(
        tmp_path / "a.jsonl",
        '{"arrival_ms": 0.5, "model": "CNN-AN", "deadline_ms": 1.5}\n\n{"arrival_ms": 2, "model": "CNN-AN", "sla": {"ms": 1}}\n',
    )
    assert (first.arrival_cycles, first.deadline_cycles) == (350_000, 1_050_000)
    assert (second.arrival_cycles, second.deadline_cycles) == (1_400_000, 2_100_000)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"arrival_ms": NaN, "model": "CNN-AN"}', "NaN is no JSON number"),
        ('{"arrival_ms": -1, "model": "CNN-AN"}', r"\['arrival_ms'\] = -1: must be a number of milliseconds of at least 0"),
        ('{"arrival_cycles": -1, "model": "CNN-AN"}', r"\['arrival_cycles'\] = -1: must be a whole number of at least 0"),
        ('{"arrival_ms": 0.5, "model": "CNN-AN"}', "arrives before the line above it"),
        ('{"arrival_ms": 2, "model": "CNN-XY"}', "unknown model 'CNN-XY'"),
        ('{"arrival_ms": 2, "model": "CNN-AN", "priorty": 3}', "unknown key 'priorty'. Did you mean 'priority'"),
        ('{"arrival_ms": 2, "model": "CNN-AN", "priority": 65}', "must be a whole number from 1 to 64"),
        ('{"arrival_ms": 2, "model": "CNN-AN", "batch": 1, "batch": 2}', "a key stands twice"),
        ('{"arrival_ms": 2, "arrival_cycles": 2, "model": "CNN-AN"}', "give one of them"),
        ('{"model": "CNN-AN"}', r"\['arrival_cycles'\] = None"),
        ('{"arrival_ms": 2, "model": "CNN', "is the line cut off"),
        ("[1, 2]", "must be a mapping"),
        (b'{"arrival_ms": 2, "model": "CNN-\xe4"}', "byte 33 isn't UTF-8"),
        ("\ufeff" + GOOD, "no valid JSON at column 1"),
        (" " * (1 << 16) + GOOD, "longer than 65536 bytes"),
        ("[" * 60000, ":2: "),
    ],
)
def test_a_wrong_line_is_one_error_with_file_and_line(tmp_path, line: str | bytes, message: str):
    path = tmp_path / "mine.jsonl"
    with pytest.raises(TraceError, match=message) as caught:
        tasks_in(path, GOOD.encode() + (line.encode() if isinstance(line, str) else line))
    assert str(caught.value).startswith(f"{path}:2")


def test_a_file_that_is_missing_empty_or_too_large_is_said_so(tmp_path):
    path = tmp_path / "mine.jsonl"
    with pytest.raises(TraceError, match=r"mine\.jsonl': can't be read: No such file"):
        load_trace(path, KNOWN, CLOCK_HZ)
    path.write_text("\n")
    with pytest.raises(TraceError, match="holds no request"):
        load_trace(path, KNOWN, CLOCK_HZ)
    path.write_text(GOOD * 4097)
    with pytest.raises(TraceError, match="more than 4096 requests"):
        load_trace(path, KNOWN, CLOCK_HZ)


def test_reading_takes_constant_memory(tmp_path):
    path = tmp_path / "long.jsonl"

    def peak_bytes(lines: int) -> int:
        path.write_text(GOOD * lines)
        tracemalloc.start()
        assert sum(1 for _ in read_trace(path, KNOWN, CLOCK_HZ)) == lines
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(10)
    assert peak_bytes(5000) < peak_bytes(500) + 20_000


WORKLOADS: dict[str, dict[str, Any]] = {
    "plain": {"num_tasks": 6, "models": ["CNN-AN", "RNN-SA", "RNN-MT1"], "batches": [1]},
    "deadlines": {"num_tasks": 6, "models": ["CNN-AN", "RNN-MT1"], "batches": [1], "sla": 3.0, "priorities": [2, 64]},
    "errors": {"num_tasks": 6, "models": ["CNN-AN", "RNN-MT1"], "batches": [1], "sla": 3.0, "predictor_error": 0.5},
}


def played(env: Any) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Play the episode just begun by the last legal action each time; return its tasks, events and metrics."""
    over = False
    while not over:
        action = int(env.action_masks().nonzero()[0][-1])
        *_, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return env.tasks(), env.events(), info["metrics"]


@pytest.mark.parametrize("npus", [["prema"], ["prema", "edge"]], ids=["one NPU", "unlike NPUs"])
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_an_exported_episode_plays_again_to_the_cycle(tmp_path, workload: dict[str, Any], npus: list[str]):
    env = gymnasium.make("prema_gym:Prema-v0", workload=workload, npus=npus, disable_env_checker=True).unwrapped
    env.reset(seed=7)
    drawn = played(env)
    write_trace(tmp_path / "episode.jsonl", drawn[0])
    env.reset(options={"trace": str(tmp_path / "episode.jsonl")})
    assert played(env) == drawn


def test_an_exported_file_has_one_plain_request_a_line(tmp_path):
    register_program("mine", Program.from_points(10, [10]))
    env = gymnasium.make("prema_gym:Prema-v0", workload={"models": ["mine"], "num_tasks": 2}, disable_env_checker=True).unwrapped
    env.reset(
        options={"trace": [{"arrival_cycles": 0, "model": "mine", "deadline_cycles": 12}, {"arrival_cycles": 3, "model": "mine"}]}
    )
    write_trace(tmp_path / "mine.jsonl", env.tasks())
    assert [json.loads(line) for line in (tmp_path / "mine.jsonl").read_text().splitlines()] == [
        {"arrival_cycles": 0, "model": "mine", "batch": 1, "priority": 1, "deadline_cycles": 12},
        {"arrival_cycles": 3, "model": "mine", "batch": 1, "priority": 1},
    ]
