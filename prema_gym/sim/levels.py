"""The priority levels of an episode: a mask of 64 bits, where bit p - 1 stands for priority p."""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing

_ONE = np.uint64(1)


@jit_borrowing
def level_bit(priority):
    """Return the bit of ``priority``, from 1 to 64, as uint64."""
    return _ONE << np.uint64(priority - 1)


@jit_borrowing
def count_levels(levels):
    """Return how many levels there are."""
    count = 0
    while levels != np.uint64(0):
        levels &= levels - _ONE
        count += 1
    return count


@jit_borrowing
def highest_level(levels):
    """Return the highest level; 0 where there is none."""
    for priority in range(64, 0, -1):
        if levels & level_bit(priority) != np.uint64(0):
            return priority
    return 0


@jit_borrowing
def rank_of(levels, priority):
    """Return lower levels / (levels - 1): 0 at the lowest level, 1 at the highest and where there is one level only."""
    count = count_levels(levels)
    if count < 2:
        return 1.0
    return count_levels(levels & (level_bit(priority) - _ONE)) / (count - 1)


@jit_borrowing
def level_reached(levels, value):
    """Return the largest level that is not above ``value``, as a float; 0 where all are."""
    for priority in range(64, 0, -1):
        if priority <= value and levels & level_bit(priority) != np.uint64(0):
            return float(priority)
    return 0.0
