"""One check for whole numbers, one for numbers and one for names, used at every door; and how large an episode may be.

What fails raises a class of :mod:`prema_gym.errors` with one sentence: what was given, its value and what is allowed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from typing import Any

import numpy as np

from prema_gym.errors import ConfigError, PremaError, shown, unknown_name

LATEST_CYCLES = 1 << 60
"""The last cycle at which a request may arrive, or be due: 52 years at 700 MHz."""
MOST_CYCLES = 1 << 57
"""Longest program, largest prediction, and largest sum of either over an episode: 6.5 years at 700 MHz.

Twenty times this, the horizon, after LATEST_CYCLES is still below 2^63, so no time of an episode leaves 64 bits.
"""
MOST_SEED = (1 << 64) - 1
"""Largest seed."""


def as_whole(value: object) -> int | None:
    """Return ``value`` as an int where it is a whole number: an int, one of NumPy, anything that is one; no bool. Else None."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:  # what stands behind __index__ is the caller's
        return None


def is_whole(value: object, least: int, most: int) -> bool:
    """Whether ``value`` is a whole number from ``least`` to ``most``."""
    number = as_whole(value)
    return number is not None and least <= number <= most


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite real number, and no bool."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def whole(
    what: str, value: object, least: int, most: int | None = None, *, error: type[PremaError] = ConfigError, note: str = ""
) -> int:
    """Return ``value`` as an int; raises ``error`` unless it is a whole number from ``least`` to ``most``.

    ``what`` begins the sentence, ``note`` ends it.
    """
    number = as_whole(value)
    if number is None or number < least or (most is not None and number > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise error(f"{what} = {shown(value)}: must be a whole number {limits}{note}.")
    return number


def one_of(kind: str, value: object, allowed: Collection[str], *, error: type[PremaError] = ConfigError, where: str = "") -> str:
    """Return ``value``, a name among ``allowed``; else raises ``error``, which names the nearest. ``where`` begins the sentence."""
    if not isinstance(value, str) or value not in allowed:
        raise error(f"{where}{unknown_name(kind, value, allowed)}")
    return value


def new_name(what: str, value: object, *, error: type[PremaError] = ConfigError) -> str:
    """Return ``value``, a name to register something by; raises ``error``, which begins with ``what``, if it can't be one."""
    if not isinstance(value, str) or not value.strip():
        raise error(f"{what}: the name must be a non-empty string, and {shown(value)} is none.")
    return value


def plain(value: Any, depth: int = 8) -> Any:
    """Return ``value`` with NumPy's numbers and arrays as Python's own, in lists and mappings too, ``depth`` of them deep."""
    if depth < 0 or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if type(value) in (tuple, list):
        return type(value)(plain(entry, depth - 1) for entry in value)
    if type(value) is dict:
        return {plain(key): plain(entry, depth - 1) for key, entry in value.items()}
    number = as_whole(value)
    return value if number is None else number


def checked_seed(value: object, what: str = "seed") -> int:
    """Return ``value`` as a seed; raises :class:`ConfigError` for what isn't one."""
    return whole(what, value, 0, MOST_SEED)
