"""Names to numbers: which node produces which tensor, who reads it, and until when it is needed.

A node is one layer; the body of a loop is listed once. A tensor is what a node produces in one pass, or the sequence that a loop
collects. The rules for names are those of :mod:`prema_gym.hardware.layers`. In addition: inside a loop every tensor from outside
is read one step's share at a time, unless its name has the prefix ``*``; the plain name of a body layer, read after its loop, is
the value of the last step; without ``inputs``, a layer after a loop reads the last collected sequence, or else that value,
and the first layer of the output loop, which has no count of steps to share by, reads whole what came before it.
"""

from __future__ import annotations

import dataclasses

from prema_gym.checks import whole
from prema_gym.errors import ModelError, shown, unknown_name
from prema_gym.hardware.compiler.shapes import MOST_ELEMENTS, check_layer, input_elements, output_elements
from prema_gym.hardware.layers import NETWORK_INPUT, Embedding, Gemm, Layer, LayerBase, Loop, Network

INPUT = 0
"""Index of the network's input among the tensors."""
OUTSIDE = -1
"""Loop index of everything that belongs to no loop."""
MOST_STEPS = 1 << 20
"""Of a loop."""


@dataclasses.dataclass(slots=True)
class Tensor:
    """One tensor per pass of its producer, or (``members`` not empty) the sequence that a loop collects."""

    name: str
    elements: int
    """Per sample; of a sequence, all steps together."""
    producer: int = -1
    """Node; -1 for the input and for sequences."""
    loop: int = OUTSIDE
    """Of its producer; sequences belong outside."""
    members: tuple[int, ...] = ()
    """Of a sequence: the body tensor whose values it holds."""
    sequence: int = -1
    """The sequence that collects this body tensor."""
    readers: list[int] = dataclasses.field(default_factory=list)
    output: bool = False
    """Whether it leaves the chip as (part of) the network's output."""
    persistent: bool = False
    """A body tensor that outlives its step: a state, or read after the loop."""
    free_after: int = -1
    """Node after which nobody needs it."""


@dataclasses.dataclass(slots=True)
class Read:
    """One tensor that a node reads in one pass."""

    tensor: int
    elements: int
    """Per sample: its share of the tensor."""
    lagged: bool
    """Whether it is the value that the previous step left."""


@dataclasses.dataclass(slots=True)
class Node:
    """One layer."""

    layer: Layer
    name: str
    loop: int
    tensor: int
    reads: list[Read] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class LoopNodes:
    """The nodes ``first`` up to, not including, ``end`` run ``steps`` times (None: as often as the output is long)."""

    name: str
    steps: int | None
    first: int
    end: int
    sequences: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Graph:
    """A network with its names resolved."""

    name: str
    nodes: list[Node]
    tensors: list[Tensor]
    loops: list[LoopNodes]

    def stretches(self) -> list[tuple[int, int, int]]:
        """Return (loop, first node, end node) in program order; the nodes between two loops are one stretch."""
        spans: list[tuple[int, int, int]] = []
        for i, node in enumerate(self.nodes):
            if spans and spans[-1][0] == node.loop:
                spans[-1] = (node.loop, spans[-1][1], i + 1)
            else:
                spans.append((node.loop, i, i + 1))
        return spans


def resolve(network: Network) -> Graph:
    """Return the graph of ``network``; raises :class:`ModelError` where its layers do not fit together."""
    return _Builder(network).build()


class _Builder:
    def __init__(self, network: Network) -> None:
        self.network = network
        elements = whole(f"network {network.name!r}: input_elements", network.input_elements, 1, MOST_ELEMENTS, error=ModelError)
        self.tensors = [Tensor(NETWORK_INPUT, elements)]
        self.names = {NETWORK_INPUT: INPUT}
        self.nodes: list[Node] = []
        self.loops: list[LoopNodes] = []
        self.previous = INPUT

    def build(self) -> Graph:
        items = self.network.layers
        if not isinstance(items, (tuple, list)):
            raise ModelError(f"network {self.network.name!r}: layers = {shown(items)}: must be a list of layers.")
        if not items:
            raise ModelError(f"network {self.network.name!r} has no layers: it needs at least one.")
        for position, item in enumerate(items):
            if isinstance(item, Loop):
                self._add_loop(item, last=position == len(items) - 1)
            else:
                self._add_node(item, OUTSIDE)
                self._connect(self.nodes[-1], self.nodes[-1].layer.inputs)
                self.previous = self.nodes[-1].tensor
        self._mark_outputs(items[-1])
        self._mark_lifetimes()
        return Graph(self.network.name, self.nodes, self.tensors, self.loops)

    def _error(self, text: str) -> ModelError:
        return ModelError(f"network {self.network.name!r}: {text}")

    def _claim(self, name: str, tensor: int) -> None:
        if name in self.names:
            raise self._error(f"two layers are called {name!r}: names must differ.")
        self.names[name] = tensor

    def _add_node(self, layer: Layer, loop: int) -> None:
        if not isinstance(layer, LayerBase):
            raise self._error(
                f"{shown(layer)} is no layer: allowed are Gemm, BatchedGemm, Conv2d, Vector, Embedding and, outermost, Loop."
            )
        name = layer.name or f"{type(layer).__name__.lower()}{len(self.nodes)}"
        if not isinstance(name, str) or name.startswith("*"):
            raise self._error(f"a layer is called {shown(name)}: a name must be a string that does not start with '*'.")
        check_layer(layer, name)
        tensor = len(self.tensors)
        self._claim(name, tensor)
        self.tensors.append(Tensor(name, output_elements(layer), len(self.nodes), loop))
        self.nodes.append(Node(layer, name, loop, tensor))

    def _add_loop(self, loop: Loop, last: bool) -> None:
        steps = loop.steps
        for field, kind in (("body", "layers"), ("collect", "names")):
            if not isinstance(getattr(loop, field), (tuple, list)):
                raise self._error(f"loop {shown(loop.name)}: {field} = {shown(getattr(loop, field))}: must be a tuple of {kind}.")
        if not isinstance(loop.name, str):
            raise self._error(f"a loop is called {shown(loop.name)}: a name must be a string.")
        if steps is not None:
            whole(f"network {self.network.name!r}: loop {loop.name!r}: steps", steps, 1, MOST_STEPS, error=ModelError)
        if steps is None and not last:
            raise self._error(f"loop {loop.name!r} has steps = None: the output loop must be the last layer.")
        if not loop.body:
            raise self._error(f"loop {loop.name!r} has an empty body: it needs at least one layer.")
        index, first = len(self.loops), len(self.nodes)
        for layer in loop.body:
            self._add_node(layer, index)
        nodes = LoopNodes(loop.name, steps, first, len(self.nodes))
        self.loops.append(nodes)
        for node in self.nodes[first:]:
            self._connect(node, node.layer.inputs)
            self.previous = node.tensor
        self._collect(loop, nodes)

    def _collect(self, loop: Loop, nodes: LoopNodes) -> None:
        body = {node.name: node.tensor for node in self.nodes[nodes.first : nodes.end]}
        for name in loop.collect:
            if not isinstance(name, str) or name not in body:
                raise self._error(f"loop {loop.name!r} collects an {unknown_name('layer of its body', name, body)}")
            member = self.tensors[body[name]]
            if loop.steps is None:
                member.output = True
                continue
            sequence = len(self.tensors)
            self._claim(f"{loop.name}.{name}", sequence)
            self.tensors.append(Tensor(f"{loop.name}.{name}", member.elements * loop.steps, members=(body[name],)))
            member.sequence = sequence
            nodes.sequences.append(sequence)
            self.previous = sequence

    def _connect(self, node: Node, names: tuple[str, ...]) -> None:
        if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
            raise self._error(f"layer {node.name!r}: inputs = {shown(names)}: must be a tuple of names.")
        position = self.tensors[node.tensor].producer
        pairs = [(name.removeprefix("*"), name.startswith("*")) for name in names]
        found = [(self._look_up(name, node), entire) for name, entire in pairs] or [(self.previous, self._is_open(node))]
        for tensor, entire in found:
            source = self.tensors[tensor]
            inside = source.loop == node.loop and source.loop != OUTSIDE
            lagged = inside and source.producer >= position
            share = source.elements
            sliced = node.loop != OUTSIDE and source.loop == OUTSIDE and not entire
            if sliced:
                steps = self.loops[node.loop].steps
                if steps is None:
                    raise self._error(
                        f"layer {node.name!r} reads {source.name!r} step by step in the output loop: read '*{source.name}'."
                    )
                share = -(-share // steps)
            node.reads.append(Read(tensor, share, lagged))
            source.readers.append(position)
            if source.loop != OUTSIDE and (lagged or not inside):
                source.persistent = True
        self._check_reads(node)

    def _is_open(self, node: Node) -> bool:
        return node.loop != OUTSIDE and self.loops[node.loop].steps is None

    def _look_up(self, name: str, node: Node) -> int:
        if name not in self.names:
            raise self._error(f"layer {node.name!r} reads an {unknown_name('tensor', name, self.names)}")
        tensor = self.names[name]
        if node.loop == OUTSIDE and self.tensors[tensor].producer >= self.tensors[node.tensor].producer:
            raise self._error(f"layer {node.name!r} reads its own output {name!r}: only the layers of a loop can.")
        return tensor

    def _check_reads(self, node: Node) -> None:
        # A step's share of a pyramid's sequence is rounded, so only whole tensors are held against the layer's shape.
        if isinstance(node.layer, Embedding) or any(read.elements != self.tensors[read.tensor].elements for read in node.reads):
            return
        needed, held = input_elements(node.layer), sum(read.elements for read in node.reads)
        if needed > held + self._padding(node):
            given = ", ".join(self.tensors[read.tensor].name for read in node.reads)
            raise self._error(f"layer {node.name!r} reads {needed} elements a sample, but its inputs ({given}) hold {held}.")

    def _padding(self, node: Node) -> int:
        """Return the elements that zeros may make up for: less than a row, where a GEMM reads a sequence (a hoisted pyramid)."""
        over_sequence = all(self.tensors[read.tensor].members for read in node.reads)
        return node.layer.k - 1 if isinstance(node.layer, Gemm) and node.layer.m > 1 and over_sequence else 0

    def _mark_outputs(self, last: Layer | Loop) -> None:
        for tensor in self.tensors[1:]:
            if tensor.loop == OUTSIDE and not tensor.readers:
                tensor.output = True
        if isinstance(last, Loop) and not last.collect:
            self.tensors[self.nodes[-1].tensor].output = True

    def _mark_lifetimes(self) -> None:
        for tensor in self.tensors:
            ends = [self._reader_end(tensor, reader) for reader in tensor.readers]
            if tensor.persistent:
                ends.append(self.loops[tensor.loop].end - 1)
            tensor.free_after = max([*ends, tensor.producer])
        for tensor in self.tensors:
            for member in tensor.members:
                inside = self.tensors[member]
                # A state that is collected lives in the sequence, which therefore lasts as long as the state.
                end = self.loops[inside.loop].end - 1
                tensor.free_after = max(tensor.free_after, end, inside.free_after)

    def _reader_end(self, tensor: Tensor, reader: int) -> int:
        loop = self.nodes[reader].loop
        return reader if loop in (OUTSIDE, tensor.loop) else self.loops[loop].end - 1
