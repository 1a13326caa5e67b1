"""Traces as streams: a JSONL file of any length, read once, line by line, and played in constant memory; or a list of tasks.

Reading checks every line and writes a short record of it to a temporary file (40 bytes; TMPDIR says where). Compiled code reads the
records from there, mapped into memory, whose pages the operating system takes back when it needs them. Where the rows of an
environment play several lists, the records of all lie behind each other in memory.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, TraceError
from prema_gym.types import NONE
from prema_gym.workloads.drawing import KIND, LISTED
from prema_gym.workloads.jsonl import TracePath, numbered_trace, unreadable
from prema_gym.workloads.programs import ProgramTable, known_models
from prema_gym.workloads.trace import TraceTask

LEAST_REQUESTS = 2
"""A stream ends when its last request arrives; before that there is something to decide."""
MOST_JOINED = 1 << 22
"""Requests of all lists that an environment plays in turn; a single list may be of any length."""
_CHUNK = 4096
"""Records that are written at once."""
_Kinds = dict[tuple[object, ...], tuple[int, int, TraceTask]]
"""Number, line and a task of every kind of request."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a file or a list of requests holds."""

    path: str
    """Of the file; empty where it is a list of tasks."""
    requests: np.ndarray
    """(n,) LISTED, read-only; of a file mapped from a temporary one that goes away with it."""
    kinds: tuple[tuple[int, TraceTask], ...]
    """A task of every model, batch and lengths that are asked for, with the line where they first are."""
    levels: tuple[int, ...]
    """Priorities, rising."""


def with_listing(config: EnvConfig) -> EnvConfig:
    """Return ``config`` with what the file of its arrivals says: priorities, and without ``horizon_requests`` all of its requests.

    Any other configuration is returned as it is. Raises :class:`TraceError` for the first wrong line.
    """
    path = trace_path(config)
    if path is None:
        return config
    listing = listing_of(path, config.npu.clock_hz)
    count = len(listing.requests)
    horizon = config.horizon_requests or count
    if horizon > count:
        raise ConfigError(f"EnvConfig.horizon_requests = {horizon}: {path} holds {count} requests; leave it out to play them all.")
    workload = dataclasses.replace(config.workload, priorities=listing.levels)
    return dataclasses.replace(config, horizon_requests=horizon, workload=workload)


def trace_path(config: EnvConfig) -> str | None:
    """Return the file that a stream of ``config`` plays; None where requests are drawn."""
    arrivals = config.workload.arrivals
    return None if arrivals is None else arrivals.path


def listing_of(path: TracePath, clock_hz: int) -> Listing:
    """Return what the file holds, read once a process as long as it isn't changed; raises :class:`TraceError`."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        raise unreadable(path, error) from None
    return _listing(os.fspath(path), found.st_mtime_ns, found.st_size, clock_hz)


@functools.lru_cache(maxsize=4)
def _listing(path: str, modified_ns: int, size_bytes: int, clock_hz: int) -> Listing:
    kinds: _Kinds = {}
    levels: set[int] = set()
    with tempfile.TemporaryFile() as file:
        tasks = numbered_trace(path, known_models(), clock_hz)
        count = _write(file, _records(tasks, kinds, levels))
        if count < LEAST_REQUESTS:
            raise TraceError(f"{path}: holds {count} requests; a stream has at least {LEAST_REQUESTS}.")
        requests = np.memmap(file, LISTED, mode="r", shape=(count,))
    return Listing(path, requests, tuple((line, task) for _, line, task in kinds.values()), tuple(sorted(levels)))


def listing_of_tasks(tasks: Sequence[TraceTask]) -> Listing:
    """Return what a checked list of tasks, in order of arrival, holds; raises :class:`TraceError` where it is no stream."""
    if len(tasks) < LEAST_REQUESTS:
        raise TraceError(f"trace holds {len(tasks)} requests; a stream has at least {LEAST_REQUESTS}.")
    kinds: _Kinds = {}
    levels: set[int] = set()
    requests = np.fromiter(_records(enumerate(tasks), kinds, levels), LISTED, len(tasks))
    return Listing("", requests, tuple((line, task) for _, line, task in kinds.values()), tuple(sorted(levels)))


def _records(tasks: Iterable[tuple[int, TraceTask]], kinds: _Kinds, levels: set[int]) -> Iterator[tuple[object, ...]]:
    """Yield LISTED of every (line, task); note new kinds of requests, with number, line and task, and priorities."""
    for line, task in tasks:
        wanted = (task.model, task.batch, task.input_length, task.output_length)
        if wanted not in kinds:
            kinds[wanted] = (len(kinds), line, task)
        levels.add(task.priority)
        deadline = NONE if task.deadline_cycles is None else task.deadline_cycles
        yield task.arrival_cycles, deadline, task.sla or 0.0, task.prediction_factor, kinds[wanted][0], task.priority


def _write(file: IO[bytes], records: Iterator[tuple[object, ...]]) -> int:
    """Write ``records`` chunk by chunk; return how many there were."""
    chunk, count = np.zeros(_CHUNK, LISTED), 0
    for count, record in enumerate(records, 1):
        chunk[(count - 1) % _CHUNK] = record
        if count % _CHUNK == 0:
            file.write(chunk.tobytes())
    file.write(chunk[: count % _CHUNK].tobytes())
    file.flush()
    return count


# --- Played by the rows of a simulator ------------------------------------------------------------------------------------------


class Joined(NamedTuple):
    """The requests of several lists behind each other."""

    listed: np.ndarray
    """(n,) LISTED."""
    kinds: np.ndarray
    """(K,) KIND."""
    places: dict[int, tuple[int, int]]
    """By the id of a :class:`Listing`: where its requests and its kinds begin."""


def joined(listings: Sequence[Listing], programs: ProgramTable) -> Joined:
    """Return the distinct ``listings`` behind each other; a single one isn't copied.

    Compiles programs that ``programs`` hasn't got yet.
    """
    distinct = list({id(listing): listing for listing in listings}.values())
    if not distinct:
        return Joined(np.zeros(0, LISTED), np.zeros(0, KIND), {})
    lengths, kinds = [len(listing.requests) for listing in distinct], [_kinds_of(listing, programs) for listing in distinct]
    if len(distinct) > 1 and sum(lengths) > MOST_JOINED:
        raise TraceError(
            f"the traces hold {sum(lengths)} requests together: must be at most {MOST_JOINED} where there are several; "
            "one file alone may have any number."
        )
    firsts = [0, *itertools.accumulate(lengths)]
    first_kinds = [0, *itertools.accumulate(map(len, kinds))]
    listed = distinct[0].requests if len(distinct) == 1 else np.concatenate([listing.requests for listing in distinct])
    places = {id(listing): place for listing, place in zip(distinct, zip(firsts, first_kinds, strict=True), strict=False)}
    return Joined(listed, np.concatenate(kinds), places)


def _kinds_of(listing: Listing, programs: ProgramTable) -> np.ndarray:
    """Return KIND of every kind of request in ``listing``."""
    kinds = np.zeros(len(listing.kinds), KIND)
    for record, (line, task) in zip(kinds, listing.kinds, strict=True):
        try:
            row, record["output_length"] = programs.choose(line, task)
        except TraceError as error:
            if not listing.path:
                raise
            raise TraceError(f"{listing.path}:{line}{str(error).removeprefix(f'trace[{line}]')}") from None
        record["program"], record["stride"] = row, programs.row_on(row, 1) - row
    return kinds
