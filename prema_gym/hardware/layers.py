"""Layer shapes: what a network is made of, before any hardware is chosen.

A :class:`Network` is a sequence of layers in program order. Each layer produces one tensor, called by the layer's name, and reads
the tensors in ``inputs`` (by default the one produced just before it; the first layer reads the network's input, ``"input"``).
Shapes are *per sample*: compiling for a batch multiplies the rows of every GEMM and the elements of every tensor. Joining tensors
(concatenation) costs nothing: a consumer names all of them in ``inputs``. Bias, folded batch norm and activation are fused into
the write-back of the layer before them, so they are not layers here.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from prema_gym.checks import plain

NETWORK_INPUT = "input"
"""Name of the tensor that holds the network's input; it starts in DRAM."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerBase:
    """What every layer has."""

    name: str = ""
    """Unique in its network; an empty name is filled in from the layer's kind and index."""
    inputs: tuple[str, ...] = ()
    """Names of the tensors read. Empty: the tensor produced just before. Inside a :class:`Loop`, a name that belongs to a
    collected sequence of an earlier loop, or to the input, reads that step's slice; prefix ``*`` reads all of it in every step.
    A name of a later layer of the same body, or the layer's own, reads the state that the previous step left."""

    def __post_init__(self) -> None:
        """Make NumPy's numbers Python's own: sizes are multiplied, and those would overflow in silence."""
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))


@dataclasses.dataclass(frozen=True)
class Gemm(LayerBase):
    """Rows times a weight matrix: [batch*m, k] x [k, n]. A fully connected layer has m = 1."""

    m: int
    k: int
    n: int


@dataclasses.dataclass(frozen=True)
class BatchedGemm(LayerBase):
    """``count`` products per sample of two activations, [m, k] x [k, n] (attention): no weights, nothing shared over the batch.

    ``inputs`` names the left tensor, then the right one, whose tiles are loaded into the array as weights would be.
    """

    count: int
    m: int
    k: int
    n: int


@dataclasses.dataclass(frozen=True)
class Conv2d(LayerBase):
    """2-d convolution over [in_channels, height, width]; depthwise when groups == in_channels > 1."""

    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    groups: int = 1

    @property
    def out_height(self) -> int:
        """OH: rows of the output."""
        return (self.height + self.padding[0] + self.padding[2] - self.kernel[0]) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        """OW: columns of the output."""
        return (self.width + self.padding[1] + self.padding[3] - self.kernel[1]) // self.stride[1] + 1

    @property
    def is_depthwise(self) -> bool:
        """Whether every input channel has its own filters."""
        return self.groups == self.in_channels > 1


@dataclasses.dataclass(frozen=True)
class Vector(LayerBase):
    """Work of the vector unit: ``outputs`` elements at ``ops_per_output`` operations each.

    Pooling has its window as ``ops_per_output``, element-wise work 1, softmax 4, LSTM gates 10 per hidden unit.
    """

    outputs: int
    ops_per_output: int
    kind: str = "elementwise"
    """What it is, for tables: "pool", "elementwise", "softmax", "gates", "norm"."""


@dataclasses.dataclass(frozen=True)
class Embedding(LayerBase):
    """A look-up of ``vectors`` rows of ``dim`` elements per sample: data movement only."""

    dim: int
    vectors: int = 1


@dataclasses.dataclass(frozen=True)
class Loop:
    """``body`` run ``steps`` times, one step after the other: a recurrent layer.

    ``steps=None`` is the network's *output loop*: its count is the output length, known when a task runs, and it must be the last
    layer. For every name in ``collect``, the sequence of that body layer's outputs over all steps becomes the tensor
    ``"<loop name>.<layer name>"``, which later layers may read whole; a later loop reads it one step at a time, in equal shares if
    its own count of steps differs (a pyramid). Tensors of the body are free after the step's last reader, states after the loop.
    """

    name: str
    steps: int | None
    body: tuple[Layer, ...]
    collect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make a count of NumPy's Python's own."""
        object.__setattr__(self, "steps", plain(self.steps))


Layer: TypeAlias = Gemm | BatchedGemm | Conv2d | Vector | Embedding


@dataclasses.dataclass(frozen=True)
class Network:
    """Layers in program order, with the size of the input per sample."""

    name: str
    input_elements: int
    layers: tuple[Layer | Loop, ...]

    def __post_init__(self) -> None:
        """Make a size of NumPy's Python's own."""
        object.__setattr__(self, "input_elements", plain(self.input_elements))
