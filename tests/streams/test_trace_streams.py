"""Traces as streams: a file of any length is read line by line, checked before anything is played, and played as it is."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from reference import drawing

from baselines import evaluate
from baselines.evaluation.streams import STREAM_MEASURES
from prema_gym import Program, register_program
from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, TraceError
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.listing import listing_of
from prema_gym.workloads.mixes import mean_gap_cycles

CLOCK_HZ = 700_000_000
ONLY = {"models": ["long", "short"], "batches": [1]}


@pytest.fixture(autouse=True)
def programs() -> None:
    """Register what the requests ask for."""
    for name, cycles in (("long", 900), ("short", 100)):
        register_program(name, Program.from_points(cycles, range(10, cycles + 1, 10), 512))


def file_of(path: Path, requests: Iterable[Mapping[str, Any]]) -> str:
    """Write ``requests`` as JSONL; return the file's name."""
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return str(path)


def every(gap_cycles: int, count: int) -> list[dict[str, Any]]:
    """Return ``count`` short requests that arrive ``gap_cycles`` apart, each due 1.8 times its prediction later."""
    return [{"arrival_cycles": gap_cycles * k, "model": "short", "sla": 1.8} for k in range(count)]


def test_a_stream_of_a_file_by_hand(tmp_path: Path) -> None:
    # Ten requests of 100 cycles, 50 apart, first come, first served, in two slots and a backlog: request k ends at 100 (k + 1), and
    # all is over when the last one arrives at 450. The cohort are 1 to 7; 4 to 7 count with their age so far.
    ntt = [1.5, 2.0, 2.5, 2.5, 2.0, 1.5, 1.0]
    path = file_of(tmp_path / "a.jsonl", every(50, 10))
    results = evaluate(["NP-FCFS"], traces=[path], workload=ONLY, slots=2, horizon_requests=10)
    assert results.mean("NP-FCFS", "antt") == pytest.approx(sum(ntt) / 7)
    assert results.mean("NP-FCFS", "deadline_misses") == pytest.approx(4 / 7)
    assert results.mean("NP-FCFS", "unfinished_share") == pytest.approx(4 / 7)
    assert (results.episodes, results.split) == (1, "trace")
    assert "1 stream of 10 requests" in results.title


def test_a_file_of_what_would_be_drawn_plays_as_the_drawn_stream(tmp_path: Path) -> None:
    workload = {**ONLY, "arrivals": {"process": "poisson", "utilisation": 0.9}}
    common: dict[str, Any] = {"slots": 4, "threads": 1}
    drawn = evaluate(["NP-FCFS", "P-SJF"], episodes=1, seed=3, workload=workload, horizon_requests=100, **common)
    machine = Simulator(EnvConfig.coerce({"workload": workload, "horizon_requests": 100}))
    seed = drawing.episode_seed("eval", 3, 0, 0)
    arrivals = drawing.rated_arrivals(seed, 100, mean_gap_cycles(machine.config, machine.programs))
    classes = [
        {"model": c.model, "batch": c.batches, "weight": c.weight, "priority": c.levels} for c in machine.config.workload.classes
    ]
    requests = []
    for index, cycle in enumerate(arrivals):
        one = drawing.draw(classes, {}, seed, index)
        requests.append({"arrival_cycles": cycle, "model": one.model, "priority": one.priority})
    path = file_of(tmp_path / "drawn.jsonl", requests)
    played = evaluate(["NP-FCFS", "P-SJF"], workload={**ONLY, "arrivals": {"process": "trace", "path": path}}, **common)
    assert played.config.horizon == 100
    for policy in ("NP-FCFS", "P-SJF"):
        for measure in STREAM_MEASURES:
            if measure != "weighted_antt_all":
                assert played.mean(policy, measure) == pytest.approx(drawn.mean(policy, measure), nan_ok=True), measure


def test_the_environment_plays_a_file_too_and_priorities_are_those_in_it(tmp_path: Path) -> None:
    requests = [{**request, "priority": 7 if k % 2 else 20} for k, request in enumerate(every(50, 12))]
    path = file_of(tmp_path / "a.jsonl", requests)
    arrivals = {"process": "trace", "path": path}
    env = gym.make("prema_gym:PremaStream-v0", workload={**ONLY, "arrivals": arrivals})
    config = env.unwrapped.config
    assert (config.horizon, config.workload.levels) == (12, (7, 20))
    with pytest.raises(ConfigError, match=r"horizon_requests = 13: .*a\.jsonl holds 12 requests"):
        gym.make("prema_gym:PremaStream-v0", horizon_requests=13, workload={**ONLY, "arrivals": arrivals})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"arrival_cycles": NaN, "model": "short"}', "NaN is no JSON number"),
        (b'{"arrival_cycles": -5, "model": "short"}', "'arrival_cycles'] = -5: must be"),
        (b'{"arrival_cycles": 1, "model": "short"}', "arrives before the line above it"),
        (b'{"arrival_cycles": 900, "model": "shrt"}', "unknown model 'shrt'"),
        (b'{"arrival_cycles": 900, "mod', "is the line cut off"),
        ('{"arrival_cycles": 900, "model": "é"}'.encode("latin-1"), "isn't UTF-8"),
        (b'{"arrival_cycles": 325, "model": "short", "input_length": 4}', "short takes none"),
    ],
)
def test_a_wrong_line_is_one_error_with_file_and_line_before_anything_is_played(tmp_path: Path, line: bytes, reason: str) -> None:
    lines = [json.dumps(request).encode() for request in every(50, 10)]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join([*lines[:7], line, *lines[7:]]) + b"\n")
    with pytest.raises(TraceError) as caught:
        Simulator(EnvConfig.coerce({"workload": {**ONLY, "arrivals": {"process": "trace", "path": str(path)}}}))
    assert str(caught.value).startswith(f"{path}:8")
    assert reason in str(caught.value)


def test_files_that_are_no_stream_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="holds 1 requests; a stream has at least 2"):
        listing_of(file_of(tmp_path / "one.jsonl", every(50, 1)), CLOCK_HZ)
    with pytest.raises(TraceError, match=r"missing\.jsonl': can't be read"):
        listing_of(tmp_path / "missing.jsonl", CLOCK_HZ)
    two = file_of(tmp_path / "two.jsonl", every(50, 4))
    with pytest.raises(ConfigError, match="a stream plays one"):
        evaluate(["NP-FCFS"], traces=[two, two], workload=ONLY, horizon_requests=4)


def test_reading_takes_no_more_memory_for_a_longer_file(tmp_path: Path) -> None:
    peaks = []
    for count in (6_000, 24_000):
        path = file_of(tmp_path / f"{count}.jsonl", every(50, count))
        tracemalloc.start()
        assert len(listing_of(path, CLOCK_HZ).requests) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_file_of_more_requests_than_a_table_can_hold_is_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.evaluation.evaluate.MOST_TASKS", 5)
    path = file_of(tmp_path / "many.jsonl", every(120, 24))
    results = evaluate(["NP-FCFS"], traces=[path], workload=ONLY, slots=4)
    assert results.config.stream
    assert results.mean("NP-FCFS", "antt") == 1.0


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.jsonl", every(50, 4))
    assert len(listing_of(path, CLOCK_HZ).requests) == 4
    file_of(tmp_path / "a.jsonl", every(50, 6))
    assert len(listing_of(path, CLOCK_HZ).requests) == 6
