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


def _put_together(context: Any, builder: Any, array_type: Any, itemsize: int, address: Any, shape: list[Any]) -> Any:
    """Return the array of ``array_type`` at ``address``; ``shape`` holds its extents."""
    array = make_array(array_type)(context, builder)
    size = context.get_constant(types.intp, itemsize)
    strides = [size]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    data = builder.inttoptr(address, context.get_data_type(array_type.dtype).as_pointer())
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()


def _borrowed_compiled(dtype: np.dtype, ndim: int) -> Callable[..., Any]:
    @intrinsic
    def borrow(typingctx: Any, address: Any, extents: Any) -> Any:
        array_type = types.Array(from_dtype(dtype), ndim, "C")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            shape = cgutils.unpack_tuple(builder, args[1])
            return _put_together(context, builder, array_type, dtype.itemsize, args[0], shape)

        return array_type(address, extents), codegen

    return borrow


def borrowed_from_book(dtype: np.dtype, ndim: int, at: int) -> Callable[..., Any]:
    """Return a function ``borrow(words)`` for compiled code only: the array whose address and extents are ``words[at]``, ...

    ``words`` is an int64 array of any number of axes, counted flat.
    """

    @intrinsic
    def borrow(typingctx: Any, words: Any) -> Any:
        array_type = types.Array(from_dtype(dtype), ndim, "C")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            book = make_array(signature.args[0])(context, builder, args[0])
            found = [builder.load(builder.gep(book.data, [context.get_constant(types.intp, at + k)])) for k in range(1 + ndim)]
            return _put_together(context, builder, array_type, dtype.itemsize, found[0], found[1:])

        return array_type(words), codegen

    return borrow
