"""Bytes worked out a second time: tiles, patches, halos, staging and residency, from the layers and the documented rules alone.

Nothing of the compiler is used but its answer. The best capacity is found by trying every one. With these bytes equal,
tests/hardware/test_pipeline.py derives times and contexts from them independently.
"""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from tools.random_networks import random_layers, random_npu

from prema_gym.hardware.compiler.lowering import lower
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Network, Vector


def ceil(a, b):
    return -(-a // b)


@dataclasses.dataclass
class Shape:
    """A layer at a batch: groups of (K, N), rows, and the input elements that each row chunk needs."""

    groups: list
    rows: int
    chunks: list
    needs: list
    outputs: int


def shape_of(layer, batch, npu, read_elements):
    if isinstance(layer, Vector):
        total = layer.outputs * batch
        most = npu.accumulator_rows * npu.array_cols
        sizes = [min(most, total - first) for first in range(0, total, most)]
        ends = [min(first + most, total) * read_elements * batch * npu.operand_bytes // total for first in range(0, total, most)]
        return Shape([], 0, sizes, np.diff(ends, prepend=0).tolist(), total)
    if isinstance(layer, Gemm):
        rows, groups = batch * layer.m, [(layer.k, layer.n)]
    else:
        rows, groups = batch * layer.out_height * layer.out_width, conv_groups(layer, npu)
    chunks = [range(first, min(first + npu.accumulator_rows, rows)) for first in range(0, rows, npu.accumulator_rows)]
    needs = [npu.operand_bytes * needed(layer, chunk) for chunk in chunks]
    return Shape(groups, rows, [len(chunk) for chunk in chunks], needs, rows * sum(n for _, n in groups))


def conv_groups(layer, npu):
    taps, depth = layer.kernel[0] * layer.kernel[1], layer.in_channels // layer.groups
    width = layer.out_channels // layer.groups
    if not (layer.groups == layer.in_channels > 1):
        return [(taps * depth, width)] * layer.groups
    packed = max(1, min(npu.array_rows // taps, npu.array_cols // width))
    channels = list(range(layer.in_channels))
    passes = [channels[first : first + packed] for first in range(0, len(channels), packed)]
    return [(len(one) * taps, len(one) * width) for one in passes]


def needed(layer, chunk):
    """Input elements under the output positions of a chunk: whole input rows, each image's once."""
    if isinstance(layer, Gemm):
        return len(chunk) * layer.k
    rows = set()
    for position in chunk:
        image, rest = divmod(position, layer.out_height * layer.out_width)
        top = rest // layer.out_width * layer.stride[0] - layer.padding[0]
        rows |= {(image, row) for row in range(top, top + layer.kernel[0]) if 0 <= row < layer.height}
    return len(rows) * layer.in_channels * layer.width


def place(network, batch, npu, capacity):
    """Greedy residency at a capacity: (bytes of activations moved, {name: resident}, [staged])."""
    sizes, resident, staged = {"input": network.input_elements}, {"input": False}, []
    last = {name: i for i, layer in enumerate(network.layers) for name in layer.inputs}
    live = moved = 0
    for i, layer in enumerate(network.layers):
        total = sum(sizes[name] for name in layer.inputs)
        spilled = sum(sizes[name] for name in layer.inputs if not resident[name])
        shape = shape_of(layer, batch, npu, total)
        reserve, whole, again = 0, True, 1
        if spilled:
            largest = ceil(total * batch * npu.operand_bytes, len(shape.chunks)) if not shape.groups else max(shape.needs)
            reserve = ceil(largest * spilled, total)
            whole = 2 * reserve <= capacity - live
            if not whole:
                depths = sum(k for k, _ in shape.groups) or 1
                part = ceil(largest * min(npu.array_rows, shape.groups[0][0]), depths) if shape.groups else largest
                reserve = ceil(part * spilled, total)
                again = ceil(shape.groups[0][1], npu.array_cols) if shape.groups else 1
        staged.append(whole)
        moved += sum(shape.needs) * spilled // total * again
        nbytes = shape.outputs * npu.operand_bytes
        sizes[layer.name] = shape.outputs // batch
        is_output = layer.name not in last
        resident[layer.name] = not is_output and live + nbytes + 2 * reserve <= capacity
        live += nbytes * resident[layer.name]
        moved += nbytes * (not resident[layer.name])
        freed = {name for name in set(layer.inputs) if last[name] == i and resident[name]}
        live -= sum(sizes[name] * batch * npu.operand_bytes for name in freed)
    return moved, resident, staged


def expected_bytes(network, batch, npu):
    """(weight, input, store) bytes of every operation, and which tensors are resident."""
    capacity = min(range(npu.ubuf_bytes, -1, -1), key=lambda size: place(network, batch, npu, size)[0])
    _, resident, staged = place(network, batch, npu, capacity)
    sizes = {"input": network.input_elements}
    operations = []
    for layer, whole in zip(network.layers, staged, strict=True):
        total = sum(sizes[name] for name in layer.inputs)
        spilled = sum(sizes[name] for name in layer.inputs if not resident[name])
        shape = shape_of(layer, batch, npu, total)
        sizes[layer.name] = shape.outputs // batch
        ends = [sum(shape.needs[: i + 1]) * spilled // total for i in range(len(shape.needs))]
        loads = np.diff(ends, prepend=0).tolist()
        stored = not resident[layer.name]
        make = gemm_operations if shape.groups else vector_operations
        operations += make(shape, loads, whole, stored, npu)
    return operations, resident


def vector_operations(shape, loads, whole, stored, npu):
    return [(0, load, stored * size * npu.operand_bytes) for size, load in zip(shape.chunks, loads, strict=True)]


def gemm_operations(shape, loads, whole, stored, npu):
    weights = sum(k * n for k, n in shape.groups)
    keeps = (weights + 2 * npu.array_rows * npu.array_cols) * npu.operand_bytes <= npu.wbuf_bytes
    deep = sum(k for k, _ in shape.groups)
    found = []
    for c, rows in enumerate(shape.chunks):
        first, done = True, 0
        for k, n in shape.groups:
            for left in range(0, n, npu.array_cols):
                for top in range(0, k, npu.array_rows):
                    depth, cols = min(npu.array_rows, k - top), min(npu.array_cols, n - left)
                    at = done + top
                    share = loads[c] * (at + depth) // deep - loads[c] * at // deep
                    store = rows * cols * npu.operand_bytes if stored and top + depth == k else 0
                    weight = 0 if keeps and c > 0 else depth * cols * npu.operand_bytes
                    found.append((weight, loads[c] * first if whole else share, store))
                    first = False
            done += k
    return found


def straight_network(rng):
    while True:
        layers = random_layers(rng)
        if not any(isinstance(layer, BatchedGemm | Embedding) for layer in layers):
            return Network("random", 36, tuple(layers))


@pytest.mark.parametrize("seed", range(120))
def test_residency_and_bytes_are_those_of_the_documented_rules(seed):
    rng = random.Random(9000 + seed)
    network, batch = straight_network(rng), rng.randint(1, 4)
    npu = dataclasses.replace(random_npu(rng), ubuf_bytes=rng.choice([16, 40, 100, 250, 600]))
    operations, resident = expected_bytes(network, batch, npu)
    lowering = lower(network, batch, npu)
    (stretch,) = lowering.stretches
    found = [tuple(int(row[f"{kind}_bytes"]) for kind in ("weight", "input", "store")) for row in stretch.operations]
    names = [tensor.name for tensor in lowering.graph.tensors]
    assert dict(zip(names, (lowering.residency.resident == 1).tolist(), strict=True)) == resident
    assert found == operations


def test_the_layers_that_a_random_network_is_made_of_are_all_met():
    networks = [straight_network(random.Random(9000 + seed)) for seed in range(120)]
    layers = [layer for network in networks for layer in network.layers]
    assert {type(layer) for layer in layers} == {Gemm, Conv2d, Vector}
    assert any(isinstance(layer, Conv2d) and layer.is_depthwise for layer in layers)
