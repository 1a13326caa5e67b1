"""``python -m baselines.compare``: every scheduler on the same episodes, as a table in the terminal, files and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from baselines.commands.options import (
    NO_REWARD,
    PRINTED,
    add_episodes,
    add_output,
    add_seed,
    add_world,
    env_arguments,
    give_json,
    refuse,
)
from baselines.evaluation.evaluate import evaluate
from baselines.evaluation.results import REFERENCE, Results
from baselines.policies.kinds import policies_of
from baselines.policies.needs import config_for, plays
from baselines.policies.registry import POLICIES, make_policy
from baselines.report.isolated import isolated_table
from baselines.report.tables import TABLE_WIDTH, fairness_notes, fairness_table, fitting_table, headline, notes, utilisation_table
from prema_gym.config import EnvConfig
from prema_gym.envs.core import checked_trace
from prema_gym.exits import Parser, guarded
from prema_gym.files import write_text
from prema_gym.rendering.export.page import check_bokeh
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.seeding import SPLITS

if TYPE_CHECKING:
    from prema_gym.rendering import Recording

DEFAULT_POLICIES = (
    "NP-FCFS", "NP-HPF", "NP-SJF", "NP-TOKEN", "NP-PREMA",
    "P-RRB", "P-FCFS", "P-HPF", "P-SJF", "P-TOKEN",
    "PREMA", "PREMA-CHECKPOINT", "PREMA-KILL", "PREMA-COMMIT", "PREMA-WHOLE-WAIT", "PREMA-ORACLE",
    "SRPT", "WSPT", "WSRPT", "HRRN", "WFQ", "LAS", "MLFQ", "EDF", "LLF",
    "INDEX-SIMPLE", "INDEX", "CAP-INDEX", "RANDOM",
)  # fmt: skip
"""What is compared unless ``--policies`` says otherwise, in this order; published learned policies follow."""
ON_SEVERAL_NPUS = ("LEAST-LOADED/PREMA", "JSQ/PREMA", "LEAST-LOADED/WSRPT", "JSQ/WSRPT", "GATE")
"""What is compared as well where there is more than one NPU."""
FAMILY = "-FRONT-"
"""Part of the names of a family's members: there are too many of them to be shown unasked."""


def default_policies(config: EnvConfig) -> list[str]:
    """Return what is compared on ``config`` unless ``--policies`` says otherwise."""
    added = ON_SEVERAL_NPUS if len(config.all_npus) > 1 else ()
    installed = (name for name in POLICIES.plugins() if FAMILY not in name)
    return [*DEFAULT_POLICIES, *added, *(name for name in installed if plays(make_policy(name), config))]


FAIRNESS_HINT = 'Fairness above is the paper\'s; a claim of "fairer" needs more than it: --fairness.'
GANTT_POLICIES = ("NP-FCFS", "P-SJF", "PREMA")
GANTT_REQUESTS = 60
"""Of a stream, the requests that the chart shows: the first."""

DESCRIPTION = """\
Play the same episodes under every scheduler and compare them on the metrics of the PREMA paper (HPCA 2020).
Prints a table; writes compare.csv, compare.json, compare.png and gantt.png to the output folder."""

EPILOG = """\
examples:
  python -m baselines.compare                                         1 000 episodes, all schedulers of the paper
  python -m baselines.compare --episodes 200 --window 0.25            fewer episodes of a busier server
  python -m baselines.compare --policies NP-FCFS P-SJF PREMA          three policies only
  python -m baselines.compare --policies all                          everything that is registered
  python -m baselines.compare --models CNN-AN RNN-MT1 --batches 1     a mix of your own
  python -m baselines.compare --npu edge --tasks 16                   another NPU, more tenants
  python -m baselines.compare --npus prema,prema,edge --window 0.2    three NPUs behind one table: see --window
  python -m baselines.compare --scenario PremaStream-v0 --episodes 50 requests without end, with deadlines
  python -m baselines.compare --trace mine.jsonl                      requests of your own, a JSON object a line
  python -m baselines.compare --html compare.html                     a page to look at and send
  python -m baselines.compare --fairness                              also print what a claim of "fairer" needs
  python -m baselines.compare --isolated                              also print how long each program takes alone
  python -m baselines.compare --json --quiet | jq .versus_np_fcfs     for other programs
  make compare ARGS="--episodes 200"                                  the same through make

reading the table:
  ANTT      average normalised turnaround time; 1 is as fast as alone (lower is better)
  STP       system throughput, sum of 1/NTT; at most the number of tasks (higher is better)
  SLA viol. share of tasks slower than N times their isolated time, averaged over N = 2..20
  fairness  smallest over largest priority-weighted progress; 1 is fair
  p9 tail   95th percentile of the NTT of high-priority tasks

policies:
  NP-X never evicts, P-X saves contexts, P-X-KILL, -DRAIN and -DYNAMIC switch otherwise; names without a prefix evict, by CHECKPOINT
  unless they say otherwise. --list prints every policy's rule. For --npus: LEAST-LOADED/X and JSQ/X are a dispatcher before the
  policy or rule X, GATE/X is the gate over it."""


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("python -m baselines.compare", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add_episodes(parser, 1000, "episodes that every policy plays (default 1000)")
    add_seed(parser)
    add_world(parser)
    refuse(parser, {"--reward": NO_REWARD})
    add("--trace", nargs="+", default=None, metavar="FILE", help="play JSONL files in place of drawn episodes, one episode each")
    add("--policies", nargs="+", default=None, metavar="NAME",
        help="policies in the table's order: names, and paths of agents (a .zip of stable-baselines3, an .onnx, weights, a run's "
        "folder); all: every registered one (default: "
        f"{', '.join(DEFAULT_POLICIES)} and installed learned ones; with --npus {', '.join(ON_SEVERAL_NPUS)} too)")  # fmt: skip
    add("--split", default="eval", metavar="NAME", help=f"{', '.join(SPLITS)}; choose on valid, report on eval (default eval)")
    add("--output", type=Path, default=Path("results"), metavar="DIR", help="folder of the files (default results)")
    add("--html", type=Path, default=None, metavar="FILE",
        help="also write a page to look at and send: tables, pictures, configuration in one file (extra html)")  # fmt: skip
    add("--latex", action="store_true", help="also write compare.tex, a table for a paper (booktabs); with --fairness a second one")
    add("--per-episode", action="store_true", help="also write compare_episodes.csv, a row for every policy and episode")
    add("--fairness", action="store_true", help='also print a table of fairness and tails: all that a claim of "fairer" needs')
    add("--isolated", action="store_true", help="also print the time of every program alone on the NPU")
    add_output(parser)
    add("--threads", type=int, default=None, metavar="N", help="threads (default: one per core)")
    add("--list", action="store_true", help="print every policy with its rule and source, and stop")
    return parser


def chosen_policies(given: Sequence[str] | None, config: EnvConfig) -> list[str]:
    """Return what ``--policies`` names, each once, None replaced by the default ones, and ``all`` by all that play ``config``."""
    if given is None:
        return default_policies(config)
    if list(given) == ["all"]:
        several = len(config.all_npus) > 1
        registered = [name for name in POLICIES if plays(make_policy(name), config)]
        return [*registered, *(name for name in ON_SEVERAL_NPUS if several and name not in POLICIES)]
    return list(dict.fromkeys(given))


@contextmanager
def progress_bar(console: Console, total: int, quiet: bool) -> Iterator[Any]:
    """Show a bar with the time left on ``console``; yield the function that :func:`evaluate` reports to."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        task = progress.add_task("compiling (first run only)", total=total)

        def report(policy: str, count: int) -> None:
            progress.update(task, advance=count, description=policy)

        yield report


def run(options: argparse.Namespace, errors: Console) -> Results:
    """Play what ``options`` ask for, with a progress bar on ``errors``."""
    arguments = env_arguments(options)
    config = EnvConfig.coerce(arguments)
    policies = policies_of(chosen_policies(options.policies, config))
    Simulator(config)  # a wrong configuration is an error before the bar appears
    episodes = options.episodes if options.trace is None else len(options.trace)
    with progress_bar(errors, len(policies) * max(episodes, 0), options.quiet) as report:
        return evaluate(
            policies,
            options.episodes,
            options.seed,
            split=options.split,
            threads=options.threads,
            progress=report,
            traces=options.trace,
            **arguments,
        )


def record_one(results: Results, options: argparse.Namespace) -> list[Recording]:
    """Return one episode, or the beginning of one stream, under three policies."""
    from baselines.evaluation.recording import record

    arguments = env_arguments(options)
    if results.config.stream:
        configs = {name: config_for(make_policy(name), results.config, arguments).to_dict() for name in GANTT_POLICIES}
        return [record(name, seed=options.seed, requests=GANTT_REQUESTS + 1, **config) for name, config in configs.items()]
    trace = None
    if options.trace is not None:
        trace = options.trace[0]
        arguments["slots"] = len(checked_trace(trace, EnvConfig.coerce(arguments)))
    return [record(policy, seed=options.seed, trace=trace, **arguments) for policy in GANTT_POLICIES]


def write_files(results: Results, options: argparse.Namespace) -> list[Path]:
    """Write every file that was asked for; return their paths."""
    from baselines.report.plots import save_comparison
    from prema_gym.rendering import gantt_compare

    folder: Path = options.output
    results.to_json(folder / "compare.json")
    results.to_csv(folder / "compare.csv")
    save_comparison(results, folder / "compare.png")
    written = [folder / name for name in ("compare.json", "compare.csv", "compare.png", "gantt.png")]
    requests = GANTT_REQUESTS if results.config.stream else None
    gantt_compare(record_one(results, options), requests=requests, path=written[-1])
    if options.latex:
        written.append(folder / "compare.tex")
        write_text(written[-1], results.latex())
    if options.latex and options.fairness:
        written.append(folder / "compare_fairness.tex")
        write_text(written[-1], results.latex(results.fairness_measures))
    if options.per_episode:
        written.append(folder / "compare_episodes.csv")
        results.to_csv(written[-1], per="episode")
    return written


def write_page(results: Results, options: argparse.Namespace) -> None:
    """Write the page to look at and send."""
    from baselines.report.page import save_comparison_page

    save_comparison_page(results, options.html, record_one(results, options))


def show(results: Results, options: argparse.Namespace, console: Console) -> None:
    """Print title, table and notes."""
    reference = REFERENCE if REFERENCE in results.played else None
    if options.trace is None:
        console.print(f"[bold]{escape(results.title)}[/bold], seed {results.seed}, split {results.split}")
    else:
        names = ", ".join(map(escape, options.trace))
        console.print(f"[bold]{names}[/bold]: {escape(results.title)}")
    if options.isolated:
        console.print(isolated_table(results.config))
    console.print(fitting_table(results, console, reference=reference))
    for line in notes(results, reference=reference):
        console.print(line, style="dim", markup=False, highlight=False)
    if len(results.npu_names) > 1:
        console.print(utilisation_table(results))
    if options.fairness:
        console.print(fairness_table(results, console))
    for line in fairness_notes(results) if options.fairness else [FAIRNESS_HINT] if "fairness" in results.headlines else []:
        console.print(line, style="dim", markup=False, highlight=False)
    factors = headline(results)
    if factors:
        console.print(escape(factors), style="bold", highlight=False)


def list_policies(console: Console) -> None:
    """Print every registered policy with its rule."""
    for name in POLICIES:
        policy = make_policy(name)
        console.print(f"[bold]{escape(name)}[/bold]  {escape(getattr(policy, 'rule', ''))}", highlight=False)


def compare(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=TABLE_WIDTH, highlight=False)
    if options.list:
        list_policies(console)
        return
    if options.html:
        check_bokeh("compare --html")
    if options.json != PRINTED:
        options.output.mkdir(parents=True, exist_ok=True)
    results = run(options, Console(stderr=True))
    if options.html:
        write_page(results, options)
    if give_json(options, results.to_dict()):
        return
    show(results, options, console)
    written = [*write_files(results, options), *([options.html] if options.html else [])]
    for path in written if not options.quiet else ():
        console.print(f"wrote {path}", style="dim", markup=False, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: compare(options))
