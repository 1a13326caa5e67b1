"""Run-length form: preemption points to runs, blocks and segments (record types in :mod:`prema_gym.types`)."""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit
from prema_gym.types import NEVER

SPAN = np.dtype(
    [
        ("begin", np.int64),  # operations [begin, end): a layer, or one period of a loop
        ("end", np.int64),
        ("repeats", np.int64),  # passes; NEVER for the open end
        ("growth_save_bytes", np.int64),  # from pass to pass
        ("growth_restore_bytes", np.int64),
        ("loop", np.int64),  # -1 for a layer: passes of one loop that look alike are joined, layers are not
    ]
)
"""A stretch of operations to become a segment."""

LARGEST = np.iinfo(np.int32).max


@jit
def encode(timed, spans, runs, blocks, segments):
    """Fill ``runs``, ``blocks`` and ``segments``; returns how many runs, and how many blocks, which segments are as many.

    Runs are -1 where a value does not fit 32 bits.
    """
    num_runs, num_segments = 0, 0
    points, skipped, commit = 0, 0, 0
    for s in range(len(spans)):
        span = spans[s]
        save, restore, count = _base(timed, span)
        if count == 0:
            continue
        first = num_runs
        begin = commit
        for t in range(span.begin, span.end):
            if timed[t].point:
                if not _fits(timed[t], commit, save, restore):
                    return -1, 0
                num_runs = _append(runs, first, num_runs, timed[t], begin, commit, save, restore)
                commit = timed[t].commit
        joins = num_segments > 0 and _continues(spans, s, segments[num_segments - 1], save, restore)
        if joins and _same_runs(runs, blocks[num_segments - 1], first, num_runs):
            num_runs = first
            segments[num_segments - 1].repeats += span.repeats
            points += count * span.repeats
            skipped += (span.repeats - 1) * (commit - begin)
            continue
        segment, block = segments[num_segments], blocks[num_segments]
        segment.start_cycles = begin + skipped
        segment.start_point = points
        segment.repeats = span.repeats
        segment.save_bytes = save
        segment.restore_bytes = restore
        segment.save_step_bytes = span.growth_save_bytes
        segment.restore_step_bytes = span.growth_restore_bytes
        segment.block = num_segments
        block.cycles = commit - begin
        block.points = count
        block.first_run = first
        block.runs = num_runs - first
        num_segments += 1
        if span.repeats != NEVER:
            points += count * span.repeats
            skipped += (span.repeats - 1) * (commit - begin)
    return num_runs, num_segments


@jit
def _base(timed, span):
    """Return (least save_bytes, least restore_bytes, number of points) of a span."""
    save, restore, count = NEVER, NEVER, 0
    for t in range(span.begin, span.end):
        if timed[t].point:
            save = min(save, timed[t].save_bytes)
            restore = min(restore, timed[t].restore_bytes)
            count += 1
    return save, restore, count


@jit
def _fits(op, commit, save, restore):
    widest = max(op.commit - commit, op.refill_cycles)
    return max(widest, op.save_bytes - save, op.restore_bytes - restore) <= LARGEST


@jit
def _append(runs, first, end, op, begin, commit, save, restore):
    """Add the point of ``op``, after the commit at ``commit``, to the runs [first, end) of a block that starts at ``begin``.

    Returns the new end of the runs.
    """
    step = op.commit - commit
    save, restore = op.save_bytes - save, op.restore_bytes - restore
    start_point = 0
    if end > first:
        run = runs[end - 1]
        costs_alike = run.save_bytes == save and run.restore_bytes == restore and run.refill_cycles == op.refill_cycles
        if run.step_cycles == step and costs_alike:
            run.points += 1
            return end
        start_point = run.start_point + run.points
    run = runs[end]
    run.start_cycles = commit - begin
    run.start_point = start_point
    run.step_cycles = step
    run.save_bytes = save
    run.restore_bytes = restore
    run.refill_cycles = op.refill_cycles
    run.points = 1
    return end + 1


@jit
def _continues(spans, s, segment, save, restore):
    """Whether span ``s`` is a further pass of the loop that ``segment`` ends with, its contexts grown as they should."""
    span = spans[s]
    if s == 0 or span.loop < 0 or spans[s - 1].loop != span.loop or span.repeats == NEVER or segment.repeats == NEVER:
        return False
    grown = segment.save_bytes + segment.repeats * segment.save_step_bytes
    grown_restore = segment.restore_bytes + segment.repeats * segment.restore_step_bytes
    steps_alike = segment.save_step_bytes == span.growth_save_bytes and segment.restore_step_bytes == span.growth_restore_bytes
    return steps_alike and grown == save and grown_restore == restore


@jit
def _same_runs(runs, block, first, end):
    """Whether the runs [first, end) are those of ``block``."""
    if end - first != block.runs:
        return False
    for i in range(block.runs):
        one, other = runs[block.first_run + i], runs[first + i]
        if one.start_cycles != other.start_cycles or one.step_cycles != other.step_cycles or one.points != other.points:
            return False
        if one.save_bytes != other.save_bytes or one.restore_bytes != other.restore_bytes:
            return False
        if one.refill_cycles != other.refill_cycles:
            return False
    return True
