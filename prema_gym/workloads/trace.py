"""Traces: drawing an episode in compiled code, and checking one that a user injects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.config import PRIORITIES
from prema_gym.errors import TraceError, unknown_name
from prema_gym.types import NONE
from prema_gym.workloads.seeding import normal, uniform

DRAWS_PER_TASK = 16
"""Counters set apart for a task, so that a new kind of draw doesn't shift the others."""
_MODEL, _BATCH, _PRIORITY, _INPUT, _OUTPUT, _ERROR, _ARRIVAL = 0, 1, 2, 3, 5, 7, 9
TASK_KEYS = ("arrival_cycles", "model", "batch", "priority", "input_length", "output_length")


@jit_borrowing
def _pick(seed, counter, count):
    return min(int(uniform(seed, counter) * count), count - 1)


@jit_borrowing
def draw_length(mix, seed, counter):
    """Return an input length: log-normal, rounded, clipped; 0 where the network has none."""
    if mix.max_length == 0:
        return 0
    length = np.rint(np.exp(mix.log_median + mix.sigma * normal(seed, counter)))
    return int(min(max(length, mix.min_length), mix.max_length))


@jit_borrowing
def draw_output(mix, length, seed, counter):
    """Return an output length: clip(round(ratio * input * exp(sigma * z)), 1, max)."""
    if mix.max_output == 1:
        return 1
    output = np.rint(mix.ratio * length * np.exp(mix.output_sigma * normal(seed, counter)))
    return int(min(max(output, 1.0), mix.max_output))


@jit_borrowing
def draw_task(task, mixes, priorities, programs, totals, error, seed, base):
    """Fill ``task`` (TASK) but for its arrival, from the counters ``base``, ``base + 1``, ... of ``seed``."""
    model = _pick(seed, base + _MODEL, mixes.shape[0])
    mix = mixes[model, _pick(seed, base + _BATCH, mixes.shape[1])]
    length = draw_length(mix, seed, base + _INPUT)
    output = draw_output(mix, length, seed, base + _OUTPUT)
    program = mix.first_program + length - mix.min_length
    record = programs[program]
    task.priority = priorities[_pick(seed, base + _PRIORITY, priorities.shape[0])]
    task.program = program
    task.output_length = output
    task.isolated_cycles = totals[record.first_total + min(output, record.totals) - 1]
    task.predicted_cycles = record.predicted_cycles
    task.deadline_cycles = NONE
    task.length_estimated = record.length_estimated
    if error > 0.0:
        task.predicted_cycles = _mispredicted(record.predicted_cycles, error, seed, base)


@jit_borrowing
def _mispredicted(predicted, error, seed, base):
    """Return a prediction with the task's error: one factor, whatever the configuration."""
    factor = np.exp(error * normal(seed, base + _ERROR))
    return max(np.int64(np.rint(predicted * factor)), 1)


@jit_borrowing
def take_fastest(task, times):
    """Let ``task`` (TASK) have the shortest isolated and predicted times of ``times`` (C,) TIMES; nothing changes at C = 0."""
    for c in range(times.shape[0]):
        shorter = c == 0 or times[c].isolated_cycles < task.isolated_cycles
        task.isolated_cycles = times[c].isolated_cycles if shorter else task.isolated_cycles
        quicker = c == 0 or times[c].predicted_cycles < task.predicted_cycles
        task.predicted_cycles = times[c].predicted_cycles if quicker else task.predicted_cycles


@jit_borrowing
def _draw_times(task, times, draw, programs, totals, seed, base):
    """Fill ``times`` (C,) TIMES with the drawn ``task`` on every configuration."""
    for c in range(times.shape[0]):
        program = task.program + c * draw.program_stride
        record = programs[program]
        times[c].program = program
        times[c].isolated_cycles = totals[record.first_total + min(task.output_length, record.totals) - 1]
        times[c].predicted_cycles = record.predicted_cycles
        if draw.predictor_error > 0.0:
            times[c].predicted_cycles = _mispredicted(record.predicted_cycles, draw.predictor_error, seed, base)


@jit_borrowing
def draw_trace(tasks, times, draw, mixes, priorities, programs, totals, seed):
    """Fill ``tasks`` (n,) TASK and ``times`` (n, C) TIMES with the episode of ``seed`` (uint64) in order of arrival.

    Tasks are independent and alike, so sorting the arrival times alone is a fair draw. The first arrives at 0. C is 0 for one NPU.
    """
    count = draw.num_tasks
    isolated = 0
    for i in range(count):
        base = i * DRAWS_PER_TASK
        draw_task(tasks[i], mixes, priorities, programs, totals, draw.predictor_error, seed, base)
        _draw_times(tasks[i], times[i], draw, programs, totals, seed, base)
        take_fastest(tasks[i], times[i])
        isolated += tasks[i].isolated_cycles
    for i in range(count):
        arrival = np.int64(uniform(seed, i * DRAWS_PER_TASK + _ARRIVAL) * draw.window * isolated)
        k = i
        while k > 0 and tasks[k - 1].arrival_cycles > arrival:
            tasks[k].arrival_cycles = tasks[k - 1].arrival_cycles
            k -= 1
        tasks[k].arrival_cycles = arrival
    first = tasks[0].arrival_cycles
    for i in range(count):
        tasks[i].arrival_cycles -= first


# --- Injected traces --------------------------------------------------------------------------------------------------------


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
