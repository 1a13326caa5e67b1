"""``python -m agents.evaluate``: a learned policy against opponents, on the same episodes of the split "eval".

    python -m agents.evaluate --policy NAME_OR_PATH --versus PREMA INDEX --episodes 5000 --seed 123 --json out.json
    python -m agents.evaluate --policy NAME_OR_PATH --grid --figure grid.png   other workloads, NPUs, decision latencies
    python -m agents.evaluate --policy NAME_OR_PATH --where                    where it lets another task run
    python -m agents.evaluate --policy NAME_OR_PATH --latency                  microseconds per decision

A difference is better (or worse) where its 95 % bootstrap interval over episodes excludes zero.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.table import Table

from agents.commands import pictures
from agents.commands.command import exit_status
from baselines.commands.compare import progress_bar
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
from baselines.evaluation.disagreement import Disagreements, disagreements
from baselines.evaluation.evaluate import evaluate
from baselines.evaluation.results import Difference, Results
from baselines.evaluation.streams import measure_named
from baselines.policies.kinds import policies_of, policy_of
from baselines.policies.needs import env_arguments as needs_of
from baselines.policies.needs import tell_of_starts
from baselines.policies.policy import Policy
from baselines.report.tables import illegal_note
from prema_gym.checks import whole
from prema_gym.config import MODEL_NAMES, EnvConfig, NPUConfig
from prema_gym.config.scenarios import with_scenario
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import UsageError
from prema_gym.exits import Parser
from prema_gym.files import write_csv
from prema_gym.hardware.program import Program
from prema_gym.workloads.programs import register_program

TRIVIAL_DECISIONS = 5
"""A cell of the grid with fewer decisions per episode is marked as trivial: schedulers hardly differ there."""
FIRST_MEASURE = "weighted_antt"
"""What the grid shows before the headline measures."""
UNSEEN = "UNSEEN"
"""A synthetic network that no policy was trained on: 12 ms, in 1 200 equal operations."""
_RECURRENT = tuple(name for name in MODEL_NAMES if name.startswith("RNN"))
_CONVOLUTIONAL = tuple(name for name in MODEL_NAMES if name not in _RECURRENT)
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
    worse = gap.high < 0 if measure_named(measure).higher_is_better else gap.low > 0
    return "worse" if worse else "even"


def report(results: Results, policy: str, opponents: Sequence[str]) -> dict[str, Any]:
    """Return the content of the file that ``--json`` writes."""
    compared = versus(results, policy, opponents, results.headlines)
    return {
        "policy": policy,
        "episodes": results.episodes,
        "seed": results.seed,
        "split": results.split,
        "window": None if results.config.stream else results.config.workload.window,
        "versus": {name: {measure: gap.to_dict() for measure, gap in gaps.items()} for name, gaps in compared.items()},
    }


def table(results: Results, policy: str, opponents: Sequence[str]) -> Table:
    """Return the comparison as a table: policy, opponent, difference with interval, verdict."""
    shown = Table(box=box.SIMPLE_HEAD, title=f"{policy}, {results.episodes} episodes of {results.split!r}", title_justify="left")
    for head in ("versus", "measure", policy, "opponent", "difference", "95 % interval", ""):
        shown.add_column(head, justify="left" if head in ("versus", "measure", "") else "right", no_wrap=True)
    for name, gaps in versus(results, policy, opponents, results.headlines).items():
        for measure, gap in gaps.items():
            ends = f"[{gap.difference.low:+.4f}, {gap.difference.high:+.4f}]".replace("[", r"\[")
            verdict = verdict_of(measure, gap)
            numbers = (f"{gap.policy:.4f}", f"{gap.opponent:.4f}", f"{gap.difference.mean:+.4f}", ends)
            shown.add_row(name, results.measures[measure].label, *numbers, verdict)
    return shown


# --- The grid -------------------------------------------------------------------------------------------------------------------


def cells(config: EnvConfig) -> Iterator[Cell]:
    """Yield (axis, value, environment arguments): one thing differs from ``config``, a scenario's or the default, at a time."""
    yield from stream_cells(config) if config.stream else closed_cells()


def stream_cells(config: EnvConfig) -> Iterator[Cell]:
    """Yield the cells of a scenario of streams; loads where its arrivals have a utilisation."""
    arrivals = config.workload.arrivals
    rate = None if arrivals is None else arrivals.utilisation
    if rate is not None:
        for load in (round(share * rate, 3) for share in (0.5, 0.75, 1.0, 1.1)):
            yield "utilisation", f"{load:g}", {"workload": {"arrivals": {"process": "poisson", "utilisation": load}}}
        yield "arrivals", "bursty", {"workload": {"arrivals": {"process": "bursty", "utilisation": round(0.9 * rate, 3)}}}
    for sla in (2.0, 4.0, 8.0):
        yield "deadlines", f"{sla:g} times", {"workload": {"sla": sla}}
    for error in (0.25, 1.0):
        yield "predictor error", f"{error:g}", {"workload": {"predictor_error": error}}
    yield "priorities", "equal", {"workload": {"priorities": (1,)}}
    for kind, models in (("convolutional", _CONVOLUTIONAL), ("recurrent", _RECURRENT)):
        yield "models", kind, {"workload": {"models": models}}
    for slots in (8, 16, 64):
        yield "slots", str(slots), {"slots": slots}
    for us in (10, 100):
        yield "latency", f"{us} us", {"scheduler_latency_cycles": us * _CYCLES_PER_US}
    count = len(config.all_npus)
    for preset in NPUConfig.PRESETS if count > 1 else ():
        yield "npus", f"{count} x {preset}", {"npus": [preset] * count}
    yield "models", UNSEEN, {"workload": {"models": (*MODEL_NAMES, UNSEEN)}}


def closed_cells() -> Iterator[Cell]:
    """Yield the cells of closed episodes: one thing differs from the default at a time."""
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


def grid(
    policy: Policy, opponents: Sequence[Policy], episodes: int, seed: int, scenario: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each cell, opponent and measure; in the world of ``scenario``, or where that is None in closed episodes."""
    register_unseen()
    world = {} if scenario is None else {"scenario": scenario}
    for axis, value, arguments in cells(EnvConfig.coerce(world)):
        results = evaluate([policy, *opponents], episodes, seed, **{**world, **arguments})
        decisions = results.mean(policy.name, "decisions")
        names = [opponent.name for opponent in opponents]
        measures = tuple(dict.fromkeys((FIRST_MEASURE, *results.headlines)))
        for name, gaps in versus(results, policy.name, names, measures).items():
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
    for measure in dict.fromkeys(row["measure"] for row in rows):
        shown.add_column(measure_named(measure).label, justify="right")
    keys = list(dict.fromkeys((row["axis"], row["value"], row["versus"]) for row in rows))
    for key in keys:
        mine = [row for row in rows if (row["axis"], row["value"], row["versus"]) == key]
        marks = [f"{100 * (row['policy'] / max(row['opponent'], 1e-9) - 1):+.1f} % {_MARKS[row['verdict']]}" for row in mine]
        note = " (trivial)" if mine[0]["trivial"] else ""
        note += " ‡" if mine[0]["illegal_actions"] > 0 else ""
        shown.add_row(f"{key[0]} {key[1]}{note}", f"{mine[0]['decisions']:.0f}", key[2], *marks)
    return shown


# --- Disagreement ---------------------------------------------------------------------------------------------------------------


def where(found: Disagreements) -> Group:
    """Return what a policy runs where another would run another task, most frequent first."""
    share = f"{100 * found.share:.1f} % of {found.decisions} decisions"
    title = f"{found.policy} runs another task than {found.reference} at {share}"
    shown = Table(box=box.SIMPLE_HEAD)
    for head in ("what it runs is", "pairs of tasks", "share"):
        shown.add_column(head, justify="left" if head == "what it runs is" else "right", no_wrap=True)
    for pattern, count in found.patterns().items():
        shown.add_row(pattern, str(count), f"{100 * count / len(found.situations):.0f} %")
    return Group(title, shown)


# --- Latency --------------------------------------------------------------------------------------------------------------------


def latency_us(policy: Policy, rows: int, calls: int = 2000, **arguments: Any) -> float:
    """Return the median microseconds of ``policy.act`` per call on a view of ``rows`` rows; ``arguments`` are the environment's."""
    given = with_scenario(arguments)
    env = PremaVectorEnv(rows, **{**needs_of(policy, slots=EnvConfig.coerce(given).num_slots), **given})
    env.reset(seed=0)
    tell_of_starts(policy, np.ones(rows, np.bool_))
    times = []
    for _ in range(calls):
        view = env.view()
        start = time.perf_counter()
        actions = policy.act(view)
        times.append(time.perf_counter() - start)
        env.step(actions)
    return 1e6 * float(np.median(times))


# --- Command line -----------------------------------------------------------------------------------------------------------------

EPISODES = {"": 5000, "grid": 1000, "where": 100}
"""Episodes by mode, unless something is said."""
DESCRIPTION = """\
Compare a policy with others on the same episodes of the split "eval": differences with their 95 % intervals."""
EPILOG = """\
examples:
  python -m agents.evaluate --policy LEARNED-CMA --versus PREMA INDEX        a published policy
  python -m agents.evaluate --policy results/train/cma-slots-1               the best policy of a run
  python -m agents.evaluate --policy model.zip --episodes 500 --json         a model of stable-baselines3, for other programs
  python -m agents.evaluate --policy LEARNED-CMA --grid --figure grid.png    other workloads, NPUs, decision latencies
  python -m agents.evaluate --policy LEARNED-CMA --where --episodes 100      where it lets another task run"""


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("python -m agents.evaluate", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("--policy", required=True, metavar="NAME",
        help="a name, or the path of an agent: a run's folder, weights, a .zip of stable-baselines3, an .onnx")  # fmt: skip
    add("--versus", nargs="+", default=["PREMA", "INDEX"], metavar="NAME", help="policies to compare with (default PREMA INDEX)")
    add_episodes(parser, None, "episodes to play (default 5000; with --grid 1000 in each cell, with --where 100)")
    add_seed(parser, 123)
    add_world(parser)
    refuse(parser, {"--reward": NO_REWARD})
    add_output(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--grid", action="store_true", help="compare on other windows, task counts, batches, NPUs, latencies and a new network"
    )
    mode.add_argument("--where", action="store_true", help="count where the policy runs another task than each opponent")
    mode.add_argument("--latency", action="store_true", help="time the policy's decisions")
    add("--csv", type=Path, default=None, metavar="PATH", help="with --grid, write its rows there")
    add("--figure", type=Path, default=None, metavar="PATH", help="with --grid, draw it there")
    return parser


def _episodes(options: argparse.Namespace, mode: str = "") -> int:
    return EPISODES[mode] if options.episodes is None else whole("--episodes", options.episodes, 1, error=UsageError)


def _compare(options: argparse.Namespace, policy: Policy, opponents: Sequence[Policy]) -> tuple[Any, list[Any]]:
    names = [opponent.name for opponent in opponents]
    episodes = _episodes(options)
    played = [policy, *opponents]
    with progress_bar(Console(stderr=True), len(played) * episodes, options.quiet) as report_progress:
        results = evaluate(played, episodes, options.seed, progress=report_progress, **env_arguments(options))
    if results.config.stream:
        return results.to_dict(), [results.table(), table(results, policy.name, names)]
    return report(results, policy.name, names), [table(results, policy.name, names), *filter(None, [illegal_note(results)])]


def _grid(options: argparse.Namespace, policy: Policy, opponents: Sequence[Policy]) -> tuple[Any, list[Any]]:
    world = env_arguments(options)
    scenario = world.pop("scenario", None)
    if world:
        raise UsageError("--grid says which worlds are played: leave out the options of one, but for --scenario.")
    found = list(grid(policy, opponents, _episodes(options, "grid"), options.seed, scenario))
    if options.csv is not None:
        write_csv(options.csv, found)
    if options.figure is not None:
        pictures.grid(found, options.figure)
    return found, [grid_table(found)]


def _where(options: argparse.Namespace, policy: Policy, opponents: Sequence[Policy]) -> tuple[Any, list[Any]]:
    episodes, arguments = _episodes(options, "where"), env_arguments(options)
    found = [disagreements(policy, opponent, episodes=episodes, seed=options.seed, **arguments) for opponent in opponents]
    counted = {one.reference: {"decisions": one.decisions, "share": one.share, "situations": one.patterns()} for one in found}
    return {"policy": policy.name, "episodes": episodes, "seed": options.seed, "versus": counted}, [where(one) for one in found]


def _latency(options: argparse.Namespace, policy: Policy, opponents: Sequence[Policy]) -> tuple[Any, list[Any]]:
    found = {rows: latency_us(policy, rows, **env_arguments(options)) for rows in (1, 256)}
    lines = [f"{policy.name}: {us:.1f} us per act() on {rows} rows" for rows, us in found.items()]
    return {"policy": policy.name, "us_per_act": {str(rows): us for rows, us in found.items()}}, lines


_MODES: dict[str, Callable[[argparse.Namespace, Policy, Sequence[Policy]], tuple[Any, list[Any]]]] = {
    "grid": _grid,
    "where": _where,
    "latency": _latency,
}
"""What is done by option: each returns what ``--json`` gives, and what is printed in its place otherwise."""


def _run(options: argparse.Namespace, console: Console) -> None:
    policy = policy_of(options.policy)
    opponents = [opponent for opponent in policies_of(options.versus) if opponent.name != policy.name]
    chosen = next((mode for mode in _MODES if getattr(options, mode)), None)
    if not opponents and chosen != "latency":
        raise UsageError(f"--versus {' '.join(options.versus)}: names nobody but {policy.name} itself.")
    data, shown = _compare(options, policy, opponents) if chosen is None else _MODES[chosen](options, policy, opponents)
    if give_json(options, data):
        return
    for one in shown:
        console.print(one, highlight=False, markup=not isinstance(one, str))


def main(given: Sequence[str] | None = None) -> int:
    """Evaluate; return the exit status."""
    options = build_parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 140)
    return exit_status(lambda: _run(options, console))
