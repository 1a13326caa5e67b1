"""``python -m agents.tune_gate``: tune GATE, the rule for unlike NPUs.

CMA-ES searches the gate's parameters, over WSRPT, for the smallest mean of one measure on the stated NPUs. Every candidate plays
the same episodes of the split "train". The outcome is frozen as GATE in ``baselines/policies/tuned.json``, which the registry
reads; what else is there stays.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.commands.tune_index import Space
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.measures import EPISODE_MEASURES, MEASURES, episode_values
from baselines.policies.heuristic import Heuristic
from baselines.policies.needs import config_for
from baselines.policies.policy import Policy
from baselines.policies.registry import TUNED_FILE, make_policy
from prema_gym.config import EnvConfig
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
UNGATED = "WSRPT"


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
        return float(episode_values(played)[:, EPISODE_MEASURES.index(self.measure)].mean())

    def means(self, policies: Sequence[Policy]) -> list[float]:
        """Return the means of the measure, in the order of ``policies``."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.mean, policies))


def _start(space: Space, judge: Judge, run: int) -> CMA:
    """Return the optimizer of a start: the first from the space's start, later ones from anywhere, with more candidates at once."""
    from cmaes import CMA

    bounds = np.column_stack([space.low, space.high]) / space.scales[:, None]
    anywhere = np.random.default_rng((judge.seed, run)).uniform(bounds[:, 0], bounds[:, 1])
    mean = space.start / space.scales if run == 0 else anywhere
    return CMA(mean=mean, sigma=0.3, bounds=bounds, seed=judge.seed + run, population_size=space.population << min(run, 2))


def search(judge: Judge, space: Space, evaluations: int) -> tuple[Heuristic, float, int]:
    """Return the best rule, its mean, and how many candidates were played; once converged, CMA-ES starts anew elsewhere."""
    run, played = 0, 0
    optimizer = _start(space, judge, run)
    best, least = space.rule("GATE", space.start, "CHECKPOINT"), np.inf
    while played < evaluations:
        if optimizer.should_stop():
            run += 1
            optimizer = _start(space, judge, run)
        asked = [optimizer.ask() for _ in range(optimizer.population_size)]
        rules = [space.rule("GATE", point * space.scales, "CHECKPOINT") for point in asked]
        costs = judge.means(rules)
        optimizer.tell(list(zip(asked, costs, strict=True)))
        played += len(costs)
        leader = int(np.argmin(costs))
        if costs[leader] < least:
            best, least = rules[leader], costs[leader]
    return best, least, played


def tune(judge: Judge, evaluations: int) -> dict[str, Any]:
    """Return what is frozen: the rule, its results, and those of the rule without a gate."""
    ungated = judge.mean(make_policy(UNGATED))
    best, mean, played = search(judge, GATE, evaluations)
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
        "opponents": {UNGATED: {judge.measure: ungated}},
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser("python -m agents.tune_gate", description=__doc__)
    add = parser.add_argument
    add("--npus", default="prema,prema,edge,edge", help="The NPUs (default %(default)s).")
    add("--tasks", type=int, default=32, help="Tasks of an episode (default %(default)s).")
    add("--window", type=float, default=0.2, help="Window of the workload's arrivals (default %(default)s).")
    add("--measure", choices=[name for name in EPISODE_MEASURES if MEASURES[name].higher_is_better is False], metavar="NAME",
        default="weighted_antt", help="What is to become small (default %(default)s).")  # fmt: skip
    add("--evaluations", type=int, default=2000, help="Candidates that are played (default %(default)s).")
    add("--episodes", type=int, default=200, help="Episodes that each candidate plays (default %(default)s).")
    add("--seed", type=int, default=0, help="Seed of the episodes and of the search (default 0).")
    add("--threads", type=int, default=os.cpu_count() or 1, help="Threads that play episodes.")
    add("--output", type=Path, default=TUNED_FILE, help=f"File to write (default {TUNED_FILE.name} beside the registry).")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, write the file, say what was found."""
    options, started = parse(arguments), time.monotonic()
    config = EnvConfig.coerce({"npus": options.npus, "workload": {"num_tasks": options.tasks, "window": options.window}})
    judge = Judge(config, options.measure, options.episodes, options.seed, options.threads)
    given = sys.argv[1:] if arguments is None else arguments
    origin = {
        "command": shlex.join(["python", "-m", "agents.tune_gate", *given]),
        "split": judge.split,
        "seed": judge.seed,
        "episodes": judge.episodes,
        "npus": options.npus,
        "num_tasks": options.tasks,
        "window": options.window,
    }
    found = tune(judge, options.evaluations)
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    write_text(options.output, json.dumps({**known, "GATE": {**origin, **found}}, indent=1) + "\n")
    print(json.dumps(found))
    print(f"GATE: written to {options.output} after {time.monotonic() - started:.0f} s", flush=True)
    return 0
