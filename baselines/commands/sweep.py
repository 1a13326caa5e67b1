"""``python -m baselines.sweep``: policies over loads, scenarios and seeds, as tables, files and the figure that papers print.

A cell is one policy in one scenario at one load with one seed. Each finished cell is a file, so that a sweep which was stopped goes
on where it was; a cell that fails is named, and the rest stands. Results depend neither on the engine that plays the cells nor on
the number of processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Sequence
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
from baselines.policies.kinds import policies_of
from baselines.report.load import LOAD_MEASURES, draw_loads
from baselines.report.tables import TABLE_WIDTH
from baselines.sweeping.cells import NAMED, SCHEMA, Cell, content_of, keep, over_seeds, read_cell
from baselines.sweeping.engines import DEFAULT_ENGINE, DEFAULT_RETRIES, ENGINES, Means, engine
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import with_scenario
from prema_gym.errors import UsageError
from prema_gym.exits import FAILED, OK, Parser, guarded
from prema_gym.files import write_csv, write_text
from prema_gym.workloads.seeding import SPLITS

DEFAULT_LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
MOST_RETRIES = 100
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
  python -m baselines.sweep --npus prema,prema --workers 2                    two NPUs, two processes
  python -m baselines.sweep --scenarios PremaStream-v0 PremaCluster-v0 --seeds 0 1 2
  python -m baselines.sweep --engine ray --address auto                       on a Ray cluster (extra ray)"""


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
    add("--seeds", nargs="+", type=int, default=None, metavar="S", help="several, in place of --seed: as many streams of each")
    add("--split", default="eval", metavar="NAME", help=f"{', '.join(SPLITS)} (default eval)")
    add_world(parser, REFUSED, scenario="PremaStream-v0")
    add(
        "--scenarios",
        nargs="+",
        default=None,
        metavar="NAME",
        help="several, in place of --scenario: a table and a figure for each",
    )
    refuse(parser, {"--reward": NO_REWARD})
    add("--requests", type=int, default=None, metavar="H", help="requests of a stream (default: the scenario's)")
    add("--engine", default=DEFAULT_ENGINE, metavar="NAME",
        help=f"who plays the cells: {', '.join(ENGINES)} (default {DEFAULT_ENGINE}: processes of this machine)")  # fmt: skip
    add("--address", default=None, metavar="WHERE",
        help="of a Ray cluster, as in auto or 10.0.0.1:6379 (default: $RAY_ADDRESS, else a head on this machine)")  # fmt: skip
    add("--workers", type=int, default=None, metavar="N", help="cells at a time (default: one per core, of a cluster all it has)")
    add("--retries", type=int, default=DEFAULT_RETRIES, metavar="N",
        help=f"how often a cell is played again whose process died (default {DEFAULT_RETRIES})")  # fmt: skip
    add("--output", type=Path, default=Path("results/sweep"), metavar="DIR", help="folder of the files (default results/sweep)")
    add_output(parser)
    return parser


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for, each once, loads rising; a wrong argument is an error here."""
    for load in options.loads:
        if not 0 < load <= 100:
            raise UsageError(f"--loads {load:g}: must be above 0 and at most 100.")
    check_numbers(options)
    return [cell for scenario in scenarios_of(options) for cell in _cells_in(options, scenario)]


def _cells_in(options: argparse.Namespace, scenario: str) -> list[Cell]:
    """Return the cells in one scenario."""
    by_load = arguments_by_load(options, scenario)
    policies = chosen_policies(options.policies, EnvConfig.coerce(json.loads(next(iter(by_load.values())))))
    policies_of(policies)  # raises for an unknown one
    contents = {policy: content_of(policy) for policy in policies}
    return [
        Cell(policy, scenario, load, options.episodes, seed, options.split, arguments, contents[policy])
        for load, arguments in by_load.items()
        for policy in policies
        for seed in seeds_of(options)
    ]


def scenarios_of(options: argparse.Namespace) -> list[str]:
    """Return the scenarios, each once, in the order of the command line."""
    return list(dict.fromkeys(options.scenarios or [options.scenario]))


def seeds_of(options: argparse.Namespace) -> list[int]:
    """Return the seeds, each once, in the order of the command line."""
    return list(dict.fromkeys(options.seeds or [options.seed]))


def arguments_by_load(options: argparse.Namespace, scenario: str) -> dict[float, str]:
    """Return the environment's arguments, as JSON, by load, loads rising."""
    found = {}
    for load in sorted(set(options.loads)):
        given = {**env_arguments(options), "scenario": scenario}
        workload = given.get("workload", {})
        arrivals = {"process": "poisson", **workload.get("arrivals", {}), "utilisation": load}
        given["workload"] = {**workload, "arrivals": arrivals}
        arguments = with_scenario(given)
        arguments["horizon_requests"] = options.requests or arguments.get("horizon_requests") or 512
        EnvConfig.coerce(arguments)
        found[load] = json.dumps(arguments, sort_keys=True)
    return found


def check_numbers(options: argparse.Namespace) -> None:
    """Raise :class:`UsageError` for impossible numbers, and for an address that the engine has no use for."""
    if options.episodes < 1:
        raise UsageError(f"--episodes {options.episodes}: must be at least 1.")
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers {options.workers}: must be at least 1.")
    if not 0 <= options.retries <= MOST_RETRIES:
        raise UsageError(f"--retries {options.retries}: must be 0 to {MOST_RETRIES}.")
    if options.address is not None and options.engine == DEFAULT_ENGINE:
        raise UsageError(f"--address {options.address}: the engine {DEFAULT_ENGINE!r} has no cluster: add --engine ray.")


def sweep(options: argparse.Namespace, errors: Console) -> tuple[list[dict[str, Any]], list[str]]:
    """Play what is missing; return all finished cells, in order, and a sentence for each that failed."""
    cells = cells_of(options)
    play, means = engine(options.engine), Means(options.workers, options.address, options.retries)
    folder: Path = options.output / "cells"
    missing = [cell for cell in cells if read_cell(cell, folder) is None]
    failed: list[str] = []
    if missing:
        # The engine is closed whatever happens, Ctrl-C included: it then stops what it has started.
        with progress_bar(errors, len(missing), options.quiet) as report, contextlib.closing(play(missing, means)) as outcomes:
            for outcome in outcomes:
                if outcome.problem:
                    failed.append(f"{outcome.cell.words}: {outcome.problem}")
                else:
                    keep(outcome, folder)
                report(outcome.cell.words, 1)
    finished = [found for cell in cells if (found := read_cell(cell, folder)) is not None]
    return finished, failed


def flat_rows(finished: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each cell: means with ``_low`` and ``_high``."""
    rows = []
    for cell in finished:
        row = {key: cell[key] for key in NAMED}
        for name, found in cell["measures"].items():
            if isinstance(found, dict) and "mean" in found:
                row |= {name: found["mean"], f"{name}_low": found["ci95"][0], f"{name}_high": found["ci95"][1]}
        rows.append(row)
    return rows


def table(finished: Sequence[dict[str, Any]], measure: str) -> Table:
    """Return a measure by policy and load."""
    loads = sorted({cell["load"] for cell in finished})
    shown = Table(box=None, pad_edge=False)
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
    """Write sweep.json, sweep.csv and sweep.png, of several scenarios a figure each; return their paths."""
    folder: Path = options.output
    paths = [folder / "sweep.json", folder / "sweep.csv"]
    write_text(paths[0], json.dumps(document(finished, options), indent=1) + "\n")
    write_csv(paths[1], flat_rows(finished))
    scenarios = by_scenario(finished)
    for scenario, cells in scenarios.items():
        paths.append(folder / ("sweep.png" if len(scenarios) == 1 else f"sweep-{scenario}.png"))
        draw_loads(cells, paths[-1], scenario)
    return paths


def by_scenario(finished: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what tables and figures show of each scenario: its cells, seeds taken together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in over_seeds(finished):
        found.setdefault(cell["scenario"], []).append(cell)
    return found


def document(finished: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Return everything as plain JSON types."""
    return {"schema": SCHEMA, "version": prema_gym.__version__, "scenarios": scenarios_of(options), "cells": list(finished)}


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
        streams = options.episodes * len(seeds_of(options))
        for scenario, cells in by_scenario(finished).items():
            for name, label in LOAD_MEASURES.items():
                # Not the table's own title, which is broken to its width.
                console.print(f"{label}, by load ({scenario}, {streams} streams)", style="italic", highlight=False)
                console.print(table(cells, name))
                console.print()
        for path in written if not options.quiet else ():
            print(f"wrote {path}")
    return FAILED if failed else OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: run(options), "interrupted: finished cells are kept; run it again to go on.")
