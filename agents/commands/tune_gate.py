"""``python -m agents.tune_gate``: tune GATE, the rule for unlike NPUs, or with ``--scenario`` GATE-DEADLINE, that with deadlines.

CMA-ES searches the gate's parameters, over WSRPT, for the smallest mean of one measure on the stated NPUs. Every candidate plays
the same episodes of the split "train". The outcome is frozen in ``baselines/policies/tuned.json``, which the registry reads; what
else is there stays.

Over another base than WSRPT (``--base EDF-FEASIBLE``, whose keys are neither densities nor lengths, so that only the gate has a
meaning) the gate is the best of a grid, frozen as GATE-BASE.

In a scenario whose requests have deadlines the two terms about these are searched too: how much worse a task is that misses its
deadline anyway, and how much better one whose slack is short. They are frozen as a policy of their own, since a slack weight has to
be asked at every quantum, and GATE has no use for that where there are no deadlines. A term that brings nothing is left at 0.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from agents.commands.tune_index import Space
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.measures import EPISODE_MEASURES, MEASURES, episode_values
from baselines.evaluation.streams import STREAM_MEASURES, stream_values
from baselines.policies.heuristic import Heuristic
from baselines.policies.needs import config_for
from baselines.policies.policy import Policy
from baselines.policies.registry import TUNED_FILE, make_policy
from baselines.policies.rules.registry import SELECTION_RULES
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import SCENARIOS, with_scenario
from prema_gym.errors import unknown_name
from prema_gym.exits import Parser
from prema_gym.files import write_text

if TYPE_CHECKING:
    from cmaes import CMA

GATE = Space.of(
    "GATE",
    {"advantage_power": (1.0, 0.0, 4.0, 1.0), "log_gate": (np.log(4.0), 0.0, np.log(30.0), 1.0)},
    generations=0,
    population=10,
)
"""Starts from where the prototypes were: nothing on an NPU more than four times slower than the best."""
GATE_DEADLINE = Space.of(
    "GATE",
    {
        "advantage_power": (1.0, 0.0, 4.0, 1.0),
        "log_gate": (np.log(4.0), 0.0, np.log(30.0), 1.0),
        "log_doomed_penalty": (0.0, np.log(0.01), np.log(100.0), 2.0),
        "log_slack_weight": (0.0, np.log(0.01), np.log(100.0), 2.0),
    },
    generations=0,
    population=10,
)
"""The same with the terms about deadlines, which start at 1."""
DEADLINE_TERMS = ("doomed_penalty", "slack_weight")
UNGATED = "WSRPT"
WIDEST_GATE = 30.0
"""Of the grid; the narrowest is 1."""


@dataclass(frozen=True)
class Judge:
    """Plays candidates, all on the same episodes of the split "train"."""

    config: EnvConfig
    measure: str
    episodes: int
    seed: int
    threads: int = 1
    split: str = "train"

    def mean(self, policy: Policy) -> float:
        """Return the mean of the measure under ``policy``."""
        config = config_for(policy, self.config, {})
        played = play_policy(policy, config, self.episodes, self.seed, split=self.split)
        if self.config.stream:
            return float(stream_values(played)[:, list(STREAM_MEASURES).index(self.measure)].mean())
        return float(episode_values(played)[:, EPISODE_MEASURES.index(self.measure)].mean())

    def means(self, policies: Sequence[Policy]) -> list[float]:
        """Return the means of the measure, in the order of ``policies``."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.mean, policies))


class Searched(Protocol):
    """What CMA-ES searches."""

    @property
    def start(self) -> np.ndarray: ...  # noqa: D102  # as in Space
    @property
    def low(self) -> np.ndarray: ...  # noqa: D102
    @property
    def high(self) -> np.ndarray: ...  # noqa: D102
    @property
    def scales(self) -> np.ndarray: ...  # noqa: D102
    @property
    def population(self) -> int: ...  # noqa: D102

    def rule(self, name: str, point: np.ndarray, mechanism: str) -> Heuristic:
        """Return the rule at a point."""


class Judging(Protocol):
    """Who says how good candidates are."""

    @property
    def seed(self) -> int: ...  # noqa: D102  # of the search

    def means(self, policies: Sequence[Policy]) -> list[float]:
        """Return what is to become small, in the order of ``policies``."""


def _start(space: Searched, judge: Judging, run: int) -> CMA:
    """Return the optimizer of a start: the first from the space's start, later ones from anywhere, with more candidates at once."""
    from cmaes import CMA

    bounds = np.column_stack([space.low, space.high]) / space.scales[:, None]
    anywhere = np.random.default_rng((judge.seed, run)).uniform(bounds[:, 0], bounds[:, 1])
    mean = space.start / space.scales if run == 0 else anywhere
    return CMA(mean=mean, sigma=0.3, bounds=bounds, seed=judge.seed + run, population_size=space.population << min(run, 2))


def search(judge: Judging, space: Searched, evaluations: int, name: str = "GATE") -> tuple[Heuristic, float, int]:
    """Return the best rule, its mean, and how many candidates were played; once converged, CMA-ES starts anew elsewhere."""
    run, played = 0, 0
    optimizer = _start(space, judge, run)
    best, least = space.rule(name, space.start, "CHECKPOINT"), np.inf
    while played < evaluations:
        if optimizer.should_stop():
            run += 1
            optimizer = _start(space, judge, run)
        asked = [optimizer.ask() for _ in range(optimizer.population_size)]
        rules = [space.rule(name, point * space.scales, "CHECKPOINT") for point in asked]
        costs = judge.means(rules)
        optimizer.tell(list(zip(asked, costs, strict=True)))
        played += len(costs)
        leader = int(np.argmin(costs))
        if costs[leader] < least:
            best, least = rules[leader], costs[leader]
    return best, least, played


def best_of_grid(judge: Judge, base: str, name: str, gates: int) -> tuple[Heuristic, float]:
    """Return the gate over ``base`` of the smallest mean, and the mean: of as many gates as stated, evenly spaced in logarithms."""
    rules = [
        Heuristic(name, f"GATE/{base}", "CHECKPOINT", gate=float(gate), advantage_power=0.0)
        for gate in np.geomspace(1.0, WIDEST_GATE, gates)
    ]
    means = judge.means(rules)
    best = int(np.argmin(means))
    return rules[best], means[best]


def without_idle_terms(judge: Judge, rule: Heuristic, mean: float) -> tuple[Heuristic, float]:
    """Return ``rule``, whose mean is ``mean``, with each term about deadlines at 0 that makes it no better."""
    for term in DEADLINE_TERMS:
        parameters: dict[str, Any] = {**rule.parameters, term: 0.0}
        plainer = Heuristic(rule.name, rule.selection, rule.mechanism, **parameters)
        reached = judge.mean(plainer)
        if reached <= mean:
            rule, mean = plainer, reached
    return rule, mean


def tune(judge: Judge, evaluations: int, name: str = "GATE", base: str = UNGATED, *, deadlines: bool = False) -> dict[str, Any]:
    """Return what is frozen: the rule, its results, and those of its opponents: without a gate, without terms about deadlines.

    The gate over UNGATED has terms about ``deadlines`` where these are to be searched too.
    """
    opponents = {base: make_policy(base)} | ({} if name == "GATE" else {"GATE": make_policy("GATE")})
    results = {opponent: judge.mean(policy) for opponent, policy in opponents.items()}
    if base != UNGATED:
        (best, mean), played = best_of_grid(judge, base, name, evaluations), evaluations
    else:
        best, mean, played = search(judge, GATE_DEADLINE if deadlines else GATE, evaluations, name)
    if deadlines and base == UNGATED:
        best, mean = without_idle_terms(judge, best, mean)
    return {
        "evaluations": played,
        "rules": {
            best.name: {
                "selection": best.selection,
                "mechanism": best.mechanism,
                "parameters": dict(best.parameters),
                "results": {judge.measure: mean},
            }
        },
        "opponents": {opponent: {judge.measure: reached} for opponent, reached in results.items()},
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser("python -m agents.tune_gate", description=__doc__)
    add = parser.add_argument
    add("--scenario", choices=[name for name, scenario in SCENARIOS.items() if scenario.arguments], metavar="NAME",
        help="A scenario of streams in place of NPUs, tasks and window: tunes GATE-DEADLINE.")  # fmt: skip
    add("--base", default=UNGATED, metavar="RULE", help="The rule that the gate stands over (default %(default)s).")
    add("--npus", default="prema,prema,edge,edge", help="The NPUs (default %(default)s).")
    add("--tasks", type=int, default=32, help="Tasks of an episode (default %(default)s).")
    add("--window", type=float, default=0.2, help="Window of the workload's arrivals (default %(default)s).")
    add("--measure", metavar="NAME", help="What is to become small (default weighted_antt; of a scenario its main measure).")
    add("--name", metavar="NAME", help="Name of the rule that is frozen (default GATE, GATE-DEADLINE or GATE-BASE).")
    add("--evaluations", type=int, default=2000, help="Candidates that are played (default %(default)s).")
    add("--episodes", type=int, default=200, help="Episodes that each candidate plays (default %(default)s).")
    add("--seed", type=int, default=0, help="Seed of the episodes and of the search (default 0).")
    add("--threads", type=int, default=os.cpu_count() or 1, help="Threads that play episodes.")
    add("--output", type=Path, default=TUNED_FILE, help=f"File to write (default {TUNED_FILE.name} beside the registry).")
    options = parser.parse_args(arguments)
    measures = {name: MEASURES[name] for name in EPISODE_MEASURES} if options.scenario is None else STREAM_MEASURES
    if options.measure is None:
        options.measure = "weighted_antt" if options.scenario is None else SCENARIOS[options.scenario].measure
    allowed = [name for name, measure in measures.items() if measure.higher_is_better is False]
    if options.base not in SELECTION_RULES:
        parser.error(f"argument --base: {unknown_name('rule', options.base, SELECTION_RULES)}")
    if options.measure not in allowed:
        parser.error(f"argument --measure: {unknown_name('measure', options.measure, allowed)}")
    return options


def _usual_name(options: argparse.Namespace) -> str:
    if options.base != UNGATED:
        return f"GATE-{options.base}"
    return "GATE" if options.scenario is None else "GATE-DEADLINE"


def _world(options: argparse.Namespace) -> dict[str, Any]:
    """Return what candidates play, as it is frozen with them."""
    if options.scenario is not None:
        return {"scenario": options.scenario}
    return {"npus": options.npus, "num_tasks": options.tasks, "window": options.window}


def _config(options: argparse.Namespace) -> EnvConfig:
    if options.scenario is not None:
        return EnvConfig.coerce(with_scenario({"scenario": options.scenario}))
    return EnvConfig.coerce({"npus": options.npus, "workload": {"num_tasks": options.tasks, "window": options.window}})


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, write the file, say what was found."""
    options, started = parse(arguments), time.monotonic()
    name = options.name or _usual_name(options)
    judge = Judge(_config(options), options.measure, options.episodes, options.seed, options.threads)
    given = sys.argv[1:] if arguments is None else arguments
    origin = {
        "command": shlex.join(["python", "-m", "agents.tune_gate", *given]),
        "split": judge.split,
        "seed": judge.seed,
        "episodes": judge.episodes,
        **_world(options),
    }
    found = tune(judge, options.evaluations, name, options.base, deadlines=options.scenario is not None)
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    write_text(options.output, json.dumps({**known, name: {**origin, **found}}, indent=1) + "\n")
    print(json.dumps(found))
    print(f"{name}: written to {options.output} after {time.monotonic() - started:.0f} s", flush=True)
    return 0
