"""Priority levels: how many there are, where one stands among them, and which one a token reaches."""

from __future__ import annotations

import numpy as np
import pytest

from prema_gym.config import level_bits
from prema_gym.sim.levels import count_levels, level_bit, level_reached, rank_of

PAPER = np.uint64(level_bits((1, 3, 9)))


def test_a_mask_holds_a_bit_for_each_level():
    assert level_bits((9, 1, 3, 3)) == 0b1_0000_0101
    assert int(level_bit(64)) == level_bits((64,)) == 1 << 63
    assert count_levels(PAPER) == 3
    assert count_levels(np.uint64(level_bits(range(1, 65)))) == 64


def test_the_rank_of_a_priority_is_the_share_of_levels_below_it():
    assert [rank_of(PAPER, priority) for priority in (1, 3, 9)] == [0.0, 0.5, 1.0]
    assert rank_of(np.uint64(level_bits((7,))), 7) == 1.0
    assert rank_of(np.uint64(level_bits((1, 64))), 64) == 1.0


@pytest.mark.parametrize(("value", "level"), [(0.5, 0), (1.0, 1), (2.999, 1), (3.0, 3), (8.9, 3), (9.0, 9), (1e9, 9)])
def test_a_token_reaches_the_largest_level_not_above_it(value, level):
    assert level_reached(PAPER, value) == level
