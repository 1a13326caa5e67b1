"""One door to numba: ``jit`` and its kin compile a function, and cache it on disk (``cache.py``).

``PREMA_GYM_CACHE`` moves the cache directory; ``NUMBA_DISABLE_JIT=1`` runs everything as plain Python.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numba
import numpy as np
from numba.core import sigutils
from numba.core.ccallback import CFunc

from prema_gym._jit.cache import Cache, PartCache
from prema_gym._jit.parts import as_part

Compiled: TypeAlias = Callable[..., Any]


def _compiled(function: Compiled, *, cached: bool = True, **options: Any) -> Compiled:
    if numba.config.DISABLE_JIT:
        return _interpreted(function)
    # NumPy's error model drops a test for zero at every division; the code divides by nothing that can be zero.
    dispatcher = numba.njit(function, error_model="numpy", **options)
    part = as_part(dispatcher, function, options)
    if cached and Path(function.__code__.co_filename).is_file():  # a notebook's cell is no file
        dispatcher._cache, part._cache = Cache(function), PartCache(function)
    return dispatcher


def jit(function: Compiled) -> Compiled:
    """Compile ``function`` with numba (no ``fastmath``), lazily, with the cache described above."""
    return _compiled(function)


def jit_borrowing(function: Compiled) -> Compiled:
    """Compile ``function`` as :func:`jit` does, but let it use only memory that it is handed: it can't create or return arrays.

    numba then counts no references to arrays, which took more time than the simulation itself. It is inlined into its compiled
    callers: passing a row along takes more time than most functions that work on it.
    """
    return _compiled(function, _nrt=False, forceinline=True)


def jit_apart(function: Compiled) -> Compiled:
    """Compile ``function`` as :func:`jit_borrowing` does, but once, and let callers call it: for long functions that many call."""
    return _compiled(function, _nrt=False)


def jit_nogil(function: Compiled) -> Compiled:
    """Compile ``function`` as :func:`jit_borrowing` does, and let other threads run while it does: for calls that take long."""
    return _compiled(function, _nrt=False, nogil=True)


def jit_inline(function: Compiled) -> Compiled:
    """Inline ``function`` into its compiled callers: for functions that return records or arrays which they did not create."""
    return _compiled(function, cached=False, _nrt=False, inline="always")


def in_turn(functions: Sequence[Compiled]) -> Compiled:
    """Return a compiled function of (argument, out) that fills ``out[k]`` with ``functions[k](argument)`` for every k.

    It is not cached by itself: its compiled callers contain it, and are cached under the sources of all that they call.
    """
    chain = _compiled(_fill_nothing, cached=False, _nrt=False, forceinline=True)
    for k, function in enumerate(functions):
        chain = _then_fill(chain, k, function)
    return chain


def _fill_nothing(argument: Any, out: Any) -> None:
    return None


def _then_fill(chain: Compiled, k: int, function: Compiled) -> Compiled:
    def fill(argument: Any, out: Any) -> None:
        chain(argument, out)
        out[k] = function(argument)

    return _compiled(fill, cached=False, _nrt=False, forceinline=True)


class JitEntry:
    """A function that compiled code calls by its address: compiled on first use, and cached on disk like all others.

    Two functions of one signature are then interchangeable: what calls them is compiled once, whichever it is given.
    """

    def __init__(self, function: Compiled, signature: Any, sources: Sequence[Path] | None = ()) -> None:
        """Take a function of scalars; ``sources`` are the files it depends on besides its own module's.

        None, or a file that doesn't exist, as a notebook's cell, leaves the function out of the cache.
        """
        self._function, self._signature = function, signature
        self._cache: Cache | None = None
        if not numba.config.DISABLE_JIT and sources is not None and all(path.is_file() for path in sources):
            function.sources = tuple(sources)  # type: ignore[attr-defined]
            self._cache = Cache(function)  # hashes the files now: they may change before the first use

    @functools.cached_property
    def address(self) -> int:
        """Where the machine code lies; without numba, a number that :meth:`at` knows."""
        if numba.config.DISABLE_JIT:
            _ENTRIES.append(_interpreted(self._function))
            return len(_ENTRIES)
        signature = sigutils.normalize_signature(self._signature)
        entry: Any = CFunc(self._function, signature, {}, {"error_model": "numpy", "_nrt": False, "forceinline": True})
        if self._cache is not None:
            entry._cache = self._cache
        entry.compile()
        self._compiled = entry  # keeps the machine code in memory
        return int(entry.address)

    @staticmethod
    def at(address: int) -> Compiled:
        """Return the function behind an address; without numba only."""
        return _ENTRIES[int(address) - 1]


_ENTRIES: list[Compiled] = []


def _interpreted(function: Compiled) -> Compiled:
    """Return ``function`` for plain Python: a record's fields are attributes only in a ``recarray``, and integers wrap silently."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*map(with_attributes, arguments))

    return call


def with_attributes(value: Any) -> Any:
    """Return ``value`` with its record arrays, and those of a named tuple, viewed as ``recarray``."""
    if isinstance(value, np.ndarray) and value.dtype.names and not isinstance(value, np.recarray):
        assert not any(hasattr(np.void, name) for name in value.dtype.names), f"a field of {value.dtype.names} hides an attribute"
        return value.view(np.recarray)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(with_attributes, value))
    return value
