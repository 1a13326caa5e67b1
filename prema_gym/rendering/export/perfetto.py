"""Export to the Chrome trace-event format (JSON), which Perfetto (https://ui.perfetto.dev) and chrome://tracing open.

One process per recording: a track per NPU, a track per task, counters. The format counts microseconds; every slice and instant
also carries its exact cycles in ``args``. Times are rounded down to whole nanoseconds, and a slice ends one nanosecond before the
next on its track begins, because readers that round in other ways would else see neighbours overlap.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from prema_gym.errors import ConfigError
from prema_gym.files import write_bytes
from prema_gym.rendering.episode import RecordedEpisode, batch_name, npu_labels, task_label
from prema_gym.rendering.queues import backlog_steps, table_changes
from prema_gym.rendering.timeline import Kind, Slice
from prema_gym.types import NONE

INSTANTS = ("arrival", "completion", "quantum", "kill", "drain")
"""Events of the log that are shown as instants on the track of their task (without a task: their NPU's)."""

TraceEvent = dict[str, Any]


def _nanoseconds(recording: RecordedEpisode, cycle: int) -> int:
    return cycle * 1_000_000_000 // recording.config.npu.clock_hz


def _microseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1000, 3)


def _timestamp(recording: RecordedEpisode, cycle: int) -> float:
    return _microseconds(_nanoseconds(recording, cycle))


def _metadata(pid: int, tid: int | None, name: str, value: str | int) -> TraceEvent:
    key = "sort_index" if name.endswith("sort_index") else "name"
    event: TraceEvent = {"ph": "M", "pid": pid, "name": name, "args": {key: value}}
    return event if tid is None else event | {"tid": tid}


def _names(recording: RecordedEpisode, pid: int) -> Iterator[TraceEvent]:
    yield _metadata(pid, None, "process_name", recording.title())
    yield _metadata(pid, None, "process_sort_index", pid)
    tracks = [*npu_labels(recording.config), *(f"#{task} {task_label(entry)}" for task, entry in enumerate(recording.tasks))]
    for tid, name in enumerate(tracks):
        yield _metadata(pid, tid, "thread_name", name)
        yield _metadata(pid, tid, "thread_sort_index", tid)


def _task_track(recording: RecordedEpisode, task: int) -> int:
    """Return a task's thread id: NPU n has n, and the tasks follow in order of arrival."""
    return len(recording.timeline.npus) + task


def _slice_name(recording: RecordedEpisode, part: Slice, tid: int) -> str:
    npus = len(recording.timeline.npus)
    if tid >= npus:
        what = f"{part.kind} #{part.leader}" if part.kind is Kind.JOINED else str(part.kind)
        return f"{what} on NPU {part.npu}" if npus > 1 and part.npu != NONE else what
    if part.task == NONE:
        return str(part.kind)
    name = f"{batch_name(part.task, part.members)} {task_label(recording.tasks[part.task])}"
    return name if part.kind is Kind.EXECUTE else f"{part.kind} {name}"


def _named_npu(recording: RecordedEpisode, npu: int) -> dict[str, int]:
    """Return the argument that tells NPUs apart, where there are several."""
    return {"npu": npu} if len(recording.timeline.npus) > 1 else {}


def _batch(recording: RecordedEpisode, part: Slice) -> dict[str, Any]:
    """Return the arguments that tell of a batch: who runs with a leader, and how many samples they are; whom a member runs with."""
    if part.kind is Kind.JOINED:
        return {"leader": part.leader}
    if not part.members:
        return {}
    samples = sum(recording.tasks[task]["batch"] for task in (part.task, *part.members))
    return {"members": list(part.members), "samples": samples}


def _slices(recording: RecordedEpisode, pid: int, tid: int, track: Sequence[Slice]) -> Iterator[TraceEvent]:
    for part in track:
        if part.kind is Kind.IDLE:
            continue
        begin, end = _nanoseconds(recording, part.start_cycles), _nanoseconds(recording, part.end_cycles)
        args: dict[str, Any] = {
            "start_cycles": part.start_cycles,
            "end_cycles": part.end_cycles,
            "cycles": part.cycles,
            "task": part.task,
        }
        args |= _named_npu(recording, part.npu) | _batch(recording, part)
        if part.kind in (Kind.SAVE, Kind.RESTORE):
            args["bytes"] = part.nbytes
        yield {
            "ph": "X",
            "pid": pid,
            "tid": tid,
            "ts": _microseconds(begin),
            "dur": _microseconds(max(end - begin - 1, 0)),
            "name": _slice_name(recording, part, tid),
            "cat": str(part.kind),
            "args": args,
        }


def _instant_name(recording: RecordedEpisode, event: str) -> str:
    """Return what an event is called: in a stream's log a request arrives when it enters the table."""
    return "enters the table" if event == "arrival" and recording.config.stream else event


def _instants(recording: RecordedEpisode, pid: int) -> Iterator[TraceEvent]:
    for event in recording.events:
        if event["event"] in INSTANTS:
            yield {
                "ph": "i",
                "s": "t",
                "pid": pid,
                "tid": _task_track(recording, event["task"]) if event["task"] != NONE else event["npu"],
                "ts": _timestamp(recording, event["cycle"]),
                "name": _instant_name(recording, event["event"]),
                "cat": "event",
                "args": {"cycle": event["cycle"], "slot": event["slot"], **_named_npu(recording, event["npu"])},
            }


def _counter(recording: RecordedEpisode, pid: int, cycle: int, name: str, values: dict[str, int]) -> TraceEvent:
    return {"ph": "C", "pid": pid, "ts": _timestamp(recording, cycle), "name": name, "args": values}


def _queue(recording: RecordedEpisode, pid: int) -> Iterator[TraceEvent]:
    waiting = 0
    yield _counter(recording, pid, 0, "waiting tasks", {"tasks": 0})
    for cycle, change in table_changes(recording.events):
        waiting += change
        yield _counter(recording, pid, cycle, "waiting tasks", {"tasks": waiting})


def _stream(recording: RecordedEpisode, pid: int) -> Iterator[TraceEvent]:
    """Yield what only a stream has: the length of its backlog, the true arrivals, and the deadlines that are missed."""
    if not recording.config.stream:
        return
    for cycle, length in backlog_steps(recording):
        yield _counter(recording, pid, cycle, "backlog", {"requests": length})
    for task, entry in enumerate(recording.tasks):
        moments = {"arrival": entry["arrival_cycles"]}
        if recording.misses(task):
            moments["deadline missed"] = entry["deadline_cycles"]
        for name, cycle in moments.items():
            where = {"ph": "i", "s": "t", "pid": pid, "tid": _task_track(recording, task), "ts": _timestamp(recording, cycle)}
            yield {**where, "name": name, "cat": "request", "args": {"cycle": cycle}}


def _traffic(recording: RecordedEpisode, pid: int) -> Iterator[TraceEvent]:
    """Count the DRAM bytes of contexts: each transfer is added at its end."""
    moved = {"saved": 0, "restored": 0}
    yield _counter(recording, pid, 0, "context DRAM bytes", dict(moved))
    transfers = [part for lane in recording.timeline.npus for part in lane if part.kind in (Kind.SAVE, Kind.RESTORE)]
    for part in sorted(transfers, key=lambda part: part.end_cycles):
        moved["saved" if part.kind is Kind.SAVE else "restored"] += part.nbytes
        yield _counter(recording, pid, part.end_cycles, "context DRAM bytes", dict(moved))


def trace_events(recording: RecordedEpisode, pid: int = 1) -> list[TraceEvent]:
    """Return a recording as trace events of process ``pid``, sorted by time after the names."""
    tracks = (*recording.timeline.npus, *recording.timeline.tasks)
    timed = [event for tid, track in enumerate(tracks) for event in _slices(recording, pid, tid, track)]
    timed += [*_instants(recording, pid), *_queue(recording, pid), *_stream(recording, pid), *_traffic(recording, pid)]
    return [*_names(recording, pid), *sorted(timed, key=lambda event: event["ts"])]


def save_trace(
    path: str | Path, sources: RecordedEpisode | gym.Env[Any, Any] | Sequence[RecordedEpisode | gym.Env[Any, Any]]
) -> None:
    """Write recordings (or environments, as far as they have played) to ``path``: JSON, compressed if it ends in ``.gz``.

    Several recordings become several processes of one trace: the same episode under several policies, side by side.
    """
    given = list(sources) if isinstance(sources, Sequence) else [sources]
    recordings = [RecordedEpisode.of(source) for source in given]
    if not recordings:
        raise ConfigError("save_trace: must be given at least one recording.")
    events = [event for pid, recording in enumerate(recordings, 1) for event in trace_events(recording, pid)]
    other = {f"process {pid}": recording.config.to_dict() for pid, recording in enumerate(recordings, 1)}
    text = json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
