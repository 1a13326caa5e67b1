"""Which tensors stay on the chip: greedy in program order, at the buffer capacity that moves the fewest bytes.

When a tensor is produced it stays in the unified buffer (UBUF) if, with what lives there, it leaves room for the layer's two
staging chunks; otherwise it is written to memory once and read by every use. Nothing is evicted; a tensor is free after its last
consumer. A row chunk of a spilled input is staged whole if two of them fit beside what lives there, else in slices along K.

Plain greedy is not monotone: more room may admit a tensor that blocks better ones. So the plan is greedy's at that capacity, up to
the buffer's size, which moves the fewest bytes; ties go to the largest, which is plain greedy at the full size. As greedy's answer
changes only where one of its comparisons does, all answers are found by going down from comparison to comparison.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from prema_gym._jit import jit
from prema_gym.config import NPUConfig
from prema_gym.hardware.compiler.graph import INPUT, OUTSIDE, Graph, Read
from prema_gym.hardware.compiler.shapes import DMA, GEMM, Ints, Work
from prema_gym.hardware.compiler.weight_loading import keeps_weights
from prema_gym.hardware.layers import BatchedGemm

_TENSOR = np.dtype(
    [
        ("total_bytes", np.int64),  # of the whole batch; of a body tensor, one pass
        ("sequence", np.int32),  # that collects it, or -1
        ("output", np.bool_),  # stored whatever happens
        ("read", np.bool_),  # by anybody
    ]
)
_NODE = np.dtype(
    [
        ("passes", np.int64),  # times it runs
        ("input_bytes", np.int64),  # of the left operand in one pass, all chunks, halos included
        ("chunk_bytes", np.int64),  # the largest chunk
        ("slice_bytes", np.int64),  # the largest slice along K of that chunk
        ("reads_again", np.int64),  # times a chunk is read where it is not staged whole
        ("right_bytes", np.int64),  # of a batched GEMM's right operand
        ("right_loads", np.int64),  # times it is loaded in one pass
        ("first_left", np.int32),  # into the table of reads
        ("first_right", np.int32),
        ("end_reads", np.int32),
        ("first_entry", np.int32),  # into the list of tensors decided before this node (states and sequences of its loop)
        ("end_entry", np.int32),
        ("loop_end", np.int32),  # end node of the loop that starts here, for those
        ("first_free", np.int32),  # into the list of tensors that are free after this node
        ("end_free", np.int32),
        ("tensor", np.int32),  # produced here
    ]
)
_READ = np.dtype([("tensor", np.int32), ("elements", np.int64)])

UNDECIDED, SPILLED, RESIDENT = -1, 0, 1


@dataclasses.dataclass(frozen=True)
class Residency:
    """Where every tensor lives, and how every node reads."""

    resident: Ints
    """(tensors,) 1 in UBUF, 0 in memory; of a collected body tensor 1 also where it lives in its resident sequence."""
    staged: Ints
    """(nodes,) 1 where spilled row chunks are loaded once, 0 where every operation loads its slice."""
    capacity_bytes: int
    """The capacity that greedy was played at."""
    activation_bytes: int
    """Memory traffic apart from weights and look-ups, at the longest output."""


def plan_residency(
    graph: Graph, works: list[Work], inputs: list[Ints], batch: int, npu: NPUConfig, output_length: int
) -> Residency:
    """Return the plan. ``inputs`` holds, per node, the left operand's elements of every chunk."""
    nodes, reads, entries, frees = _node_table(graph, works, inputs, batch, npu, output_length)
    tensors = _tensor_table(graph, batch, npu.operand_bytes)
    resident = np.empty(len(tensors), np.int64)
    staged = np.empty(len(nodes), np.int64)
    best, capacity = _search(npu.ubuf_bytes, tensors, nodes, reads, entries, frees, resident, staged)
    return Residency(resident, staged, int(capacity), int(best))


def _tensor_table(graph: Graph, batch: int, operand_bytes: int) -> np.ndarray:
    scale = batch * operand_bytes
    rows = [(t.elements * scale, t.sequence, t.output, bool(t.readers)) for t in graph.tensors]
    return np.array(rows, _TENSOR)


def _node_table(
    graph: Graph, works: list[Work], inputs: list[Ints], batch: int, npu: NPUConfig, output_length: int
) -> tuple[np.ndarray, np.ndarray, Ints, Ints]:
    table = np.zeros(len(graph.nodes), _NODE)
    reads: list[tuple[int, int]] = []
    entries: list[int] = []
    frees: list[int] = []
    free_after: list[list[int]] = [[] for _ in graph.nodes]
    for index, tensor in enumerate(graph.tensors):
        if index != INPUT:
            free_after[tensor.free_after].append(index)
    for i, (node, work) in enumerate(zip(graph.nodes, works, strict=True)):
        loop = None if node.loop == OUTSIDE else graph.loops[node.loop]
        passes = 1 if loop is None else output_length if loop.steps is None else loop.steps
        left = 1 if isinstance(node.layer, BatchedGemm) and len(node.reads) > 1 else len(node.reads)
        right = 0 if isinstance(node.layer, BatchedGemm) and len(node.reads) == 1 else left
        first_left, first_entry, first_free = len(reads), len(entries), len(frees)
        reads += [(read.tensor, read.elements) for read in node.reads]
        if loop is not None and loop.first == i:
            entries += loop.sequences
            members = [node.tensor for node in graph.nodes[i : loop.end]]
            entries += [t for t in members if graph.tensors[t].persistent or graph.tensors[t].sequence >= 0]
        frees += free_after[i]
        shape = _read_shape(node.reads, work, inputs[i], batch, npu)
        spans = (
            first_left,
            first_left + right,
            len(reads),
            first_entry,
            len(entries),
            loop.end if loop else 0,
            first_free,
            len(frees),
        )
        table[i] = (passes, *shape, *spans, node.tensor)
    return table, np.array(reads, _READ), np.array(entries, np.int64), np.array(frees, np.int64)


def _read_shape(reads: list[Read], work: Work, inputs: Ints, batch: int, npu: NPUConfig) -> tuple[int, ...]:
    """Return (input_bytes, chunk_bytes, slice_bytes, reads_again, right_bytes, right_loads) of one pass."""
    scale = npu.operand_bytes
    if work.unit == DMA:
        return 0, 0, 0, 1, 0, 0
    if work.unit != GEMM:
        total = sum(read.elements for read in reads) * batch * scale
        chunk = -(-total // work.chunks(npu))
        return total, chunk, chunk, 1, 0, 0
    total, chunk = int(inputs.sum()) * scale, int(inputs.max()) * scale
    part = -(-chunk * min(npu.array_rows, work.k) // work.total_k)
    loads = 1 if keeps_weights(work, npu) else len(inputs)
    right = 0 if work.has_weights else work.right_elements * scale
    return total, chunk, part, -(-work.n // npu.array_cols), right, loads


@jit
def _spilled_share(reads, first, end, resident):
    """Return (spilled, all) elements of reads [first, end); a tensor that is not decided yet counts as resident."""
    spilled, total = 0, 0
    for r in range(first, end):
        total += reads[r].elements
        if resident[reads[r].tensor] == SPILLED:
            spilled += reads[r].elements
    return spilled, max(total, 1)


@jit
def _staging(node, spilled, total, room):
    """Return (staged, bytes of one staging chunk) of a node that may use ``room`` bytes for two of them."""
    if spilled == 0:
        return 1, 0
    chunk = (node.chunk_bytes * spilled + total - 1) // total
    if 2 * chunk <= room:
        return 1, chunk
    return 0, (node.slice_bytes * spilled + total - 1) // total


@jit
def _place(capacity, tensors, nodes, reads, entries, frees, resident, staged):
    """Play greedy at ``capacity``; fills ``resident`` and ``staged``.

    Returns (bytes moved, the smallest capacity that still gives this answer).
    """
    resident[:] = UNDECIDED
    resident[INPUT] = SPILLED
    live, floor, moved = 0, 0, 0
    for i in range(len(nodes)):
        node = nodes[i]
        reserve = 0
        if node.end_entry > node.first_entry:
            for j in range(i, node.loop_end):
                spilled, total = _spilled_share(reads, nodes[j].first_left, _left_end(nodes[j]), resident)
                whole, chunk = _staging(nodes[j], spilled, total, capacity - live)
                if whole:
                    floor = max(floor, live + 2 * chunk if chunk else 0)
                reserve = max(reserve, chunk)
        for e in range(node.first_entry, node.end_entry):
            live, floor = _decide(entries[e], capacity, live, floor, reserve, tensors, resident)
        spilled, total = _spilled_share(reads, node.first_left, _left_end(node), resident)
        whole, chunk = _staging(node, spilled, total, capacity - live)
        staged[i] = whole
        if whole and chunk:
            floor = max(floor, live + 2 * chunk)
        moved += node.passes * (node.input_bytes * spilled // total) * (1 if whole else node.reads_again)
        spilled, total = _spilled_share(reads, node.first_right, node.end_reads, resident)
        moved += node.passes * node.right_loads * (node.right_bytes * spilled // total)
        if resident[node.tensor] == UNDECIDED:
            live, floor = _decide(node.tensor, capacity, live, floor, chunk, tensors, resident)
        if stores(node.tensor, tensors, resident):
            moved += node.passes * tensors[node.tensor].total_bytes
        for f in range(node.first_free, node.end_free):
            tensor = frees[f]
            if resident[tensor] == RESIDENT and not _inside(tensor, tensors, resident):
                live -= tensors[tensor].total_bytes
    return moved, floor


@jit
def _left_end(node):
    return node.first_right if node.first_right > node.first_left else node.end_reads


@jit
def _inside(tensor, tensors, resident):
    """Whether a body tensor lives in its resident sequence and takes no room of its own."""
    sequence = tensors[tensor].sequence
    return sequence >= 0 and resident[sequence] == RESIDENT


@jit
def _decide(tensor, capacity, live, floor, reserve, tensors, resident):
    """Decide one tensor; returns (live bytes, smallest capacity that gives the same answer) with it."""
    if _inside(tensor, tensors, resident):
        resident[tensor] = RESIDENT
        return live, floor
    resident[tensor] = SPILLED
    record = tensors[tensor]
    needed = live + record.total_bytes + 2 * reserve
    unread = not record.read and (record.output or record.sequence >= 0)
    if unread or needed > capacity:
        return live, floor
    resident[tensor] = RESIDENT
    return live + record.total_bytes, max(floor, needed)


@jit
def stores(tensor, tensors, resident):
    """Whether a node's tensor is written to memory: it is spilled, an output, or collected in a spilled sequence."""
    record = tensors[tensor]
    if record.output or resident[tensor] == SPILLED:
        return True
    return record.sequence >= 0 and resident[record.sequence] == SPILLED


@jit
def _search(ubuf_bytes, tensors, nodes, reads, entries, frees, resident, staged):
    """Find the best capacity and leave its answer in ``resident`` and ``staged``; returns (bytes moved, capacity)."""
    least, _ = _place(np.int64(1) << 60, tensors, nodes, reads, entries, frees, resident, staged)
    capacity = ubuf_bytes
    best, floor = _place(capacity, tensors, nodes, reads, entries, frees, resident, staged)
    best_capacity = capacity
    while best > least and floor > 0:
        capacity = floor - 1
        moved, floor = _place(capacity, tensors, nodes, reads, entries, frees, resident, staged)
        if moved < best:
            best, best_capacity = moved, capacity
    _place(best_capacity, tensors, nodes, reads, entries, frees, resident, staged)
    return best, best_capacity
