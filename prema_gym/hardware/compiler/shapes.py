"""Layers to work: the GEMM, vector and DMA shapes that both the compiler and Algorithm 1 see, at a batch on an NPU.

A convolution is a GEMM of M = batch*OH*OW rows, K = R*S*C/groups and N = filters/groups per group; the patches are gathered on the
fly, so the memory traffic is the real input. Depthwise convolutions pack several channels into one pass of the array.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from prema_gym.checks import whole
from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError, shown
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Layer, Vector

GEMM, VECTOR, DMA = 0, 1, 2
"""What executes: the array, the vector unit, or no engine but the memory's."""

Ints = npt.NDArray[np.int64]

LARGEST_EXTENT = 1 << 40
"""Of a layer's sizes."""
MOST_ELEMENTS = 1 << 48
"""Of what one pass over a layer reads or makes, the whole batch together."""

_POSITIVE: dict[type, tuple[str, ...]] = {
    Gemm: ("m", "k", "n"),
    BatchedGemm: ("count", "m", "k", "n"),
    Conv2d: ("in_channels", "out_channels", "height", "width", "groups"),
    Vector: ("outputs", "ops_per_output"),
    Embedding: ("dim", "vectors"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """One pass over one layer, the whole batch together."""

    unit: int
    """GEMM, VECTOR or DMA."""
    kind: str
    """For tables: gemm, batched_gemm, conv, depthwise, embedding, or the kind of vector work."""
    rows: int
    """M: rows that stream through the array; of vector work and look-ups 1."""
    groups: int
    """Independent products (groups of a convolution, passes of a depthwise one, matrices of a batched GEMM)."""
    k: int
    n: int
    last_k: int
    """K of the last group, smaller where depthwise channels do not fill the last pass."""
    last_n: int
    elements: int
    """Output elements."""
    ops_per_element: int
    """Of vector work."""
    in_elements: int
    """Elements read in all: for GEMMs those of the left operand, halos and repeats not counted."""
    macs: int
    has_weights: bool
    """Whether the right operand is weights; a batched GEMM's is an activation."""

    @property
    def total_k(self) -> int:
        """Depth of all groups together."""
        return self.k * (self.groups - 1) + self.last_k

    @property
    def right_elements(self) -> int:
        """Elements of all groups' right operands."""
        return self.k * self.n * (self.groups - 1) + self.last_k * self.last_n

    def tiles(self, npu: NPUConfig) -> int:
        """Weight tiles of all groups: ceil(K/SH) * ceil(N/SW) each."""
        full = -(-self.k // npu.array_rows) * -(-self.n // npu.array_cols)
        last = -(-self.last_k // npu.array_rows) * -(-self.last_n // npu.array_cols)
        return full * (self.groups - 1) + last

    def chunks(self, npu: NPUConfig) -> int:
        """Row chunks of a GEMM, or operations of the rest."""
        if self.unit == GEMM:
            return -(-self.rows // npu.accumulator_rows)
        return -(-self.elements // (npu.accumulator_rows * npu.array_cols))

    def operations(self, npu: NPUConfig) -> int:
        """Operations that the layer is lowered to."""
        return self.chunks(npu) * (self.tiles(npu) if self.unit == GEMM else 1)


def check_layer(layer: Layer, name: str) -> None:
    """Raise :class:`ModelError` unless the shape of ``layer`` is possible."""
    fields = _POSITIVE.get(type(layer))
    if fields is None:
        raise ModelError(
            f"layer {name!r} is a {type(layer).__name__}: allowed are {', '.join(kind.__name__ for kind in _POSITIVE)}."
        )
    for field in fields:
        _check(name, field, getattr(layer, field), 1)
    if isinstance(layer, Vector) and not isinstance(layer.kind, str):
        raise ModelError(f"layer {name!r}: kind = {shown(layer.kind)}: must be a word.")
    if isinstance(layer, Conv2d):
        _check_conv(layer, name)


def _check(name: str, field: str, value: object, least: int) -> None:
    whole(f"layer {name!r}: {field}", value, least, LARGEST_EXTENT, error=ModelError)


def _check_conv(layer: Conv2d, name: str) -> None:
    for field, size, least in (("kernel", 2, 1), ("stride", 2, 1), ("padding", 4, 0)):
        values = getattr(layer, field)
        if not isinstance(values, (tuple, list)) or len(values) != size:
            raise ModelError(f"layer {name!r}: {field} = {shown(values)}: must be {size} whole numbers.")
        for value in values:
            _check(name, field, value, least)
    for field in ("in_channels", "out_channels"):
        value = getattr(layer, field)
        if value % layer.groups:
            raise ModelError(f"layer {name!r}: groups = {layer.groups}: must divide {field} = {value}.")
    if layer.out_height < 1 or layer.out_width < 1:
        raise ModelError(f"layer {name!r}: kernel = {layer.kernel!r}: must fit the padded input of {layer.height} x {layer.width}.")


def input_elements(layer: Layer) -> int:
    """Return the elements per sample that ``layer`` reads in one pass; of vector work and look-ups the shape says nothing: 0."""
    if isinstance(layer, Gemm):
        return layer.m * layer.k
    if isinstance(layer, Conv2d):
        return layer.in_channels * layer.height * layer.width
    if isinstance(layer, BatchedGemm):
        return layer.count * max(layer.m, layer.n) * layer.k
    return 0


def output_elements(layer: Layer) -> int:
    """Return the elements per sample that ``layer`` produces in one pass."""
    if isinstance(layer, Gemm):
        return layer.m * layer.n
    if isinstance(layer, BatchedGemm):
        return layer.count * layer.m * layer.n
    if isinstance(layer, Conv2d):
        return layer.out_channels * layer.out_height * layer.out_width
    if isinstance(layer, Vector):
        return layer.outputs
    return layer.dim * layer.vectors


def check_work(work: Work, name: str) -> None:
    """Raise :class:`ModelError` where one pass moves or makes more than is supported."""
    most = max(work.elements * max(work.ops_per_element, 1), work.in_elements, work.right_elements)
    if most > MOST_ELEMENTS:
        raise ModelError(f"layer {name!r} takes {most} elements or operations a pass: at most 2^48 are supported.")


def layer_work(layer: Layer, batch: int, npu: NPUConfig) -> Work:
    """Return the work of one pass of ``layer`` over ``batch`` samples."""
    out = output_elements(layer) * batch
    if isinstance(layer, Gemm):
        rows = layer.m * batch
        return Work(
            GEMM, "gemm", rows, 1, layer.k, layer.n, layer.k, layer.n, out, 0, rows * layer.k, rows * layer.k * layer.n, True
        )
    if isinstance(layer, BatchedGemm):
        count, m, k, n = layer.count * batch, layer.m, layer.k, layer.n
        return Work(GEMM, "batched_gemm", m, count, k, n, k, n, out, 0, count * m * k, count * m * k * n, False)
    if isinstance(layer, Conv2d):
        return _conv_work(layer, batch, npu)
    if isinstance(layer, Vector):
        return Work(VECTOR, layer.kind, 1, 1, 0, 0, 0, 0, out, layer.ops_per_output, 0, 0, False)
    return Work(DMA, "embedding", 1, 1, 0, 0, 0, 0, out, 0, 0, 0, False)


def _conv_work(layer: Conv2d, batch: int, npu: NPUConfig) -> Work:
    rows = batch * layer.out_height * layer.out_width
    taps = layer.kernel[0] * layer.kernel[1]
    inputs = batch * layer.in_channels * layer.height * layer.width
    out, macs = rows * layer.out_channels, rows * layer.out_channels * taps * (layer.in_channels // layer.groups)
    if not layer.is_depthwise:
        k, n = taps * layer.in_channels // layer.groups, layer.out_channels // layer.groups
        return Work(GEMM, "conv", rows, layer.groups, k, n, k, n, out, 0, inputs, macs, True)
    multiplier = layer.out_channels // layer.in_channels
    packed = max(1, min(npu.array_rows // taps, npu.array_cols // multiplier))
    packed = min(packed, layer.in_channels)
    passes = -(-layer.in_channels // packed)
    last = layer.in_channels - (passes - 1) * packed
    shape = (packed * taps, packed * multiplier, last * taps, last * multiplier)
    return Work(GEMM, "depthwise", rows, passes, *shape, out, 0, inputs, macs, True)


def chunk_inputs(layer: Layer, work: Work, batch: int, npu: NPUConfig) -> Ints:
    """Return (chunks,) elements of the left operand that each row chunk of a GEMM needs, halos of a convolution included."""
    starts = np.arange(work.chunks(npu), dtype=np.int64) * npu.accumulator_rows
    ends = np.minimum(starts + npu.accumulator_rows, work.rows)
    if isinstance(layer, Conv2d):
        rows = _input_rows(layer, starts, ends)
        return rows * (layer.in_channels * layer.width)
    return (ends - starts) * (work.in_elements // work.rows)


def _input_rows(layer: Conv2d, starts: Ints, ends: Ints) -> Ints:
    """Return whole input rows, over all images, under the output positions [start, end); padding is not counted.

    Of an image's output rows a..b are needed: all rows under a, and of each later row those that its predecessor does not cover.
    """
    oh, ow, height = layer.out_height, layer.out_width, layer.height
    top = np.arange(oh, dtype=np.int64) * layer.stride[0] - layer.padding[0]
    low, high = np.clip(top, 0, height), np.clip(top + layer.kernel[0], 0, height)
    under = high - low
    fresh = high - np.maximum(low, np.concatenate(([0], high[:-1])))
    below = np.concatenate(([0], np.cumsum(np.maximum(fresh, 0))))
    whole = int(under[0] + below[oh] - below[1])
    first_row, last_row = starts // ow, (ends - 1) // ow
    first_image, last_image = first_row // oh, last_row // oh
    a, b = first_row % oh, last_row % oh
    same = under[a] + below[b + 1] - below[a + 1]
    head = under[a] + below[oh] - below[a + 1]
    tail = under[0] + below[b + 1] - below[1]
    between = (last_image - first_image - 1) * whole
    return np.where(first_image == last_image, same, head + between + tail)
