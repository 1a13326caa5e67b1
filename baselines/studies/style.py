"""How the studies' figures look: Okabe & Ito's palette (told apart by people with colour blindness too), labels, small helpers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from baselines.evaluation.estimates import ends_of
from baselines.policies.registry import is_built_in
from prema_gym.rendering.style import LEARNED_COLORS

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#B8A800", "#0072B2", "#D55E00", "#CC79A7", "#888888",
)  # fmt: skip
CYCLE = (RED, BLUE, GREEN, ORANGE, SKY, PURPLE, BLACK, YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
POLICY_COLOURS = {
    "NP-FCFS": GREY,
    "PREMA": RED,
    "P-SJF": BLUE,
    "P-HPF": GREEN,
    "NP-PREMA": ORANGE,
    "P-TOKEN": SKY,
    "PREMA-ORACLE": BLACK,
}
"""The same policy has the same colour in every figure."""


def policy_colour(policy: str, otherwise: str | None = None) -> str | None:
    """Return the colour of ``policy``: its own if it has one, that of learned policies if it is no heuristic of ours."""
    return POLICY_COLOURS.get(policy, otherwise if is_built_in(policy) else LEARNED_COLORS[0])


LABELS = {
    "antt": "ANTT (multiples of isolated time)",
    "stp": "STP (tasks' worth of progress)",
    "sla": "SLA violations (%, mean over N = 2..20)",
    "sla_violation": "SLA violations (%, mean over N = 2..20)",
    "fairness": "fairness (0 to 1)",
    "hp_tail": "95th percentile NTT, priority 9",
}
TITLES = {
    "antt": "ANTT (lower is better)",
    "stp": "STP (higher is better)",
    "sla": "SLA violations (lower is better)",
    "sla_violation": "SLA violations (lower is better)",
    "fairness": "fairness (higher is better)",
    "hp_tail": "high-priority tail (lower is better)",
}


def new_figure(rows: int, columns: int, title: str, *, width: float = 4.6, height: float = 3.6) -> tuple[Figure, list[Any]]:
    """Return a figure with rows x columns axes, in reading order."""
    figure = Figure(figsize=(max(width * columns, 7.0), height * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.grid(alpha=0.3)
        one.tick_params(labelsize=9)
    return figure, list(axes.flat)


def scale_of(measure: str) -> float:
    """Return what a measure is multiplied by to be shown: SLA violations are percentages."""
    return 100.0 if measure in ("sla", "sla_violation") else 1.0


def draw_line(axes: Any, xs: Sequence[float], entries: Iterable[dict[str, Any]], index: int, label: str, **given: Any) -> None:
    """Draw means (or factors) with their intervals as a line with a band; ``scale`` multiplies, ``colour`` overrides the cycle."""
    scale, colour = given.get("scale", 1.0), given.get("colour") or CYCLE[index % len(CYCLE)]
    listed = list(entries)
    means = [scale * (entry["factor"] if "factor" in entry else entry["mean"]) for entry in listed]
    low, high = (scale * np.array(ends) for ends in zip(*map(ends_of, listed), strict=True))
    axes.fill_between(xs, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(xs, means, marker=MARKERS[index % len(MARKERS)], color=colour, markersize=5, linewidth=1.4, label=label)


def draw_bar(axes: Any, position: float, entry: dict[str, Any], colour: str, *, width: float = 0.8, scale: float = 1.0) -> None:
    """Draw one vertical bar with its interval."""
    mean = scale * (entry["factor"] if "factor" in entry else entry["mean"])
    axes.bar(position, mean, width=width, color=colour, zorder=2)
    axes.vlines(position, *(scale * end for end in ends_of(entry)), color="black", linewidth=1.2, zorder=3)


def log_ticks(axis: Any, ticks: Sequence[float], scale: str = "log", **given: Any) -> None:
    """Make ``axis`` (xaxis or yaxis of axes) logarithmic with plain numbers at ``ticks`` only."""
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)(scale, **given)
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def legend_below(figure: Figure, axes: Any, columns: int = 6) -> None:
    """Put the legend of ``axes`` under the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), fontsize=9, frameon=False)
