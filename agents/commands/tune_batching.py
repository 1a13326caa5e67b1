"""``python -m agents.tune_batching``: tune TIMEOUT and BATCH-INDEX, the rules for requests that run together.

TIMEOUT's delay is the best of a grid. BATCH-INDEX has a delay and a size for each network, and CMA-ES searches them together with
the exponent of the batch's remaining time. Both are tuned as servers play them, whole batches that nothing interrupts (TIMEOUT,
NP-BATCH-INDEX), and with preemption (P-TIMEOUT, BATCH-INDEX). What is to become small is the geometric mean of one measure over the
stated loads: a rule that is good at one load only is of little use. Every candidate plays the same episodes of the split "train".

The outcome is frozen in ``baselines/policies/tuned.json``, which the registry reads; what else is there stays.
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
from typing import Any

import numpy as np

from agents.commands.tune_gate import Judge, search
from baselines.evaluation.streams import STREAM_MEASURES
from baselines.policies.batch_index import BatchIndex
from baselines.policies.heuristic import Heuristic
from baselines.policies.policy import Policy
from baselines.policies.registry import TUNED_FILE, make_policy
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import SCENARIOS, with_scenario
from prema_gym.errors import unknown_name
from prema_gym.exits import Parser
from prema_gym.files import write_text

DELAYS_MS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""TIMEOUT's grid."""
SHORTEST_MS, LONGEST_MS = 0.05, 8.0
"""BATCH-INDEX's delays; at the shortest, which is below any quantum, a network doesn't wait."""


@dataclass(frozen=True)
class Loads:
    """Judges candidates at several loads, all on the same episodes."""

    judges: tuple[Judge, ...]
    threads: int

    @property
    def seed(self) -> int:
        """Of the search."""
        return self.judges[0].seed

    def mean(self, policy: Policy) -> float:
        """Return the geometric mean of the measure over the loads."""
        return float(np.exp(np.mean([np.log(judge.mean(policy)) for judge in self.judges])))

    def means(self, policies: Sequence[Policy]) -> list[float]:
        """Return the geometric means, in the order of ``policies``."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.mean, policies))


@dataclass(frozen=True)
class BatchSpace:
    """What CMA-ES searches: the exponent, and for each network the logarithm of its delay and its size."""

    networks: tuple[str, ...]
    most_samples: int
    mechanism: str
    population: int = 16

    @property
    def start(self) -> np.ndarray:
        """DENSITY: one sample is enough, so that nobody waits."""
        return np.array([1.0, *([np.log(0.5), 1.0] * len(self.networks))])

    @property
    def low(self) -> np.ndarray:
        """Smallest values."""
        return np.array([0.0, *([np.log(SHORTEST_MS), 1.0] * len(self.networks))])

    @property
    def high(self) -> np.ndarray:
        """Largest values."""
        return np.array([2.0, *([np.log(LONGEST_MS), float(self.most_samples)] * len(self.networks))])

    @property
    def scales(self) -> np.ndarray:
        """What counts as one unit in the first steps of the search."""
        return np.array([0.5, *([1.5, self.most_samples / 4] * len(self.networks))])

    def rule(self, name: str, point: np.ndarray, mechanism: str) -> BatchIndex:
        """Return the rule at a point, which is played by the mechanism of the space."""
        waits = point[1:].reshape(-1, 2)
        networks = {
            network: (float(np.exp(log_delay)), float(size))
            for network, (log_delay, size) in zip(self.networks, waits, strict=True)
        }
        return BatchIndex(name, self.mechanism, networks, length_power=float(point[0]))


def best_delay(loads: Loads, name: str, mechanism: str) -> tuple[Heuristic, float, int]:
    """Return TIMEOUT of the best delay of the grid, its mean, and how many were played."""
    rules = [Heuristic(name, "TIMEOUT", mechanism, delay_ms=delay) for delay in DELAYS_MS]
    means = loads.means(rules)
    best = int(np.argmin(means))
    return rules[best], means[best], len(rules)


def _frozen(rule: Heuristic, measure: str, mean: float) -> dict[str, Any]:
    entry = {"selection": rule.selection, "mechanism": rule.mechanism, "parameters": dict(rule.parameters)}
    if isinstance(rule, BatchIndex):
        entry["networks"] = {network: list(wait) for network, wait in rule.networks.items()}
    return {**entry, "results": {measure: mean}}


def _no_worse_plainer(
    loads: Loads, space: BatchSpace, name: str, rule: Heuristic, mean: float, played: int
) -> tuple[Heuristic, float, int]:
    """Return ``rule`` with its mean, or a plainer one that is no worse: without waiting at its exponent, or DENSITY itself."""
    plainer = [BatchIndex(name, space.mechanism, {}, length_power=float(power)) for power in (rule.parameters["length_power"], 1.0)]
    for other in plainer:
        reached = loads.mean(other)
        if reached <= mean:
            rule, mean = other, reached
    return rule, mean, played + len(plainer)


def tune(loads: Loads, measure: str, networks: Sequence[str], most_samples: int, evaluations: int) -> dict[str, Any]:
    """Return what is frozen: the rules with their results, and those of DENSITY without and with preemption."""
    found, played = {}, {}
    for mechanism, name in (("NONE", "TIMEOUT"), ("CHECKPOINT", "P-TIMEOUT")):
        rule, mean, played[name] = best_delay(loads, name, mechanism)
        found[name] = _frozen(rule, measure, mean)
    for mechanism, name in (("NONE", "NP-BATCH-INDEX"), ("CHECKPOINT", "BATCH-INDEX")):
        space = BatchSpace(tuple(networks), most_samples, mechanism)
        found_by_search = search(loads, space, evaluations, name)
        rule, mean, played[name] = _no_worse_plainer(loads, space, name, *found_by_search)
        found[name] = _frozen(rule, measure, mean)
        print(f"{name}: {mean:.4f} after {played[name]} candidates", flush=True)
    opponents = {name: {measure: loads.mean(make_policy(name))} for name in ("NP-DENSITY", "DENSITY")}
    return {"evaluations": played, "rules": found, "opponents": opponents}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser("python -m agents.tune_batching", description=__doc__)
    add = parser.add_argument
    streams = [name for name, scenario in SCENARIOS.items() if scenario.arguments]
    add("--scenario", choices=streams, default="PremaBatch-v0", metavar="NAME", help="Where (default %(default)s).")
    add("--loads", default="0.8,1.5,2.5", help="Utilisations, separated by commas (default %(default)s).")
    add("--measure", metavar="NAME", help="What is to become small (default: the scenario's main measure).")
    add("--evaluations", type=int, default=2000, help="Candidates that CMA-ES plays in each of two searches (default %(default)s).")
    add("--episodes", type=int, default=60, help="Episodes that each candidate plays at each load (default %(default)s).")
    add("--seed", type=int, default=0, help="Seed of the episodes and of the search (default 0).")
    add("--threads", type=int, default=os.cpu_count() or 1, help="Threads that play episodes.")
    add("--output", type=Path, default=TUNED_FILE, help=f"File to write (default {TUNED_FILE.name} beside the registry).")
    options = parser.parse_args(arguments)
    options.measure = options.measure or SCENARIOS[options.scenario].measure
    allowed = [name for name, measure in STREAM_MEASURES.items() if measure.higher_is_better is False]
    if options.measure not in allowed:
        parser.error(f"argument --measure: {unknown_name('measure', options.measure, allowed)}")
    try:
        options.loads = [float(load) for load in options.loads.split(",")]
    except ValueError:
        parser.error(f"argument --loads: {options.loads!r} must be numbers separated by commas")
    return options


def _config(scenario: str, load: float) -> EnvConfig:
    return EnvConfig.coerce(with_scenario({"scenario": scenario, "workload": {"arrivals": {"utilisation": load}}}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, write the file, say what was found."""
    options, started = parse(arguments), time.monotonic()
    configs = [_config(options.scenario, load) for load in options.loads]
    judges = tuple(Judge(config, options.measure, options.episodes, options.seed) for config in configs)
    networks = list(dict.fromkeys(model for model, _ in configs[0].workload.networks))
    given = sys.argv[1:] if arguments is None else arguments
    origin = {
        "command": shlex.join(["python", "-m", "agents.tune_batching", *given]),
        "split": judges[0].split,
        "seed": options.seed,
        "episodes": options.episodes,
        "scenario": options.scenario,
        "loads": options.loads,
    }
    found = tune(Loads(judges, options.threads), options.measure, networks, configs[0].batching, options.evaluations)
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    write_text(options.output, json.dumps({**known, "BATCHING": {**origin, **found}}, indent=1) + "\n")
    print(json.dumps(found))
    print(f"written to {options.output} after {time.monotonic() - started:.0f} s", flush=True)
    return 0
