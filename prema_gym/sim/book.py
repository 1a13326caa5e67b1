"""The address book: hands all arrays of a simulator to compiled code as one small int64 vector.

Passing thirty arrays to a compiled function costs more than a step of the kernel; passing their addresses costs 0.2 microseconds.
The simulator owns the arrays and the book, so the addresses live as long as they are used. The number of the book's axes says of
which kind its rows are, one more for several NPUs and two more for streams: what takes a book is compiled once for each kind, with
the driver that it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import config, types
from numba.extending import intrinsic, overload

from prema_gym._jit import jit_inline, with_attributes
from prema_gym.sim.borrow import borrowed_from_book
from prema_gym.sim.streams.records import PLACE, STREAM, SUMS
from prema_gym.sim.tables import State, Tables
from prema_gym.types import (
    ARRIVALS,
    BATCH,
    BLOCK,
    CLASS,
    DRAW,
    ENGINE,
    EVENT,
    LEVEL,
    MACHINE,
    MIX,
    NPU,
    PROGRAM,
    REWARD,
    RULES,
    RUN,
    SEGMENT,
    SIZED,
    SLOT,
    STATUS,
    TASK,
    TIMES,
)
from prema_gym.workloads.drawing import KIND, LISTED, Draws

_ARRAYS: dict[str, tuple[np.dtype, int]] = {
    "runs": (RUN, 1),
    "blocks": (BLOCK, 1),
    "segments": (SEGMENT, 1),
    "programs": (PROGRAM, 1),
    "sized": (SIZED, 1),
    "at_size": (np.dtype(np.int32), 2),
    "rules": (RULES, 1),
    "draw": (DRAW, 1),
    "classes": (CLASS, 1),
    "mixes": (MIX, 1),
    "levels": (LEVEL, 1),
    "totals": (np.dtype(np.int64), 1),
    "listed": (LISTED, 1),
    "kinds": (KIND, 1),
    "machine": (MACHINE, 1),
    "arrivals": (ARRIVALS, 1),
    "engines": (ENGINE, 2),
    "tasks": (TASK, 2),
    "times": (TIMES, 3),
    "shares": (np.dtype(np.int64), 3),
    "status": (STATUS, 1),
    "npus": (NPU, 2),
    "table": (SLOT, 2),
    "predictions": (np.dtype(np.int64), 3),
    "batches": (BATCH, 2),
    "reward": (REWARD, 1),
    "log": (EVENT, 2),
    "streams": (STREAM, 1),
    "heads": (ARRIVALS, 1),
    "places": (PLACE, 2),
    "sums": (SUMS, 2),
    "histograms": (np.dtype(np.uint32), 3),
}
"""Type of the elements and number of axes of every array, in the order of the book."""
_ENTRIES = {name: index for index, name in enumerate(_ARRAYS)}
_WORDS = 4
"""Words of an entry: the address, and up to three extents."""
_OPEN: dict[int, tuple[Tables, Draws, State]] = {}


def _borrowed(name: str) -> Any:
    """Return a function ``borrow(words)`` for compiled code: the array called ``name`` in the book."""
    return borrowed_from_book(*_ARRAYS[name], _WORDS * _ENTRIES[name])


@intrinsic
def _several(typingctx: Any, words: Any) -> Any:
    """Return None for a book of single NPUs, 1 for one of several: known when compiling."""
    single = words.ndim % 2 == 1
    result = types.none if single else types.intp

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_dummy_value() if single else context.get_constant(types.intp, 1)

    return result(words), codegen


def _source(words: Any, draws: Any) -> Any:
    """Return None for a book of closed episodes, ``draws`` for one of streams: known when compiling."""
    raise NotImplementedError  # compiled code only


@overload(_source, inline="always")
def _compiled_source(words, draws):
    return (lambda words, draws: None) if words.ndim <= 2 else (lambda words, draws: draws)


_runs, _blocks, _segments = _borrowed("runs"), _borrowed("blocks"), _borrowed("segments")
_programs, _rules = _borrowed("programs"), _borrowed("rules")
_sized, _at_size = _borrowed("sized"), _borrowed("at_size")
_draw, _classes, _mixes, _levels = _borrowed("draw"), _borrowed("classes"), _borrowed("mixes"), _borrowed("levels")
_totals, _listed, _kinds = _borrowed("totals"), _borrowed("listed"), _borrowed("kinds")
_machine, _arrivals = _borrowed("machine"), _borrowed("arrivals")
_engines, _tasks, _times = _borrowed("engines"), _borrowed("tasks"), _borrowed("times")
_shares = _borrowed("shares")
_status, _npus, _table = _borrowed("status"), _borrowed("npus"), _borrowed("table")
_predictions, _batches = _borrowed("predictions"), _borrowed("batches")
_reward, _log = _borrowed("reward"), _borrowed("log")
_streams, _heads, _places = _borrowed("streams"), _borrowed("heads"), _borrowed("places")
_sums, _histograms = _borrowed("sums"), _borrowed("histograms")


def write_book(tables: Tables, draws: Draws, state: State) -> np.ndarray:
    """Return the book as int64: address and extents of every array.

    (W,) for rows of one NPU, with an axis more for several NPUs, and two more for streams.
    All arrays must be C-contiguous.
    """
    named = {**tables._asdict(), **draws._asdict(), **state._asdict()}
    words = np.zeros((len(_ARRAYS), _WORDS), np.int64)
    for name, (dtype, ndim) in _ARRAYS.items():
        array = named[name]
        assert (array.dtype, array.ndim) == (dtype, ndim), name
        assert array.flags.c_contiguous, name
        words[_ENTRIES[name], 0] = array.ctypes.data
        words[_ENTRIES[name], 1 : 1 + ndim] = array.shape
    if config.DISABLE_JIT:
        opened = state._replace(source=None if state.source is None else draws)
        _OPEN[_key(words)] = (with_attributes(tables), with_attributes(draws), with_attributes(opened))
    axes = (state.several is not None) + 2 * (state.source is not None)
    return words.reshape((1,) * axes + (-1,))


def address_words(names: Iterable[str]) -> list[int]:
    """Return which words of a book are the addresses of the arrays called ``names``."""
    return [_WORDS * _ENTRIES[name] for name in names]


def moved_book(
    words: np.ndarray, tables: Tables, draws: Draws, state: State, places: list[int], addresses: np.ndarray
) -> np.ndarray:
    """Return the book of rows like those behind ``words`` that lie elsewhere: the words at ``places`` become ``addresses``."""
    if config.DISABLE_JIT:
        return write_book(tables, draws, state)
    moved = words.copy()
    moved.reshape(-1)[places] = addresses
    return moved


def _key(words: np.ndarray) -> int:
    """Return the address of the machine's records, which no two simulators share."""
    return int(words.reshape(-1)[_WORDS * _ENTRIES["machine"]])


if config.DISABLE_JIT:

    def open_book(words: np.ndarray) -> tuple[Tables, Draws, State]:
        """Return the arrays behind ``words`` (interpreted mode: they are looked up by address)."""
        return _OPEN[_key(words)]

else:

    @jit_inline
    def open_book(words):  # type: ignore[misc]
        """Return (Tables, Draws, State) over the arrays behind ``words``."""
        tables = Tables(
            _runs(words), _blocks(words), _segments(words), _programs(words), _totals(words), _sized(words), _at_size(words),
            _rules(words),
        )  # fmt: skip
        draws = Draws(
            _draw(words), _classes(words), _mixes(words), _levels(words), _totals(words), _listed(words), _kinds(words)
        )  # fmt: skip
        state = State(
            _machine(words),
            _arrivals(words),
            _engines(words),
            _tasks(words),
            _times(words),
            _shares(words),
            _status(words),
            _npus(words),
            _table(words),
            _predictions(words),
            _batches(words),
            _reward(words),
            _log(words),
            _streams(words),
            _heads(words),
            _places(words),
            _sums(words),
            _histograms(words),
            _several(words),
            _source(words, draws),
        )
        return tables, draws, state
