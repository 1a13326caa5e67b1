"""Several NPUs: one common queue against a dispatcher in front, on like and on unlike NPUs, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from baselines.evaluation.estimates import ends_of
from baselines.evaluation.results import Results
from baselines.policies.registry import is_built_in
from baselines.studies import style
from baselines.studies.study import Json, Point, Study, estimates
from prema_gym.rendering.style import LEARNED_COLORS

TASKS = 32
"""Eight tasks for each of four NPUs, as the default has for one."""
CLUSTERS = {"like": (("prema",) * 4, 0.125), "unlike": (("prema", "prema", "edge", "edge"), 0.2)}
"""NPUs, and the window that loads them about as the default loads one."""
POLICIES = (
    "PREMA", "LEAST-LOADED/PREMA", "JSQ/PREMA", "WSRPT", "LEAST-LOADED/WSRPT", "JSQ/WSRPT", "GATE",
)  # fmt: skip
PAIRS = (
    ("LEAST-LOADED/PREMA", "PREMA"), ("JSQ/PREMA", "PREMA"),
    ("LEAST-LOADED/WSRPT", "WSRPT"), ("JSQ/WSRPT", "WSRPT"), ("GATE", "WSRPT"),
)  # fmt: skip
"""Whose difference is told: of the first from the second, in the same episodes."""
MEASURES = ("antt", "weighted_antt", "stp", "sla_violation", "hp_tail")
DRAWN = {"antt": "ANTT (lower is better)", "weighted_antt": "weighted ANTT (lower is better)", "sla_violation": "SLA violations, %"}


def summarise(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return for each cluster every policy's measures, its use of the NPUs, and the paired differences."""
    return {"clusters": [_cluster(point, result) for point, result in zip(points, results, strict=True)]}


def _cluster(point: Point, results: Results) -> Json:
    differences = [
        {
            "policy": policy,
            "opponent": opponent,
            **{measure: results.difference(policy, opponent, measure).to_dict() for measure in MEASURES},
        }
        for policy, opponent in PAIRS
    ]
    return {
        "label": point.label,
        "npus": list(results.npu_names),
        "window": results.config.workload.window,
        "policies": estimates(results, MEASURES),
        "utilisation": {name: [share.to_dict() for share in results.utilisation(name)] for name in results.policies},
        "differences": differences,
    }


def draw(data: Json) -> Figure:
    """Return a row of panels per cluster: bars of every policy, those behind a dispatcher lighter, and the use of each NPU."""
    clusters = data["clusters"]
    figure, panels = style.new_figure(len(clusters), len(DRAWN) + 1, data["question"], width=4.3, height=3.5)
    for row, cluster in enumerate(clusters):
        own = panels[row * (len(DRAWN) + 1) : (row + 1) * (len(DRAWN) + 1)]
        for axes, (measure, title) in zip(own, DRAWN.items(), strict=False):
            _draw_measure(axes, cluster, measure, title, first=axes is own[0])
        _draw_use(own[-1], cluster)
    style.legend_below(figure, panels[len(DRAWN)])
    return figure


def _colour(policy: str) -> str:
    if not is_built_in(policy):
        return LEARNED_COLORS[0]
    if policy == "GATE":
        return style.GREEN
    behind = "/" in policy
    if policy.endswith("PREMA"):
        return style.ORANGE if behind else style.RED
    return style.SKY if behind else style.BLUE


def _draw_measure(axes: Any, cluster: Json, measure: str, title: str, *, first: bool) -> None:
    scale = style.scale_of(measure)
    names = list(cluster["policies"])
    for position, name in enumerate(names):
        entry = cluster["policies"][name][measure]
        low, high = (scale * end for end in ends_of(entry))
        axes.barh(position, scale * entry["mean"], color=_colour(name), height=0.75, zorder=2)
        axes.hlines(position, low, high, color=style.BLACK, linewidth=1.2, zorder=3)
    axes.set_yticks(range(len(names)), names if first else [""] * len(names), fontsize=9)
    axes.invert_yaxis()
    axes.set_title(f"{', '.join(cluster['npus'])}\n{title}" if first else title, fontsize=10)
    axes.grid(axis="y", visible=False)


def _draw_use(axes: Any, cluster: Json) -> None:
    colours = (style.RED, style.ORANGE, style.BLUE, style.SKY)
    names = list(cluster["utilisation"])
    for position, name in enumerate(names):
        for npu, share in enumerate(cluster["utilisation"][name]):
            where = position + (npu - 1.5) * 0.19
            axes.barh(where, 100 * share["mean"], height=0.17, color=colours[npu % len(colours)], zorder=2)
    for npu, colour in enumerate(colours):
        axes.barh(0, 0, color=colour, label=f"NPU {npu}")
    axes.set_yticks(range(len(names)), [""] * len(names))
    axes.invert_yaxis()
    axes.set_title("use of each NPU, % of the time", fontsize=10)
    axes.grid(axis="y", visible=False)


NPUS = Study(
    "npus",
    "Four NPUs: a common queue, a dispatcher in front of each NPU's own queue, and the gate",
    tuple(
        Point(label, POLICIES, {"npus": npus, "workload": {"num_tasks": TASKS, "window": window}})
        for label, (npus, window) in CLUSTERS.items()
    ),
    summarise,
    draw,
)
