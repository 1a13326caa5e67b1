"""``prema-gym simulate``: one episode under one policy or several, side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.commands.options import add_output, add_reward, add_seed, add_world, env_arguments, give_json, refuse
from prema_gym.checks import whole
from prema_gym.cli.parser import PROG, examples, plain, save_json
from prema_gym.cli.tables import check_pictures, console, new_table
from prema_gym.errors import UsageError
from prema_gym.exits import Parser, guarded
from prema_gym.rendering.episode import npu_labels
from prema_gym.rendering.export.page import check_bokeh
from prema_gym.rendering.summary import best_value, columns_of, summary_metrics

if TYPE_CHECKING:
    from rich.table import Table

    from prema_gym.rendering import Recording

STREAM_REQUESTS = 40
"""Requests of a stream that are drawn and listed."""

DESCRIPTION = """\
Play one episode under one policy or several: the same arrivals for each. Prints their metrics and every task's NTT."""

EPILOG = (
    examples(
        ("simulate", "PREMA on the episode of seed 0"),
        (
            "simulate --policy PREMA --versus P-SJF --seed 3 --gantt out.png --trace out.json",
            "two policies: one chart, one trace with both",
        ),
        ("simulate --versus NP-FCFS P-SJF --output results", "gantt.png, trace.json and simulate.json there"),
        ("simulate --policy PREMA --versus P-SJF --html out.html", "a page with both, to zoom into and to send"),
        ("simulate --tasks 32 --window 0.1 --gantt out.pdf --gantt-window 0 50", "a crowd, and the first 50 ms of it"),
        ("simulate --npus prema,prema,edge --gantt out.png", "three NPUs, one of them slow: a lane for each"),
        ("simulate --scenario PremaStream-v0 --requests 60 --gantt out.png", "the first 60 requests of a stream"),
        ("simulate --policy P-RRB-KILL --events", "every event, with its cycle"),
        ("simulate --arrivals tasks.json", 'tasks of your own: [{"arrival_cycles": 0, "model": "CNN-AN"}]'),
        ("simulate --arrivals mine.jsonl", "the same from JSON Lines, a task a line, as --export writes them"),
        ("simulate --versus P-SJF --json | jq .policies", "for other programs"),
    )
    + f"\n\nA trace opens at https://ui.perfetto.dev. {PROG} compare --list prints every policy with its rule."
)


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(f"{PROG} simulate", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("--policy", default="PREMA", metavar="NAME",
        help="who schedules: a name, or the path of an agent (a .zip of stable-baselines3, an .onnx, weights, a run's folder; "
        "default PREMA)")  # fmt: skip
    add("--versus", nargs="+", default=[], metavar="NAME", help="others on the same episode")
    add_seed(parser, what="which episode: that of reset(seed=S)")
    add_world(parser)
    add_reward(parser)
    refuse(parser, {"--episodes": "one episode is simulated; compare plays many"})
    add("--arrivals", type=Path, metavar="FILE", help="tasks to play in place of a drawn episode: a JSON list, or a .jsonl file")
    add("--gantt", type=Path, metavar="FILE", help="draw the policies one above the other (.png, .pdf, .svg)")
    add("--gantt-window", nargs=2, type=float, metavar=("FIRST", "LAST"), help="milliseconds that the chart shows (default all)")
    add("--requests", type=int, default=STREAM_REQUESTS, metavar="N",
        help=f"of a stream, the first N are drawn and listed (default {STREAM_REQUESTS}); metrics are of its cohort")  # fmt: skip
    add("--export", type=Path, metavar="FILE", help="write the episode's requests as JSON Lines, which --arrivals plays again")
    add("--trace", type=Path, metavar="FILE", help="write a trace for Perfetto, a process per policy (.json, .json.gz)")
    add("--html", type=Path, metavar="FILE",
        help="write a page to look at and send: zoom, hover, the queue; one file that needs nothing else (extra html)")  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="write gantt.png, trace.json and simulate.json there")
    add("--events", action="store_true", help="also print every event (with --json: in the JSON)")
    add_output(parser)
    return parser


def read_arrivals(path: Path) -> list[dict[str, Any]] | str:
    """Return the trace in ``path``, or the name of a JSONL file; what is in the tasks is the environment's to check."""
    if path.suffix == ".jsonl":
        return str(path)
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--arrivals {path}: is no JSON ({error}).") from error
    if not isinstance(tasks, list):
        raise UsageError(f"--arrivals {path}: must be a list of tasks, it is a {type(tasks).__name__}.")
    return tasks


@contextmanager
def busy(quiet: bool) -> Iterator[None]:
    """Say on the error stream, where that is a terminal, that something is under way."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status("playing (the first run compiles: about a minute)"):
        yield


def policy_names(options: argparse.Namespace) -> list[str]:
    """Return the policies in order, each once."""
    return list(dict.fromkeys([options.policy, *options.versus]))


def play(options: argparse.Namespace) -> list[Recording]:
    """Return a recording per policy, all of one episode."""
    from baselines.evaluation.recording import record
    from baselines.policies.kinds import policies_of
    from prema_gym.config import EnvConfig
    from prema_gym.envs.core import checked_trace

    arguments = env_arguments(options)
    config = EnvConfig.coerce(arguments)
    trace = None if options.arrivals is None else read_arrivals(options.arrivals)
    if trace is not None and not config.stream:
        arguments["slots"] = len(checked_trace(trace, config))
    policies = policies_of(policy_names(options))  # a wrong name is an error before anything is played
    with busy(options.quiet or options.json is not None):
        return [record(policy, seed=options.seed, trace=trace, **arguments) for policy in policies]


def summary(recordings: Sequence[Recording], events: bool) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    first = recordings[0]
    policies = {}
    for recording in recordings:
        tables = {name: recording.rows(name) for name in ("tasks", "npus")}
        policies[recording.policy] = {"metrics": summary_metrics(recording), **tables}
        if events:
            policies[recording.policy]["events"] = recording.rows("events")
    return {"seed": first.seed, "config": first.config.to_dict(), "policies": policies}


def metrics_table(recordings: Sequence[Recording], title: str, rewarded: bool = False) -> Table:
    """Return a row per policy, the best of each metric in bold; with the sum of rewards if ``rewarded``."""
    from rich.markup import escape

    table = new_table(title)
    table.add_column("policy", no_wrap=True)
    measured = [summary_metrics(recording) for recording in recordings]
    cells = [[escape(recording.policy)] for recording in recordings]
    for column in columns_of(recordings[0].config, rewarded):
        table.add_column(column.head, justify="right", no_wrap=True)
        values = [entry[column.metric] for entry in measured]
        best = best_value(values, column.lower_is_better)
        for row, value in zip(cells, values, strict=True):
            text = column.form.format(value)
            row.append(f"[bold]{text}[/bold]" if value == best else text)
    for row in cells:
        table.add_row(*row)
    return table


def _several(recording: Recording) -> bool:
    return len(recording.timeline.npus) > 1


def npus_table(recordings: Sequence[Recording]) -> Table:
    """Return a row per policy and NPU: how much of the time it was busy, and with what."""
    from rich.markup import escape

    table = new_table("NPUs, in shares of the time")
    for head in ("policy", "NPU", "busy", "useful", "wasted", "overhead", "completions"):
        table.add_column(head, justify="left" if head in ("policy", "NPU") else "right", no_wrap=True)
    for recording in recordings:
        for label, row in zip(npu_labels(recording.config), recording.rows("npus"), strict=True):
            elapsed = max(recording.end_cycles, 1)
            shares = [row["utilisation"], *(row[f"{name}_cycles"] / elapsed for name in ("useful", "wasted", "overhead"))]
            cells = [f"{share:.1%}" for share in shares]
            table.add_row(escape(recording.policy), escape(label), *cells, str(row["completions"]))
    return table


def _where(recording: Recording, task: int) -> str:
    """Return the milliseconds that a task had each NPU, as in "0: 1.25, 2: 3.10"."""
    row = recording.rows("tasks")[task]
    return ", ".join(f"{npu}: {recording.ms(row[f'npu{npu}_cycles']):.2f}" for npu in row["npus"])


def _end(recording: Recording, task: int) -> str:
    """Return what stands behind a task's NTT: an ! where it missed its deadline, a + where it was cut off."""
    missed = "!" if recording.config.stream and recording.misses(task) else ""
    return missed if recording.tasks[task]["completion_cycles"] >= 0 else f"{missed}+"


def tasks_table(recordings: Sequence[Recording], most: int) -> Table:
    """Return a row per task: what it is, and its NTT under each policy, the best in bold; a + marks what was cut off.

    Of a stream these are the first ``most`` requests, and an ! marks a missed deadline. Where there are several NPUs it also says
    on which the task was under each policy, and for how long.
    """
    from rich.markup import escape

    first = recordings[0]
    shown = min(most, len(first.tasks)) if first.config.stream else len(first.tasks)
    every = "every task" if shown == len(first.tasks) else f"the first {shown} of {len(first.tasks)} requests"
    table = new_table(f"NTT of {every}, and the NPUs it was on (NPU: ms)" if _several(first) else f"NTT of {every}")
    for head in ("task", "model", "batch", "priority", "arrival ms", "isolated ms", *(escape(r.policy) for r in recordings)):
        table.add_column(head, justify="left" if head == "model" else "right", no_wrap=True)
    places = recordings if _several(first) else ()
    for recording in places:
        table.add_column("on" if len(recordings) == 1 else f"on, {escape(recording.policy)}")
    for task, entry in enumerate(first.tasks[:shown]):
        values = [recording.ntt(task) for recording in recordings]
        best = best_value(values, True)
        ends = [_end(recording, task) for recording in recordings]
        cells = [f"{value:.2f}{end}" for value, end in zip(values, ends, strict=True)]
        what = (task, entry["model"], entry["batch"], entry["priority"])
        times = (first.ms(entry[f"{name}_cycles"]) for name in ("arrival", "isolated"))
        marked = (f"[bold]{cell}[/bold]" if value == best else cell for cell, value in zip(cells, values, strict=True))
        where = (_where(recording, task) for recording in places)
        table.add_row(*map(str, what), *(f"{ms:.2f}" for ms in times), *marked, *where)
    return table


def print_events(recordings: Sequence[Recording]) -> None:
    """Print every event, a line each."""
    for recording in recordings:
        columns = ("task", "slot", "npu") if _several(recording) else ("task", "slot")
        heads = " ".join(f"{column.replace('npu', 'NPU'):>4}" for column in columns)
        print(f"\n{recording.policy}: events\n{'ms':>10} {'cycle':>12}  {'event':<10} {heads}")
        for event in recording.rows("events"):
            numbers = " ".join(f"{'-' if event[key] < 0 else event[key]:>4}" for key in columns)
            print(f"{event['ms']:10.4f} {event['cycle']:12d}  {event['event']:<10} {numbers}")


def title(recording: Recording) -> str:
    """Return which episode it was."""
    workload = recording.config.workload
    npus = f", {', '.join(npu_labels(recording.config))}" if _several(recording) else ""
    if recording.config.stream:
        which = "Stream of your own" if recording.seed is None else f"Stream of seed {recording.seed}"
        return f"{which}: {len(recording.tasks)} requests{npus}"
    if recording.seed is None:
        return f"{len(recording.tasks)} tasks of your own{npus}"
    return f"Episode of seed {recording.seed}: {workload.num_tasks} tasks, window {workload.window:g}{npus}"


def show(recordings: Sequence[Recording], options: argparse.Namespace) -> None:
    """Print the tables, with the sum of rewards if a reward was asked for."""
    out = console()
    out.print(metrics_table(recordings, title(recordings[0]), options.reward is not None))
    if _several(recordings[0]):
        out.print(npus_table(recordings))
    out.print(tasks_table(recordings, options.requests))
    if options.events:
        print_events(recordings)


def write_files(recordings: Sequence[Recording], options: argparse.Namespace) -> list[Path]:
    """Write every file that was asked for; return their paths."""
    from prema_gym.rendering import gantt_compare, save_page, save_trace

    folder: Path | None = options.output
    charts = [path for path in (options.gantt, folder and folder / "gantt.png") if path]
    traces = [path for path in (options.trace, folder and folder / "trace.json") if path]
    requests = options.requests if recordings[0].config.stream and options.gantt_window is None else None
    for path in charts:
        gantt_compare(recordings, window_ms=options.gantt_window, requests=requests, path=path)
    for path in traces:
        save_trace(path, recordings)
    exported = [options.export] if options.export else []
    for path in exported:
        recordings[0].save_requests(path)
    pages = [options.html] if options.html else []
    for path in pages:
        save_page(path, recordings, heading=title(recordings[0]))
    written = [*charts, *traces, *exported, *pages]
    if folder is None:
        return written
    save_json(summary(recordings, options.events), folder / "simulate.json")
    return [*written, folder / "simulate.json"]


def simulate(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    whole("--requests", options.requests, 1)
    check_pictures(options, ["gantt"])
    if options.html:
        check_bokeh("simulate --html")
    recordings = play(options)
    written = write_files(recordings, options)
    if give_json(options, plain(summary(recordings, options.events))):
        return
    show(recordings, options)
    for path in written if not options.quiet else ():
        print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: simulate(options))
