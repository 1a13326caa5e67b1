"""The operations of a layer, one by one: tiles, bytes, cycles, and what the chip holds after each.

A GEMM runs row chunk by row chunk (at most ACC rows, one accumulator buffer), in it group by group, then over the tiles of N, then
over those of K, whose partial sums stay in the accumulators. Each operation loads its weight tile and its input by two LOAD_TILEs,
back to back; an input that is staged whole comes with the first operation of its row chunk.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit
from prema_gym.hardware.compiler.shapes import GEMM, VECTOR

OPERATION = np.dtype(
    [
        ("weight_bytes", np.int64),  # loaded: the right operand's tile; where it is kept, in the first pass of the loop only
        ("input_bytes", np.int64),  # loaded: the left operand's share
        ("store_bytes", np.int64),  # stored
        ("compute_cycles", np.int64),  # until its engine is free for the next operation
        ("flight_cycles", np.int64),  # from then until its results are in, and it commits
        ("cold_cycles", np.int64),  # more compute cycles right after a cold start (the weight load that is hidden otherwise)
        ("first_save_bytes", np.int64),  # on the chip without a copy in memory after its commit, in the first pass of a loop
        ("first_clean_bytes", np.int64),  # likewise, with a copy
        ("save_bytes", np.int64),  # in the second pass; later ones add the growth of collected sequences
        ("clean_bytes", np.int64),
        ("node", np.int32),
        ("overlapped", np.int32),  # operations just before it that it doesn't wait for: at most 2, of the same pass over its node
        ("kept", np.bool_),  # whether its weights stay on the chip for the later passes of its loop
        ("point", np.bool_),  # whether its commit is a preemption point (look-ups are none)
        ("through", np.bool_),  # whether what it stores also stays on the chip
    ]
)
"""One operation of a node. A stretch of nodes (those of a loop's body, or those between loops) is one array of them."""

EMITTED = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("unit", "rows", "groups", "k", "n", "last_k", "last_n", "elements", "ops_per_element"),
            *("right_spilled", "right_total"),  # share of the right operand that lies in memory
            *(
                "keeps",
                "kept",
                "staged",
                "stores",
                "through",
            ),  # flags: right operand kept over row chunks, OPERATION's kept, inputs
            # staged whole, output stored, OPERATION's through
            "first_chunk",  # into the bytes of the chunks
            *("first_progress", "first_clean_progress", "progress", "clean_progress"),  # 1: the output adds to these contexts
            *("first_save", "first_clean", "save", "clean"),  # contexts while the node runs, its own output apart
            *("save_drop", "clean_drop"),  # what the last operation frees
        )
    ]
)
"""One node, as compiled code wants it."""


@jit
def emit(operations, first_node, table, chunk_bytes, array, acc_rows, lanes, operand_bytes, sum_bytes, timing):
    """Fill ``operations`` with those of the nodes in ``table``, in order; ``array`` is (rows, columns)."""
    at = 0
    for i in range(len(table)):
        begin = at
        if table[i].unit == GEMM:
            at = _emit_gemm(operations, at, table[i], chunk_bytes, array, acc_rows, operand_bytes, sum_bytes, timing)
        else:
            at = _emit_vector(operations, at, table[i], chunk_bytes, acc_rows * array[1], lanes, operand_bytes)
        for t in range(begin, at):
            operations[t].node = first_node + i
            operations[t].overlapped = min(t - begin, 2) if timing.overlaps else 0
            operations[t].through = table[i].through
        last = operations[at - 1]
        last.first_save_bytes -= table[i].save_drop
        last.first_clean_bytes -= table[i].clean_drop
        last.save_bytes -= table[i].save_drop
        last.clean_bytes -= table[i].clean_drop


@jit
def _hold(op, node, produced, partial, extra, loaded):
    """Set what the chip holds after ``op``: ``produced`` output bytes, ``partial`` sums, ``extra`` bytes with a copy in memory.

    In the first pass of a loop, of the weights that later passes will find on the chip, those ``loaded`` here are held too.
    """
    op.first_save_bytes = node.first_save + node.first_progress * produced + partial
    op.first_clean_bytes = node.first_clean + node.first_clean_progress * produced + extra + loaded
    op.save_bytes = node.save + node.progress * produced + partial
    op.clean_bytes = node.clean + node.clean_progress * produced + extra


@jit
def _emit_gemm(operations, at, node, chunk_bytes, array, acc_rows, operand_bytes, sum_bytes, timing):
    array_rows, array_cols = array
    chunks = (node.rows + acc_rows - 1) // acc_rows
    total_k = node.k * (node.groups - 1) + node.last_k
    right_elements = node.k * node.n * (node.groups - 1) + node.last_k * node.last_n
    keeps = node.keeps and chunks > 1
    produced = 0
    for chunk in range(chunks):
        rows = min(acc_rows, node.rows - chunk * acc_rows)
        chunk_first = at
        used = 0
        for group in range(node.groups):
            k = node.last_k if group == node.groups - 1 else node.k
            n = node.last_n if group == node.groups - 1 else node.n
            for n_start in range(0, n, array_cols):
                cols = min(array_cols, n - n_start)
                for k_start in range(0, k, array_rows):
                    depth = min(array_rows, k - k_start)
                    op = operations[at]
                    before, used = used, used + depth * cols
                    op.kept = node.kept
                    if chunk == 0 or not (keeps or node.kept):
                        op.weight_bytes = _right_bytes(node, used, operand_bytes) - _right_bytes(node, before, operand_bytes)
                    if not node.staged:
                        # Slices share the chunk by their part of all groups' K, rounded so that they sum to it.
                        done = group * node.k + k_start
                        share = chunk_bytes[node.first_chunk + chunk]
                        op.input_bytes = share * (done + depth) // total_k - share * done // total_k
                    elif at == chunk_first:
                        op.input_bytes = chunk_bytes[node.first_chunk + chunk]
                    op.compute_cycles = max(rows + timing.fill_cycles, timing.least_cycles)
                    op.flight_cycles = rows + timing.fill_cycles + timing.flight_cycles - op.compute_cycles
                    op.cold_cycles = timing.cold_cycles
                    op.point = True
                    partial = 0
                    if k_start + depth < k:
                        partial = rows * cols * sum_bytes
                    else:
                        produced += rows * cols * operand_bytes
                        op.store_bytes = node.stores * rows * cols * operand_bytes
                    extra = 0
                    if node.staged and used < right_elements:
                        extra = chunk_bytes[node.first_chunk + chunk]
                    loaded = 0
                    if node.kept:
                        loaded = (used if chunk == 0 else right_elements) * operand_bytes
                    elif keeps:
                        extra += _right_bytes(node, _kept(chunk, chunks, used, right_elements), operand_bytes)
                    _hold(op, node, produced, partial, extra, loaded)
                    at += 1
    return at


@jit
def _right_bytes(node, elements, operand_bytes):
    """Bytes of ``elements`` of the right operand that lie in memory; all of them where it is weights."""
    return elements * operand_bytes * node.right_spilled // node.right_total


@jit
def _kept(chunk, chunks, used, total):
    """Elements of the right operand in WBUF that operations still to come need, ``used`` of them being past in this chunk."""
    if chunk == chunks - 1:
        return total - used
    return used if chunk == 0 else total


@jit
def _emit_vector(operations, at, node, chunk_bytes, most, lanes, operand_bytes):
    produced = 0
    for chunk in range((node.elements + most - 1) // most):
        elements = min(most, node.elements - chunk * most)
        op = operations[at]
        op.input_bytes = chunk_bytes[node.first_chunk + chunk]
        if node.unit == VECTOR:
            op.compute_cycles = (elements * node.ops_per_element + lanes - 1) // lanes
            op.point = True
        else:
            op.input_bytes = elements * operand_bytes
        produced += elements * operand_bytes
        op.store_bytes = node.stores * elements * operand_bytes
        _hold(op, node, produced, 0, 0, 0)
        at += 1
    return at
