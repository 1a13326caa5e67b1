"""``python -m baselines.sweep``: policies over loads on local processes, as a table, files and the figure that papers print.

A cell is one policy at one load. Each finished cell is a file, so that a sweep which was stopped goes on where it was; a cell that
fails is named, and the rest stands. Results do not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import prema_gym
from baselines.commands.compare import chosen_policies, progress_bar
from baselines.commands.options import (
    NO_REWARD,
    add_episodes,
    add_output,
    add_seed,
    add_world,
    env_arguments,
    give_json,
    refuse,
)
from baselines.evaluation.evaluate import evaluate
from baselines.policies.kinds import policies_of
from baselines.policies.registry import POLICIES
from baselines.report.load import LOAD_MEASURES, draw_loads
from baselines.report.tables import TABLE_WIDTH
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import with_scenario
from prema_gym.errors import PremaError, UsageError
from prema_gym.exits import FAILED, OK, Parser, guarded
from prema_gym.files import is_file, write_csv, write_text
from prema_gym.workloads.seeding import SPLITS

SCHEMA = 1
"""Of sweep.json and of a cell's file."""
DEFAULT_LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
DEFAULT_POLICIES = ("NP-FCFS", "P-SJF", "P-HPF", "PREMA", "EDF", "WSRPT")

DESCRIPTION = """\
Play policies on streams over a range of loads. Prints the main measures by load; writes sweep.json, sweep.csv and sweep.png (the
99th percentile of the normalised turnaround time, and missed deadlines, against load) to the output folder. Run it again to go
on."""

EPILOG = """\
examples:
  python -m baselines.sweep                                                   six policies over nine loads on one NPU
  python -m baselines.sweep --policies PREMA WSRPT EDF --loads 0.5 0.9 1.1    some of them
  python -m baselines.sweep --scenario PremaCluster-v0 --episodes 50          four unlike NPUs
  python -m baselines.sweep --npus prema,prema --workers 2                    two NPUs, two processes"""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One policy at one load."""

    policy: str
    load: float
    episodes: int
    seed: int
    split: str
    arguments: str
    """The environment's, as JSON, the load among them."""
    content: str = ""
    """A hash of the agent's file where the policy is the path of one: another file is another cell."""

    @property
    def name(self) -> str:
        """Its file's name: the same for the same cell of the same release."""
        content = json.dumps([SCHEMA, prema_gym.__version__, dataclasses.astuple(self)])
        return f"{self.policy.replace('/', '+')}-{self.load:g}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"


BY_LOAD = "streams arrive by load: --loads says which"
REFUSED = {
    "--window": BY_LOAD,
    "--utilisation": BY_LOAD,
    "--tasks": "a stream has no number of tasks: --requests says how long it is",
}
"""Options of a world that can't apply to streams over a range of loads, and why."""


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("python -m baselines.sweep", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("--policies", nargs="+", default=list(DEFAULT_POLICIES), metavar="NAME",
        help=f"policies: names, and paths of agents (default {' '.join(DEFAULT_POLICIES)})")  # fmt: skip
    add("--loads", nargs="+", type=float, default=list(DEFAULT_LOADS), metavar="X",
        help="utilisations: work that arrives over what the NPUs can do (default 0.3 to 1.1)")  # fmt: skip
    add_episodes(parser, 20, "streams that every policy plays at every load (default 20)")
    add_seed(parser, what="which streams")
    add("--split", default="eval", metavar="NAME", help=f"{', '.join(SPLITS)} (default eval)")
    add_world(parser, REFUSED, scenario="PremaStream-v0")
    refuse(parser, {"--reward": NO_REWARD})
    add("--requests", type=int, default=None, metavar="H", help="requests of a stream (default: the scenario's)")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one per core)")
    add("--output", type=Path, default=Path("results/sweep"), metavar="DIR", help="folder of the files (default results/sweep)")
    add_output(parser)
    return parser


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for, each once, loads rising; a wrong argument is an error here."""
    policies = chosen_policies(options.policies)
    policies_of(policies)  # raises for an unknown one
    contents = {policy: content_of(policy) for policy in policies}
    for load in options.loads:
        if not 0 < load <= 100:
            raise UsageError(f"--loads {load:g}: must be above 0 and at most 100.")
    if options.episodes < 1 or options.workers < 1:
        raise UsageError(f"--episodes {options.episodes}, --workers {options.workers}: must be at least 1.")
    found = []
    for load in sorted(set(options.loads)):
        given = env_arguments(options)
        workload = given.get("workload", {})
        arrivals = {"process": "poisson", **workload.get("arrivals", {}), "utilisation": load}
        given["workload"] = {**workload, "arrivals": arrivals}
        arguments = with_scenario(given)
        arguments["horizon_requests"] = options.requests or arguments.get("horizon_requests") or 512
        EnvConfig.coerce(arguments)
        text = json.dumps(arguments, sort_keys=True)
        found += [Cell(policy, load, options.episodes, options.seed, options.split, text, contents[policy]) for policy in policies]
    return found


def content_of(policy: str) -> str:
    """Return a hash of the files that lie at ``policy``, the path of an agent; nothing for a name."""
    if policy in POLICIES:
        return ""
    place = Path(policy)
    files = [place.with_suffix(".safetensors"), place / "best.safetensors", place]
    found = [file.read_bytes() for file in files if is_file(file)]
    return hashlib.sha256(b"".join(found)).hexdigest() if found else ""


def play_cell(cell: Cell, folder: Path) -> None:
    """Play a cell on one thread and write its file."""
    results = evaluate([cell.policy], cell.episodes, cell.seed, split=cell.split, threads=1, **json.loads(cell.arguments))
    write_text(
        folder / cell.name, json.dumps({"schema": SCHEMA, **row_of(cell), "measures": results.summary(results.policies[0])}) + "\n"
    )


def row_of(cell: Cell) -> dict[str, Any]:
    """Return what names a cell in files."""
    return {"policy": cell.policy, "load": cell.load, "episodes": cell.episodes, "seed": cell.seed, "split": cell.split}


def read_cell(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return a finished cell; None where its file is missing or damaged."""
    try:
        found = json.loads((folder / cell.name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.get("schema") == SCHEMA and isinstance(found.get("measures"), dict)
    return found if whole else None


def play(cells: Sequence[Cell], folder: Path, workers: int) -> Iterator[tuple[Cell, str]]:
    """Play ``cells`` on ``workers`` processes; yield each as it ends, with what went wrong or an empty string."""
    if workers == 1:
        for cell in cells:
            yield cell, _outcome(cell, folder)
        return
    # Fresh interpreters: a forked one would inherit the threads and locks of compiled code.
    context = multiprocessing.get_context("spawn")
    size = min(workers, len(cells))
    with concurrent.futures.ProcessPoolExecutor(size, mp_context=context, initializer=end_with_parent) as pool:
        # The first cell alone: what it compiles, the others read from disk.
        concurrent.futures.wait([first := pool.submit(_outcome, cells[0], folder)])
        waiting = {first: cells[0], **{pool.submit(_outcome, cell, folder): cell for cell in cells[1:]}}
        try:
            for done in concurrent.futures.as_completed(waiting):
                error = done.exception()
                yield waiting[done], done.result() if error is None else f"its process ended: {str(error).partition(chr(10))[0]}"
        finally:
            for future in waiting:
                future.cancel()


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone: a pool's processes would wait for its work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()


def _outcome(cell: Cell, folder: Path) -> str:
    try:
        play_cell(cell, folder)
    except PremaError as error:
        return str(error)
    return ""


def sweep(options: argparse.Namespace, errors: Console) -> tuple[list[dict[str, Any]], list[str]]:
    """Play what is missing; return all finished cells, in order, and a sentence for each that failed."""
    cells = cells_of(options)
    folder: Path = options.output / "cells"
    missing = [cell for cell in cells if read_cell(cell, folder) is None]
    failed: list[str] = []
    if missing:
        with progress_bar(errors, len(missing), options.quiet) as report:
            for cell, problem in play(missing, folder, options.workers):
                report(f"{cell.policy} at {cell.load:g}", 1)
                if problem:
                    failed.append(f"{cell.policy} at load {cell.load:g}: {problem}")
    finished = [found for cell in cells if (found := read_cell(cell, folder)) is not None]
    return finished, failed


def flat_rows(finished: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each cell: means with ``_low`` and ``_high``."""
    rows = []
    for cell in finished:
        row = {key: cell[key] for key in ("policy", "load", "episodes", "seed", "split")}
        for name, found in cell["measures"].items():
            if isinstance(found, dict) and "mean" in found:
                row |= {name: found["mean"], f"{name}_low": found["ci95"][0], f"{name}_high": found["ci95"][1]}
        rows.append(row)
    return rows


def table(finished: Sequence[dict[str, Any]], measure: str, title: str) -> Table:
    """Return a measure by policy and load."""
    loads = sorted({cell["load"] for cell in finished})
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("policy", no_wrap=True)
    for load in loads:
        shown.add_column(f"{load:g}", justify="right")
    means = {(cell["policy"], cell["load"]): cell["measures"][measure]["mean"] for cell in finished}
    for policy in dict.fromkeys(cell["policy"] for cell in finished):
        values = [means.get((policy, load)) for load in loads]
        shown.add_row(policy, *("-" if value is None else short_number(value) for value in values))
    return shown


def short_number(value: float) -> str:
    """Return ``value`` in six characters or so: three digits of it, no exponent, four decimals at most."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{min(max(2 - math.floor(math.log10(abs(value))), 0), 4)}f}"


def write_files(finished: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[Path]:
    """Write sweep.json, sweep.csv and sweep.png; return their paths."""
    folder: Path = options.output
    paths = [folder / f"sweep.{kind}" for kind in ("json", "csv", "png")]
    write_text(paths[0], json.dumps(document(finished, options), indent=1) + "\n")
    write_csv(paths[1], flat_rows(finished))
    draw_loads(finished, paths[2], options.scenario)
    return paths


def document(finished: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Return everything as plain JSON types."""
    return {"schema": SCHEMA, "version": prema_gym.__version__, "scenario": options.scenario, "cells": list(finished)}


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit code."""
    finished, failed = sweep(options, Console(stderr=True))
    for problem in failed:
        print(f"failed: {problem}", file=sys.stderr)
    if not finished:
        return FAILED
    written = write_files(finished, options)
    if not give_json(options, document(finished, options)):
        console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
        for name, label in LOAD_MEASURES.items():
            console.print(table(finished, name, f"{label}, by load ({options.scenario}, {options.episodes} streams)"))
            console.print()
        for path in written if not options.quiet else ():
            print(f"wrote {path}")
    return FAILED if failed else OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: run(options), "interrupted: finished cells are kept; run it again to go on.")
