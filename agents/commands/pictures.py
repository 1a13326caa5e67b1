"""Pictures of learning: improvements over the course of runs, the grid of workloads as a heat map, families of policies as fronts.

python -m agents.pictures results/train/cma-slots-* --output curves.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from agents.commands.command import exit_status
from agents.learning.hypervolume import INDEX_FRONT, LEARNED_FRONT, PREMA, FrontComparison
from agents.learning.log import read_log
from agents.learning.objective import SCALES
from baselines.evaluation.measures import HEADLINES, Measure
from baselines.evaluation.streams import measure_named
from baselines.report.plots import front, use_log_axis
from prema_gym.errors import PolicyError
from prema_gym.exits import Parser
from prema_gym.files import save_figure
from prema_gym.rendering.style import LEARNED_COLORS, LEARNED_MARKER, learned_look

_DPI = 150
_LARGEST_SHARE = 0.3
"""Relative change at which the grid's colours end."""


def curves(runs: Sequence[Path], path: Path, over: str = "over_prema") -> Path:
    """Draw the measures on "valid" against minutes, one line for each run.

    Of runs that are to dominate it is by how much each measure is better than the opponent's, in %; of runs that choose by one
    measure it is the measures, and a level line for the opponent.
    """
    logs = {run.name: read_log(run) for run in runs}
    shown = {tuple(log[0][over]) for log in logs.values() if log}
    if len(shown) != 1:
        raise PolicyError(
            f"{len(runs)} runs with {len(shown)} kinds of measures: curves are of runs with the same, that have evaluated."
        )
    (names,) = shown
    opponent = {"over_prema": "PREMA", "over_opponent": "the opponent"}[over]
    figure = Figure(figsize=(2.2 * len(names), 2.8), layout="constrained")
    panels = figure.subplots(1, len(names), sharex=True)
    dominate = names == HEADLINES
    for axes, name in zip(panels, names, strict=True):
        for number, (label, log) in enumerate(logs.items()):
            color, line = learned_look(number)
            axes.plot([entry["seconds"] / 60 for entry in log], _line(log, name, over, dominate), line,
                      color=color, linewidth=1, label=label)  # fmt: skip
        measure = measure_named(name)
        axes.axhline(0 if dominate else _level(next(iter(logs.values()))[0], measure, over), color="black", linewidth=0.8)
        axes.set_title(measure.label, fontsize=10)
        axes.grid(alpha=0.3)
        axes.set_xlabel("minutes")
    panels[0].set_ylabel(f"times better than {opponent}, less 1, in %" if dominate else f"level: {opponent}", fontsize=8)
    panels[-1].legend(frameon=False, fontsize=7)
    return save(figure, path)


def _line(log: Sequence[dict[str, Any]], name: str, over: str, dominate: bool) -> list[float]:
    """Return what is drawn of a measure, evaluation by evaluation."""
    if not dominate:
        return [entry["values"][name] for entry in log]
    return [100 * (np.exp(SCALES[name] * entry[over][name]) - 1) for entry in log]


def _level(entry: dict[str, Any], measure: Measure, over: str) -> float:
    """Return the opponent's value of a measure, from an evaluation and the improvement over it."""
    gain = entry[over][measure.name]
    return float(entry["values"][measure.name] - (gain if measure.higher_is_better else -gain))


def grid(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draw ``rows`` of :func:`agents.commands.evaluate.grid`: relative change by cell and measure, a heat map for each opponent."""
    opponents = list(dict.fromkeys(row["versus"] for row in rows))
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    cells = list(dict.fromkeys((row["axis"], row["value"]) for row in rows))
    figure = Figure(figsize=(1.5 + 4.6 * len(opponents), 1.2 + 0.3 * len(cells)), layout="constrained")
    panels = figure.subplots(1, len(opponents), sharey=True, squeeze=False)[0]
    drawn: Any = None
    for axes, opponent in zip(panels, opponents, strict=True):
        mine = {(row["axis"], row["value"], row["measure"]): row for row in rows if row["versus"] == opponent}
        table = np.array([[relative_gain(mine[*cell, measure]) for measure in measures] for cell in cells])
        drawn = axes.imshow(table, cmap="PiYG", vmin=-_LARGEST_SHARE, vmax=_LARGEST_SHARE, aspect="auto")
        for (i, j), gain in np.ndenumerate(table):
            even = mine[*cells[i], measures[j]]["verdict"] == "even"
            axes.text(j, i, f"({100 * gain:+.0f})" if even else f"{100 * gain:+.0f}", ha="center", va="center", fontsize=7)
        axes.set_xticks(range(len(measures)), [measure_named(name).label for name in measures], rotation=30, ha="right", fontsize=8)
        axes.set_title(f"versus {opponent}", fontsize=10)
    panels[0].set_yticks(range(len(cells)), [f"{axis} {value}" for axis, value in cells], fontsize=8)
    figure.colorbar(drawn, ax=panels, label="times better, less 1", format=lambda x, _: f"{100 * x:+.0f} %", shrink=0.6)
    figure.suptitle("% better (green) or worse; in brackets where the 95 % interval holds zero", fontsize=10)
    return save(figure, path)


def relative_gain(row: dict[str, Any]) -> float:
    """Return how many times better the policy is than the opponent, less 1."""
    ours, theirs = max(row["policy"], 1e-9), max(row["opponent"], 1e-9)
    ratio = ours / theirs if measure_named(row["measure"]).higher_is_better else theirs / ours
    return float(ratio - 1)


def fronts(compared: FrontComparison, path: Path) -> Path:
    """Draw the fronts of both families, and PREMA."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = ((INDEX_FRONT, "#56B4E9", "s"), (LEARNED_FRONT, LEARNED_COLORS[0], LEARNED_MARKER))
    for name, color, marker in styles:
        points = compared.means[name]
        kept = points[front([(float(antt), float(fairness)) for antt, fairness in points])]
        axes.plot(*kept.T, color=color, marker=marker, markersize=5, label=name)
    axes.plot(*compared.means[PREMA][0], color="black", marker="D", markersize=7, linestyle="", label=PREMA)
    axes.set_xlabel("ANTT (multiples of isolated time, log scale)")
    axes.set_ylabel("fairness")
    axes.set_title(f"Better is up and to the left ({compared.episodes} episodes, {'eval'!r})", loc="left", fontsize=10)
    use_log_axis(axes)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return save(figure, path)


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` to ``path``, and return the path."""
    save_figure(figure, path, dpi=_DPI)
    return path


def main(given: Sequence[str] | None = None) -> int:
    """Draw the curves of runs; return the exit status."""
    parser = Parser("python -m agents.pictures", description="Draw the learning curves of runs.")
    parser.add_argument("runs", type=Path, nargs="+", help="Folders of runs of python -m agents.train.")
    parser.add_argument(
        "--output", type=Path, default=Path("results") / "curves.png", help="File to write (default results/curves.png)."
    )
    parser.add_argument("--over", choices=("prema", "opponent"), default="prema", help="Whose values the improvements are over.")
    options = parser.parse_args(given)
    return exit_status(lambda: print(f"{curves(options.runs, options.output, f'over_{options.over}')}: written"))
