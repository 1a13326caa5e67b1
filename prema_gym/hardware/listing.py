"""Compiled programs for human eyes: the table of layers, and the instructions one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from prema_gym.config import NPUConfig
from prema_gym.hardware.compiler.lowering import Lowering, Stretch
from prema_gym.hardware.compiler.schedule import Schedule
from prema_gym.hardware.compiler.shapes import GEMM, VECTOR, Ints, Work

SUMMED = ("cycles", "compute_cycles", "memory_cycles", "dram_bytes", "points")


class Roofline(NamedTuple):
    """What no schedule of the work could beat: the two roofs of an NPU, in cycles."""

    dram_cycles: int
    """DRAM time: all bytes at the full bandwidth."""
    peak_cycles: int
    """Time at peak MACs: every multiplier busy in every cycle."""

    @property
    def roofline_cycles(self) -> int:
        """The larger of the two."""
        return max(self)


def roofline(dram_bytes: int, macs: int, npu: NPUConfig) -> Roofline:
    """Return the two roofs of a piece of work."""
    return Roofline(npu.transfer_cycles(dram_bytes), -(-macs // (npu.array_rows * npu.array_cols)))


def layer_table(lowering: Lowering, timeline: Schedule) -> list[dict[str, Any]]:
    """Return one row per layer; see :meth:`prema_gym.hardware.program.Program.layer_table`."""
    sums = _sums(lowering, timeline)
    rows = []
    for i, (node, work) in enumerate(zip(lowering.graph.nodes, lowering.works, strict=True)):
        passes = lowering.passes(i)
        row: dict[str, Any] = {"name": node.name, "kind": work.kind, "passes": passes, "macs": passes * work.macs}
        if work.unit == GEMM:
            row |= {"m": work.rows, "k": work.k, "n": work.n, "groups": work.groups}
        row |= {name: int(sums[name][i]) for name in ("compute_cycles", "memory_cycles", "dram_bytes", "cycles", "points")}
        row["fill_cycles"] = row["compute_cycles"] - passes * work.tiles(lowering.npu) * work.rows if work.unit == GEMM else 0
        row["bound"] = _bound(row)
        roofs = roofline(row["dram_bytes"], row["macs"], lowering.npu)
        row |= {**roofs._asdict(), "roofline_cycles": roofs.roofline_cycles}
        rows.append(row)
    return rows


def _bound(row: dict[str, Any]) -> str:
    """Return what a layer is busiest with: "memory" transfers, the array's "fill" (weights in, fill, drain), or "compute"."""
    if row["memory_cycles"] > row["compute_cycles"]:
        return "memory"
    return "fill" if 2 * row["fill_cycles"] > row["compute_cycles"] else "compute"


def _sums(lowering: Lowering, timeline: Schedule) -> dict[str, Ints]:
    """Return per node the sums over all operations that run, repeats included."""
    timed = timeline.timed
    values = {
        "cycles": np.diff(timed["commit"], prepend=0),
        "compute_cycles": timeline.busy_cycles,
        "memory_cycles": timed["load_cycles"] + timed["store_cycles"],
        "dram_bytes": timed["dram_bytes"],
        "points": timed["point"].astype(np.int64),
    }
    sums = {name: np.zeros(len(lowering.graph.nodes), np.int64) for name in SUMMED}
    for begin, end, passes in timeline.weighted_spans():
        nodes = timed["node"][begin:end]
        for name in SUMMED:
            np.add.at(sums[name], nodes, passes * values[name][begin:end])
    sums["compute_cycles"][0] += timed["cold_cycles"][0]
    # After the last commit only its store is under way.
    sums["cycles"][-1] += timeline.totals[-1] - sums["cycles"].sum()
    return sums


def disassemble(lowering: Lowering, limit: int | None = None) -> Iterator[str]:
    """Yield instructions in program order, each as ``OPCODE operand=value ...``; all passes of loops are written out."""
    return itertools.islice(_instructions(lowering), limit)


def _instructions(lowering: Lowering) -> Iterator[str]:
    for stretch in lowering.stretches:
        steps = 1 if stretch.loop is None else stretch.loop.steps or lowering.output_length
        for step in range(steps):
            where = "" if stretch.loop is None else f" step={step}"
            for local in range(len(stretch.first_operation) - 1):
                yield from _layer_instructions(lowering, stretch, local, step, where)


def _layer_instructions(lowering: Lowering, stretch: Stretch, local: int, step: int, where: str) -> Iterator[str]:
    node = stretch.first_node + local
    work, name = lowering.works[node], lowering.graph.nodes[node].name
    begin, end = stretch.first_operation[local : local + 2]
    places = _gemm_places(lowering, work) if work.unit == GEMM else (f"part={i}" for i in range(end - begin))
    for t, place in zip(range(begin, end), places, strict=True):
        op = stretch.operations[t]
        operands = f"layer={name}{where} {place}"
        if op["weight_bytes"] and not (op["kept"] and step > 0):
            yield f"LOAD_TILE {operands} to=WBUF bytes={op['weight_bytes']}"
        if op["input_bytes"]:
            yield f"LOAD_TILE {operands} to=UBUF bytes={op['input_bytes']}"
        if work.unit == GEMM:
            opcode = "CONV_OP" if work.kind in ("conv", "depthwise") else "GEMM_OP"
            yield f"{opcode} {operands} cycles={op['compute_cycles']}"
        elif work.unit == VECTOR:
            yield f"VECTOR_OP {operands} kind={work.kind} cycles={op['compute_cycles']}"
        if op["store_bytes"]:
            yield f"STORE_TILE {operands} bytes={op['store_bytes']}"


def _gemm_places(lowering: Lowering, work: Work) -> Iterator[str]:
    """Yield where in its GEMM each operation is, in the order of the lowering."""
    npu = lowering.npu
    for row in range(0, work.rows, npu.accumulator_rows):
        rows = min(npu.accumulator_rows, work.rows - row)
        for group in range(work.groups):
            last = group == work.groups - 1
            k, n = (work.last_k, work.last_n) if last else (work.k, work.n)
            for n_start in range(0, n, npu.array_cols):
                for k_start in range(0, k, npu.array_rows):
                    cols, depth = min(npu.array_cols, n - n_start), min(npu.array_rows, k - k_start)
                    grouped = f" group={group}" if work.groups > 1 else ""
                    yield f"rows={row}:{row + rows}{grouped} k={k_start}:{k_start + depth} n={n_start}:{n_start + cols}"
