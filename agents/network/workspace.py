"""What a compiled network is handed: numbers, and arrays by address and size, as one record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prema_gym.sim.borrow import borrowed

numbers_at = borrowed(np.float64, 1)
features_at = borrowed(np.float32, 1)
flags_at = borrowed(np.int8, 1)
places_at = borrowed(np.int64, 1)
"""Arrays of compiled code, from the address and the extents of memory that ``params`` names."""


def record_dtype(arrays: tuple[str, ...], numbers: Mapping[str, int] | tuple[str, ...]) -> np.dtype:
    """Return the dtype of a record of ``arrays``, by address and size, and of int64 ``numbers``: one, or as many as named."""
    counts = numbers if isinstance(numbers, Mapping) else dict.fromkeys(numbers, 0)
    fields = [(name, np.int64, (count,)) if count else (name, np.int64) for name, count in counts.items()]
    return np.dtype([*fields, *((name, np.int64) for name in arrays), *((f"{name}_size", np.int64) for name in arrays)])


def fill_record(dtype: np.dtype, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, object]) -> np.ndarray:
    """Return (1,) records of ``dtype``; ``arrays`` must be contiguous, and outlive it."""
    params = np.zeros(1, dtype)
    for name, value in numbers.items():
        params[name] = value
    for name, array in arrays.items():
        params[name], params[f"{name}_size"] = array.ctypes.data, array.size
    return params
