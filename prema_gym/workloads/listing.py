"""Traces as streams: a JSONL file of any length, read once, line by line, and played in constant memory.

Reading checks every line and writes a short record of it to a temporary file (40 bytes; TMPDIR says where). Compiled code reads the
records from there, mapped into memory, whose pages the operating system takes back when it needs them.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, TraceError
from prema_gym.types import NONE
from prema_gym.workloads.drawing import KIND, LISTED
from prema_gym.workloads.jsonl import TracePath, numbered_trace
from prema_gym.workloads.programs import ProgramTable, known_models
from prema_gym.workloads.trace import TraceTask

LEAST_REQUESTS = 2
"""A stream ends when its last request arrives; before that there is something to decide."""
_CHUNK = 4096
"""Records that are written at once."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a file of requests holds."""

    path: str
    requests: np.ndarray
    """(n,) LISTED, read-only, mapped from a temporary file that goes away with it."""
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
    except OSError as error:
        raise TraceError(f"{path}: can't be read: {error.strerror}.") from None
    return _listing(os.fspath(path), found.st_mtime_ns, found.st_size, clock_hz)


@functools.lru_cache(maxsize=4)
def _listing(path: str, modified_ns: int, size_bytes: int, clock_hz: int) -> Listing:
    kinds: dict[tuple[object, ...], tuple[int, int, TraceTask]] = {}
    levels: set[int] = set()
    with tempfile.TemporaryFile() as file:
        count = _write(file, _records(path, clock_hz, kinds, levels))
        if count < LEAST_REQUESTS:
            raise TraceError(f"{path}: holds {count} requests; a stream has at least {LEAST_REQUESTS}.")
        requests = np.memmap(file, LISTED, mode="r", shape=(count,))
    return Listing(path, requests, tuple((line, task) for _, line, task in kinds.values()), tuple(sorted(levels)))


def _records(
    path: str, clock_hz: int, kinds: dict[tuple[object, ...], tuple[int, int, TraceTask]], levels: set[int]
) -> Iterator[tuple[object, ...]]:
    """Yield LISTED of every line; note new kinds of requests, with number, line and task, and priorities."""
    for line, task in numbered_trace(path, known_models(), clock_hz):
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


def listed_of(config: EnvConfig, programs: ProgramTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n,) LISTED that a stream of ``config`` plays and their (K,) KIND; both empty where requests are drawn.

    Compiles programs that ``programs`` hasn't got yet.
    """
    path = trace_path(config)
    if path is None:
        return np.zeros(0, LISTED), np.zeros(0, KIND)
    listing = listing_of(path, config.npu.clock_hz)
    kinds = np.zeros(len(listing.kinds), KIND)
    for record, (line, task) in zip(kinds, listing.kinds, strict=True):
        try:
            row, record["output_length"] = programs.choose(line, task)
        except TraceError as error:
            raise TraceError(f"{path}:{line}{str(error).removeprefix(f'trace[{line}]')}") from None
        record["program"], record["stride"] = row, programs.row_on(row, 1) - row
    return listing.requests, kinds
