"""Results as tables in the terminal (rich)."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from baselines.evaluation.comparison import Comparison
from baselines.evaluation.estimates import Estimate, digits
from baselines.evaluation.measures import MEASURES, PAPER_FACTORS
from baselines.report.cells import best_policies, cell, factor_text, named, spread

TABLE_WIDTH = 108
"""Columns of the table where the output is no terminal."""
HEADS = {"sla_violation": "SLA viol. %", "hp_tail": "p9 tail"}


def summary_table(
    results: Comparison, *, reference: str | None = None, factors: Sequence[str] | None = None, star: bool = False
) -> Table:
    """Return the table of the headline measures.

    Where a policy played illegal actions, a column counts them per episode.
    ``factors`` names those that also show how many times better than ``reference``; ``star`` marks the best by an asterisk too, for
    output without bold.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("policy", no_wrap=True)
    if results.asked_every:
        table.add_column("asked", justify="right", no_wrap=True, style="dim")
    shown = results.headlines
    columns = {measure: reference is not None and measure in (shown if factors is None else factors) for measure in shown}
    for measure, compared in columns.items():
        table.add_column(HEADS.get(measure, results.measures[measure].label), justify="right", no_wrap=True)
        if compared:
            table.add_column("x", justify="right", no_wrap=True, style="dim")
    if results.illegal:
        table.add_column("illegal", justify="right", no_wrap=True)
    best = {measure: best_policies(results, measure) for measure in shown}
    for policy in results.policies:
        cells = [escape(named(results, policy))]
        if results.asked_every:
            cells.append(asked_text(results, policy))
        for measure, compared in columns.items():
            text = spread(*cell(results, policy, measure))
            cells.append(f"[bold]{'*' if star else ' '}{text}[/bold]" if policy in best[measure] else f" {text}")
            if compared and reference is not None:
                cells.append(factor_text(results.factor(policy, measure, reference).ratio.mean))
        if results.illegal:
            cells.append(f" {digits(results.mean(policy, 'illegal_actions'))}")
        table.add_row(*cells)
    return table


def asked_text(results: Comparison, policy: str) -> str:
    """Return how often ``policy`` was asked: decisions per episode, with a q where the quantum asks too."""
    by_quantum = "" if results.asked_every[policy] is None else "q"
    return f"{results.mean(policy, 'decisions'):.0f}{by_quantum}"


def fitting_table(results: Comparison, console: Console, *, reference: str | None) -> Table:
    """Return the summary table with as many columns of factors as fit ``console``."""
    star = not console.is_terminal
    unlimited = console.options.update(max_width=1000)
    for count in range(len(results.headlines), 0, -1):
        table = summary_table(results, reference=reference, factors=results.headlines[:count], star=star)
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            return table
    return summary_table(results, star=star)


def fairness_table(results: Comparison, console: Console) -> Table:
    """Return the table of all that a claim of "fairer" needs: with half-widths where they fit ``console``."""
    star, unlimited = not console.is_terminal, console.options.update(max_width=1000)
    table = _fairness_table(results, star=star, widths=True)
    if Measurement.get(console, unlimited, table).maximum <= console.width:
        return table
    return _fairness_table(results, star=star, widths=False)


def _fairness_table(results: Comparison, *, star: bool, widths: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, title="Fairness and tails", title_justify="left")
    table.add_column("policy", no_wrap=True)
    best = {measure: best_policies(results, measure) for measure in results.fairness_measures}
    for measure in best:
        table.add_column(_broken(results.measures[measure].label), justify="right", no_wrap=True)
    for policy in results.policies:
        cells = [escape(named(results, policy))]
        for measure, winners in best.items():
            mean, half = cell(results, policy, measure)
            text = spread(mean, half) if widths else mean
            cells.append(f"[bold]{'*' if star else ''}{text}[/bold]" if policy in winners else text)
        table.add_row(*cells)
    return table


def _broken(label: str) -> str:
    """Return ``label`` on two short lines: broken after its comma if it has one, else at its space."""
    first, comma, rest = label.partition(", ")
    return f"{first}\n{rest.replace('priority', 'prio.')}" if comma else label.replace(" ", "\n", 1)


def fairness_notes(results: Comparison) -> list[str]:
    """Return the lines that go under :func:`fairness_table`."""
    explained = [name for name in ("fairness", "fairness_8", "class_fairness", "jain_8") if name in results.fairness_measures]
    meanings = (f"{results.measures[name].label}: {results.measures[name].meaning}" for name in explained)
    tails = "p99 NTT: of each priority, pooled over the cohorts of all streams."
    if "worst_ntt" in results.fairness_measures:
        tails = (
            "Jain's index: of 1/NTT, without priorities. Worst NTT: an episode's largest, averaged. "
            "p99 NTT: pooled over all episodes."
        )
    return ["; ".join(meanings) + ".", tails, 'A policy is "fairer" than another where all of these agree.']


def illegal_note(results: Comparison) -> str | None:
    """Return the line that names who played illegal actions, and how many per episode; None where nobody did."""
    if not results.illegal:
        return None
    counts = (f"{name} {results.mean(name, 'illegal_actions'):.3g}" for name in results.illegal)
    return f"‡ played illegal actions, which the environment replaced (per episode): {', '.join(counts)}."


def utilisation_table(results: Comparison) -> Table:
    """Return the table of how much of the time each NPU was in use, by policy."""
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, title="NPUs in use, % of the time", title_justify="left"
    )
    table.add_column("policy", no_wrap=True)
    for npu, name in enumerate(results.npu_names):
        table.add_column(f"{npu}: {name}", justify="right", no_wrap=True)
    for policy in results.policies:
        table.add_row(escape(named(results, policy)), *map(_share, results.utilisation(policy)))
    return table


def _share(estimate: Estimate) -> str:
    half = digits(100 * estimate.half_width, 1) if estimate.has_interval else ""
    return spread(digits(100 * estimate.mean), half)


def _bound_note(results: Comparison) -> str:
    if not results.has_bounds:
        return "What no schedule can beat is known for closed episodes on one NPU only: no bound is given here."
    bounds = [f"{MEASURES[name].label} {results.bound(name).mean:.3f}" for name in ("antt", "weighted_antt")]
    return f"No schedule, clairvoyant or not, can average below: {', '.join(bounds)} (mean-busy-time bound)."


def notes(results: Comparison, *, reference: str | None) -> list[str]:
    """Return the lines that go under the table."""
    lines = ["mean ± half the 95 % interval (bootstrap over episodes, the same for all policies)."]
    if results.episodes == 1:
        lines = ["Of one episode: no intervals, since it says nothing about others."]
    if "hp_tail" in results.headlines:
        lines[0] += f" p9 tail: {MEASURES['hp_tail'].meaning}."
    if reference is not None:
        lines.append(f"x: how many times better than {reference} (ratio of means).")
    if results.asked_every:
        lines.append("asked: decisions per episode; q: at every quantum too, or as --decision-every says, not on events alone.")
    if results.clairvoyant:
        lines.append("† is told true times, or the future; the best of the others is in bold (in a file: *).")
    lines.append(_bound_note(results))
    if results.trained_elsewhere:
        lines.append(
            "§ was trained on another NPU configuration than this one (for published policies: the default of version 0.1)."
        )
    illegal = illegal_note(results)
    if illegal:
        lines.append(illegal)
    counted = "unfinished" in results.measures  # a stream always ends with some
    unfinished = [name for name in results.policies if counted and results.mean(name, "unfinished") > 0]
    if unfinished:
        lines.append(f"Left tasks unfinished at the horizon: {', '.join(unfinished)}.")
    return lines


def text_of(results: Comparison, *, reference: str | None) -> str:
    """Return the table and its notes as plain text, TABLE_WIDTH wide."""
    console = Console(
        file=io.StringIO(), width=TABLE_WIDTH, highlight=False, color_system=None, force_terminal=False, force_jupyter=False
    )
    with console.capture() as captured:
        console.print(fitting_table(results, console, reference=reference))
        for line in notes(results, reference=reference):
            console.print(line, markup=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")


def headline(results: Comparison, policy: str = "PREMA", reference: str = "NP-FCFS") -> str | None:
    """Return the paper's three factors on one line; None where one of the two was not played."""
    if policy not in results.played or reference not in results.played or not PAPER_FACTORS.keys() <= results.measures.keys():
        return None
    parts = []
    for measure, claimed in PAPER_FACTORS.items():
        ratio = results.factor(policy, measure, reference).ratio
        interval = f" [{digits(ratio.low)}, {digits(ratio.high)}]" if ratio.has_interval else ""
        parts.append(f"{MEASURES[measure].label} {factor_text(ratio.mean)}x{interval} ({claimed}x)")
    return f"{policy} over {reference} (in brackets: the paper): {', '.join(parts)}"
