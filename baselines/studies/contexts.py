"""What a preemption has to save, restore and wait for, at every point of every program; and the size of the context table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from baselines.studies import style
from baselines.studies.study import Json, Measurement
from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.hardware.library import ProgramLibrary
from prema_gym.hardware.program import Program
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.lengths import predicted_output_length
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import compile_program

FIELD_MAXIMA = {
    "state": 2,
    "priority": 9,
    "token": (1 << 32) - 1,
    "arrival": (1 << 48) - 1,
    "last dispatch": (1 << 48) - 1,
    "preemptions": (1 << 16) - 1,
    "program": (1 << 16) - 1,
}
"""Largest values of the context table's fields that no program bounds (a token is a 32-bit float, clocks wrap after 4.6 days)."""


def of_program(program: Program, npu: NPUConfig, output_length: int | None) -> Json:
    """Return the costs of preempting ``program`` once, over its points and over a random instant of its run."""
    total = int(program.totals[(output_length or 1) - 1])
    commits = program.commit_cycles
    count = int(np.searchsorted(commits, total, side="left"))
    gaps = np.diff(np.concatenate(([0], commits[:count], [total]))).astype(np.float64)
    saves, restores = program.save_bytes[:count], program.restore_bytes[:count]
    refills = program.refill_cycles[:count]
    costs = context_cycles(saves, npu) + context_cycles(restores, npu) + refills
    weights = gaps[: len(costs)]
    us = 1e6 / npu.clock_hz
    return {
        "points": count,
        "isolated_ms": npu.ms(total),
        "save_kib": _spread(saves / 1024, weights),
        "restore_kib": _spread(restores / 1024, weights),
        "save_us": _spread(context_cycles(saves, npu) * us, weights),
        "cost_us": _spread(costs * us, weights),
        "wait_for_commit_us": {"mean": float(us * np.sum(gaps**2) / (2 * gaps.sum())), "max": float(us * gaps.max())},
        "cost_share_of_isolated": float(np.average(costs, weights=weights) / total),
    }


def context_cycles(nbytes: np.ndarray, npu: NPUConfig) -> np.ndarray:
    """Return :meth:`NPUConfig.context_cycles` of every entry of ``nbytes`` (points,) as int64."""
    sizes, places = np.unique(nbytes, return_inverse=True)
    return np.array([npu.context_cycles(int(size)) for size in sizes], np.int64)[places]


def _spread(values: np.ndarray, weights: np.ndarray) -> Json:
    """Return mean (over a random instant of the run: the next point's cost), median over points, and maximum."""
    return {"mean": float(np.average(values, weights=weights)), "median": float(np.median(values)), "max": float(values.max())}


def library_maxima(library: ProgramLibrary) -> Json:
    """Return the largest context, restore and refill over every point of every program of ``library``."""
    worst = dict.fromkeys(("save_bytes", "restore_bytes", "refill_cycles", "operation_cycles"), 0)
    runs, blocks = library.runs, library.blocks
    tops = {}
    for name, field in (("save_bytes",) * 2, ("restore_bytes",) * 2, ("refill_cycles",) * 2, ("operation_cycles", "step_cycles")):
        tops[name] = np.maximum.reduceat(runs[field].astype(np.int64), blocks["first_run"])
    for segment in library.segments:
        laps = min(int(segment["repeats"]), 1000)
        for name in worst:
            base = 0
            if name.endswith("bytes"):
                base = int(segment[name]) + (laps - 1) * int(segment[name.replace("bytes", "step_bytes")])
            worst[name] = max(worst[name], base + int(tops[name][segment["block"]]))
    return worst


def table_bits(maxima: Json, longest_cycles: int) -> Json:
    """Return the bits of each field of a context table's row, and their sum."""
    tops = {
        **FIELD_MAXIMA,
        "predicted total": longest_cycles,
        "executed": longest_cycles,
        "waited": (1 << 40) - 1,
        "saved bytes": maxima["save_bytes"],
        "restore bytes": maxima["restore_bytes"],
        "refill": maxima["refill_cycles"],
    }
    bits = {field: int(value).bit_length() for field, value in tops.items()}
    return {"fields": bits, "bits_per_task": sum(bits.values())}


def measure(report: Callable[[str], None]) -> Json:
    """Return the costs of every network and batch at its median length, the library's maxima and the table's bits."""
    config = EnvConfig()
    rows: list[Json] = []
    for name in config.workload.models:
        model = MODELS[name]
        length = model.lengths.median if model.lengths else None
        output = predicted_output_length(model.lengths, length) if model.lengths and model.lengths.has_output else None
        for batch in config.workload.batches:
            report(f"contexts of {name}")
            program = compile_program(model, batch, config.npu, length)
            rows.append({"model": name, "batch": batch, **of_program(program, config.npu, output)})
    simulator = Simulator(config)
    library = simulator.programs.library
    maxima = library_maxima(library)
    return {"programs": rows, "maxima": maxima, "context_table": table_bits(maxima, int(library.totals.max()))}


def draw(data: Json) -> Figure:
    """Return context size, cost and waiting per network and batch."""
    panels_of = (
        ("save_kib", "context to save", "KiB (mean over the run; line: largest)", 1.0),
        ("cost_us", "save + restore + refill", "µs (mean over the run; line: largest)", 1.0),
        ("wait_for_commit_us", "wait for the running operation's commit", "µs (mean over the run; line: longest)", 1.0),
    )
    figure, panels = style.new_figure(1, 3, data["question"], width=5.0, height=4.0)
    models = list(dict.fromkeys(row["model"] for row in data["programs"]))
    batches = list(dict.fromkeys(row["batch"] for row in data["programs"]))
    colours = dict(zip(batches, (style.SKY, style.GREEN, style.RED), strict=False))
    for axes, (key, title, label, _) in zip(panels, panels_of, strict=True):
        _draw_bars(axes, data["programs"], key, models, batches, colours)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(label, fontsize=9)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(models)), models, rotation=45, ha="right", fontsize=9)
        axes.grid(axis="x", visible=False)
    style.legend_below(figure, panels[0])
    return figure


def _draw_bars(axes: Any, rows: list[Json], key: str, models: list[str], batches: list[int], colours: dict[int, str]) -> None:
    width = 0.8 / len(batches)
    for row in rows:
        where = models.index(row["model"]) + (batches.index(row["batch"]) - (len(batches) - 1) / 2) * width
        axes.bar(where, row[key]["mean"], width=0.9 * width, color=colours[row["batch"]], zorder=2)
        axes.vlines(where, row[key]["mean"], row[key]["max"], color=style.BLACK, linewidth=0.9, zorder=3)
    for batch in batches:
        axes.bar(0, 0, color=colours[batch], label=f"batch {batch}")


CONTEXTS = Measurement("contexts", "What does a preemption cost, by network and batch? (median lengths)", measure, draw)
