"""Results as tables: in the terminal (rich), in LaTeX, and the isolated times of the programs that episodes are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from baselines.evaluation.measures import HEADLINES, MEASURES
from prema_gym.config import EnvConfig
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.trace import TraceTask

if TYPE_CHECKING:
    from baselines.evaluation.results import Results

TABLE_WIDTH = 108
"""Columns of the table where the output is no terminal."""
PAPER = {"antt": 7.8, "stp": 1.4, "sla_violation": 4.8}
"""Factors of PREMA over NP-FCFS in the abstract of Choi & Rhu, HPCA 2020."""
_PERCENT = ("sla_violation",)
_HEADS = {"sla_violation": "SLA viol. %", "hp_tail": "p9 tail"}


def _decimals(value: float) -> int:
    """Return the decimals that give ``value`` about three significant digits."""
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3


def _digits(value: float, decimals: int | None = None) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.{_decimals(value) if decimals is None else decimals}f}"


def _cell(results: Results, policy: str, measure: str) -> tuple[str, str]:
    """Return (mean, half-width of the interval) as text, SLA violations in percent."""
    estimate = results.estimate(policy, measure)
    scale = 100.0 if measure in _PERCENT else 1.0
    mean, half = scale * estimate.mean, scale * estimate.half_width
    return _digits(mean), _digits(half, _decimals(mean)).removeprefix("0")


def _factor(value: float) -> str:
    return _digits(value, min(_decimals(value), 2))


def best_policies(results: Results, measure: str) -> list[str]:
    """Return the policies that are best in ``measure`` (ties included), those told true times apart."""
    known = [name for name in results.policies if name not in results.clairvoyant]
    means = {name: results.mean(name, measure) for name in known}
    finite = [value for value in means.values() if math.isfinite(value)]
    if not finite or len(known) < 2:
        return []
    target = max(finite) if MEASURES[measure].higher_is_better else min(finite)
    return [name for name, value in means.items() if value == target]


def summary_table(
    results: Results, *, reference: str | None = None, factors: Sequence[str] = HEADLINES, star: bool = False
) -> Table:
    """Return the table of the five headline measures.

    ``factors`` names those that also show how many times better than ``reference``; ``star`` marks the best by an asterisk too, for
    output without bold.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("policy", no_wrap=True)
    columns = {measure: reference is not None and measure in factors for measure in HEADLINES}
    for measure, compared in columns.items():
        table.add_column(_HEADS.get(measure, MEASURES[measure].label), justify="right", no_wrap=True)
        if compared:
            table.add_column("x", justify="right", no_wrap=True, style="dim")
    best = {measure: best_policies(results, measure) for measure in HEADLINES}
    for policy in results.policies:
        cells = [escape(policy) + (" †" if policy in results.clairvoyant else "")]
        for measure, compared in columns.items():
            text = " ±".join(_cell(results, policy, measure))
            cells.append(f"[bold]{'*' if star else ' '}{text}[/bold]" if policy in best[measure] else f" {text}")
            if compared and reference is not None:
                cells.append(_factor(results.factor(policy, measure, reference).ratio.mean))
        table.add_row(*cells)
    return table


def fitting_table(results: Results, console: Console, *, reference: str | None) -> Table:
    """Return the summary table with as many columns of factors as fit ``console``."""
    star = not console.is_terminal
    unlimited = console.options.update(max_width=1000)
    for count in range(len(HEADLINES), 0, -1):
        table = summary_table(results, reference=reference, factors=HEADLINES[:count], star=star)
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            return table
    return summary_table(results, star=star)


def notes(results: Results, *, reference: str | None) -> list[str]:
    """Return the lines that go under the table."""
    tail = MEASURES["hp_tail"].meaning
    lines = [f"mean ± half the 95 % interval (bootstrap over episodes, the same for all policies). p9 tail: {tail}."]
    if reference is not None:
        lines.append(f"x: how many times better than {reference} (ratio of means).")
    if results.clairvoyant:
        lines.append("† is told true times; the best of the others is in bold (in a file: *).")
    bounds = [f"{MEASURES[name].label} {results.bound(name).mean:.3f}" for name in ("antt", "weighted_antt")]
    lines.append(f"No schedule, clairvoyant or not, can average below: {', '.join(bounds)} (mean-busy-time bound).")
    unfinished = [name for name in results.policies if results.mean(name, "unfinished") > 0]
    if unfinished:
        lines.append(f"Left tasks unfinished at the horizon: {', '.join(unfinished)}.")
    return lines


def headline(results: Results, policy: str = "PREMA", reference: str = "NP-FCFS") -> str | None:
    """Return the paper's three factors on one line; None where one of the two was not played."""
    if policy not in results.played or reference not in results.played:
        return None
    parts = []
    for measure, claimed in PAPER.items():
        ratio = results.factor(policy, measure, reference).ratio
        interval = f"[{_digits(ratio.low)}, {_digits(ratio.high)}]"
        parts.append(f"{MEASURES[measure].label} {_factor(ratio.mean)}x {interval} ({claimed}x)")
    return f"{policy} over {reference} (in brackets: the paper): {', '.join(parts)}"


# --- LaTeX ----------------------------------------------------------------------------------------------------------------------

_LATEX = {"\\": r"\textbackslash{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\^{}"}


def latex_escape(text: str) -> str:
    """Return ``text`` as LaTeX prints it."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex_table(results: Results, measures: Sequence[str]) -> str:
    r"""Return a ``tabular`` (booktabs): one row per policy, mean and half-width, best in bold, ``$^\dagger$`` told true times."""
    heads = [latex_escape(MEASURES[name].label + (" (%)" if name in _PERCENT else "")) for name in measures]
    best = {name: best_policies(results, name) for name in measures}
    lines = [rf"\begin{{tabular}}{{l{'r' * len(heads)}}}", r"\toprule", " & ".join(["policy", *heads]) + r" \\", r"\midrule"]
    for policy in results.policies:
        cells = [latex_escape(policy) + (r"$^\dagger$" if policy in results.clairvoyant else "")]
        for name in measures:
            mean, half = _cell(results, policy, name)
            cells.append((rf"\textbf{{{mean}}}" if policy in best[name] else mean) + rf" {{\scriptsize$\pm${half}}}")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


# --- Isolated times -------------------------------------------------------------------------------------------------------------


class Isolated(NamedTuple):
    """A program alone on the NPU."""

    model: str
    batch: int
    input_length: int | None
    output_length: int | None
    """Both None where the network has none."""
    cycles: int
    ms: float
    predicted_ms: float


def isolated_times(config: EnvConfig) -> list[Isolated]:
    """Return the isolated time of every model at every batch: at its median input length and the output length predicted for it."""
    simulator = Simulator(config)
    times = []
    for model in config.workload.models:
        for batch in config.workload.batches:
            simulator.load_trace(0, [TraceTask(arrival_cycles=0, model=model, batch=batch, priority=1)])
            task = simulator.state.tasks[0, 0]
            key = simulator.programs.keys[task["program"]]
            totals = simulator.tables.programs[task["program"]]["totals"]
            cycles, predicted = int(task["isolated_cycles"]), int(task["predicted_cycles"])
            output = int(task["output_length"]) if totals > 1 else None
            ms = config.npu.ms
            times.append(Isolated(model, batch, key.input_length, output, cycles, ms(cycles), ms(predicted)))
    return times


def isolated_table(config: EnvConfig) -> Table:
    """Return the table of isolated times in ms, one row per model."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title="Isolated times in ms", title_justify="left")
    table.add_column("model", no_wrap=True)
    for batch in config.workload.batches:
        table.add_column(f"batch {batch}", justify="right")
    table.add_column("input -> output length")
    times = isolated_times(config)
    for model in config.workload.models:
        rows = [row for row in times if row.model == model]
        first = rows[0]
        lengths = "" if first.input_length is None else f"{first.input_length}"
        lengths += "" if first.output_length is None else f" -> {first.output_length}"
        table.add_row(escape(model), *(f"{row.ms:.3f}" for row in rows), lengths)
    return table
