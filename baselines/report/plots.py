"""Results as pictures: bars with intervals, and ANTT against fairness as a front. Figures need no display."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from baselines.evaluation.comparison import Comparison
from baselines.policies.registry import is_built_in
from prema_gym.files import save_figure
from prema_gym.rendering.style import LEARNED_COLORS

# Okabe & Ito's palette: told apart by people with colour blindness too.
GROUPS = {
    "non-preemptive (NP-)": "#999999",
    "preemptive (P-)": "#56B4E9",
    "PREMA and variants": "#D55E00",
    "told true times": "#009E73",
    "learned, or your own": LEARNED_COLORS[0],
    "other": "#CC79A7",
}
_LANDMARKS = ("NP-FCFS", "PREMA", "P-RRB", "P-TOKEN")
"""What the front names however many policies there are."""
_ALL_NAMED = 12
"""Up to so many policies the front names all of them."""
LOGARITHMIC = ("antt", "weighted_antt", "hp_tail", "ntt_p99")
UNITS = {
    "antt": "ANTT (multiples of isolated time, log scale)",
    "stp": "STP (tasks' worth of progress)",
    "sla_violation": "SLA violations (%, mean over N = 2..20)",
    "fairness": "fairness (0 to 1)",
    "hp_tail": "95th percentile NTT, highest priority (log scale)",
}


def group_of(results: Comparison, policy: str) -> str:
    """Return the legend entry that ``policy`` belongs to."""
    if policy in results.clairvoyant:
        return "told true times"
    if not is_built_in(policy):
        return "learned, or your own"
    if policy.startswith("PREMA"):
        return "PREMA and variants"
    if policy.startswith("NP-"):
        return "non-preemptive (NP-)"
    return "preemptive (P-)" if policy.startswith("P-") else "other"


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other dominates: smaller first, larger second coordinate; by the first."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    chosen: list[int] = []
    for i in order:
        if not chosen or points[i][1] > points[chosen[-1]][1]:
            chosen.append(i)
    return chosen


def has_name(policy: str, on_front: Collection[str], policies: int) -> bool:
    """Return whether the front of so many ``policies`` writes the name of ``policy``: of all, or of those that it is about."""
    return policies <= _ALL_NAMED or policy in on_front or policy in _LANDMARKS or not is_built_in(policy)


def use_log_axis(axes: Any) -> None:
    """Make the x axis logarithmic with ticks at 1, 2, 5, 10, ... in plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_bars(axes: Any, results: Comparison, measure: str) -> None:
    """Draw one horizontal bar with its interval per policy; an arrow in the title says which way is better."""
    scale = 100.0 if measure == "sla_violation" else 1.0
    for position, policy in enumerate(results.policies):
        estimate = results.estimate(policy, measure)
        if not math.isfinite(estimate.mean):
            continue
        mean, low, high = scale * estimate.mean, scale * estimate.low, scale * estimate.high
        axes.barh(position, mean, color=GROUPS[group_of(results, policy)], height=0.78)
        axes.hlines(position, low, high, color="black", linewidth=1.2)
    axes.set_yticks(range(len(results.policies)), results.policies, fontsize=8)
    axes.set_ylim(len(results.policies) - 0.4, -0.6)
    if measure in LOGARITHMIC:
        use_log_axis(axes)
    if measure == "antt" and results.has_bounds:
        bound = results.bound("antt").mean
        axes.axvline(bound, color="black", linestyle=":", linewidth=1)
        axes.annotate("bound", (bound, -0.6), xytext=(2, 2), textcoords="offset points", fontsize=7)
    shown = results.measures[measure]
    better = "higher is better" if shown.higher_is_better else "lower is better"
    axes.set_title(f"{shown.label} ({better})", fontsize=10)
    axes.set_xlabel(UNITS.get(measure, shown.label), fontsize=9)
    axes.grid(axis="x", alpha=0.3)


def draw_front(axes: Any, results: Comparison) -> None:
    """Draw ANTT against fairness with intervals; the staircase joins the policies that none dominates, true times apart."""
    named = [(policy, results.estimate(policy, "antt"), results.estimate(policy, "fairness")) for policy in results.policies]
    for policy, antt, fairness in named:
        colour = GROUPS[group_of(results, policy)]
        axes.plot([antt.low, antt.high], [fairness.mean] * 2, color=colour, linewidth=1)
        axes.plot([antt.mean] * 2, [fairness.low, fairness.high], color=colour, linewidth=1)
        filling = "none" if policy in results.clairvoyant else colour
        axes.plot(antt.mean, fairness.mean, "o", color=colour, markerfacecolor=filling, markersize=5 if filling != "none" else 8)
    open_to_all = [entry for entry in named if entry[0] not in results.clairvoyant]
    points = [(antt.mean, fairness.mean) for _, antt, fairness in open_to_all]
    best = front(points)
    axes.plot(*zip(*(points[i] for i in best), strict=True), color="black", linewidth=0.8, linestyle="--", zorder=0)
    on_front = {open_to_all[i][0] for i in best}
    right = math.sqrt(min(x for x, _ in points) * max(x for x, _ in points))
    for policy, antt, fairness in named:
        if has_name(policy, on_front, len(named)):
            side = "right" if antt.mean > right else "left"
            offset = (-6 if side == "right" else 6, 5 if policy in on_front else -9)
            where = (antt.mean, fairness.mean)
            axes.annotate(policy, where, xytext=offset, textcoords="offset points", fontsize=8, ha=side)
    use_log_axis(axes)
    axes.set_title("ANTT against fairness (better: up and left)", fontsize=10)
    axes.set_xlabel(UNITS["antt"], fontsize=9)
    axes.set_ylabel(UNITS["fairness"], fontsize=9)
    axes.grid(alpha=0.3)


def comparison_figure(results: Comparison) -> Figure:
    """Return the figure of ``make compare``: a panel of bars for each headline, and in closed episodes one of the front."""
    rows = len(results.policies)
    figure = Figure(figsize=(15, max(7.0, 2 * (1.4 + 0.19 * rows))), layout="constrained")
    grid = figure.subplots(2, 3)
    for axes, measure in zip(grid.flat, results.headlines, strict=False):
        draw_bars(axes, results, measure)
    if "fairness" in results.headlines:
        draw_front(grid[1, 2], results)
    present = {group_of(results, policy) for policy in results.policies}
    handles = [Patch(color=colour, label=name) for name, colour in GROUPS.items() if name in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False)
    figure.suptitle(results.title + ("; black lines: 95 % intervals" if results.episodes > 1 else ""))
    return figure


def save_comparison(results: Comparison, path: str | Path) -> None:
    """Write :func:`comparison_figure` to ``path``; the ending says the format."""
    save_figure(comparison_figure(results), path, dpi=110)
