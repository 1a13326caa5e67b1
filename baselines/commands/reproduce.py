"""``python -m baselines.reproduce``: the paper's study with intervals, its three factors beside the abstract's, a figure each."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

import prema_gym
from baselines.commands.compare import progress_bar
from baselines.commands.options import NO_REWARD, WORLD, add_episodes, add_output, add_seed, give_json, refuse
from baselines.evaluation.estimates import ends_of
from baselines.studies.catalogue import STUDIES
from baselines.studies.study import PAPER, Json, Measurement, Player, Study, save
from prema_gym.config import EnvConfig
from prema_gym.errors import UsageError, unknown_name
from prema_gym.exits import Parser, guarded
from prema_gym.files import write_text

SCHEMA = 1
"""Version of reproduction.json; raised when a key changes its meaning or goes."""
LEAST_EPISODES = 2
_LABELS = {"antt": "ANTT", "stp": "STP", "sla": "SLA violations"}

DESCRIPTION = """\
Repeat the study of the PREMA paper (HPCA 2020) with 95 % intervals, and print its three factors beside the abstract's.
Writes reproduction.json and one figure per study to the output folder."""

EPILOG = """\
examples:
  python -m baselines.reproduce                              everything, in a few minutes
  python -m baselines.reproduce --episodes 200               a quick look
  python -m baselines.reproduce --studies headline window    two studies only
  python -m baselines.reproduce --studies calibration        the rule that chose the default window, on the valid split
  python -m baselines.reproduce --list                       what there is
  make reproduce ARGS="--episodes 200"                       the same through make"""


FIXED = "the study says what is played, as the paper did; prema-gym compare takes it"
"""Why the options of a world are refused."""


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("python -m baselines.reproduce", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add_episodes(parser, 3000, "episodes that every policy plays at every point (default 3000)")
    add_seed(parser)
    refuse(parser, dict.fromkeys((*WORLD, "--policies"), FIXED) | {"--reward": NO_REWARD})
    add("--studies", nargs="+", default=list(STUDIES), metavar="NAME", help=f"default all: {', '.join(STUDIES)}")
    add("--output", type=Path, default=Path("results"), metavar="DIR", help="folder of the files (default results)")
    add("--no-figures", action="store_true", help="write reproduction.json only")
    add("--threads", type=int, default=None, metavar="N", help="threads (default: one per core)")
    add_output(parser)
    add("--list", action="store_true", help="print every study with its question, and stop")
    return parser


def chosen_studies(names: Sequence[str]) -> list[Study | Measurement]:
    """Return the studies by name; ``headline`` always comes along, and first."""
    for name in names:
        if name not in STUDIES:
            raise UsageError(unknown_name("study", name, STUDIES))
    return [study for name, study in STUDIES.items() if name in ("headline", *names)]


def run(options: argparse.Namespace, errors: Console) -> dict[str, Json]:
    """Run the studies that ``options`` ask for, with a progress bar on ``errors``."""
    studies = chosen_studies(options.studies)
    if options.episodes < LEAST_EPISODES:
        raise UsageError(f"--episodes {options.episodes}: must be a whole number of at least {LEAST_EPISODES}.")
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads {options.threads}: must be a whole number of at least 1.")
    plays = len(Player.keys(point for study in studies for point in study.points))
    with progress_bar(errors, plays * options.episodes, options.quiet) as report:
        player = Player(options.episodes, options.seed, options.threads or os.cpu_count() or 1, report)
        return {study.name: study.run(player) for study in studies}


def reproduction(found: dict[str, Json], options: argparse.Namespace) -> Json:
    """Return what reproduction.json holds."""
    headline = {key: found["headline"]["factors"][key] for key in PAPER}
    return {
        "schema": SCHEMA,
        "version": prema_gym.__version__,
        "episodes": options.episodes,
        "seed": options.seed,
        "split": "eval",
        "config": EnvConfig().to_dict(),
        "headline": headline,
        "readings": found["headline"]["readings"],
        "studies": found,
    }


def _half_width(entry: dict[str, Any]) -> float:
    low, high = ends_of(entry)
    return (high - low) / 2


def headline_table(headline: dict[str, Any]) -> Table:
    """Return the three factors beside the abstract's."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("PREMA over NP-FCFS", "abstract", "here", "95 % interval", "here / abstract", "within 25 %"):
        table.add_column(name, justify="left" if name.startswith("PREMA") else "right", no_wrap=True)
    for key, entry in headline.items():
        low, high = ends_of(entry)
        ratio = f"{entry['factor'] / entry['paper']:.2f}"
        within = "yes" if entry["within_25_percent"] else "no"
        factor = f"[bold]{entry['factor']:.2f}x[/bold]"
        table.add_row(_LABELS[key], f"{entry['paper']}x", factor, f"{low:.2f} - {high:.2f}", ratio, within)
    return table


def readings_table(readings: dict[str, Any]) -> Table:
    """Return the three factors under every reading of hardware and scheduler."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title="Readings", title_justify="left")
    for name in ("weights loaded", "policy", *_LABELS.values()):
        table.add_column(name, justify="left" if name in ("weights loaded", "policy") else "right", no_wrap=True)
    for mode, policies in readings.items():
        for i, (policy, found) in enumerate(policies.items()):
            cells = (f"{entry['factor']:.2f} ± {_half_width(entry):.2f}" for entry in found.values())
            table.add_row("" if i else mode, policy, *cells)
    return table


def sweep_table(found: dict[str, Json]) -> Table:
    """Return the three factors at every point of the sweeps that were run."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title="Sensitivity", title_justify="left")
    for name in ("study", "point", *_LABELS.values()):
        table.add_column(name, justify="left" if name in ("study", "point") else "right", no_wrap=True)
    for study, data in found.items():
        for i, point in enumerate(point for point in data.get("points", []) if "factors" in point):
            cells = (f"{entry['factor']:.2f} ± {_half_width(entry):.2f}" for entry in _three(point))
            table.add_row(study if i == 0 else "", point["label"], *cells)
    return table


def _three(point: Json) -> list[Json]:
    return [point["factors"][key] for key in _LABELS]


def write_files(data: Json, options: argparse.Namespace) -> list[Path]:
    """Write reproduction.json and the figures; return their paths."""
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "reproduction.json"
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
    if options.no_figures:
        return [path]
    for name, found in data["studies"].items():
        save(STUDIES[name].draw(found), folder / "reproduction" / f"{name}.png")
    return [path, folder / "reproduction"]


def reproduce(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=112, highlight=False)
    if options.list:
        for study in STUDIES.values():
            console.print(f"[bold]{study.name}[/bold]  {study.question}")
        return
    begin = time.perf_counter()
    data = reproduction(run(options, Console(stderr=True)), options)
    if give_json(options, data):
        return
    table = sweep_table(data["studies"])
    if table.row_count:
        console.print(table)
    console.print(f"[bold]{options.episodes} episodes a point[/bold], seed {options.seed}, split eval")
    console.print(headline_table(data["headline"]))
    console.print(readings_table(data["readings"]))
    written = write_files(data, options)
    for path in written if not options.quiet else ():
        console.print(f"wrote {path}", style="dim", markup=False)
    console.print(f"{time.perf_counter() - begin:.0f} s", style="dim")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: reproduce(options))
