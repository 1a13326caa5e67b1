"""``python -m agents.evaluate``: a learned policy against opponents, on the same episodes of the split "eval".

    python -m agents.evaluate --policy NAME_OR_PATH --versus PREMA INDEX --episodes 5000 --seed 123 --json out.json
    python -m agents.evaluate --policy NAME_OR_PATH --grid --figure grid.png   other workloads, NPUs, decision latencies
    python -m agents.evaluate --policy NAME_OR_PATH --where                    where it lets another task run
    python -m agents.evaluate --policy NAME_OR_PATH --latency                  microseconds per decision

A difference is better (or worse) where its 95 % bootstrap interval over episodes excludes zero.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.table import Table

from agents.commands import pictures
from agents.commands.command import exit_status
from baselines.evaluation.disagreement import disagreements
from baselines.evaluation.evaluate import evaluate
from baselines.evaluation.measures import HEADLINES, MEASURES
from baselines.evaluation.results import Difference, Results
from baselines.policies.kinds import policy_of
from baselines.policies.needs import env_arguments
from baselines.policies.policy import Policy
from baselines.report.tables import illegal_note
from prema_gym.config import MODEL_NAMES, NPUConfig
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.files import write_csv, write_text
from prema_gym.hardware.program import Program
from prema_gym.workloads.programs import register_program

TRIVIAL_DECISIONS = 5
"""A cell of the grid with fewer decisions per episode is marked as trivial: schedulers hardly differ there."""
GRID_MEASURES = ("weighted_antt", *HEADLINES)
UNSEEN = "UNSEEN"
"""A synthetic network that no policy was trained on: 12 ms, in 1 200 equal operations."""
_CYCLES_PER_US = NPUConfig().clock_hz // 1_000_000
"""Of the default NPU."""
Cell = tuple[str, str, dict[str, Any]]


def versus(results: Results, policy: str, opponents: Sequence[str], measures: Sequence[str]) -> dict[str, dict[str, Difference]]:
    """Return the paired differences of ``policy`` from each opponent in each measure."""
    return {name: {measure: results.difference(policy, name, measure) for measure in measures} for name in opponents}


def verdict_of(measure: str, difference: Difference) -> str:
    """Return "better" or "worse" where the interval excludes zero on that side, else "even"."""
    if difference.better:
        return "better"
    gap = difference.difference
    worse = gap.high < 0 if MEASURES[measure].higher_is_better else gap.low > 0
    return "worse" if worse else "even"


def report(results: Results, policy: str, opponents: Sequence[str]) -> dict[str, Any]:
    """Return the content of the file that ``--json`` writes."""
    compared = versus(results, policy, opponents, HEADLINES)
    return {
        "policy": policy,
        "episodes": results.episodes,
        "seed": results.seed,
        "split": results.split,
        "window": results.config.workload.window,
        "versus": {name: {measure: gap.to_dict() for measure, gap in gaps.items()} for name, gaps in compared.items()},
    }


def table(results: Results, policy: str, opponents: Sequence[str]) -> Table:
    """Return the comparison as a table: policy, opponent, difference with interval, verdict."""
    shown = Table(box=box.SIMPLE_HEAD, title=f"{policy}, {results.episodes} episodes of {results.split!r}", title_justify="left")
    for head in ("versus", "measure", policy, "opponent", "difference", "95 % interval", ""):
        shown.add_column(head, justify="left" if head in ("versus", "measure", "") else "right", no_wrap=True)
    for name, gaps in versus(results, policy, opponents, HEADLINES).items():
        for measure, gap in gaps.items():
            ends = f"[{gap.difference.low:+.4f}, {gap.difference.high:+.4f}]".replace("[", r"\[")
            verdict = verdict_of(measure, gap)
            numbers = (f"{gap.policy:.4f}", f"{gap.opponent:.4f}", f"{gap.difference.mean:+.4f}", ends)
            shown.add_row(name, MEASURES[measure].label, *numbers, verdict)
    return shown


# --- The grid -------------------------------------------------------------------------------------------------------------------


def cells() -> Iterator[Cell]:
    """Yield (axis, value, environment arguments): one thing differs from the default at a time."""
    for window in (0.1, 0.25, 0.5, 1.0, 2.0):
        yield "window", str(window), {"workload": {"window": window}}
    for tasks in (2, 4, 16, 32):
        yield "tasks", str(tasks), {"workload": {"num_tasks": tasks}}
    for batch in (1, 4, 16):
        yield "batches", str(batch), {"workload": {"batches": (batch,)}}
    for npu in ("tpu_v1", "edge"):
        yield "npu", npu, {"npu": npu}
    for us in (1, 10, 100):
        yield "latency", f"{us} us", {"scheduler_latency_cycles": us * _CYCLES_PER_US}
    yield "models", UNSEEN, {"workload": {"models": (*MODEL_NAMES, UNSEEN)}}


def register_unseen() -> None:
    """Register the network UNSEEN."""
    total, operation = 12 * 1000 * _CYCLES_PER_US, 10 * _CYCLES_PER_US
    program = Program.from_points(
        total_cycles=total,
        commit_cycles=np.arange(operation, total + 1, operation),
        save_bytes=1 << 20,
        restore_bytes=1 << 20,
        refill_cycles=500,
        predicted_cycles=total,
    )
    register_program(UNSEEN, program)


def grid(policy: Policy, opponents: Sequence[str], episodes: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each cell, opponent and measure."""
    register_unseen()
    for axis, value, arguments in cells():
        results = evaluate([policy, *opponents], episodes, seed, **arguments)
        decisions = results.mean(policy.name, "decisions")
        for name, gaps in versus(results, policy.name, opponents, GRID_MEASURES).items():
            for measure, gap in gaps.items():
                yield {
                    "axis": axis,
                    "value": value,
                    "decisions": round(decisions, 1),
                    "illegal_actions": results.mean(policy.name, "illegal_actions"),
                    "trivial": decisions < TRIVIAL_DECISIONS,
                    "versus": name,
                    "measure": measure,
                    "policy": gap.policy,
                    "opponent": gap.opponent,
                    "difference": gap.difference.mean,
                    "low": gap.difference.low,
                    "high": gap.difference.high,
                    "verdict": verdict_of(measure, gap),
                }


_MARKS = {"better": "[green]+[/green]", "worse": "[red]-[/red]", "even": "0"}


def grid_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the grid's verdicts: one line for each cell and opponent, relative change and sign of each measure."""
    shown = Table(
        box=box.SIMPLE_HEAD, title="change against the opponent; + better, - worse, 0 even, ‡ illegal actions", title_justify="left"
    )
    shown.add_column("cell", no_wrap=True)
    shown.add_column("decisions", justify="right")
    shown.add_column("versus", no_wrap=True)
    for measure in GRID_MEASURES:
        shown.add_column(MEASURES[measure].label, justify="right")
    keys = list(dict.fromkeys((row["axis"], row["value"], row["versus"]) for row in rows))
    for key in keys:
        mine = [row for row in rows if (row["axis"], row["value"], row["versus"]) == key]
        marks = [f"{100 * (row['policy'] / max(row['opponent'], 1e-9) - 1):+.1f} % {_MARKS[row['verdict']]}" for row in mine]
        note = " (trivial)" if mine[0]["trivial"] else ""
        note += " ‡" if mine[0]["illegal_actions"] > 0 else ""
        shown.add_row(f"{key[0]} {key[1]}{note}", f"{mine[0]['decisions']:.0f}", key[2], *marks)
    return shown


# --- Disagreement ---------------------------------------------------------------------------------------------------------------


def where(policy: Policy, opponent: str, episodes: int, seed: int) -> Group:
    """Return what ``policy`` runs where ``opponent`` would run another task, most frequent first."""
    found = disagreements(policy, opponent, episodes=episodes, seed=seed)
    title = f"{policy.name} runs another task than {opponent} at {100 * found.share:.1f} % of {found.decisions} decisions"
    shown = Table(box=box.SIMPLE_HEAD)
    for head in ("what it runs is", "pairs of tasks", "share"):
        shown.add_column(head, justify="left" if head == "what it runs is" else "right", no_wrap=True)
    for pattern, count in found.patterns().items():
        shown.add_row(pattern, str(count), f"{100 * count / len(found.situations):.0f} %")
    return Group(title, shown)


# --- Latency --------------------------------------------------------------------------------------------------------------------


def latency_us(policy: Policy, rows: int, calls: int = 2000) -> float:
    """Return the median microseconds of ``policy.act`` per call on a view of ``rows`` rows."""
    env = PremaVectorEnv(rows, **env_arguments(policy))
    env.reset(seed=0)
    times = []
    for _ in range(calls):
        view = env.view()
        start = time.perf_counter()
        actions = policy.act(view)
        times.append(time.perf_counter() - start)
        env.step(actions)
    return 1e6 * float(np.median(times))


# --- Command line -----------------------------------------------------------------------------------------------------------------


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser("python -m agents.evaluate", description="Compare a policy with others on the same episodes.")
    parser.add_argument("--policy", required=True, help="A registered name, or the path of published weights.")
    parser.add_argument(
        "--versus", nargs="+", default=["PREMA", "INDEX"], metavar="NAME", help="Policies to compare with (default PREMA INDEX)."
    )
    parser.add_argument(
        "--episodes",
        type=int,
        default=None,
        help="Episodes to play (default 5000; with --grid 1000 in each cell, with --where 100).",
    )
    parser.add_argument("--seed", type=int, default=123, help="Seed of the episodes, of the split 'eval' (default 123).")
    parser.add_argument(
        "--window", type=float, default=None, help="Window of the workload's arrivals (default: the environment's)."
    )
    parser.add_argument("--json", type=Path, default=None, metavar="PATH", help="Write the differences there.")
    parser.add_argument(
        "--grid", action="store_true", help="Compare on other windows, task counts, batches, NPUs, latencies and a new network."
    )
    parser.add_argument("--csv", type=Path, default=None, metavar="PATH", help="With --grid, write its rows there.")
    parser.add_argument("--figure", type=Path, default=None, metavar="PATH", help="With --grid, draw it there.")
    parser.add_argument("--where", action="store_true", help="Count where the policy runs another task than each opponent.")
    parser.add_argument("--latency", action="store_true", help="Time the policy's decisions.")
    return parser.parse_args(given)


def _compare(options: argparse.Namespace, policy: Policy, console: Console) -> None:
    arguments: dict[str, Any] = {} if options.window is None else {"workload": {"window": options.window}}
    results = evaluate([policy, *options.versus], options.episodes or 5000, options.seed, **arguments)
    if options.json is not None:
        write_text(options.json, json.dumps(report(results, policy.name, options.versus), indent=1) + "\n")
    console.print(table(results, policy.name, options.versus))
    illegal = illegal_note(results)
    if illegal:
        console.print(illegal, markup=False, highlight=False)


def _run(options: argparse.Namespace, console: Console) -> None:
    policy = policy_of(options.policy)
    if options.where:
        for name in options.versus:
            console.print(where(policy, name, options.episodes or 100, options.seed))
    elif options.latency:
        for rows in (1, 256):
            console.print(f"{policy.name}: {latency_us(policy, rows):.1f} us per act() on {rows} rows")
    elif options.grid:
        found = list(grid(policy, options.versus, options.episodes or 1000, options.seed))
        if options.csv is not None:
            write_csv(options.csv, found)
        if options.figure is not None:
            pictures.grid(found, options.figure)
        console.print(grid_table(found))
    else:
        _compare(options, policy, console)


def main(given: Sequence[str] | None = None) -> int:
    """Evaluate; return the exit status."""
    options = parse(given)
    console = Console(width=None if sys.stdout.isatty() else 140)
    return exit_status(lambda: _run(options, console))
