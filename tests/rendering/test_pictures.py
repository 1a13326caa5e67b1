"""Gantt charts and Perfetto traces."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from tools.hand_made import THREE, make_env, play_three, register_round_programs, task

from baselines.evaluation.recording import record
from prema_gym.errors import ConfigError
from prema_gym.rendering import Kind, Recording, gantt, gantt_compare, save_trace
from prema_gym.rendering.charts.lanes import MIN_SHARE

SMALL = {"workload": {"num_tasks": 4, "models": ["CNN-AN", "CNN-MN"], "batches": [1, 4]}}


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [record(name, seed=5, **SMALL) for name in ("NP-FCFS", "P-RRB", "P-HPF-KILL")]


# --- Gantt ---------------------------------------------------------------------------------------------------------------------


def labels(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def test_a_lane_per_task_with_axes_title_and_legend(recordings, tmp_path):
    ax = gantt(recordings[1], path=tmp_path / "deep" / "chart.png")
    assert (tmp_path / "deep" / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert [label.split()[0] for label in labels(ax)] == ["#0", "#1", "#2", "#3"]
    assert all(f"{entry['model']} b{entry['batch']} p{entry['priority']}" in label
               for entry, label in zip(recordings[1].tasks, labels(ax), strict=True))  # fmt: skip
    assert ax.get_xlabel() == "time (ms)"
    assert "P-RRB" in ax.get_title(loc="left")
    assert "ANTT" in ax.get_title(loc="left")
    legend = " ".join(text.get_text() for text in ax.get_legend().get_texts())
    assert all(word in legend for word in ("runs", "waits", "save", "arrival", "completion", "SLA"))
    assert "killed" not in legend


def widths(ax: Any) -> list[float]:
    return [path.vertices[:, 0].max() - path.vertices[:, 0].min() for bars in ax.collections for path in bars.get_paths()]


def test_overhead_is_drawn_wide_enough_to_see(recordings):
    recording = recordings[1]
    least = MIN_SHARE * recording.ms(recording.end_cycles)
    saves = [recording.ms(part.cycles) for part in recording.timeline.npu if part.kind is Kind.SAVE]
    assert min(saves) < least
    drawn = widths(gantt(recording, ax=Figure().subplots()))
    assert all(any(width == pytest.approx(max(save, least)) for width in drawn) for save in saves)


def test_killed_work_is_explained_only_where_there_is_some(recordings):
    legend = gantt(recordings[2], ax=Figure().subplots()).get_legend()
    has_kills = any(part.kind is Kind.KILLED for part in recordings[2].timeline.npu)
    assert has_kills == any("killed" in text.get_text() for text in legend.get_texts())


def test_a_window_shows_the_tasks_of_that_time(recordings):
    end = recordings[0].ms(recordings[0].end_cycles)
    ax = gantt(recordings[0], ax=Figure().subplots(), window_ms=(0.9 * end, end))
    assert ax.get_xlim() == pytest.approx((0.9 * end, end))
    assert 1 <= len(labels(ax)) < 4


def test_several_policies_share_a_time_axis(recordings, tmp_path):
    figure = gantt_compare(recordings, path=tmp_path / "compare.svg")
    assert "<svg" in (tmp_path / "compare.svg").read_text()
    assert len(figure.axes) == 3
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert [ax.get_title(loc="left").split()[0] for ax in figure.axes] == ["NP-FCFS", "P-RRB", "P-HPF-KILL"]
    assert sum(ax.get_legend() is not None for ax in figure.axes) == 1


def test_an_environment_is_drawn_as_far_as_it_has_played():
    register_round_programs()
    env = make_env()
    env.reset(options={"trace": [task(0, "long"), task(150, "short")]})
    assert labels(gantt(env, ax=Figure().subplots())) == []
    env.step(1)
    assert len(labels(gantt(env, ax=Figure().subplots()))) == 1


@pytest.mark.parametrize("window", [(2, 1), (1, 1), (float("nan"), 1)])
def test_an_impossible_window_is_named(recordings, window):
    with pytest.raises(ConfigError, match="window_ms"):
        gantt(recordings[0], window_ms=window)


def test_importing_the_drawing_code_loads_no_heavy_library():
    code = (
        "import sys, prema_gym, prema_gym.rendering, prema_gym.rendering.live.screen, prema_gym.rendering.live.frames;"
        "print([name for name in ('matplotlib', 'pandas', 'rich', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


# --- Perfetto ------------------------------------------------------------------------------------------------------------------

REQUIRED = {
    "M": {"pid", "name", "args"},
    "X": {"pid", "tid", "ts", "dur", "name", "cat", "args"},
    "i": {"pid", "tid", "ts", "name", "s", "args"},
    "C": {"pid", "ts", "name", "args"},
}
"""Fields of each phase, after the Trace Event Format (Google, 2016)."""


def exact(number: Any) -> Fraction:
    return Fraction(str(number))


def check_format(trace: dict[str, Any]) -> None:
    """Hold a trace against the format: fields, types, and no overlap of complete events on a thread."""
    tracks: dict[tuple[int, int], list[tuple[Fraction, Fraction]]] = defaultdict(list)
    assert isinstance(trace["traceEvents"], list)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in trace["traceEvents"]:
        assert set(event) >= REQUIRED[event["ph"]], event
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
        assert event.get("ts", 0) >= 0
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")
        if event["ph"] == "C":
            assert all(isinstance(value, int) and value >= 0 for value in event["args"].values())
        if event["ph"] == "i":
            assert event["s"] in ("t", "p", "g")
        if event["ph"] == "X":
            assert event["dur"] >= 0
            tracks[event["pid"], event["tid"]].append((exact(event["ts"]), exact(event["dur"])))
    for slices in tracks.values():
        check_no_overlap(slices)


def check_no_overlap(slices: list[tuple[Fraction, Fraction]]) -> None:
    """In exact microseconds, and as readers see them that cut to whole nanoseconds in floating point."""
    slices = sorted(slices)
    for (ts, dur), (after, _) in itertools.pairwise(slices):
        assert ts + dur <= after
        assert int(float(ts) * 1000.0) + int(float(dur) * 1000.0) <= int(float(after) * 1000.0)


@pytest.fixture(scope="module")
def trace(recordings, tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("traces") / "x.json"
    save_trace(path, recordings)
    return json.loads(path.read_text())


def events_of(trace: dict[str, Any], phase: str, pid: int = 2) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == phase and event["pid"] == pid]


def test_the_trace_follows_the_format(trace):
    check_format(trace)


def test_policies_are_processes_and_tasks_are_threads(trace, recordings):
    names = {event["pid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    assert names == {pid: recording.title() for pid, recording in enumerate(recordings, 1)}
    threads = [event["args"]["name"] for event in events_of(trace, "M") if event["name"] == "thread_name"]
    assert threads[0] == "NPU"
    assert len(threads) == 5


def test_slices_carry_exact_cycles_and_fill_the_tracks(trace, recordings):
    tracks = (recordings[1].timeline.npu, *recordings[1].timeline.tasks)
    for tid, track in enumerate(tracks):
        shown = [event["args"] for event in events_of(trace, "X") if event["tid"] == tid]
        assert [(args["start_cycles"], args["end_cycles"], args["task"]) for args in shown] == [
            (part.start_cycles, part.end_cycles, part.task) for part in track if part.kind is not Kind.IDLE
        ]


def test_times_are_within_a_nanosecond_of_the_cycles(trace, recordings):
    clock = recordings[1].config.npu.clock_hz
    for event in events_of(trace, "X"):
        true = Fraction(event["args"]["start_cycles"] * 10**6, clock)
        assert 0 <= true - exact(event["ts"]) <= Fraction(1, 1000)


def test_counters_end_at_no_task_waiting_and_all_bytes_moved(trace, recordings):
    queue = [event["args"]["tasks"] for event in events_of(trace, "C") if event["name"] == "waiting tasks"]
    assert (queue[0], min(queue), queue[-1]) == (0, 0, 0)
    assert max(queue) > 0
    moved = [event["args"] for event in events_of(trace, "C") if event["name"] == "context DRAM bytes"]
    npu = recordings[1].timeline.npu
    assert moved[-1] == {
        "saved": sum(part.nbytes for part in npu if part.kind is Kind.SAVE),
        "restored": sum(part.nbytes for part in npu if part.kind is Kind.RESTORE),
    }
    assert moved[-1]["saved"] > 0


def test_a_fast_clock_rounds_cycles_together_without_overlap(tmp_path):
    register_round_programs()
    workload = {"models": ["long"], "batches": [1], "num_tasks": 2}
    npu = {"clock_hz": 5_000_000_000}
    recording = record("P-RRB", trace=[task(0, "long"), task(3, "short")], quantum_cycles=50, npu=npu, workload=workload)
    recording.save_trace(tmp_path / "fast.json.gz")
    check_format(json.loads(gzip.decompress((tmp_path / "fast.json.gz").read_bytes())))


def test_the_environment_writes_its_own_trace(tmp_path: Path):
    register_round_programs()
    env = make_env()
    env.reset(options={"trace": [task(0, "long"), task(150, "short")]})
    env.step(1)
    env.unwrapped.save_trace(tmp_path / "x.json")
    trace = json.loads((tmp_path / "x.json").read_text())
    check_format(trace)
    assert [event["args"]["cycle"] for event in trace["traceEvents"] if event["ph"] == "i"] == [0, 150]


# --- Several NPUs --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three() -> Recording:
    """An episode of two like NPUs and one that is not."""
    register_round_programs()
    return Recording.of(play_three(make_env(**THREE)))


def test_a_gantt_chart_has_a_lane_per_npu_above_those_of_the_tasks(three, tmp_path):
    ax = gantt(three, path=tmp_path / "chart.png")
    busy = [f"{three.utilisation(npu):.0%} busy" for npu in range(3)]
    assert labels(ax)[:3] == [f"NPU {npu} {name}   {busy[npu]}" for npu, name in enumerate(("prema", "prema", "edge"))]
    assert [label.split()[0] for label in labels(ax)[3:]] == [f"#{task}" for task in range(6)]
    names = [text for text in ax.texts if text.get_text().startswith(("#", "NPU "))]
    for text in names:  # what is written into a bar says whose it is, or where
        x, lane = text.get_position()
        npu = next((npu for npu in range(3) if lane == npu), None)
        cycle = x * three.config.npu.clock_hz / 1000
        if npu is None:
            place = int(text.get_text().removeprefix("NPU "))
            task = labels(ax)[ax.get_yticks().tolist().index(lane)].split()[0]
        else:
            place, task = npu, text.get_text()
        part = next(part for part in three.timeline.npus[place] if part.start_cycles <= cycle <= part.end_cycles)
        assert f"#{part.task}" == task
    assert len(names) > 6


def test_lanes_of_several_npus_are_cut_to_the_window(three):
    end = three.ms(three.end_cycles)
    ax = gantt(three, ax=Figure().subplots(), window_ms=(0.8 * end, end))
    assert all(0.8 * end <= text.get_position()[0] <= end for text in ax.texts)
    assert len(labels(ax)) < 9


def test_a_trace_has_a_track_per_npu_without_overlap(three, tmp_path):
    three.save_trace(tmp_path / "three.json")
    trace = json.loads((tmp_path / "three.json").read_text())
    check_format(trace)
    threads = [event["args"]["name"] for event in events_of(trace, "M", 1) if event["name"] == "thread_name"]
    assert threads[:3] == ["NPU 0 prema", "NPU 1 prema", "NPU 2 edge"]
    assert [name.split()[0] for name in threads[3:]] == [f"#{task}" for task in range(6)]
    for tid, track in enumerate((*three.timeline.npus, *three.timeline.tasks)):
        shown = [event for event in events_of(trace, "X", 1) if event["tid"] == tid]
        assert [(event["args"]["start_cycles"], event["args"]["npu"], event["args"]["task"]) for event in shown] == [
            (part.start_cycles, part.npu, part.task) for part in track if part.kind is not Kind.IDLE
        ]
        on = {event["name"].partition(" on ")[2] for event in shown if event["cat"] == "execute"}
        assert on == {f"NPU {part.npu}" for part in track if part.kind is Kind.EXECUTE} if tid >= 3 else on == {""}
    queue = [event["args"]["tasks"] for event in events_of(trace, "C", 1) if event["name"] == "waiting tasks"]
    assert (min(queue), queue[-1]) == (0, 0)


def test_nothing_to_save_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="recording"):
        save_trace(tmp_path / "x.json", [])
    with pytest.raises(ConfigError, match="recording"):
        gantt_compare([])
