"""Programs as the machine reads them: where the preemption points are, and what their contexts cost."""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.config import context_cycles as _context_cycles
from prema_gym.types import NEVER


@jit_borrowing
def next_commit(tables, program, position):
    """Return (commit_cycles, save_bytes, restore_bytes, refill_cycles) of the first point at or after ``position`` >= 1.

    Positions are cycles of undisturbed execution. ``NEVER`` where no point is left.
    """
    record = tables.programs[program]
    if record.segments == 0:
        return NEVER, 0, 0, 0
    low = record.first_segment
    high = low + record.segments - 1
    while low < high:
        middle = (low + high + 1) // 2
        if tables.segments[middle].start_cycles < position:
            low = middle
        else:
            high = middle - 1
    segment = tables.segments[low]
    block = tables.blocks[segment.block]
    offset = position - segment.start_cycles
    lap = (offset - 1) // block.cycles
    if lap >= segment.repeats:
        return NEVER, 0, 0, 0
    offset -= lap * block.cycles
    low_run = block.first_run
    high_run = low_run + block.runs - 1
    while low_run < high_run:
        middle_run = (low_run + high_run + 1) // 2
        if tables.runs[middle_run].start_cycles < offset:
            low_run = middle_run
        else:
            high_run = middle_run - 1
    run = tables.runs[low_run]
    steps = (offset - run.start_cycles + run.step_cycles - 1) // run.step_cycles
    commit = segment.start_cycles + lap * block.cycles + run.start_cycles + steps * run.step_cycles
    save = segment.save_bytes + lap * segment.save_step_bytes + run.save_bytes
    restore = segment.restore_bytes + lap * segment.restore_step_bytes + run.restore_bytes
    return commit, save, restore, np.int64(run.refill_cycles)


context_cycles = jit_borrowing(_context_cycles)
"""Cycles to save or restore a context: of RULES and a number of bytes."""
