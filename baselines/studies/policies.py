"""Studies at the default window that compare schedulers: families, mechanisms, tokens, the oracle, SLA targets, the tail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from baselines.evaluation.measures import HEADLINES, MEASURES, SLA_MEASURES
from baselines.evaluation.results import REFERENCE, Results
from baselines.studies import style
from baselines.studies.study import PAPER_POLICY, Json, Point, Study, estimates, factors
from prema_gym.metrics import SLA_TARGETS

SELECTIONS = ("FCFS", "RRB", "HPF", "SJF", "TOKEN", "PREMA")
STATIC_MECHANISMS = ("CHECKPOINT", "KILL", "DRAIN", "DYNAMIC")


def _name(selection: str, mechanism: str) -> str:
    """Return the registry's name of a preemptive policy."""
    return f"P-{selection}" if mechanism == "CHECKPOINT" else f"P-{selection}-{mechanism}"


# --- Families -------------------------------------------------------------------------------------------------------------------


def summarise_families(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return every policy's measures, and its factors over NP-FCFS."""
    others = [name for name in results[0].policies if name != REFERENCE]
    versus = {name: factors(results[0], name) for name in others}
    return {"policies": estimates(results[0], HEADLINES), "versus_np_fcfs": versus}


def _grouped(data: Json, groups: Sequence[tuple[str, str, list[str]]], measures: Sequence[str], positions: Sequence[str]) -> Figure:
    """Return a panel per measure: for every position a bar of each group (label, colour, policies)."""
    figure, panels = style.new_figure(1, len(measures), data["question"], width=3.9, height=3.9)
    width = 0.8 / len(groups)
    for axes, measure in zip(panels, measures, strict=True):
        for g, (label, colour, names) in enumerate(groups):
            for i, name in enumerate(names):
                if name in data["policies"]:
                    where = i + (g - (len(groups) - 1) / 2) * width
                    entry = data["policies"][name][measure]
                    style.draw_bar(axes, where, entry, colour, width=0.92 * width, scale=style.scale_of(measure))
            axes.bar(0, 0, color=colour, label=label)
        axes.set_xticks(range(len(positions)), positions, fontsize=8)
        axes.set_title(style.TITLES[measure], fontsize=10)
        axes.set_ylabel(style.LABELS[measure], fontsize=9)
        axes.grid(axis="x", visible=False)
        if measure in ("antt", "hp_tail"):
            style.log_ticks(axes.yaxis, (1, 2, 5, 10, 20, 50, 100, 200))
    style.legend_below(figure, panels[0])
    return figure


def draw_families(data: Json) -> Figure:
    """Return non-preemptive beside preemptive versions of each rule."""
    groups = [
        ("non-preemptive (NP-)", style.GREY, [f"NP-{s}" for s in SELECTIONS]),
        ("preemptive, CHECKPOINT (P-)", style.SKY, [f"P-{s}" for s in SELECTIONS]),
    ]
    return _grouped(data, groups, ("antt", "stp", "fairness"), SELECTIONS)


def draw_mechanisms(data: Json) -> Figure:
    """Return each rule under every mechanism."""
    colours = dict(zip(STATIC_MECHANISMS, (style.SKY, style.RED, style.GREY, style.GREEN), strict=True))
    groups = [
        (f"{m.lower()}{' (Algorithm 3)' if m == 'DYNAMIC' else ''}", colours[m], [_name(s, m) for s in SELECTIONS])
        for m in STATIC_MECHANISMS
    ]
    return _grouped(data, groups, HEADLINES, SELECTIONS)


# --- Tokens ---------------------------------------------------------------------------------------------------------------------

TOKEN_WINDOWS = (0.25, 0.5, 1.0, 2.0)
TOKEN_POLICIES = (REFERENCE, "PREMA", "PREMA-WHOLE-WAIT")


def summarise_tokens(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return both readings of Algorithm 2 over windows."""
    rows = [
        {
            "label": point.label,
            "x": point.x,
            "policies": estimates(result, HEADLINES),
            "whole_wait_factors": factors(result, "PREMA-WHOLE-WAIT"),
            "factors": factors(result),
        }
        for point, result in zip(points, results, strict=True)
    ]
    return {"axis": "window (× sum of isolated times)", "points": rows}


def draw_tokens(data: Json) -> Figure:
    """Return the measures of both tokens over windows."""
    xs = [point["x"] for point in data["points"]]
    figure, panels = style.new_figure(1, len(HEADLINES), data["question"], width=3.5)
    for axes, measure in zip(panels, HEADLINES, strict=True):
        for index, policy in enumerate(TOKEN_POLICIES[1:]):
            label = {"PREMA": "adds the wait since the last invocation", "PREMA-WHOLE-WAIT": "adds the whole wait each time"}[
                policy
            ]
            entries = [point["policies"][policy][measure] for point in data["points"]]
            style.draw_line(axes, xs, entries, index, label, scale=style.scale_of(measure))
        style.log_ticks(axes.xaxis, xs)
        axes.set_ylim(bottom=0)
        axes.set_title(style.TITLES[measure], fontsize=10)
        axes.set_ylabel(style.LABELS[measure], fontsize=9)
        axes.set_xlabel(data["axis"], fontsize=9)
    style.legend_below(figure, panels[0])
    return figure


# --- Oracle and predictor error -------------------------------------------------------------------------------------------------

ERRORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)


def summarise_oracle(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return, per predictor error, what share of the oracle's result PREMA attains (1: as good)."""
    rows = []
    for point, result in zip(points, results, strict=True):
        shares = {key: result.factor(PAPER_POLICY, key, "PREMA-ORACLE").ratio.to_dict("factor") for key in HEADLINES}
        rows.append({"label": point.label, "x": point.x, "share_of_oracle": shares, "policies": estimates(result, HEADLINES)})
    return {"axis": "predictor error (σ of ln(predicted / Algorithm 1))", "points": rows}


def draw_oracle(data: Json) -> Figure:
    """Return PREMA's share of the oracle over predictor errors."""
    figure, (axes,) = style.new_figure(1, 1, data["question"], width=8.0, height=4.2)
    xs = [point["x"] for point in data["points"]]
    for index, measure in enumerate(HEADLINES):
        entries = [point["share_of_oracle"][measure] for point in data["points"]]
        percent = [{"mean": e["factor"], "ci95": e["ci95"]} for e in entries]
        style.draw_line(axes, xs, percent, index, MEASURES[measure].label, scale=100.0)
    axes.axhline(100, color=style.BLACK, linewidth=1, linestyle=":")
    axes.set_xlabel(data["axis"], fontsize=9)
    axes.set_ylabel("share of PREMA-ORACLE attained (%)", fontsize=9)
    axes.legend(fontsize=9, loc="lower left")
    return figure


# --- SLA targets and the tail ---------------------------------------------------------------------------------------------------

SLA_POLICIES = (REFERENCE, "NP-PREMA", "P-HPF", "P-TOKEN", "P-SJF", "PREMA")
TAIL_POLICIES = tuple(f"NP-{s}" for s in SELECTIONS) + tuple(f"P-{s}" for s in SELECTIONS) + ("PREMA",)


def summarise_sla(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return the share of tasks slower than N times their isolated time, for every N."""
    found: dict[str, Any] = {}
    for name in results[0].policies:
        found[name] = {
            str(n): results[0].estimate(name, measure).to_dict() for n, measure in zip(SLA_TARGETS, SLA_MEASURES, strict=True)
        }
    return {"targets": list(SLA_TARGETS), "violations": found}


def draw_sla(data: Json) -> Figure:
    """Return violations over the target N."""
    figure, (axes,) = style.new_figure(1, 1, data["question"], width=8.0, height=4.4)
    for index, (name, row) in enumerate(data["violations"].items()):
        entries = [row[str(n)] for n in data["targets"]]
        colour = style.policy_colour(name, style.PURPLE)
        style.draw_line(axes, data["targets"], entries, index, name, scale=100.0, colour=colour)
    axes.set_xticks(data["targets"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("SLA target N (multiples of isolated time)", fontsize=9)
    axes.set_ylabel("tasks with NTT > N (%)", fontsize=9)
    axes.legend(fontsize=9, ncols=2)
    return figure


def draw_tail(data: Json) -> Figure:
    """Return the 95th percentile of high-priority NTT per policy."""
    figure, (axes,) = style.new_figure(1, 1, data["question"], width=8.5, height=4.2)
    names = list(data["policies"])
    for position, name in enumerate(names):
        colour = style.RED if name == "PREMA" else style.GREY if name.startswith("NP-") else style.SKY
        style.draw_bar(axes, position, data["policies"][name]["hp_tail"], colour)
    for label, colour in (
        ("non-preemptive", style.GREY),
        ("preemptive, CHECKPOINT", style.SKY),
        ("PREMA (Algorithm 3)", style.RED),
    ):
        axes.bar(0, 0, color=colour, label=label)
    style.log_ticks(axes.yaxis, (1, 2, 5, 10, 20, 50, 100, 200))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=9)
    axes.set_ylabel(style.LABELS["hp_tail"] + " (log scale)", fontsize=9)
    axes.grid(axis="x", visible=False)
    axes.legend(fontsize=9)
    return figure


# --- The list -------------------------------------------------------------------------------------------------------------------

_FAMILIES = tuple(f"{kind}-{selection}" for kind in ("NP", "P") for selection in SELECTIONS)
_MECHANISMS = tuple(_name(s, m) for s in SELECTIONS for m in STATIC_MECHANISMS if (s, m) != ("RRB", "KILL"))
"""RRB under KILL is left out: two long tasks that kill each other in turns never finish."""

POLICY_STUDIES = (
    Study(
        "families",
        "Does preemption help each rule?",
        (Point("default", (*_FAMILIES, "PREMA")),),
        summarise_families,
        draw_families,
    ),
    Study(
        "mechanisms",
        "Static mechanisms against Algorithm 3 (RRB under KILL may never finish, so it is left out)",
        (Point("default", (REFERENCE, *_MECHANISMS, "PREMA-COMMIT")),),
        summarise_families,
        draw_mechanisms,
    ),
    Study(
        "tokens",
        "Two readings of Algorithm 2's token",
        tuple(Point(f"{w:g}", TOKEN_POLICIES, {"workload": {"window": w}}, w) for w in TOKEN_WINDOWS),
        summarise_tokens,
        draw_tokens,
    ),
    Study(
        "oracle",
        "How much of the oracle does PREMA attain, and with a worse predictor?",
        tuple(Point(f"{e:g}", (PAPER_POLICY, "PREMA-ORACLE"), {"workload": {"predictor_error": e}}, e) for e in ERRORS),
        summarise_oracle,
        draw_oracle,
    ),
    Study("sla", "SLA violations over the target", (Point("default", SLA_POLICIES),), summarise_sla, draw_sla),
    Study("tail", "Tail latency of high-priority tasks", (Point("default", TAIL_POLICIES),), summarise_families, draw_tail),
)
