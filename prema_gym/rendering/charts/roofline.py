"""Pictures of one compiled program: its layers under the roofline, and the context that a preemption would have to save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from prema_gym.config import NPUConfig
from prema_gym.files import save_figure
from prema_gym.hardware.program import Program

if TYPE_CHECKING:
    from matplotlib.axes import Axes as _Axes
    from matplotlib.figure import Figure as _Figure

Axes: TypeAlias = "_Axes"
Figure: TypeAlias = "_Figure"
Layer: TypeAlias = Mapping[str, Any]

BOUNDS: dict[str, dict[str, Any]] = {
    "compute": {"color": "#0072B2", "marker": "o", "label": "bound by computing"},
    "memory": {"color": "#D55E00", "marker": "s", "label": "bound by memory"},
    "fill": {"color": "#009E73", "marker": "^", "label": "bound by filling the array"},
}
"""How layers are drawn, by what bounds them: colour (Okabe and Ito's) and shape."""
BINS = 1200
"""Pieces of time that a context profile is drawn in; each shows its largest context."""
LABELLED = 6
"""Layers that are named in a roofline: those that take longest."""
TOGETHER = 60
"""Pixels within which they share a label."""
KIB, MIB = 1 << 10, 1 << 20
DPI = 150


def npu_of(program: Program) -> NPUConfig:
    """Return the NPU that ``program`` was compiled for; the default one for a synthetic program."""
    return NPUConfig() if program.source is None else program.source[2]


def context_envelope(program: Program, bins: int = BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (edges of the bins in cycles, largest save bytes, largest restore bytes) over the run of ``program``.

    The context at a cycle is that of the next preemption point: where the running operation commits. It is zero after the last one.
    """
    commits, save, restore = program.commit_cycles, program.save_bytes, program.restore_bytes
    edges = np.linspace(0, program.total_cycles, bins + 1)
    if len(commits) == 0:
        return edges, np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    first = np.searchsorted(commits, edges[:-1], side="left")
    last = np.searchsorted(commits, edges[1:], side="left")
    padded = [np.append(values, 0) for values in (save, restore)]
    largest = [np.array([v[a : b + 1].max(initial=0) for a, b in zip(first, last, strict=True)], np.int64) for v in padded]
    return edges, largest[0], largest[1]


def _new_figure(width: float, height: float, to_file: bool) -> Figure:
    """Return a figure of pyplot's (which notebooks show), or a bare one for a file."""
    if to_file:
        from matplotlib.figure import Figure as NewFigure

        return NewFigure(figsize=(width, height), dpi=DPI, layout="constrained")
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _save(ax: Axes, path: str | Path | None) -> None:
    if path is None:
        return
    figure = ax.get_figure(root=True)
    assert figure is not None
    save_figure(figure, path)


def _title(program: Program) -> str:
    batch = "" if program.source is None else f", batch {program.source[1]}"
    npu = npu_of(program)
    return f"{program.name}{batch} on {npu.array_rows} × {npu.array_cols} at {npu.clock_hz / 1e6:g} MHz"


def _points(program: Program) -> list[dict[str, Any]]:
    """Return the layers that multiply: intensity in MACs per byte (inf without traffic), rate in GMAC/s, share of the time."""
    npu = npu_of(program)
    total = program.total_cycles
    points = []
    for layer in program.layer_table():
        if layer["macs"] and layer["cycles"]:
            intensity = layer["macs"] / layer["dram_bytes"] if layer["dram_bytes"] else float("inf")
            rate = layer["macs"] / layer["cycles"] * npu.clock_hz / 1e9
            points.append({**layer, "intensity": intensity, "rate": rate, "share": layer["cycles"] / total})
    return points


def _draw_roofs(ax: Axes, npu: NPUConfig, low: float, high: float) -> None:
    """Draw the memory's slope and the array's peak, named along the lines."""
    peak = npu.array_rows * npu.array_cols * npu.clock_hz / 1e9
    bandwidth = npu.dram_bytes_per_second / 1e9
    ridge = peak / bandwidth
    ax.plot([low, ridge, high], [low * bandwidth, peak, peak], color="black", linewidth=1.5, zorder=2)
    ax.axvline(ridge, color="#999999", linewidth=0.8, linestyle=":", zorder=1)
    ax.annotate(f"array: {peak:,.0f} GMAC/s", (high, peak), xytext=(-4, 5), textcoords="offset points", fontsize=8, ha="right")
    middle = (low * ridge**3) ** 0.25
    slope: dict[str, Any] = {"xytext": (-6, 5), "textcoords": "offset points", "fontsize": 8, "ha": "right"}
    ax.annotate(f"memory: {bandwidth:g} GB/s", (middle, middle * bandwidth), **slope)
    corner: dict[str, Any] = {"xytext": (-4, 5), "textcoords": "offset points", "fontsize": 7, "ha": "right"}
    ax.annotate(f"ridge: {ridge:,.0f} MACs a byte", (ridge, ax.get_ylim()[0]), **corner)


def _draw_layers(ax: Axes, points: Sequence[Layer], high: float) -> None:
    for bound, style in BOUNDS.items():
        chosen = [point for point in points if point["bound"] == bound]
        if chosen:
            x = [min(point["intensity"], high) for point in chosen]
            size = [20 + 900 * point["share"] for point in chosen]
            ax.scatter(x, [p["rate"] for p in chosen], s=size, alpha=0.65, edgecolors="black", linewidths=0.5, zorder=3, **style)


def _neighbours(ax: Axes, points: Sequence[Layer], high: float) -> list[list[Layer]]:
    """Return the layers that take longest, in groups of those that are drawn nearly on top of each other."""
    groups: list[tuple[np.ndarray, list[Layer]]] = []
    for point in sorted(points, key=lambda point: -point["share"])[:LABELLED]:
        place = ax.transData.transform((min(point["intensity"], high), point["rate"]))
        near = [group for at, group in groups if np.hypot(*(at - place)) < TOGETHER]
        if near:
            near[0].append(point)
        else:
            groups.append((place, [point]))
    return [group for _, group in groups]


def _draw_labels(ax: Axes, points: Sequence[Layer], high: float) -> None:
    """Name the layers that take longest, to the left of where they are."""
    for group in _neighbours(ax, points, high):
        text = "\n".join(f"{point['name']} ({point['share']:.0%})" for point in group)
        place = (min(high, *(point["intensity"] for point in group)), group[0]["rate"])
        offset = (-7 - 12 * float(np.sqrt(group[0]["share"])), 0)
        style: dict[str, Any] = {"fontsize": 7.5, "ha": "right", "va": "center", "zorder": 5}
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
        ax.annotate(text, place, xytext=offset, textcoords="offset points", bbox=box, **style)


def roofline(program: Program, *, ax: Axes | None = None, path: str | Path | None = None) -> Axes:
    """Draw a compiled program's layers under the roofline of its NPU; return the axes.

    Parameters
    ----------
    program: as ``compile_model`` returns it.
    ax: axes to draw into; a new figure by default.
    path: file to write, in any format that matplotlib knows (.png, .pdf, .svg).

    """
    from matplotlib.lines import Line2D

    npu, points = npu_of(program), _points(program)
    ax = _new_figure(8.5, 5.4, path is not None).subplots() if ax is None else ax
    peak = npu.array_rows * npu.array_cols * npu.clock_hz / 1e9
    ridge = peak * 1e9 / npu.dram_bytes_per_second
    finite = [point["intensity"] for point in points if np.isfinite(point["intensity"])] or [ridge]
    low, high = min([*finite, ridge]) / 4, max([*finite, ridge]) * 4
    ax.set(xscale="log", yscale="log", xlim=(low, high))
    lowest = min([point["rate"] for point in points] or [peak])
    ax.set_ylim(min(lowest, peak / 30) / 2, peak * 2.2)
    _draw_roofs(ax, npu, low, high)
    _draw_layers(ax, points, high / 1.15)
    _draw_labels(ax, points, high / 1.15)
    rest = 1 - sum(point["share"] for point in points)
    ax.set_title(f"{_title(program)}: {program.total_cycles / npu.clock_hz * 1e3:.3g} ms", fontsize=10, loc="left")
    ax.set_xlabel("arithmetic intensity (MACs per byte of DRAM traffic)", fontsize=9)
    ax.set_ylabel("rate (GMAC/s)", fontsize=9)
    ax.grid(which="major", color="#E5E5E5", zorder=0)
    handles = [
        Line2D([], [], linestyle="none", markersize=7, markeredgecolor="black", markeredgewidth=0.5, alpha=0.65, **style)
        for bound, style in BOUNDS.items()
        if any(point["bound"] == bound for point in points)
    ]
    note = "area: share of the time" + (f"\nnot shown: layers without MACs, {rest:.0%}" if rest >= 0.005 else "")
    ax.legend(handles=handles, loc="lower right", fontsize=8, title=note, title_fontsize=8, alignment="left")
    _save(ax, path)
    return ax


def _draw_bounds(ax: Axes, program: Program, layers: Sequence[Layer]) -> None:
    """Fill the strip below the axis with what bounds the layers."""
    npu, start = npu_of(program), 0
    for layer in layers:
        ax.axvspan(npu.ms(start), npu.ms(start + layer["cycles"]), color=BOUNDS[layer["bound"]]["color"], linewidth=0)
        start += layer["cycles"]
    ax.set_yticks([])


def _straight(program: Program) -> list[dict[str, Any]]:
    """Return the layers of a program in which each runs once, so that they follow one another; none for others."""
    layers = program.layer_table() if program.source is not None else []
    return [] if any(layer["passes"] > 1 for layer in layers) else layers


def _draw_context(ax: Axes, program: Program) -> None:
    npu = npu_of(program)
    edges, save, restore = context_envelope(program)
    ms, top = edges / npu.clock_hz * 1e3, max(int(restore.max()), int(save.max()), 1)
    unit, name = (MIB, "MiB") if top >= MIB // 2 else (KIB, "KiB")
    ax.stairs(restore / unit, ms, color="#999999", linewidth=1, label="restore (what resuming loads, staged data too)")
    ax.stairs(save / unit, ms, color="#0072B2", fill=True, alpha=0.75, label="save (what a checkpoint stores)")
    near = top > 0.6 * npu.ubuf_bytes
    if near:
        ax.axhline(npu.ubuf_bytes / unit, color="black", linewidth=0.8, linestyle="--", label="unified buffer")
    ax.set_ylim(0, 1.1 * max(top, npu.ubuf_bytes if near else 0) / unit)
    ax.set_xlim(0, ms[-1])
    ax.set_ylabel(f"context ({name})", fontsize=9)
    us_per_unit = unit / npu.dram_bytes_per_second * 1e6
    scales: Any = (lambda size: size * us_per_unit, lambda us: us / us_per_unit)
    times = ax.secondary_yaxis("right", functions=scales)
    times.set_ylabel("transfer time, latency apart (µs)", fontsize=9)
    ax.grid(color="#E5E5E5")
    ax.set_axisbelow(True)


def context_profile(program: Program, *, path: str | Path | None = None) -> Figure:
    """Draw what a checkpoint saves and what resuming restores, over the run of a compiled program; return the figure.

    Below it a strip says what bounds the layers, where each of them runs once.

    Parameters
    ----------
    program: as ``compile_model`` returns it.
    path: file to write, in any format that matplotlib knows (.png, .pdf, .svg).

    """
    from matplotlib.patches import Patch

    layers = _straight(program)
    figure = _new_figure(10, 4.4, path is not None)
    axes = figure.subplots(2 if layers else 1, 1, sharex=True, squeeze=False, height_ratios=[14, 1] if layers else [1])[:, 0]
    _draw_context(axes[0], program)
    axes[0].set_title(f"{_title(program)}: context over {program.num_points:,} preemption points", fontsize=10, loc="left")
    axes[-1].set_xlabel("progress of the run (ms)", fontsize=9)
    if layers:
        _draw_bounds(axes[1], program, layers)
    seen = {layer["bound"] for layer in layers}
    patches = [Patch(color=style["color"], label=style["label"]) for bound, style in BOUNDS.items() if bound in seen]
    handles = [*axes[0].get_legend_handles_labels()[0], *patches]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    _save(axes[0], path)
    return figure
