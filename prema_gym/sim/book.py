"""The address book: hands all arrays of a simulator to compiled code as one small int64 vector.

Passing thirty arrays to a compiled function costs more than a step of the kernel; passing their addresses costs 0.2 microseconds.
The simulator owns the arrays and the book, so the addresses live as long as they are used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import config

from prema_gym._jit import jit_inline, with_attributes
from prema_gym.sim.borrow import borrowed
from prema_gym.sim.kernel import State, Tables
from prema_gym.types import BLOCK, DRAW, EVENT, MACHINE, MIX, PROGRAM, RULES, RUN, SEGMENT, SLOT, STATUS, TASK


class Draws(NamedTuple):
    """What an episode is drawn from."""

    draw: np.ndarray
    """(1,) DRAW."""
    mixes: np.ndarray
    """(models, batches) MIX."""
    priorities: np.ndarray
    """(levels,) int64."""
    totals: np.ndarray
    """(...,) int64 true total cycles, by program and output length."""


_ORDER: list[tuple[str, int]] = [
    ("runs", 1),
    ("blocks", 1),
    ("segments", 1),
    ("programs", 1),
    ("rules", 1),
    ("draw", 1),
    ("mixes", 2),
    ("priorities", 1),
    ("totals", 1),
    ("machine", 1),
    ("tasks", 2),
    ("status", 1),
    ("slots", 2),
    ("log", 2),
]
_WORDS = 3
_OPEN: dict[int, tuple[Tables, Draws, State]] = {}


_runs = borrowed(RUN, 1)
_blocks = borrowed(BLOCK, 1)
_segments = borrowed(SEGMENT, 1)
_programs = borrowed(PROGRAM, 1)
_rules = borrowed(RULES, 1)
_draw = borrowed(DRAW, 1)
_mixes = borrowed(MIX, 2)
_numbers = borrowed(np.int64, 1)
_machine = borrowed(MACHINE, 1)
_tasks = borrowed(TASK, 2)
_status = borrowed(STATUS, 1)
_slots = borrowed(SLOT, 2)
_log = borrowed(EVENT, 2)


def write_book(tables: Tables, draws: Draws, state: State) -> np.ndarray:
    """Return the (3 * arrays,) int64 book: address and two extents of every array. All must be C-contiguous."""
    named = {**tables._asdict(), **draws._asdict(), **state._asdict()}
    words = np.zeros(_WORDS * len(_ORDER), np.int64)
    for index, (name, ndim) in enumerate(_ORDER):
        array = named[name]
        assert array.ndim == ndim, name
        assert array.flags.c_contiguous, name
        words[_WORDS * index] = array.ctypes.data
        words[_WORDS * index + 1 : _WORDS * index + 1 + ndim] = array.shape
    if config.DISABLE_JIT:
        _OPEN[int(words[_WORDS * 9])] = (with_attributes(tables), with_attributes(draws), with_attributes(state))
    return words


if config.DISABLE_JIT:

    def open_book(words: np.ndarray) -> tuple[Tables, Draws, State]:
        """Return the arrays behind ``words`` (interpreted mode: they are looked up by address)."""
        return _OPEN[int(words[_WORDS * 9])]

else:

    @jit_inline
    def open_book(words):  # type: ignore[misc]
        """Return (Tables, Draws, State) over the arrays behind ``words``."""
        tables = Tables(
            _runs(words[0], (words[1],)),
            _blocks(words[3], (words[4],)),
            _segments(words[6], (words[7],)),
            _programs(words[9], (words[10],)),
            _rules(words[12], (words[13],)),
        )
        draws = Draws(
            _draw(words[15], (words[16],)),
            _mixes(words[18], (words[19], words[20])),
            _numbers(words[21], (words[22],)),
            _numbers(words[24], (words[25],)),
        )
        state = State(
            _machine(words[27], (words[28],)),
            _tasks(words[30], (words[31], words[32])),
            _status(words[33], (words[34],)),
            _slots(words[36], (words[37], words[38])),
            _log(words[39], (words[40], words[41])),
        )
        return tables, draws, state
