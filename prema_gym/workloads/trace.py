"""Traces that a user injects: what an entry may say, and checking it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prema_gym.config import PRIORITIES
from prema_gym.errors import TraceError, unknown_name

TASK_KEYS = ("arrival_cycles", "model", "batch", "priority", "input_length", "output_length")


@dataclass(frozen=True)
class TraceTask:
    """One checked entry of an injected trace; lengths are None where the network has none or leaves them to a default."""

    arrival_cycles: int
    model: str
    batch: int
    priority: int
    input_length: int | None = None
    output_length: int | None = None


def _whole(index: int, task: Mapping[str, Any], key: str, least: int, default: int | None) -> int:
    value = task.get(key, default)
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least or value > 1 << 60:
        raise TraceError(f"trace[{index}][{key!r}] = {value!r}: must be a whole number of at least {least}.")
    return value


def _length(index: int, task: Mapping[str, Any], key: str) -> int | None:
    return None if task.get(key) is None else _whole(index, task, key, 1, None)


def parse_task(index: int, task: object, known: Collection[str]) -> TraceTask:
    """Check entry ``index`` of a trace; raises :class:`TraceError` naming the entry, the key, the value and the rule."""
    if not isinstance(task, Mapping):
        raise TraceError(f"trace[{index}] = {task!r}: must be a mapping with the keys {', '.join(TASK_KEYS)}.")
    for key in task:
        if key not in TASK_KEYS:
            raise TraceError(f"trace[{index}]: {unknown_name('key', key, TASK_KEYS)}")
    model = task.get("model")
    if model not in known:
        raise TraceError(f"trace[{index}]: {unknown_name('model', model, known)}")
    priority = _whole(index, task, "priority", 1, 1)
    if priority not in PRIORITIES:
        raise TraceError(f"trace[{index}]['priority'] = {priority!r}: must be one of {PRIORITIES}.")
    return TraceTask(
        arrival_cycles=_whole(index, task, "arrival_cycles", 0, None),
        model=str(model),
        batch=_whole(index, task, "batch", 1, 1),
        priority=priority,
        input_length=_length(index, task, "input_length"),
        output_length=_length(index, task, "output_length"),
    )


def parse_trace(trace: object, known: Collection[str]) -> list[TraceTask]:
    """Check a whole trace and return its tasks in order of arrival (equal arrivals keep their order)."""
    if isinstance(trace, (str, bytes, Mapping)) or not isinstance(trace, Sequence) or len(trace) == 0:
        raise TraceError(f"trace = {trace!r}: must be a non-empty list of tasks.")
    tasks = [parse_task(index, task, known) for index, task in enumerate(trace)]
    return sorted(tasks, key=lambda task: task.arrival_cycles)
