"""Studies that move one thing and watch the factors of PREMA over NP-FCFS, the paper's three figures beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from baselines.evaluation.measures import HEADLINES
from baselines.evaluation.results import REFERENCE, Results
from baselines.studies import style
from baselines.studies.study import FACTOR_MEASURES, PAPER, PAPER_POLICY, Json, Point, Study, Summary, estimates, factors

WINDOWS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
FAMILY = (REFERENCE, "NP-PREMA", "P-HPF", "P-SJF", "PREMA")
TOLERANCE = 0.25
"""How far from the abstract's factor counts as reproduced."""
RECURRENT = ("RNN-SA", "RNN-MT1", "RNN-MT2", "RNN-ASR")
CONVOLUTIONAL = ("CNN-AN", "CNN-GN", "CNN-VN", "CNN-MN")


def sweep(axis: str) -> Summary:
    """Return the summary of a study whose points lie along ``axis``."""

    def summarise(points: Sequence[Point], results: Sequence[Results]) -> Json:
        return {"axis": axis, "points": [_point(point, result) for point, result in zip(points, results, strict=True)]}

    return summarise


def _point(point: Point, results: Results) -> Json:
    return {
        "label": point.label,
        "x": point.x,
        "arguments": _plain(point.arguments),
        "factors": factors(results),
        "isolated_time_variation": variation(results),
        "policies": estimates(results, HEADLINES),
    }


def variation(results: Results) -> float:
    """Return the coefficient of variation of the isolated times drawn: how unlike each other the tasks are."""
    isolated = next(iter(results.played.values())).tasks["isolated_cycles"].astype(np.float64)
    return float(isolated.std() / isolated.mean())


def _plain(arguments: Mapping[str, Any]) -> Json:
    return {key: _plain(value) if isinstance(value, Mapping) else value for key, value in arguments.items()}


# --- Figures --------------------------------------------------------------------------------------------------------------------


def draw_factors(axes: Any, key: str, data: Json, positions: Sequence[float], joined: bool) -> None:
    """Draw one factor over the points, and the abstract's with its band of 25 %."""
    entries = [point["factors"][key] for point in data["points"]]
    if joined:
        style.draw_line(axes, positions, entries, 0, "PREMA over NP-FCFS, 95 % interval")
    else:
        for position, entry in zip(positions, entries, strict=True):
            style.draw_bar(axes, position, entry, style.RED)
        axes.bar(0, 0, color=style.RED, label="PREMA over NP-FCFS, 95 % interval")
    if key in PAPER:
        axes.axhline(PAPER[key], color=style.BLUE, linestyle="--", linewidth=1.2, label="abstract of the paper")
        axes.axhspan(
            PAPER[key] * (1 - TOLERANCE), PAPER[key] * (1 + TOLERANCE), color=style.BLUE, alpha=0.10, linewidth=0,
            label="within 25 % of it",
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_title({"antt": "ANTT", "stp": "STP", "sla": "SLA violations", "fairness": "fairness"}[key], fontsize=10)
    axes.set_ylabel("times better than NP-FCFS", fontsize=9)
    axes.set_xlabel(data["axis"], fontsize=9)


def draw_sweep(data: Json) -> Figure:
    """Return four panels of factors along a numeric axis."""
    xs = [point["x"] for point in data["points"]]
    figure, panels = style.new_figure(1, 4, data["question"], width=3.7)
    for axes, key in zip(panels, FACTOR_MEASURES, strict=True):
        draw_factors(axes, key, data, xs, joined=True)
        style.log_ticks(axes.xaxis, xs)
        axes.set_xticks(xs, [point["label"] for point in data["points"]], rotation=45 if len(xs) > 5 else 0, fontsize=8)
    style.legend_below(figure, panels[0])
    return figure


def draw_categories(data: Json) -> Figure:
    """Return four panels of factors over named points."""
    positions = list(range(len(data["points"])))
    figure, panels = style.new_figure(1, 4, data["question"], width=3.9, height=4.2)
    for axes, key in zip(panels, FACTOR_MEASURES, strict=True):
        draw_factors(axes, key, data, positions, joined=False)
        axes.set_xticks(positions, [point["label"] for point in data["points"]], rotation=60, ha="right", fontsize=8)
        axes.grid(axis="x", visible=False)
    style.legend_below(figure, panels[0])
    return figure


def draw_window(data: Json) -> Figure:
    """Return the five measures along the axis, a line per policy, and under them the factors."""
    xs = [point["x"] for point in data["points"]]
    figure, panels = style.new_figure(2, len(HEADLINES), data["question"], width=3.5)
    for axes, measure in zip(panels, HEADLINES, strict=False):
        _draw_measure(axes, data, measure, xs)
    below = panels[len(HEADLINES) :]
    for axes, key in zip(below, FACTOR_MEASURES, strict=False):
        draw_factors(axes, key, data, xs, joined=True)
    below[-1].axis("off")
    for lines, corner in ((panels[0], "upper left"), (below[0], "lower left")):
        handles, labels = lines.get_legend_handles_labels()
        below[-1].add_artist(below[-1].legend(handles, labels, loc=corner, fontsize=9, frameon=False))
    for axes in panels[:-1]:
        style.log_ticks(axes.xaxis, xs)
        axes.set_xticks(xs, [point["label"] for point in data["points"]], rotation=45, fontsize=8)
    return figure


def _draw_measure(axes: Any, data: Json, measure: str, xs: Sequence[float]) -> None:
    for index, policy in enumerate(data["points"][0]["policies"]):
        entries = [point["policies"][policy][measure] for point in data["points"]]
        style.draw_line(axes, xs, entries, index, policy, scale=style.scale_of(measure), colour=style.policy_colour(policy))
    if measure in ("antt", "hp_tail"):
        style.log_ticks(axes.yaxis, (1, 2, 5, 10, 20, 50, 100, 200))
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(style.TITLES[measure], fontsize=10)
    axes.set_ylabel(style.LABELS[measure], fontsize=9)
    axes.set_xlabel(data["axis"], fontsize=9)


# --- The default window ---------------------------------------------------------------------------------------------------------


def distance(point: Json) -> float:
    """Return the rule's distance of a point from the abstract: the largest |ln(factor / abstract's factor)| of the three."""
    return max(abs(math.log(point["factors"][key]["factor"] / claimed)) for key, claimed in PAPER.items())


def calibrate(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return the sweep with every point's distance, the point that the rule chooses, and how often resamples choose it."""
    data = sweep("window (× sum of isolated times)")(points, results)
    for point in data["points"]:
        point["distance"] = distance(point)
    draws = np.array([_drawn_distance(result) for result in results])
    wins = np.bincount(draws.argmin(axis=0), minlength=len(points)) / draws.shape[1]
    for point, share, row in zip(data["points"], wins.tolist(), draws, strict=True):
        point["chosen_share"] = share
        point["distance_ci95"] = np.quantile(row, [0.025, 0.975]).tolist()
    best = min(data["points"], key=lambda point: float(point["distance"]))
    return {
        **data,
        "rule": "the window with the smallest largest |ln(factor / abstract's factor)| over ANTT, STP and SLA, on the valid split",
        "chosen": best["x"],
    }


def _drawn_distance(results: Results) -> np.ndarray:
    """Return the (B,) distances of the bootstrap's resamples."""
    logs = []
    for key, claimed in PAPER.items():
        ours, theirs = (results.draws(policy, FACTOR_MEASURES[key]) for policy in (PAPER_POLICY, REFERENCE))
        ratio = ours / theirs if key == "stp" else theirs / ours
        logs.append(np.abs(np.log(ratio / claimed)))
    return np.max(logs, axis=0)


def draw_calibration(data: Json) -> Figure:
    """Return the factors and the rule's distance over windows."""
    xs = [point["x"] for point in data["points"]]
    figure, panels = style.new_figure(1, 4, f"{data['question']} Chosen: {data['chosen']:g}", width=3.7)
    for axes, key in zip(panels, PAPER, strict=False):
        draw_factors(axes, key, data, xs, joined=True)
    last = panels[3]
    entries = [{"mean": point["distance"], "ci95": point["distance_ci95"]} for point in data["points"]]
    style.draw_line(last, xs, entries, 1, "rule's distance", colour=style.BLACK)
    last.axvline(data["chosen"], color=style.GREEN, linestyle=":", linewidth=1.5)
    last.set_ylim(bottom=0)
    last.set_title("the rule: lowest is chosen", fontsize=10)
    last.set_ylabel("largest |ln(factor / abstract's)|", fontsize=9)
    last.set_xlabel(data["axis"], fontsize=9)
    for axes in panels:
        style.log_ticks(axes.xaxis, xs)
        axes.set_xticks(xs, [point["label"] for point in data["points"]], rotation=45, fontsize=8)
    style.legend_below(figure, panels[0])
    return figure


# --- The list -------------------------------------------------------------------------------------------------------------------


def _workload(label: str, x: float | None = None, policies: Sequence[str] = (REFERENCE, PAPER_POLICY), **fields: Any) -> Point:
    return Point(label, tuple(policies), {"workload": fields} if fields else {}, x)


_CLOCK = 700_000
"""Cycles of a millisecond at the default clock."""
_QUANTA_MS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)

CALIBRATION = Study(
    "calibration",
    "Which window comes nearest to the abstract? (valid split)",
    tuple(Point(f"{w:g}", arguments={"workload": {"window": w}}, x=w, split="valid") for w in WINDOWS),
    calibrate,
    draw_calibration,
)
SWEEPS = (
    Study(
        "window",
        "How does the load move measures and factors?",
        tuple(_workload(f"{w:g}", w, FAMILY, window=w) for w in WINDOWS),
        sweep("window (× sum of isolated times)"),
        draw_window,
    ),
    Study(
        "tasks",
        "How does the number of tasks move the factors?",
        tuple(_workload(f"{n}", n, num_tasks=n) for n in (2, 4, 8, 16, 32)),
        sweep("tasks per episode"),
        draw_sweep,
    ),
    Study(
        "batch",
        "How does the batch size move the factors?",
        (_workload("1, 4, 16"), *(_workload(f"only {b}", batches=[b]) for b in (1, 4, 16))),
        sweep("batch sizes drawn"),
        draw_categories,
    ),
    Study(
        "mix",
        "How does the mix of networks move the factors?",
        (
            _workload("all eight"),
            _workload("CNNs only", models=list(CONVOLUTIONAL)),
            _workload("CNNs and RNN-SA", models=[*CONVOLUTIONAL, "RNN-SA"]),
            _workload("without MT1, MT2", models=[*CONVOLUTIONAL, "RNN-SA", "RNN-ASR"]),
            _workload("without ASR", models=[*CONVOLUTIONAL, "RNN-SA", "RNN-MT1", "RNN-MT2"]),
            _workload("RNNs only", models=list(RECURRENT)),
            _workload("without VGG", models=["CNN-AN", "CNN-GN", "CNN-MN", *RECURRENT]),
        ),
        sweep("networks drawn"),
        draw_categories,
    ),
    Study(
        "quantum",
        "How does the quantum move the factors?",
        (
            *(Point(f"{ms:g}", arguments={"quantum_cycles": round(ms * _CLOCK)}, x=ms) for ms in _QUANTA_MS),
            Point("none", arguments={"decision_every": None}, x=16.0),
        ),
        sweep("quantum (ms)"),
        draw_sweep,
    ),
    Study(
        "hardware",
        "How do the hardware model's assumptions move the factors?",
        (
            Point("default"),
            Point("weights prefetched", arguments={"npu": {"weight_loading": "prefetched"}}),
            Point("weights exposed", arguments={"npu": {"weight_loading": "exposed"}}),
            _workload("hoisted inputs", hoist_inputs=True),
            Point("1-byte operands", arguments={"npu": {"operand_bytes": 1}}),
            Point("4-byte operands", arguments={"npu": {"operand_bytes": 4}}),
            Point("4096 accumulator rows", arguments={"npu": {"accumulator_rows": 4096}}),
            Point("tpu_v1", arguments={"npu": "tpu_v1"}),
            Point("edge", arguments={"npu": "edge"}),
        ),
        sweep("hardware"),
        draw_categories,
    ),
)
