"""Networks to operations: names, work and residency together, layer by layer, with account of what lives on the chip.

A resident tensor counts from the operation that produces it, byte by byte, to the last one of its last consumer; what outlives
the step of a loop (a state, a value read later) counts whole from its first step to the end of the loop. So do weights of a loop
that stay in WBUF, from the operation on that loads them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from prema_gym.checks import whole
from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError
from prema_gym.hardware.compiler.emission import EMITTED, OPERATION, emit
from prema_gym.hardware.compiler.graph import OUTSIDE, Graph, LoopNodes, Tensor, resolve
from prema_gym.hardware.compiler.residency import RESIDENT, SPILLED, Residency, plan_residency
from prema_gym.hardware.compiler.shapes import DMA, GEMM, Ints, Work, check_work, chunk_inputs, layer_work
from prema_gym.hardware.compiler.weight_loading import array_timing, keeps_loop, keeps_weights
from prema_gym.hardware.layers import BatchedGemm, Network

MAX_OPERATIONS = 4_000_000
"""Of one network with its loops written once; more is taken for a mistake in a shape."""
MOST_EXECUTED = 1 << 30
"""Operations of one network, loops run to their end."""
MOST_BATCH = 1 << 20
"""Samples that may run together."""


@dataclasses.dataclass(frozen=True)
class Lowering:
    """A network lowered to one NPU at one batch."""

    network: Network
    graph: Graph
    works: list[Work]
    residency: Residency
    batch: int
    npu: NPUConfig
    stretches: list[Stretch]
    output_length: int

    def passes(self, node: int) -> int:
        """Times that ``node`` runs, at the longest output."""
        loop = self.graph.nodes[node].loop
        if loop == OUTSIDE:
            return 1
        return self.graph.loops[loop].steps or self.output_length


@dataclasses.dataclass(frozen=True)
class Stretch:
    """The operations of a loop's body, or of the nodes between two loops."""

    loop: LoopNodes | None
    operations: np.ndarray
    """(ops,) OPERATION."""
    first_operation: Ints
    """(nodes + 1,) of this stretch's nodes."""
    first_node: int
    growth_save_bytes: int
    """On the chip for good at every pass: what collected sequences grow by, without a copy in memory."""
    growth_clean_bytes: int


def check_batch(batch: object) -> int:
    """Return ``batch`` as an int; raises :class:`ModelError` unless it is a whole number of at least 1.

    It is multiplied by sizes, and a short NumPy integer would overflow.
    """
    return whole("batch", batch, 1, MOST_BATCH, error=ModelError)


def network_works(network: Network, batch: int, npu: NPUConfig) -> tuple[Graph, list[Work]]:
    """Return the resolved names and the work of one pass over every node; loops are written once."""
    batch = check_batch(batch)
    graph = resolve(network)
    works = [layer_work(node.layer, batch, npu) for node in graph.nodes]
    for node, work in zip(graph.nodes, works, strict=True):
        check_work(work, node.name)
    return graph, works


def lower(network: Network, batch: int, npu: NPUConfig, output_length: int = 1) -> Lowering:
    """Return the operations of ``network``; ``output_length`` is the longest that its open loop is to run."""
    batch = check_batch(batch)
    graph, works = network_works(network, batch, npu)
    operations = sum(work.operations(npu) for work in works)
    if operations > MAX_OPERATIONS:
        raise ModelError(f"network {network.name!r} needs {operations} operations: at most {MAX_OPERATIONS} are supported.")
    passes = [1 if node.loop == OUTSIDE else graph.loops[node.loop].steps or output_length for node in graph.nodes]
    executed = sum(times * work.operations(npu) for times, work in zip(passes, works, strict=True))
    if executed > MOST_EXECUTED:
        raise ModelError(f"network {network.name!r} executes {executed} operations: at most {MOST_EXECUTED} are supported.")
    inputs = [chunk_inputs(node.layer, work, batch, npu) for node, work in zip(graph.nodes, works, strict=True)]
    residency = plan_residency(graph, works, inputs, batch, npu, output_length)
    lowered = _Lowerer(graph, works, inputs, residency, batch, npu)
    return Lowering(network, graph, works, residency, batch, npu, lowered.stretches(), output_length)


@dataclasses.dataclass
class _Pass:
    """What a pass over a stretch holds on the chip besides what its nodes produce; pairs are bytes (without, with) a copy."""

    loop: LoopNodes | None
    weights: list[int]
    """(nodes,) that each node leaves in WBUF for the later passes."""
    ahead: list[int] = dataclasses.field(default_factory=lambda: [0, 0])
    """Persistent tensors that the running pass has not renewed yet: the previous pass left them."""
    growth: list[int] = dataclasses.field(default_factory=lambda: [0, 0])
    """Collected by one pass."""


class _Lowerer:
    """Walks the nodes in program order and keeps account of what lives on the chip."""

    def __init__(
        self, graph: Graph, works: list[Work], inputs: list[Ints], residency: Residency, batch: int, npu: NPUConfig
    ) -> None:
        self.graph, self.works, self.inputs, self.npu = graph, works, inputs, npu
        self.scale = batch * npu.operand_bytes
        self.resident = residency.resident.tolist()
        self.staged = residency.staged.tolist()
        self.frees: list[list[Tensor]] = [[] for _ in graph.nodes]
        for index, tensor in enumerate(graph.tensors):
            if self.resident[index] == RESIDENT and not self._inside(tensor):
                self.frees[tensor.free_after].append(tensor)
        self.live = [0, 0]
        """Bytes (without, with) a copy in memory."""

    def stretches(self) -> list[Stretch]:
        return [self._stretch(*span) for span in self.graph.stretches()]

    def _inside(self, tensor: Tensor) -> bool:
        return tensor.sequence >= 0 and self.resident[tensor.sequence] == RESIDENT

    def _is_clean(self, tensor: Tensor) -> bool:
        """Whether memory holds a copy of a resident tensor: it is stored too, or it was looked up in a table there."""
        producer = self.graph.tensors[tensor.members[0]].producer if tensor.members else tensor.producer
        return self.works[producer].unit == DMA or self._stores(tensor)

    def _stores(self, tensor: Tensor) -> bool:
        if tensor.members:
            return False
        spilled = self.resident[self.graph.nodes[tensor.producer].tensor] == SPILLED
        return tensor.output or spilled or (tensor.sequence >= 0 and self.resident[tensor.sequence] == SPILLED)

    def _stretch(self, loop: int, first: int, end: int) -> Stretch:
        graph = self.graph
        nodes = None if loop == OUTSIDE else graph.loops[loop]
        held = _Pass(nodes, self._kept_weights(loop, first, end))
        for node in graph.nodes[first:end]:
            tensor = graph.tensors[node.tensor]
            if self.resident[node.tensor] == RESIDENT and nodes is not None:
                kind = self._is_clean(tensor)
                if self._inside(tensor):
                    held.growth[kind] += tensor.elements * self.scale
                elif tensor.persistent:
                    held.ahead[kind] += tensor.elements * self.scale
        table = np.zeros(end - first, EMITTED)
        chunks: list[Ints] = []
        counts = [0]
        for i in range(first, end):
            table[i - first] = self._emit_record(i, i - first, held, sum(len(chunk) for chunk in chunks))
            chunks.append(self._chunk_bytes(i))
            counts.append(counts[-1] + self.works[i].operations(self.npu))
        self._leave(nodes, end, held.growth)
        operations = np.zeros(counts[-1], OPERATION)
        emit(operations, first, table, np.concatenate(chunks), *_array(self.npu))
        return Stretch(nodes, operations, np.array(counts, np.int64), first, held.growth[0], held.growth[1])

    def _kept_weights(self, loop: int, first: int, end: int) -> list[int]:
        """Return (nodes,) bytes of weights that each node of [first, end) leaves in WBUF for the later passes of its loop."""
        if loop == OUTSIDE or not keeps_loop(self.works[first:end], self.graph.loops[loop].steps, self.npu):
            return [0] * (end - first)
        return [work.right_elements * self.npu.operand_bytes * work.has_weights for work in self.works[first:end]]

    def _leave(self, loop: LoopNodes | None, end: int, growth: list[int]) -> None:
        """After the last pass of a loop: sequences are whole, and what only the loop needed is free."""
        if loop is None:
            return
        for kind in (0, 1):
            self.live[kind] += growth[kind] * ((loop.steps or 1) - 1)
        for tensor in self.frees[end - 1]:
            if tensor.loop == OUTSIDE or tensor.persistent:
                self.live[self._is_clean(tensor)] -= tensor.elements * self.scale

    def _emit_record(self, i: int, place: int, held: _Pass, first_chunk: int) -> tuple[int, ...]:
        """Return the record of node ``i``, which has the given ``place`` in its stretch."""
        node, work = self.graph.nodes[i], self.works[i]
        tensor = self.graph.tensors[node.tensor]
        nbytes = tensor.elements * self.scale
        resident = self.resident[node.tensor] == RESIDENT
        kind = int(resident and self._is_clean(tensor))
        renewed = resident and tensor.persistent and held.loop is not None and not self._inside(tensor)
        first = (self.live[0], self.live[1] + sum(held.weights[:place]))
        later = [self.live[k] + held.ahead[k] + held.growth[k] for k in (0, 1)]
        later[1] += sum(held.weights)
        progress = (int(resident and kind == 0), int(resident and kind == 1))
        later_progress = (0, 0) if renewed else progress
        if renewed:
            held.ahead[kind] -= nbytes
        if resident:
            self.live[kind] += nbytes
        drop = self._drops(i, held.loop)
        for k in (0, 1):
            self.live[k] -= drop[k]
        right = self._right_spilled(i)
        shape = (work.unit, work.rows, work.groups, work.k, work.n, work.last_k, work.last_n, work.elements, work.ops_per_element)
        keeps = int(keeps_weights(work, self.npu)) if work.unit == GEMM else 0
        stores = int(self._stores(tensor))
        flags = (*right, keeps, int(held.weights[place] > 0), self.staged[i], stores, int(stores and resident), first_chunk)
        return (*shape, *flags, *progress, *later_progress, *first, *later, *drop)

    def _drops(self, i: int, loop: LoopNodes | None) -> tuple[int, int]:
        """Return the bytes (without, with a copy) that nobody needs after the last operation of node ``i``."""
        drop = [0, 0]
        for tensor in self.frees[i]:
            if loop is None or (tensor.loop != OUTSIDE and not tensor.persistent):
                drop[self._is_clean(tensor)] += tensor.elements * self.scale
        return drop[0], drop[1]

    def _right_spilled(self, i: int) -> tuple[int, int]:
        """Return (spilled, all) elements of what fills the array's tiles; weights are always in memory."""
        node, work = self.graph.nodes[i], self.works[i]
        if work.unit != GEMM:
            return 0, 1
        if work.has_weights:
            return 1, 1
        reads = node.reads[1:] or node.reads
        spilled = sum(read.elements for read in reads if self.resident[read.tensor] == SPILLED)
        total = sum(read.elements for read in reads)
        shared = math.gcd(spilled, total)
        return spilled // shared, total // shared

    def _chunk_bytes(self, i: int) -> Ints:
        """Return (chunks,) bytes of spilled inputs that each row chunk, or operation of other units, loads."""
        node, work = self.graph.nodes[i], self.works[i]
        left = node.reads[:1] if isinstance(node.layer, BatchedGemm) else node.reads
        total = sum(read.elements for read in left)
        spilled = sum(read.elements for read in left if self.resident[read.tensor] == SPILLED)
        chunks = work.chunks(self.npu)
        if spilled == 0 or work.unit == DMA:
            return np.zeros(chunks, np.int64)
        if work.unit == GEMM:
            ends = np.cumsum(self.inputs[i]) * self.npu.operand_bytes
        else:
            done = np.minimum(np.arange(1, chunks + 1) * self.npu.accumulator_rows * self.npu.array_cols, work.elements)
            ends = _scaled(done, total * self.scale, work.elements)
        ends = ends if spilled == total else _scaled(ends, spilled, total)
        return np.diff(ends, prepend=0)


def _scaled(values: Ints, numerator: int, denominator: int) -> Ints:
    """Return floor(values * numerator / denominator), in Python integers where 64 bits might not do."""
    if int(values[-1]) * numerator < 1 << 62:
        return values * numerator // denominator
    return np.array([int(value) * numerator // denominator for value in values], np.int64)


def _array(npu: NPUConfig) -> tuple[Any, ...]:
    """Return what :func:`emit` wants to know of the NPU."""
    sizes = ((npu.array_rows, npu.array_cols), npu.accumulator_rows, npu.vector_lanes, npu.operand_bytes, npu.accumulator_bytes)
    return (*sizes, array_timing(npu))
