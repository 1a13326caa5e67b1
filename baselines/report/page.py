"""A comparison as a page: its tables, its pictures with exact figures under the mouse, the configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.evaluation.comparison import REFERENCE, Comparison
from baselines.evaluation.estimates import Estimate
from baselines.report.cells import PERCENT, best_policies, cell, factor_text, named
from baselines.report.plots import GROUPS, LOGARITHMIC, UNITS, front, group_of, has_name
from baselines.report.tables import HEADS, asked_text, fairness_notes, notes
from prema_gym.files import write_text
from prema_gym.rendering.episode import RecordedEpisode
from prema_gym.rendering.export.episode_page import add_hover, episode_sections, new_plot
from prema_gym.rendering.export.page import Cell, Grid, Plot, configuration, heading, lines, render_page, table
from prema_gym.rendering.style import LEARNED_COLORS

LANE_PIXELS, FRAME_PIXELS, FRONT_PIXELS = 17, 100, 460
TICKS = (1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Of logarithmic axes."""
_TIP = '<div class="tip"><b>@policy</b><br>@measure: @mean<br>95 % interval @low to @high<br>@factor</div>'
_FRONT_TIP = (
    '<div class="tip"><b>@policy</b><br>ANTT @antt [@antt_low, @antt_high]<br>'
    "fairness @fairness [@fairness_low, @fairness_high]</div>"
)
_DIGITS = "{:.6g}"


def _policy_cell(results: Comparison, policy: str) -> Cell:
    learned = GROUPS[group_of(results, policy)] == LEARNED_COLORS[0]
    return Cell(named(results, policy), color=LEARNED_COLORS[0] if learned else "")


def measures_table(results: Comparison, measures: Sequence[str]) -> str:
    """Return a row per policy: means with half their intervals, the best of each measure pointed out."""
    asked = bool(results.asked_every)
    heads = ["policy", *(["asked"] if asked else []), *(HEADS.get(name, results.measures[name].label) for name in measures)]
    best = {name: best_policies(results, name) for name in measures}
    rows = []
    for policy in results.policies:
        row: list[Cell | str] = [_policy_cell(results, policy), *([asked_text(results, policy)] if asked else [])]
        row += [Cell(" ± ".join(cell(results, policy, name)), policy in best[name]) for name in measures]
        rows.append(row)
    return table(heads, rows)


def factors_table(results: Comparison, reference: str) -> str:
    """Return how many times better than ``reference`` every policy is, a column for each headline measure."""
    rows: list[list[Cell | str]] = []
    for policy in results.policies:
        if policy != reference:
            factors = (results.factor(policy, name, reference).ratio.mean for name in results.headlines)
            rows.append([_policy_cell(results, policy), *map(factor_text, factors)])
    return table(["policy", *(HEADS.get(name, results.measures[name].label) for name in results.headlines)], rows)


def utilisation_table(results: Comparison) -> str:
    """Return how much of the time each NPU was in use, by policy."""
    heads = ["policy", *(f"{npu}: {name}" for npu, name in enumerate(results.npu_names))]
    rows: list[list[Cell | str]] = []
    for policy in results.policies:
        rows.append([_policy_cell(results, policy), *(f"{share.mean:.1%}" for share in results.utilisation(policy))])
    return table(heads, rows)


# --- Pictures -------------------------------------------------------------------------------------------------------------------


def measure_columns(results: Comparison, measure: str) -> dict[str, list[Any]]:
    """Return the columns of a measure's picture: a point with its interval per policy, and what the mouse shows."""
    scale, sign = (100.0, " %") if measure in PERCENT else (1.0, "")
    columns: dict[str, list[Any]] = {
        name: [] for name in ("policy", "x", "left", "right", "color", "measure", "mean", "low", "high", "factor")
    }
    for policy in results.policies:
        estimate = results.estimate(policy, measure)
        if not math.isfinite(estimate.mean):
            continue
        ends = [scale * value for value in (estimate.mean, estimate.low, estimate.high)]
        texts = [_DIGITS.format(value) + sign for value in ends]
        factor = ""
        if REFERENCE in results.played and policy != REFERENCE:
            factor = f"{factor_text(results.factor(policy, measure).ratio.mean)} times better than {REFERENCE}"
        values = (policy, *ends, GROUPS[group_of(results, policy)], results.measures[measure].label, *texts, factor)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def measure_plot(results: Comparison, measure: str) -> Plot:
    """Return a measure's picture: a point with its interval per policy."""
    from bokeh.models import ColumnDataSource, FactorRange

    better = "higher is better" if results.measures[measure].higher_is_better else "lower is better"
    plot = new_plot(
        f"{results.measures[measure].label} ({better})", LANE_PIXELS * len(results.policies) + FRAME_PIXELS,
        y_range=FactorRange(factors=results.policies[::-1]), x_axis_type="log" if measure in LOGARITHMIC else "linear",
    )  # fmt: skip
    source = ColumnDataSource(measure_columns(results, measure))
    whiskers = plot.segment("left", "policy", "right", "policy", source=source, line_color="color", line_width=3, line_alpha=0.45)
    points = plot.scatter("x", "policy", source=source, size=8, fill_color="color", line_color="color")
    add_hover(plot, [points, whiskers], _TIP)
    if measure in LOGARITHMIC:
        plot.xaxis.ticker = list(TICKS)
    plot.xaxis.axis_label = UNITS.get(measure, results.measures[measure].label)
    return plot


def _ends(name: str, estimate: Estimate) -> dict[str, Any]:
    return {f"{name}_x": estimate.mean, f"{name}_from": estimate.low, f"{name}_to": estimate.high} | {
        name: _DIGITS.format(estimate.mean),
        f"{name}_low": _DIGITS.format(estimate.low),
        f"{name}_high": _DIGITS.format(estimate.high),
    }


def front_plot(results: Comparison) -> Plot:
    """Return ANTT against fairness with intervals; the line joins the policies that none dominates, those told true times apart."""
    from bokeh.models import ColumnDataSource

    rows = [
        {"policy": policy, "color": GROUPS[group_of(results, policy)]}
        | _ends("antt", results.estimate(policy, "antt"))
        | _ends("fairness", results.estimate(policy, "fairness"))
        for policy in results.policies
    ]
    plot = new_plot("ANTT against fairness (better: up and left)", FRONT_PIXELS, dimensions="both", x_axis_type="log")
    open_to_all = [row for row in rows if row["policy"] not in results.clairvoyant]
    best = [open_to_all[i] for i in front([(row["antt_x"], row["fairness_x"]) for row in open_to_all])]
    plot.line([row["antt_x"] for row in best], [row["fairness_x"] for row in best], line_color="black", line_dash="dashed")
    on_front = {row["policy"] for row in best}
    for row in rows:
        row["name"] = row["policy"] if has_name(row["policy"], on_front, len(rows)) else ""
    source = ColumnDataSource({name: [row[name] for row in rows] for name in rows[0]})
    for ends in (("antt_from", "fairness_x", "antt_to", "fairness_x"), ("antt_x", "fairness_from", "antt_x", "fairness_to")):
        plot.segment(*ends, source=source, line_color="color", line_width=1.5)
    points = plot.scatter("antt_x", "fairness_x", source=source, size=9, fill_color="color", line_color="color")
    plot.text("antt_x", "fairness_x", "name", source=source, text_font_size="11px", x_offset=7, y_offset=-5)
    add_hover(plot, [points], _FRONT_TIP)
    plot.xaxis.ticker = list(TICKS)
    plot.xaxis.axis_label, plot.yaxis.axis_label = UNITS["antt"], UNITS["fairness"]
    return plot


def _legend(results: Comparison) -> str:
    present = {group_of(results, policy) for policy in results.policies}
    entries = (f'<span><i style="background:{color}"></i>{name}</span>' for name, color in GROUPS.items() if name in present)
    return f'<p class="legend">{"".join(entries)}</p>'


# --- The page -------------------------------------------------------------------------------------------------------------------


def comparison_page(results: Comparison, recordings: Sequence[RecordedEpisode] = ()) -> str:
    """Return the page of ``results``; ``recordings`` of one of the episodes, if given, are drawn below."""
    reference = REFERENCE if REFERENCE in results.played else None
    sections: list[str | Plot | Grid] = [
        lines([f"Seed {results.seed}, split {results.split}: the same for every policy."]),
        measures_table(results, results.headlines),
        lines([line for line in notes(results, reference=None) if not line.startswith("x:")]),
        heading("Pictures"),
        _legend(results),
        Grid([measure_plot(results, name) for name in results.headlines]),
    ]
    if "fairness" in results.headlines:
        sections.append(front_plot(results))
    if reference is not None and len(results.policies) > 1:
        sections += [heading(f"How many times better than {reference}"), factors_table(results, reference)]
    sections += [heading("Fairness and tails"), measures_table(results, results.fairness_measures), lines(fairness_notes(results))]
    if len(results.npu_names) > 1:
        sections += [heading("NPUs in use"), utilisation_table(results)]
    if recordings:
        sections += [heading("One episode"), *episode_sections(recordings)]
    sections += [heading("What was played"), configuration(results.config.to_dict())]
    return render_page(results.title, sections)


def save_comparison_page(results: Comparison, path: str | Path, recordings: Sequence[RecordedEpisode] = ()) -> None:
    """Write :func:`comparison_page` to ``path``."""
    write_text(path, comparison_page(results, recordings))
