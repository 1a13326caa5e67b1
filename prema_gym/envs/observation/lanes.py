"""Logarithms of whole stretches of a float32 array, in place, with vector instructions.

Every machine computes the same bits: only sums, products and fused multiply-adds of float32 are used, in a written order, and no
library's logarithm. An observation, and what a learned policy does with it, then doesn't depend on where it was computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import config, types
from numba.extending import intrinsic

from prema_gym._jit import jit_borrowing

LOG_SCALE = 4.0
"""Logarithms are divided by this."""
CLIP = 4.0
"""What is left is clipped to at most this in size."""

_f = np.float32
_ROOT_HALF_BITS = np.int32(0x3F3504F3)
"""The float32 next to the square root of 1/2: mantissas are taken from it to twice as much, around 1."""
_LN2 = _f(np.log(2.0))
_C3, _C4, _C5, _C6, _C7, _C8 = map(_f, (0.3333469, -0.24980573, 0.19910239, -0.17166907, 0.16141176, -0.10224199))
"""ln(1 + f) = f - f^2 / 2 + C3 f^3 + ... + C8 f^8 for those mantissas, to 6e-8: a least-squares fit, reweighted to even errors."""
_LARGEST = _f(1e18)
"""Its square is a float32."""
_MINUS_HALF, _ONE, _QUARTER, _CLIP = _f(-0.5), _f(1.0), _f(1.0 / LOG_SCALE), _f(CLIP)

if config.DISABLE_JIT:

    def _bits(value: Any) -> Any:
        return np.float32(value).view(np.int32)

    def _number(bits: Any) -> Any:
        return np.int32(bits).view(np.float32)

    def _fused(a: Any, b: Any, c: Any) -> Any:
        return np.float32(float(a) * float(b) + float(c))

else:

    @intrinsic
    def _fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c of float32, rounded once."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fma(*arguments)

        return types.float32(types.float32, types.float32, types.float32), codegen

    @intrinsic
    def _bits(typingctx: Any, value: Any) -> Any:
        """Return the bits of a float32 as int32."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.IntType(32))

        return types.int32(types.float32), codegen

    @intrinsic
    def _number(typingctx: Any, bits: Any) -> Any:
        """Return the float32 of these bits."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.FloatType())

        return types.float32(types.int32), codegen


@jit_borrowing
def ln(value):
    """Take the natural logarithm of a positive float32, to some 1e-7; that of 1 is 0."""
    bits = _bits(value)
    exponent = np.int32(np.int32(bits - _ROOT_HALF_BITS) >> np.int32(23))
    f = _number(np.int32(bits - np.int32(exponent << np.int32(23)))) - _ONE
    tail = _fused(f, _C8, _C7)
    for coefficient in (_C6, _C5, _C4, _C3, _MINUS_HALF):
        tail = _fused(f, tail, coefficient)
    return _fused(_f(exponent), _LN2, _fused(f * f, tail, f))


@jit_borrowing
def _clip(value):
    return min(max(value, -_CLIP), _CLIP)


@jit_borrowing
def fill(out, first, end, value):
    """Set ``out[first:end]`` to ``value``: what empty slots show, before the occupied ones are written."""
    lanes = out[first:end]
    for k in range(lanes.shape[0]):
        lanes[k] = _f(value)


@jit_borrowing
def to_logs(out, first, end):
    """Replace positive numbers x in ``out[first:end]`` (float32) by ln(x) / 4, clipped to [-4, 4]."""
    lanes = out[first:end]  # counted from 0, or the compiler allows for negative numbers and gives up on vectors
    for k in range(lanes.shape[0]):
        lanes[k] = _clip(ln(lanes[k]) * _QUARTER)


@jit_borrowing
def to_asinhs(out, first, end):
    """Replace numbers x in ``out[first:end]`` (float32) by asinh(x) / 4, clipped to [-4, 4]."""
    lanes = out[first:end]
    for k in range(lanes.shape[0]):
        size = min(abs(lanes[k]), _LARGEST)
        value = min(ln(size + np.sqrt(size * size + _ONE)) * _QUARTER, _CLIP)
        lanes[k] = value if lanes[k] >= _f(0.0) else -value
