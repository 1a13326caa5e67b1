"""A second pipeline, slow and obvious: every step of every loop written out, one operation after the other, in plain Python.

It shares with the compiler only the resolved names, the residency plan and the operations of one pass. Durations, waits, times,
contexts and refills (to the program's end) are worked out here again, and must agree at every point.
"""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from tools.random_networks import random_layers, random_npu
from tools.recurrence import BackToBack, Step

from prema_gym.hardware.compiler.graph import INPUT, OUTSIDE
from prema_gym.hardware.compiler.lowering import lower
from prema_gym.hardware.compiler.residency import RESIDENT, SPILLED
from prema_gym.hardware.compiler.schedule import _Scheduler
from prema_gym.hardware.compiler.shapes import GEMM
from prema_gym.hardware.compiler.weight_loading import keeps_weights
from prema_gym.hardware.layers import Embedding, Gemm, Loop, Network, Vector
from prema_gym.hardware.program import compile_model


@dataclasses.dataclass
class Op:
    node: int
    step: int
    steps: int
    index: int
    last: bool
    loads: list
    rows: int
    compute: int
    cold: int
    store: int
    point: bool
    out_bytes: int
    waits: list
    extra_clean: int
    partial: int
    kept: bool


def unroll(lowering, open_steps):
    """Write out every operation, with the operations whose stores its load waits for."""
    graph, resident = lowering.graph, lowering.residency.resident
    ops, last_op = [], {}
    for stretch in lowering.stretches:
        steps = 1 if stretch.loop is None else stretch.loop.steps or open_steps
        kept = keeps_its_weights(lowering, stretch)
        for step in range(steps):
            for local in range(len(stretch.first_operation) - 1):
                i = stretch.first_node + local
                node = graph.nodes[i]
                waits = [last_op[read.tensor] for read in node.reads if needs(read, resident, last_op)]
                begin, end = stretch.first_operation[local : local + 2]
                fresh = operations(lowering, i, stretch.operations[begin:end], step, steps, kept)
                fresh[0].waits = waits
                ops += fresh
                last_op[node.tensor] = len(ops) - 1
                if graph.tensors[node.tensor].sequence >= 0:
                    last_op[graph.tensors[node.tensor].sequence] = len(ops) - 1
    return ops


def keeps_its_weights(lowering, stretch):
    """Whether the loop's weights, and what a batched GEMM keeps over its chunks, fit beside two tiles."""
    npu, loop = lowering.npu, stretch.loop
    if npu.weight_loading != "back_to_back" or loop is None or loop.steps == 1:
        return False
    works = [work for work in lowering.works[loop.first : loop.end] if work.unit == GEMM]
    weights = sum(work.right_elements for work in works if work.has_weights)
    beside = [0, *(work.right_elements for work in works if not work.has_weights and work.rows > npu.accumulator_rows)]
    return weights > 0 and (weights + max(beside) + 2 * npu.array_rows * npu.array_cols) * npu.operand_bytes <= npu.wbuf_bytes


def needs(read, resident, last_op):
    return read.tensor != INPUT and resident[read.tensor] == SPILLED and read.tensor in last_op


def operations(lowering, i, rows, step, steps, kept_by_loop):
    """One pass of node i. Output bytes, partial sums and what is staged are derived from the shape, not taken from ``rows``."""
    npu, work, out = lowering.npu, lowering.works[i], []
    places = list(gemm_places(npu, work)) if work.unit == GEMM else [None] * len(rows)
    kept_by_loop = kept_by_loop and work.has_weights
    kept = keeps_weights(work, npu) and work.unit == GEMM and -(-work.rows // npu.accumulator_rows) > 1 and not kept_by_loop
    right = right_share(lowering, i)
    loaded = {}
    for t, (row, place) in enumerate(zip(rows, places, strict=True)):
        loads = [int(row["weight_bytes"]), int(row["input_bytes"])]
        compute, cold, partial, extra, count = 0, 0, 0, 0, 0
        most = npu.accumulator_rows * npu.array_cols
        produced = min(most, work.elements - t * most) * npu.operand_bytes
        if place is not None:
            chunk, count, cols, depth, ends, elements_after = place
            if work.has_weights:
                again = chunk > 0 and (kept or kept_by_loop)
                loads[0] = 0 if again or (kept_by_loop and step > 0) else cols * depth * npu.operand_bytes
            compute = 2 * npu.array_rows + npu.array_cols + count - 2
            if npu.weight_loading == "prefetched":
                compute, cold = compute - npu.array_rows, npu.array_rows
            produced = count * cols * npu.operand_bytes if ends else 0
            partial = 0 if ends else count * cols * npu.accumulator_bytes
            loaded[chunk] = loaded.get(chunk, 0) + loads[1]
            if lowering.residency.staged[i] and elements_after < work.right_elements:
                extra += loaded[chunk]
            chunks = -(-work.rows // npu.accumulator_rows)
            if kept:
                still = (
                    work.right_elements - elements_after
                    if chunk == chunks - 1
                    else elements_after
                    if chunk == 0
                    else work.right_elements
                )
                extra += still * npu.operand_bytes * right[0] // right[1]
        elif row["point"]:
            compute = -(-produced // npu.operand_bytes * work.ops_per_element // npu.vector_lanes)
        store = produced if stored(lowering, lowering.graph.nodes[i].tensor) else 0
        last = t == len(rows) - 1
        fixed = (i, step, steps, t, last, loads, count, compute, cold, store, bool(row["point"]), produced)
        out.append(Op(*fixed, waits=[], extra_clean=extra, partial=partial, kept=kept_by_loop))
    return out


def right_share(lowering, i):
    node, work = lowering.graph.nodes[i], lowering.works[i]
    if work.has_weights or work.unit != GEMM:
        return 1, 1
    reads = node.reads[1:] or node.reads
    total = sum(read.elements for read in reads)
    return sum(read.elements for read in reads if lowering.residency.resident[read.tensor] == SPILLED), total


def gemm_places(npu, work):
    for chunk, row in enumerate(range(0, work.rows, npu.accumulator_rows)):
        count, seen = min(npu.accumulator_rows, work.rows - row), 0
        for group in range(work.groups):
            k, n = (work.last_k, work.last_n) if group == work.groups - 1 else (work.k, work.n)
            for left in range(0, n, npu.array_cols):
                for top in range(0, k, npu.array_rows):
                    cols, depth = min(npu.array_cols, n - left), min(npu.array_rows, k - top)
                    yield chunk, count, cols, depth, top + depth == k, seen + cols * depth
                    seen += cols * depth


def stored(lowering, index):
    tensor, resident = lowering.graph.tensors[index], lowering.residency.resident
    return tensor.output or resident[index] == SPILLED or (tensor.sequence >= 0 and resident[tensor.sequence] == SPILLED)


def simulate(npu, ops, begin):
    """Run operations [begin, end) from empty engines."""
    return back_to_back(npu, ops, begin) if npu.weight_loading == "back_to_back" else Run(npu, ops, begin)


def back_to_back(npu, ops, begin):
    """The recurrence of its own hand, with times counted from ``begin`` on as :class:`Run` counts them."""
    steps = [
        Step(
            load=sum(npu.transfer_cycles(nbytes) for nbytes in op.loads),
            rows=op.rows,
            compute=op.compute,
            store=npu.transfer_cycles(op.store),
            index=op.index,
            waits=[wait - begin for wait in op.waits if wait >= begin],
        )
        for op in ops[begin:]
    ]
    return BackToBack(steps, npu.array_rows, npu.array_cols, npu.dram_latency_cycles)


class Run:
    """The engines and the port, one tile at a time, for operations [begin, end)."""

    def __init__(self, npu, ops, begin):
        self.load_end, self.compute_start, self.compute_end, self.store_end = {}, {}, {}, {}
        self.port = npu.dram_latency_cycles
        before = {begin - 1: 0, begin - 2: 0}
        for times in (self.load_end, self.compute_start, self.compute_end, self.store_end):
            times.update(before)
        for t in range(begin, len(ops)):
            op = ops[t]
            store_first = t - 1 >= begin and t - 1 in op.waits
            if store_first:
                self.store(npu, ops, t - 1)
            self.load(npu, ops, t, begin)
            if t > begin and not store_first:
                self.store(npu, ops, t - 1)
            self.compute_start[t] = max(self.compute_end[t - 1], self.load_end[t], self.store_end[t - 2])
            self.compute_end[t] = self.compute_start[t] + op.compute + (op.cold if t == begin else 0)
        if len(ops) > begin:
            self.store(npu, ops, len(ops) - 1)
        self.end = self.store_end[len(ops) - 1]
        self.commit, self.landed = self.compute_end, self.store_end

    def load(self, npu, ops, t, begin):
        released = [self.store_end[wait] + npu.dram_latency_cycles for wait in ops[t].waits if wait >= begin]
        start = max([self.load_end[t - 1], self.compute_start[t - 1], *released])
        duration = sum(npu.transfer_cycles(nbytes) for nbytes in ops[t].loads)
        if duration:
            start = max(start, self.port)
            self.port = start + duration
        self.load_end[t] = start + duration

    def store(self, npu, ops, t):
        start = max(self.compute_end[t], self.store_end[t - 1])
        duration = npu.transfer_cycles(ops[t].store)
        if duration:
            start = max(start, self.port)
            self.port = start + duration
        self.store_end[t] = start + duration


def contexts(lowering, ops, run):
    """(save, restore) after every operation, from which bytes of which tensor are on the chip."""
    graph, resident, npu = lowering.graph, lowering.residency.resident, lowering.npu
    scale = lowering.batch * npu.operand_bytes
    held, found = {}, []  # tensor -> bytes on the chip
    weights = 0  # that later passes of the running loop find on the chip
    for t, op in enumerate(ops):
        tensor = graph.tensors[graph.nodes[op.node].tensor]
        home = tensor.sequence if tensor.sequence >= 0 and resident[tensor.sequence] == RESIDENT else graph.nodes[op.node].tensor
        if resident[home] == RESIDENT:
            most = graph.tensors[home].elements * scale
            full = home == graph.nodes[op.node].tensor and tensor.persistent and op.step > 0
            held[home] = most if full else held.get(home, 0) + op.out_bytes
        if op.last:
            for index in list(held):
                other = graph.tensors[index]
                in_loop = graph.nodes[op.node].loop != OUTSIDE
                of_the_step = other.loop != OUTSIDE and not other.persistent
                if other.free_after == op.node and (not in_loop or of_the_step):
                    del held[index]
        dirty = sum(nbytes for index, nbytes in held.items() if not clean(lowering, index)) + op.partial
        copied = sum(nbytes for index, nbytes in held.items() if clean(lowering, index)) + op.extra_clean
        weights += op.loads[0] * op.kept
        pending = [p for p in range(t) if run.landed[p] > run.commit[t]] + [t]
        unsaved = sum(ops[p].store for p in pending)
        twice = sum(ops[p].store for p in pending if resident[graph.nodes[ops[p].node].tensor] == RESIDENT)
        found.append((dirty + unsaved, dirty + unsaved + copied + weights - twice))
        ends_loop = op.last and op.step == op.steps - 1 and graph.nodes[op.node].loop != OUTSIDE
        if ends_loop and op.node == graph.loops[graph.nodes[op.node].loop].end - 1:
            weights = 0
            for index in [index for index in held if graph.tensors[index].free_after == op.node]:
                del held[index]
    return found


def clean(lowering, index):
    tensor = lowering.graph.tensors[index]
    source = lowering.graph.tensors[tensor.members[0]] if tensor.members else tensor
    looked_up = isinstance(lowering.graph.nodes[source.producer].layer, Embedding)
    return looked_up or (not tensor.members and stored(lowering, index))


def busy_cycles(npu, ops):
    """How long the operations keep their engines from one another and, the last of a layer, from the next layer."""
    if npu.weight_loading != "back_to_back":
        return sum(op.compute for op in ops) + ops[0].cold
    total = npu.array_rows if ops[0].rows else 0
    for op in ops:
        streaming = op.rows + npu.array_rows + npu.array_cols - 2 if op.last else max(op.rows, npu.array_rows)
        total += streaming if op.rows else op.compute
    return total


def compare(network, batch, npu, output_length=1, check_refills=True):
    program = compile_model(network, batch, npu, output_lengths=output_length)
    lowering = lower(network, batch, npu, output_length)
    is_open = isinstance(network.layers[-1], Loop) and network.layers[-1].steps is None
    ops = unroll(lowering, output_length)
    run = simulate(npu, ops, 0)
    assert program.total_cycles == run.end
    if is_open:
        for length in range(1, output_length):
            assert program.totals[length - 1] == simulate(npu, unroll(lowering, length), 0).end
    marks = [t for t, op in enumerate(ops) if op.point]
    assert program.num_points == len(marks)
    assert program.commit_cycles.tolist() == [run.commit[t] for t in marks]
    assert program.compute_cycles == busy_cycles(npu, ops)
    assert program.dram_bytes == sum(sum(op.loads) + op.store for op in ops)
    assert sum(row["dram_bytes"] for row in program.layer_table()) == program.dram_bytes
    assert sum(row["points"] for row in program.layer_table()) == program.num_points
    assert sum(row["cycles"] for row in program.layer_table()) == program.total_cycles
    costs = contexts(lowering, ops, run)
    assert program.save_bytes.tolist() == [costs[t][0] for t in marks]
    assert program.restore_bytes.tolist() == [costs[t][1] for t in marks]
    if check_refills:
        further = unroll(lowering, output_length + 40) if is_open else ops
        hot = simulate(npu, further, 0)
        refills = [
            max(0, simulate(npu, further, t + 1).end - (hot.end - hot.commit[t])) if t + 1 < len(further) else 0 for t in marks
        ]
        assert program.refill_cycles.tolist() == refills
    return program


@pytest.mark.parametrize("seed", range(150))
def test_random_networks_agree_with_the_slow_pipeline(seed):
    rng = random.Random(seed)
    network = Network("random", 36, tuple(random_layers(rng)))
    compare(network, rng.randint(1, 4), random_npu(rng))


def random_loop(rng, name, steps, inputs, width, open_end=False):
    """A cell with a state, a short-lived tensor, and perhaps a second state."""
    hidden = rng.randint(1, 6)
    body = [
        Gemm(1, 1, 2 * hidden, name=f"{name}_gemm", inputs=(*inputs, f"{name}_h")),
        Vector(hidden, rng.randint(1, 9), kind="gates", name=f"{name}_h", inputs=(f"{name}_gemm",)),
    ]
    if rng.random() < 0.5:
        body.insert(0, Embedding(rng.randint(1, 6), name=f"{name}_e", inputs=(f"{name}_h",)))
    if rng.random() < 0.5:
        body.append(Gemm(1, hidden, rng.randint(1, 5), name=f"{name}_p", inputs=(f"{name}_h",)))
    if open_end:
        # Long enough first operation for the last store to drain.
        body.append(Vector(1, 3, name=f"{name}_out", inputs=(body[-1].name,)))
    collect = () if open_end else tuple(layer.name for layer in body if rng.random() < 0.4)
    return Loop(name, None if open_end else steps, tuple(body), collect=collect), [f"{name}.{c}" for c in collect] or [f"{name}_h"]


@pytest.mark.parametrize("seed", range(120))
def test_loops_agree_with_their_unrolled_form(seed):
    rng = random.Random(1000 + seed)
    first, outputs = random_loop(rng, "one", rng.choice([1, 2, 7, 40]), ("input",), 4)
    second, more = random_loop(rng, "two", rng.choice([1, 3, 20]), tuple(outputs[:1]), 4)
    layers = [first, Vector(5, 2, name="between", inputs=tuple(f"*{name}" for name in outputs)), second]
    layers.append(Gemm(1, 1, 4, name="last", inputs=(more[0],)))
    compare(Network("loops", 12, tuple(layers)), rng.randint(1, 3), random_npu(rng))


@pytest.mark.parametrize("seed", range(60))
def test_output_loops_agree_at_every_length(seed):
    rng = random.Random(2000 + seed)
    encoder, outputs = random_loop(rng, "enc", rng.choice([1, 9]), ("input",), 4)
    decoder, _ = random_loop(rng, "dec", None, (f"*{outputs[0]}",), 4, open_end=True)
    npu = dataclasses.replace(random_npu(rng), dram_bytes_per_second=300)
    compare(Network("open", 12, (encoder, decoder)), rng.randint(1, 3), npu, output_length=rng.choice([1, 3, 25]))


@pytest.mark.parametrize("seed", range(12))
def test_a_period_of_several_steps_is_repeated_as_a_whole(seed, monkeypatch):
    # None of these loops needs more than one step to repeat, so recurrence is made to be seen at every third step only.
    original = _Scheduler._end_state

    def every_third(self, stretch, waits):
        return (*original(self, stretch, waits), self.count // len(stretch.operations) % 3)

    monkeypatch.setattr(_Scheduler, "_end_state", every_third)
    rng = random.Random(6000 + seed)
    loop, outputs = random_loop(rng, "one", rng.choice([60, 61, 62]), ("input",), 4)
    network = Network("loop", 12, (loop, Gemm(1, 1, 4, name="last", inputs=(outputs[0],))))
    program = compare(network, 2, random_npu(rng))
    assert any(segment["repeats"] > 1 for segment in program.segments)
    encoder, outputs = random_loop(rng, "enc", 2, ("input",), 4)
    decoder, _ = random_loop(rng, "dec", None, (f"*{outputs[0]}",), 4, open_end=True)
    npu = dataclasses.replace(random_npu(rng), dram_bytes_per_second=300)
    compare(Network("open", 12, (encoder, decoder)), 1, npu, output_length=20)


@pytest.mark.parametrize("seed", range(60))
def test_programs_are_monotone_in_the_memory_and_the_lanes(seed):
    rng = random.Random(3000 + seed)
    layers, npu, batch = random_layers(rng), random_npu(rng), rng.randint(1, 4)
    network = Network("random", 36, tuple(layers))
    cycles = compile_model(network, batch, npu).total_cycles
    changes = (
        {"dram_bytes_per_second": npu.dram_bytes_per_second + rng.randint(1, 40)},
        {"dram_latency_cycles": rng.randint(0, npu.dram_latency_cycles)},
        {"vector_lanes": npu.vector_lanes + rng.randint(1, 5)},
    )
    for change in changes:
        assert compile_model(network, batch, dataclasses.replace(npu, **change)).total_cycles <= cycles


@pytest.mark.parametrize("seed", range(100))
def test_larger_buffers_never_move_more_bytes(seed):
    rng = random.Random(4000 + seed)
    loop, outputs = random_loop(rng, "one", rng.choice([2, 6]), ("input",), 4)
    tail = Gemm(1, 1, 4, name="last", inputs=(outputs[0],))
    network = Network("random", 36, (*random_layers(rng), loop, tail) if rng.random() < 0.5 else tuple(random_layers(rng)))
    npu, batch = random_npu(rng), rng.randint(1, 4)
    sizes = sorted(rng.randint(16, 500) for _ in range(12))
    moved = [compile_model(network, batch, dataclasses.replace(npu, ubuf_bytes=size)).dram_bytes for size in sizes]
    assert moved == sorted(moved, reverse=True)
    sizes = sorted(rng.randint(64, 500) for _ in range(6))
    moved = [compile_model(network, batch, dataclasses.replace(npu, wbuf_bytes=size)).dram_bytes for size in sizes]
    assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize("seed", range(60))
def test_what_lives_on_the_chip_fits_it(seed):
    rng = random.Random(5000 + seed)
    network, npu = Network("random", 36, tuple(random_layers(rng))), random_npu(rng)
    program = compile_model(network, rng.randint(1, 4), npu)
    sums = 2 * npu.accumulator_rows * npu.array_cols * npu.accumulator_bytes
    outputs = 2 * npu.accumulator_rows * npu.array_cols * npu.operand_bytes
    assert np.all(program.save_bytes <= npu.ubuf_bytes + max(sums, outputs))
    assert np.all(program.restore_bytes <= npu.ubuf_bytes + npu.wbuf_bytes + max(sums, outputs))
    assert np.all(program.restore_bytes >= program.save_bytes)
    assert np.all(np.diff(program.commit_cycles) > 0)
