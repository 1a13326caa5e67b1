"""Where more is slower: larger arrays and larger batches, network by network, at the default clock, buffers and bandwidth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from baselines.studies import style
from baselines.studies.study import Json, Measurement
from prema_gym.config import MODEL_NAMES, NPUConfig
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.lengths import predicted_output_length
from prema_gym.workloads.models import MODELS

SIDES = (32, 64, 128, 256, 512, 1024)
SIDE_BATCHES = (1, 4, 16)
BATCHES = (1, 2, 4, 8, 16, 32)
BANDWIDTHS = (358, 34, 10)
"""GB/s: the paper's, that of TPU v1, and a third of it."""


def cycles(model: str, batch: int, npu: NPUConfig) -> float:
    """Return the cycles per sample at the median input length and the output length profiled for it."""
    spec = MODELS[model].lengths
    length = None if spec is None else spec.median
    output = predicted_output_length(spec, length) if spec is not None and spec.has_output else 1
    program = compile_model(MODELS[model], batch=batch, npu=npu, input_length=length, output_lengths=output)
    return program.total_cycles / batch


def slower(xs: Sequence[int], line: Sequence[float]) -> list[Json]:
    """Return the steps along ``xs`` at which ``line`` rises."""
    steps = zip(itertools.pairwise(xs), itertools.pairwise(line), strict=True)
    return [{"from": x, "to": y, "slowdown": later / before} for (x, y), (before, later) in steps if later > before]


def measure(report: Callable[[str], None]) -> Json:
    """Return cycles per sample over the array's side and over the batch, with the steps that make a sample slower."""
    arrays, batches = [], []
    for model in MODEL_NAMES:
        report(f"arrays, {model}")
        for batch in SIDE_BATCHES:
            line = [cycles(model, batch, NPUConfig(array_rows=side, array_cols=side)) for side in SIDES]
            arrays.append({"model": model, "batch": batch, "cycles": line, "slower": slower(SIDES, line)})
        for rate in BANDWIDTHS:
            npu = NPUConfig(dram_bytes_per_second=rate * 10**9)
            line = [cycles(model, batch, npu) for batch in BATCHES]
            batches.append({"model": model, "gb_per_s": rate, "cycles": line, "slower": slower(BATCHES, line)})
    return {"sides": list(SIDES), "batches": list(BATCHES), "by_side": arrays, "by_batch": batches}


def draw(data: Json) -> Figure:
    """Return cycles per sample over the array's side (upper half) and over the batch (lower half), a panel per network."""
    figure, panels = style.new_figure(4, 4, data["question"], width=3.7, height=2.8)
    for position, model in enumerate(MODEL_NAMES):
        sides = [row for row in data["by_side"] if row["model"] == model]
        rates = [row for row in data["by_batch"] if row["model"] == model]
        _draw_lines(panels[position], data["sides"], sides, [f"batch {row['batch']}" for row in sides], "side of the array")
        lower = panels[position + len(MODEL_NAMES)]
        _draw_lines(lower, data["batches"], rates, [f"{row['gb_per_s']} GB/s" for row in rates], "batch (array side 128)")
        for axes in (panels[position], lower):
            axes.set_title(model, fontsize=10)
    panels[0].legend(fontsize=8)
    panels[len(MODEL_NAMES)].legend(fontsize=8)
    return figure


def _draw_lines(axes: Any, xs: Sequence[int], rows: Sequence[Json], labels: Sequence[str], axis: str) -> None:
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        ys = [value / 1e6 for value in row["cycles"]]
        axes.plot(xs, ys, marker=style.MARKERS[index], color=style.CYCLE[index], markersize=4, linewidth=1.3, label=label)
    style.log_ticks(axes.xaxis, xs)
    style.log_ticks(axes.yaxis, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500))
    axes.set_xlabel(axis, fontsize=8)
    axes.set_ylabel("M cycles per sample", fontsize=8)


CROSSOVERS = Measurement("crossovers", "Where is a larger array or batch slower per sample?", measure, draw)
