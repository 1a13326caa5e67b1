"""Drawing requests in compiled code: every one from counters of its own, so that none depends on how many there are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.types import NONE
from prema_gym.workloads.arrivals import next_arrival
from prema_gym.workloads.seeding import normal, uniform

DRAWS_PER_TASK = 16
"""Counters set apart for a task, so that a new kind of draw doesn't shift the others."""
_CLASS, _BATCH, _PRIORITY, _INPUT, _OUTPUT, _ERROR, _ARRIVAL = 0, 1, 2, 3, 5, 7, 9


LISTED = np.dtype(
    [
        ("arrival_cycles", np.int64),
        ("deadline_cycles", np.int64),  # on the clock of the arrivals; NONE where there is none, or ``sla`` says it
        ("sla", np.float64),  # multiple of the prediction, from the arrival on; 0 where there is none
        ("prediction_factor", np.float64),
        ("kind", np.int32),
        ("priority", np.int32),
    ],
    align=True,
)
"""A request of a trace that is played as a stream."""

KIND = np.dtype(
    [
        ("program", np.int32),  # on the first configuration
        ("stride", np.int32),  # rows from there to the program on the next configuration
        ("output_length", np.int32),
    ],
    align=True,
)
"""What requests of a trace ask for."""


class Draws(NamedTuple):
    """What requests are drawn from (workloads/mixes.py makes it)."""

    draw: np.ndarray
    """(1,) DRAW."""
    classes: np.ndarray
    """(K,) CLASS."""
    mixes: np.ndarray
    """(...,) MIX, those of a class behind each other."""
    levels: np.ndarray
    """(...,) LEVEL, likewise."""
    totals: np.ndarray
    """(...,) int64 true total cycles, by program and output length."""
    listed: np.ndarray
    """(n,) LISTED: the requests of lists and files that rows play in place of drawn ones, list by list (workloads/listing.py)."""
    kinds: np.ndarray
    """(...,) KIND of the listed, list by list."""


@jit_borrowing
def _pick(seed, counter, count):
    return min(int(uniform(seed, counter) * count), count - 1)


@jit_borrowing
def _pick_weighted(records, first, count, seed, counter):
    """Return which of ``count`` records from ``first`` on is drawn, by their cumulative weights."""
    last = first + count - 1
    reached = uniform(seed, counter) * records[last].cumulative_weight
    k = first
    while k < last and reached >= records[k].cumulative_weight:
        k += 1
    return k


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
def mispredicted(predicted, factor):
    """Return a prediction with the task's error: one factor, whatever the configuration."""
    return predicted if factor == 1.0 else max(np.int64(np.rint(predicted * factor)), 1)


@jit_borrowing
def take_fastest(task, times):
    """Let ``task`` (TASK) have the shortest isolated and predicted times of ``times`` (C,) TIMES; nothing changes at C = 0."""
    for c in range(times.shape[0]):
        shorter = c == 0 or times[c].isolated_cycles < task.isolated_cycles
        task.isolated_cycles = times[c].isolated_cycles if shorter else task.isolated_cycles
        quicker = c == 0 or times[c].predicted_cycles < task.predicted_cycles
        task.predicted_cycles = times[c].predicted_cycles if quicker else task.predicted_cycles


@jit_borrowing
def _fill_times(task, times, stride, programs, totals):
    """Fill ``times`` (C,) TIMES with ``task`` on every configuration, whose programs lie ``stride`` rows apart."""
    for c in range(times.shape[0]):
        program = task.program + c * stride
        record = programs[program]
        times[c].program = program
        times[c].isolated_cycles = totals[record.first_total + min(task.output_length, record.totals) - 1]
        times[c].predicted_cycles = mispredicted(record.predicted_cycles, task.prediction_factor)


@jit_borrowing
def _allowance(request_class, predicted):
    """Return the cycles from arrival to deadline; NONE where the class has no deadline."""
    if request_class.sla_cycles != NONE:
        return request_class.sla_cycles
    if request_class.sla > 0.0:
        return max(np.int64(np.rint(request_class.sla * predicted)), 1)
    return np.int64(NONE)


@jit_borrowing
def draw_request(task, times, draws, programs, seed, index):
    """Fill ``task`` (TASK) and ``times`` (C,) TIMES with request ``index`` of the episode of ``seed`` (uint64), arriving at 0.

    ``draws`` is :class:`Draws`, ``programs`` (P,) PROGRAM. C is 0 for one NPU. :func:`arrive_at` moves the arrival.
    """
    base = index * DRAWS_PER_TASK
    draw = draws.draw[0]
    number = _pick_weighted(draws.classes, 0, draws.classes.shape[0], seed, base + _CLASS)
    drawn = draws.classes[number]
    mix = draws.mixes[drawn.first_mix + _pick(seed, base + _BATCH, drawn.mixes)]
    length = draw_length(mix, seed, base + _INPUT)
    output = draw_output(mix, length, seed, base + _OUTPUT)
    program = mix.first_program + length - mix.first_length
    record = programs[program]
    task.arrival_cycles = 0
    task.completion_cycles = NONE
    task.priority = draws.levels[_pick_weighted(draws.levels, drawn.first_level, drawn.levels, seed, base + _PRIORITY)].priority
    task.request_class = number
    task.program = program
    task.output_length = output
    task.isolated_cycles = draws.totals[record.first_total + min(output, record.totals) - 1]
    task.prediction_factor = 1.0
    if draw.predictor_error > 0.0:
        task.prediction_factor = np.exp(draw.predictor_error * normal(seed, base + _ERROR))
    task.predicted_cycles = mispredicted(record.predicted_cycles, task.prediction_factor)
    task.length_estimated = record.length_estimated
    _fill_times(task, times, draw.program_stride, programs, draws.totals)
    take_fastest(task, times)
    task.deadline_cycles = _allowance(drawn, task.predicted_cycles)


@jit_borrowing
def read_listed(task, times, draws, programs, index, first_kind):
    """Fill ``task`` (TASK) and ``times`` (C,) TIMES with the listed request ``index``, arriving when it does.

    ``first_kind`` is where the kinds of its list begin.
    """
    listed = draws.listed[index]
    kind = draws.kinds[first_kind + listed.kind]
    record = programs[kind.program]
    task.arrival_cycles = listed.arrival_cycles
    task.completion_cycles = NONE
    task.priority = listed.priority
    task.request_class = NONE
    task.program = kind.program
    task.output_length = kind.output_length
    task.isolated_cycles = draws.totals[record.first_total + min(kind.output_length, record.totals) - 1]
    task.prediction_factor = listed.prediction_factor
    task.predicted_cycles = mispredicted(record.predicted_cycles, listed.prediction_factor)
    task.length_estimated = record.length_estimated
    _fill_times(task, times, kind.stride, programs, draws.totals)
    take_fastest(task, times)
    task.deadline_cycles = listed.deadline_cycles
    if listed.sla > 0.0:
        task.deadline_cycles = listed.arrival_cycles + max(np.int64(np.rint(listed.sla * task.predicted_cycles)), 1)


@jit_borrowing
def arrive_at(task, cycle):
    """Move the arrival of ``task`` (TASK) to ``cycle``, and its deadline with it."""
    if task.deadline_cycles != NONE:
        task.deadline_cycles += cycle - task.arrival_cycles
    task.arrival_cycles = cycle


@jit_borrowing
def _window_arrivals(tasks, draw, seed):
    """Fill the arrivals of ``tasks``: uniform over the window, in order, the first moved to 0.

    Tasks are independent and alike, so sorting the arrival times alone is a fair draw.
    """
    count = draw.num_tasks
    isolated = 0
    for i in range(count):
        isolated += tasks[i].isolated_cycles
    for i in range(count):
        arrival = np.int64(uniform(seed, i * DRAWS_PER_TASK + _ARRIVAL) * draw.window * isolated)
        k = i
        while k > 0 and tasks[k - 1].arrival_cycles > arrival:
            arrive_at(tasks[k], tasks[k - 1].arrival_cycles)
            k -= 1
        arrive_at(tasks[k], arrival)
    first = tasks[0].arrival_cycles
    for i in range(count):
        arrive_at(tasks[i], tasks[i].arrival_cycles - first)


@jit_borrowing
def draw_trace(tasks, times, cursor, draws, programs, seed):
    """Fill ``tasks`` (n,) TASK and ``times`` (n, C) TIMES with the closed episode of ``seed`` (uint64) in order of arrival.

    ``cursor`` is ARRIVALS, used where arrivals have a rate.
    """
    draw = draws.draw[0]
    for i in range(draw.num_tasks):
        draw_request(tasks[i], times[i], draws, programs, seed, i)
    if not np.isnan(draw.window):
        _window_arrivals(tasks, draw, seed)
        return
    for i in range(draw.num_tasks):
        next_arrival(cursor, draw, seed, i)
        arrive_at(tasks[i], cursor.cycles)
