"""Arrays over memory that somebody else owns, made in compiled code from an address."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def borrowed(dtype: Any, ndim: int) -> Callable[..., Any]:
    """Return a function ``borrow(address, extents)`` for compiled code: the C-contiguous array of ``dtype`` that lies there.

    The array isn't owned by numba: whoever owns the memory must keep it while the array is used.
    """
    return _borrowed_interpreted(np.dtype(dtype)) if config.DISABLE_JIT else _borrowed_compiled(np.dtype(dtype), ndim)


def _borrowed_interpreted(dtype: np.dtype) -> Callable[..., Any]:
    def borrow(address: int, extents: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(extents)) * dtype.itemsize
        if size == 0:
            return np.zeros(extents, dtype)
        memory = memoryview((ctypes.c_char * size).from_address(int(address)))
        array: np.ndarray = np.frombuffer(memory, dtype).reshape(extents)
        return array.view(np.recarray) if dtype.names else array

    return borrow


def _borrowed_compiled(dtype: np.dtype, ndim: int) -> Callable[..., Any]:
    @intrinsic
    def borrow(typingctx: Any, address: Any, extents: Any) -> Any:
        array_type = types.Array(from_dtype(dtype), ndim, "C")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = make_array(array_type)(context, builder)
            itemsize = context.get_constant(types.intp, dtype.itemsize)
            shape = cgutils.unpack_tuple(builder, args[1])
            strides = [itemsize]
            for extent in reversed(shape[1:]):
                strides.insert(0, builder.mul(strides[0], extent))
            data = builder.inttoptr(args[0], context.get_data_type(array_type.dtype).as_pointer())
            populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
            return array._getvalue()

        return array_type(address, extents), codegen

    return borrow
