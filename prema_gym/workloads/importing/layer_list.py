"""A graph of tensors becomes a list of layers: what every importer shares.

An importer walks its graph in order and says of each operation what it does to tensors: a product on the array, work of the vector
unit, a look-up, or nothing but another view of the same data. A *value* is a tensor of that graph; ``sources`` are the layers whose
outputs hold it (a concatenation has several). Shapes of the graph are those of its whole batch; layers are per sample.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from prema_gym.errors import ModelError
from prema_gym.hardware.layers import NETWORK_INPUT, BatchedGemm, Conv2d, Embedding, Gemm, Layer, Loop, Network, Vector
from prema_gym.workloads.models.recurrent import bidirectional_layer, hidden_state, lstm_layer

MOST_ELEMENTS = 1 << 40
"""Of one tensor; more is taken for a damaged file."""
MOST_NODES = 200_000
"""Of one graph."""
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Unsupported:
    """An operation that could not be lowered; its inputs are passed on as if it did nothing."""

    node: str
    operation: str
    macs: int | None
    """Multiply-accumulates of one sample that are missing; None where even they are unknown."""

    def __str__(self) -> str:
        share = "an unknown number of MACs" if self.macs is None else f"{self.macs} MACs"
        return f"{self.node} ({self.operation}, {share})"


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the imported graph."""

    shape: Shape
    sources: tuple[str, ...]
    constant: bool = False
    """Whether it is a weight, or follows from weights and shapes alone."""

    @property
    def elements(self) -> int:
        """Elements of the whole batch."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Attributes of a 2-d convolution as graphs give them."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    padding: tuple[int, int, int, int]
    """Top, left, bottom, right."""


class LayerList:
    """Layers in program order, with account of which of them hold which tensor."""

    def __init__(self, name: str, where: str) -> None:
        self.name = name
        self.where = where
        """What error messages name: the file, or the module."""
        self.batch = 1
        self.layers: list[Layer | Loop] = []
        self.unsupported: list[Unsupported] = []
        self.table_weights = 0
        self._values: dict[str, Value] = {}
        self._held: dict[str, int] = {NETWORK_INPUT: 0}
        """Elements a sample of every layer's output."""
        self._names: set[str] = {NETWORK_INPUT}

    # --- Values ---------------------------------------------------------------------------------------------------------------

    def value(self, tensor: str) -> Value:
        """Return the value called ``tensor``; raises :class:`ModelError` where nothing has produced it yet."""
        if tensor not in self._values:
            raise ModelError(f"{self.where}: tensor {tensor!r} is read before it is made: the graph is cyclic or not in order.")
        return self._values[tensor]

    def knows(self, tensor: str) -> bool:
        """Return whether something has produced ``tensor``."""
        return tensor in self._values

    def put_input(self, tensor: str, shape: Shape) -> None:
        """Note a tensor that the network is given; the first one's first axis is the batch."""
        if self._held[NETWORK_INPUT] == 0 and shape:
            self.batch = shape[0]
        value = Value(checked_shape(self.where, tensor, shape), (NETWORK_INPUT,))
        self._values[tensor] = value
        self._held[NETWORK_INPUT] += self.per_sample(value.elements)

    def rebatch(self, batch: int) -> None:
        """Take ``batch`` for the samples of the graph, before any layer is added: its first axis was something else."""
        elements = self._held[NETWORK_INPUT] * self.batch
        self.batch = batch
        self._held[NETWORK_INPUT] = self.per_sample(elements)

    def put_constant(self, tensor: str, shape: Shape) -> None:
        """Note a weight, or what follows from weights and shapes alone."""
        self._values[tensor] = Value(checked_shape(self.where, tensor, shape), (), constant=True)

    def put(self, tensor: str, value: Value) -> None:
        """Note what an operation has made."""
        checked_shape(self.where, tensor, value.shape)
        self._values[tensor] = value

    def per_sample(self, amount: int) -> int:
        """Return a sample's share of an amount of the whole batch, rounded up."""
        return -(-amount // self.batch)

    def held(self, sources: Iterable[str]) -> int:
        """Return the elements a sample that ``sources`` hold together."""
        return sum(self._held[source] for source in sources)

    def unique(self, name: str) -> str:
        """Return ``name``, or a name like it that no layer has yet."""
        name = name.lstrip("*") or "layer"
        chosen, number = name, 2
        while chosen in self._names:
            chosen, number = f"{name}_{number}", number + 1
        self._names.add(chosen)
        return chosen

    # --- Layers ---------------------------------------------------------------------------------------------------------------

    def add(self, layer: Layer, output_elements: int, shape: Shape) -> Value:
        """Append ``layer`` and return the value that it makes."""
        self.layers.append(layer)
        self._held[layer.name] = output_elements
        return Value(shape, (layer.name,))

    def vector(self, name: str, kind: str, reads: Sequence[Value], shape: Shape, ops: int) -> Value:
        """Return work of the vector unit that makes ``shape`` at ``ops`` operations an element."""
        outputs = max(1, self.per_sample(math.prod(shape)))
        layer = Vector(outputs, max(1, ops), kind, name=self.unique(name), inputs=joined(reads))
        return self.add(layer, outputs, shape)

    def view(self, name: str, reads: Sequence[Value], shape: Shape) -> Value:
        """Return the same data in another shape; data that grows (a broadcast, a padding) is copied by the vector unit."""
        sources = joined(reads)
        if not sources:
            return Value(shape, (), constant=True)
        if self.per_sample(math.prod(shape)) > self.held(sources):
            return self.vector(name, "copy", reads, shape, 1)
        return Value(shape, sources)

    def elementwise(self, name: str, reads: Sequence[Value], shape: Shape) -> Value:
        """Return element-wise work. On one layer's output alone it is fused into that layer's write-back, as activations are."""
        data = [value for value in reads if not value.constant]
        origins = {value.sources for value in data}
        if not data:
            return Value(shape, (), constant=True)
        if len(origins) == 1 and origins != {(NETWORK_INPUT,)}:
            return self.view(name, data[:1], shape)
        return self.vector(name, "elementwise", data, shape, 1)

    def gemm(self, name: str, left: Value, depth: int, columns: int, shape: Shape) -> Value:
        """Return rows times a weight matrix of [depth, columns]."""
        rows = max(1, self.per_sample(left.elements // depth))
        layer = Gemm(rows, depth, columns, name=self.unique(name), inputs=self._filled(name, left, rows * depth).sources)
        return self.add(layer, rows * columns, shape)

    def product(self, name: str, left: Value, right: Value, sizes: tuple[int, int, int, int], shape: Shape) -> Value:
        """Return ``sizes`` = (count, m, k, n): count products of two activations, [m, k] x [k, n] of the whole batch."""
        count, m, k, n = sizes
        count = max(1, self.per_sample(count))
        single = self._single(name, self._filled(name, left, count * m * k))
        right = self._filled(name, right, count * k * n)
        layer = BatchedGemm(count, m, k, n, name=self.unique(name), inputs=(*single.sources, *right.sources))
        return self.add(layer, count * m * n, shape)

    def grouped_gemm(self, name: str, left: Value, sizes: tuple[int, int, int, int], shape: Shape) -> Value:
        """Return ``sizes`` = (count, m, k, n): count products with weights of their own, as one convolution in groups."""
        count, m, k, n = sizes
        rows = max(1, self.per_sample(m))
        layer = Conv2d(count * k, count * n, rows, 1, (1, 1), groups=count, name=self.unique(name), inputs=left.sources)
        return self.add(layer, rows * count * n, shape)

    def convolution(self, name: str, data: Value, shape: Shape, made_of: Convolution) -> Value:
        """Return a 2-d convolution of [batch, channels, height, width]. A dilated kernel has the taps, not the extent, of its own.

        The output has the shape that the graph says: the padding is made to fit it.
        """
        _, channels, height, width = data.shape
        _, filters, out_height, out_width = shape
        (high, top, bottom), (wide, left, right) = (
            _fitted(size, kernel, stride, out, before)
            for size, kernel, stride, out, before in (
                (height, made_of.kernel[0], made_of.stride[0], out_height, made_of.padding[0]),
                (width, made_of.kernel[1], made_of.stride[1], out_width, made_of.padding[1]),
            )
        )
        layer = Conv2d(
            channels, filters, high, wide, made_of.kernel, made_of.stride, (top, left, bottom, right), made_of.groups,
            name=self.unique(name), inputs=self._filled(name, data, channels * high * wide).sources,
        )  # fmt: skip
        return self.add(layer, filters * out_height * out_width, shape)

    def transposed_convolution(self, name: str, data: Value, shape: Shape, made_of: Convolution) -> Value:
        """Return a transposed convolution: a product per input position, then the sums of what overlaps, by the vector unit."""
        _, channels, height, width = data.shape
        taps = math.prod(made_of.kernel)
        filters = shape[1]
        spread = Conv2d(
            channels, filters * taps, height, width, (1, 1), groups=made_of.groups, name=self.unique(name), inputs=data.sources
        )  # fmt: skip
        made = self.add(spread, filters * taps * height * width, (data.shape[0], filters * taps, height, width))
        overlaps = -(-taps // math.prod(made_of.stride))
        return self.vector(f"{name}_overlap", "elementwise", [made], shape, overlaps)

    def embedding(self, name: str, indices: Value, table: Shape, shape: Shape) -> Value:
        """Return a look-up of rows of a weight table; indices that are constant are looked up beforehand."""
        if indices.constant:
            return Value(shape, (), constant=True)
        dim, vectors = math.prod(table[1:]), max(1, self.per_sample(indices.elements))
        self.table_weights += math.prod(table)
        layer = Embedding(dim, vectors, name=self.unique(name), inputs=indices.sources)
        return self.add(layer, dim * vectors, shape)

    def recurrent(self, name: str, data: Value, sizes: tuple[int, int, int], cell: str, directions: int) -> tuple[Value, Value]:
        """Return (all outputs, last states) of a recurrent layer; ``sizes`` = (steps, width of the input, hidden units).

        Shapes are left as [batch * steps * units] and [batch * units]: views by the graph follow. LSTM cells are the library's; of
        a GRU or a plain cell the gates are fewer.
        """
        steps, width, hidden = sizes
        layer = self.unique(name)
        if cell == "LSTM" and directions == 2:
            layers, outputs = bidirectional_layer(layer, data.sources, width, hidden, steps)
            states = (hidden_state(f"{layer}_forward"), hidden_state(f"{layer}_backward"))
        elif cell == "LSTM":
            layers, output = lstm_layer(layer, data.sources, width, hidden, steps)
            outputs, states = (output,), (hidden_state(layer),)  # type: ignore[assignment]
        else:
            layers, outputs, states = _simple_cells(layer, data.sources, sizes, cell, directions)  # type: ignore[assignment]
        self.layers.extend(layers)
        for output, state in zip(outputs, states, strict=True):
            self._held[output], self._held[state] = steps * hidden, hidden
            self._names |= {output, state}
        units = directions * hidden
        return Value((self.batch * steps * units,), tuple(outputs)), Value((self.batch * units,), tuple(states))

    # --- The end --------------------------------------------------------------------------------------------------------------

    def network(self) -> Network:
        """Return the network; raises :class:`ModelError` where nothing was lowered."""
        if not self.layers:
            raise ModelError(f"{self.where}: no operation of it does any work on an NPU.")
        return Network(self.name, max(1, self._held[NETWORK_INPUT]), tuple(self.layers))

    def skip(self, node: str, operation: str, macs: int | None, reads: Sequence[Value], shape: Shape) -> Value:
        """Note an operation that can't be lowered, and pass its inputs on."""
        self.unsupported.append(Unsupported(node, operation, None if macs is None else self.per_sample(macs)))
        return self.view(node, [value for value in reads if not value.constant], shape)

    def _filled(self, name: str, value: Value, needed: int) -> Value:
        """Return ``value``, copied to ``needed`` elements a sample where its sources hold fewer."""
        if not value.sources:
            raise ModelError(f"{self.where}: {name!r} multiplies constants only, and should have been folded before export.")
        if needed <= self.held(value.sources):
            return value
        return self.vector(f"{name}_copy", "copy", [value], (self.batch * needed,), 1)

    def _single(self, name: str, value: Value) -> Value:
        """Return ``value`` in one tensor: a product's left operand can't be spread over several."""
        return value if len(value.sources) == 1 else self.vector(f"{name}_joined", "copy", [value], value.shape, 1)


def _simple_cells(
    layer: str, inputs: tuple[str, ...], sizes: tuple[int, int, int], cell: str, directions: int
) -> tuple[list[Loop], list[str], list[str]]:
    """Return (loops, output sequences, states) of GRU or plain recurrent cells."""
    steps, width, hidden = sizes
    gates, ops = {"GRU": (3, 8), "RNN": (1, 2)}[cell]
    loops, outputs, states = [], [], []
    for suffix in ("", "_backward")[:directions]:
        state = hidden_state(f"{layer}{suffix}")
        gemm = Gemm(1, width + hidden, gates * hidden, name=f"{layer}{suffix}_gemm", inputs=(*inputs, state))
        body = (gemm, Vector(hidden, ops, kind="gates", name=state, inputs=(gemm.name,)))
        loops.append(Loop(f"{layer}{suffix}", steps, body, collect=(state,)))
        outputs.append(f"{layer}{suffix}.{state}")
        states.append(state)
    return loops, outputs, states


def _fitted(size: int, kernel: int, stride: int, out: int, before: int) -> tuple[int, int, int]:
    """Return (input size, padding before, padding after) of an axis of a convolution that has ``out`` outputs."""
    covered = (out - 1) * stride + kernel
    before = min(before, max(0, covered - 1))
    after = covered - size - before
    if after >= 0:
        return size, before, after
    # A dilated kernel without padding: as its taps lie together here, the last rows have no part in any output.
    needed = size if (size + before - kernel) // stride + 1 == out else covered - before
    return needed, before, 0


def joined(reads: Iterable[Value]) -> tuple[str, ...]:
    """Return the sources of all values, each once, in order."""
    return tuple(dict.fromkeys(source for value in reads for source in value.sources))


def checked_shape(network: str, tensor: str, shape: Sequence[int]) -> Shape:
    """Return ``shape``; raises :class:`ModelError` unless it is whole numbers of at least 1, and not absurdly many elements."""
    sizes = tuple(shape)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ModelError(f"{network}: tensor {tensor!r} has the shape {sizes}: every extent must be known and at least 1.")
    if math.prod(sizes) > MOST_ELEMENTS:
        raise ModelError(f"{network}: tensor {tensor!r} of shape {sizes} has more than 2^40 elements.")
    return sizes
