"""Traces as files: JSON Lines, one request a line in order of arrival, read one at a time and checked with line numbers."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from prema_gym.errors import TraceError, shown
from prema_gym.files import write_text
from prema_gym.types import NONE
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.trace import TraceTask, parse_task

TracePath: TypeAlias = str | os.PathLike[str]

LONGEST_LINE_BYTES = 1 << 16
"""A line beyond this is refused before it is read whole."""
MOST_TASKS = 4096
"""Requests that an episode of a table without a backlog can have."""


def read_trace(path: TracePath, known: Collection[str], clock_hz: int) -> Iterator[TraceTask]:
    """Yield the checked requests of a file one by one, in constant memory; blank lines are passed over.

    Arguments and errors are those of :func:`numbered_trace`.
    """
    for _, task in numbered_trace(path, known, clock_hz):
        yield task


def numbered_trace(path: TracePath, known: Collection[str], clock_hz: int) -> Iterator[tuple[int, TraceTask]]:
    """Yield (line, request) likewise, lines counted from 1.

    ``known`` are the models' names, ``clock_hz`` turns milliseconds into cycles. Raises :class:`TraceError` with file and line.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115  # the with is below, where reading may fail for other reasons
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        raise unreadable(path, error) from None
    with file:
        latest = 0
        for number, entry in _entries(path, file):
            where = f"{path}:{number}"
            task = parse_task(where, entry, known, clock_hz)
            if task.arrival_cycles < latest:
                raise TraceError(f"{where}: arrives before the line above it; lines must be in order of arrival.")
            latest = task.arrival_cycles
            yield number, task


def unreadable(path: TracePath, error: OSError | ValueError) -> TraceError:
    """Return what is said of a file that can't be opened."""
    reason = error.strerror if isinstance(error, OSError) else error
    return TraceError(f"{shown(str(path))}: can't be read: {reason}.")


def _entries(path: TracePath, file: BinaryIO) -> Iterator[tuple[int, object]]:
    """Yield (line number, value) of every line that isn't blank."""
    number = 0
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        where = f"{path}:{number}"
        if len(line) > LONGEST_LINE_BYTES:
            raise TraceError(f"{where}: the line is longer than {LONGEST_LINE_BYTES} bytes; a request takes one short line.")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TraceError(f"{where}: byte {error.start + 1} isn't UTF-8; save the file in that encoding.") from None
        if text.strip():
            yield number, _parsed(where, text)


def _parsed(where: str, text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise TraceError(f"{where}: no valid JSON at column {error.colno} ({error.msg}); is the line cut off?") from None
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{where}: {error}.") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError("a key stands twice in the line")
    return entry


def holds_more_than(most: int, path: TracePath) -> bool:
    """Whether the file has more than ``most`` lines; one that can't be read hasn't, and is left to who reads it."""
    try:
        with Path(path).open("rb") as file:
            return sum(1 for _ in itertools.islice(iter(lambda: file.readline(LONGEST_LINE_BYTES), b""), most + 1)) > most
    except (OSError, ValueError):  # a name that no file can have is a ValueError
        return False


def load_trace(path: TracePath, known: Collection[str], clock_hz: int, most: int = MOST_TASKS) -> list[TraceTask]:
    """Return the requests of a file that a closed episode can hold; raises :class:`TraceError` for none or more than ``most``."""
    tasks: list[TraceTask] = []
    for task in read_trace(path, known, clock_hz):
        if len(tasks) == most:
            raise TraceError(f"{path}: holds more than {most} requests, which is the most that one episode's table can take.")
        tasks.append(task)
    if not tasks:
        raise TraceError(f"{path}: holds no request.")
    return tasks


# --- Export -------------------------------------------------------------------------------------------------------------------


def trace_of(tasks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks of an episode, as ``env.unwrapped.tasks()`` gives them, as the trace that plays them again to the cycle.

    It holds true output lengths and, where predictions are off, the factor by which.
    """
    return [_entry_of(task) for task in tasks]


def _entry_of(task: Mapping[str, Any]) -> dict[str, Any]:
    entry = {key: task[key] for key in ("arrival_cycles", "model", "batch", "priority")}
    spec = MODELS[task["model"]].lengths if task["model"] in MODELS else None
    if spec is not None:
        entry["input_length"] = task["input_length"]
    if spec is not None and spec.has_output:
        entry["output_length"] = task["output_length"]
    if task["deadline_cycles"] != NONE:
        entry["deadline_cycles"] = task["deadline_cycles"]
    if task["prediction_factor"] != 1.0:
        entry["prediction_factor"] = task["prediction_factor"]
    return entry


def write_trace(path: TracePath, tasks: Iterable[Mapping[str, Any]]) -> None:
    """Write the tasks of an episode, as ``env.unwrapped.tasks()`` gives them, as a JSONL file that plays them again."""
    write_text(path, "".join(json.dumps(entry) + "\n" for entry in trace_of(tasks)))
