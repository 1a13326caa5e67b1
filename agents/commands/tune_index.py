"""``python -m agents.tune_index``: tune the index rules, the opponents that a learned policy must beat.

``INDEX`` maximises the smallest improvement over PREMA (see :mod:`agents.learning.objective`) by CMA-ES over (a, c, log d),
for each mechanism. ``INDEX-FRONT`` are 16 rules along the front of ANTT against fairness, from Sobol points refined twice.
``CAP-INDEX`` is INDEX under the cap on progress per priority that learned policies have: the same objective, over ten parameters,
from INDEX. Every candidate plays the same episodes of the split "valid" and is asked at every quantum. The outcome is frozen in
``baselines/policies/tuned.json``, which the registry reads; with ``--only``, what is not tuned stays as it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from agents.learning.index_rule import index_prior, index_rule
from agents.learning.objective import SCALES, by_measure, dominance, headline_values, improvements
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.measures import HEADLINES
from baselines.policies.heuristic import Heuristic
from baselines.policies.needs import config_for
from baselines.policies.registry import TUNED_FILE, make_policy, rules_of
from prema_gym.config import EnvConfig
from prema_gym.exits import Parser
from prema_gym.files import write_text

PARTS = ("INDEX", "INDEX-FRONT", "CAP-INDEX")
"""What is tuned, in this order: the later ones build on INDEX."""
FRONT_POINTS = 16
"""Number of rules in INDEX-FRONT."""
SIMPLE = "INDEX-SIMPLE"


@dataclass(frozen=True)
class Space:
    """What is searched: the parameters of a selection rule, one coordinate each."""

    selection: str
    names: tuple[str, ...]
    start: np.ndarray
    low: np.ndarray
    high: np.ndarray
    scales: np.ndarray
    """What counts as one unit of each coordinate, for the search's first steps."""
    generations: int
    population: int
    """Candidates per generation."""

    @classmethod
    def of(
        cls, selection: str, coordinates: Mapping[str, tuple[float, float, float, float]], generations: int, population: int
    ) -> Space:
        """Return the space of ``coordinates``: start, smallest, largest and scale by name."""
        start, low, high, scales = np.array(list(coordinates.values())).T
        return cls(selection, tuple(coordinates), start, low, high, scales, generations, population)

    def rule(self, name: str, point: np.ndarray, mechanism: str) -> Heuristic:
        """Return the rule at a point; ``log_X`` is the logarithm of the parameter X."""
        parameters: dict[str, Any] = {
            key.removeprefix("log_"): float(np.exp(value)) if key.startswith("log_") else float(value)
            for key, value in zip(self.names, point, strict=True)
        }
        return Heuristic(name, self.selection, mechanism, **parameters)


_PLAIN = {
    "priority_power": (1.0, 0.0, 2.5, 1.0),
    "length_power": (0.25, 0.0, 1.2, 1.0),
    "log_wait_weight": (0.0, np.log(0.05), np.log(20.0), 1.0),
}
_CAP = {
    "floor": (-3.0, -8.0, 0.0, 2.0),
    "room": (0.5, 0.0, 4.0, 1.0),
    "near": (0.3, 0.0, 3.0, 1.0),
    "above_weight": (3.0, 0.0, 20.0, 4.0),
    "held_weight": (0.5, -2.0, 8.0, 1.0),
    "held_length_power": (0.3, -0.5, 3.0, 1.0),
    "lagging_weight": (0.1, 0.0, 5.0, 0.5),
}
INDEX = Space.of("INDEX", _PLAIN, generations=20, population=8)
"""Starts from INDEX-SIMPLE."""
CAP_INDEX = Space.of("CAP-INDEX", _PLAIN | _CAP, generations=40, population=12)
"""Starts from where the slot network starts with ``held`` (:mod:`agents.network.slots.layout`), a, c and d from INDEX."""


@dataclass(frozen=True)
class Evaluator:
    """Evaluates candidates, all on the same episodes."""

    config: EnvConfig
    episodes: int
    seed: int
    split: str = "valid"
    threads: int = 1

    def values(self, policies: Sequence[Heuristic]) -> np.ndarray:
        """Return the (len(policies), H) headline measures of ``policies``, each played on the same episodes."""

        def values_of(policy: Heuristic) -> np.ndarray:
            return headline_values(
                play_policy(policy, config_for(policy, self.config, {}), self.episodes, self.seed, split=self.split)
            )

        with ThreadPoolExecutor(self.threads) as pool:
            return np.array(list(pool.map(values_of, policies)))


def search(evaluator: Evaluator, space: Space, mechanism: str, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (point, objective) of the best rule that CMA-ES finds; ``target`` is the (H,) headline values to improve on."""
    from cmaes import CMA

    bounds = np.column_stack([space.low, space.high]) / space.scales[:, None]
    optimizer = CMA(
        mean=space.start / space.scales, sigma=0.2, bounds=bounds, seed=evaluator.seed, population_size=space.population
    )
    best, best_score = space.start, -np.inf
    for _ in range(space.generations):
        asked = [optimizer.ask() for _ in range(space.population)]
        points = [point * space.scales for point in asked]
        values = evaluator.values([space.rule("candidate", point, mechanism) for point in points])
        scores = [dominance(improvements(row, target)) for row in values]
        optimizer.tell([(point, -score) for point, score in zip(asked, scores, strict=True)])
        leader = int(np.argmax(scores))
        if scores[leader] > best_score:
            best, best_score = points[leader], scores[leader]
    return best, best_score


def nondominated(costs: np.ndarray) -> np.ndarray:
    """Return the indices of the rows of ``costs`` (K, 2) that no other row beats in both, by the first cost."""
    order = np.lexsort((costs[:, 1], costs[:, 0]))
    kept, least = [], np.inf
    for index in order:
        if costs[index, 1] < least:
            kept.append(index)
            least = costs[index, 1]
    return np.array(kept)


def _costs(values: np.ndarray) -> np.ndarray:
    """Return (K, 2): log ANTT and minus log fairness."""
    antt, fairness = (values[:, HEADLINES.index(name)] for name in ("antt", "fairness"))
    return np.column_stack([np.log(antt), -np.log(fairness)])


def spaced(costs: np.ndarray, number: int = FRONT_POINTS) -> np.ndarray:
    """Return ``number`` indices (or all, if there are fewer) of a front ``costs`` (K, 2), evenly along it, both ends included."""
    if len(costs) <= number:
        return np.arange(len(costs))
    steps = np.hypot(*np.diff(costs / np.ptp(costs, axis=0), axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    free = list(range(len(along)))
    chosen = [free.pop(int(np.argmin(np.abs(along[free] - goal)))) for goal in np.linspace(0.0, along[-1], number)]
    return np.array(sorted(chosen))


def front(evaluator: Evaluator, mechanism: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (points, values) of the FRONT_POINTS rules along the front of ANTT and fairness, best ANTT first."""
    rng = np.random.default_rng(evaluator.seed)
    low, high = INDEX.low, INDEX.high
    points = qmc.scale(qmc.Sobol(3, rng=evaluator.seed).random(size), low, high)
    values = evaluator.values([INDEX.rule("candidate", point, mechanism) for point in points])
    for spread in (0.1, 0.03):
        kept = nondominated(_costs(values))
        parents = points[rng.choice(kept, size // 2)]
        children = np.clip(parents + spread * (high - low) * rng.standard_normal(parents.shape), low, high)
        points = np.concatenate([points, children])
        values = np.concatenate([values, evaluator.values([INDEX.rule("candidate", point, mechanism) for point in children])])
    kept = nondominated(_costs(values))
    chosen = kept[spaced(_costs(values[kept]))]
    return points[chosen], values[chosen]


def _entry(policy: Heuristic, values: np.ndarray) -> dict[str, Any]:
    return {
        "selection": policy.selection,
        "mechanism": policy.mechanism,
        "parameters": dict(policy.parameters),
        "results": by_measure(values),
    }


def _heuristic(name: str) -> Heuristic:
    policy = make_policy(name)
    assert isinstance(policy, Heuristic)
    return policy


def tune_best(evaluator: Evaluator, space: Space, mechanisms: Sequence[str]) -> dict[str, Any]:
    """Return the best rule of a space over ``mechanisms``, named as its selection rule is, beside its opponents."""
    target, simple = evaluator.values([_heuristic("PREMA"), _heuristic(SIMPLE)])
    found = {mechanism: search(evaluator, space, mechanism, target) for mechanism in mechanisms}
    mechanism = max(found, key=lambda name: found[name][1])
    best = space.rule(space.selection, found[mechanism][0], mechanism)
    values = evaluator.values([best])[0]
    return {
        "rules": {best.name: _entry(best, values)},
        "improvements_over_PREMA": by_measure(improvements(values, target)),
        "opponents": {"PREMA": by_measure(target), SIMPLE: by_measure(simple)},
        "objective_by_mechanism": {name: score for name, (_, score) in found.items()},
        "objective_of_simple": dominance(improvements(simple, target)),
    }


def tune_front(evaluator: Evaluator, size: int, mechanism: str) -> dict[str, Any]:
    """Return INDEX-FRONT-00, -01, ..., best ANTT first."""
    points, values = front(evaluator, mechanism, size)
    rules = [INDEX.rule(f"INDEX-FRONT-{number:02}", point, mechanism) for number, point in enumerate(points)]
    return {"rules": {policy.name: _entry(policy, row) for policy, row in zip(rules, values, strict=True)}}


def tune(evaluator: Evaluator, part: str, options: argparse.Namespace, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is found for a part, one of PARTS; ``known`` holds the parts that were found before."""
    if part == "INDEX":
        return tune_best(evaluator, replace(INDEX, generations=options.generations), options.mechanisms)
    index = rules_of(known["INDEX"])[0] if "INDEX" in known else index_rule("INDEX")
    if part == "INDEX-FRONT":
        return tune_front(evaluator, options.front, index.mechanism)
    start = CAP_INDEX.start.copy()
    start[:3] = np.clip(index_prior(index), INDEX.low, INDEX.high)
    return tune_best(evaluator, replace(CAP_INDEX, start=start, generations=options.cap_generations), [index.mechanism])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser("python -m agents.tune_index", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=f"Of {', '.join(PARTS)}, tune these only.")
    add("--episodes", type=int, default=2000, help="Episodes that each candidate plays (default 2000).")
    add("--generations", type=int, default=20, help="Generations of CMA-ES for INDEX, of eight candidates each (default 20).")
    add(
        "--front", type=int, default=128, help="Sobol points tried for the front; each refinement tries half as many (default 128)."
    )
    add("--cap-generations", type=int, default=CAP_INDEX.generations,
        help="Generations of CMA-ES for CAP-INDEX, of twelve candidates each (default %(default)s).")  # fmt: skip
    add("--seed", type=int, default=0, help="Seed of the episodes and of the search (default 0).")
    add("--window", type=float, default=None, help="Window of the workload's arrivals (default: the environment's).")
    add("--mechanisms", nargs="+", default=["CHECKPOINT", "DYNAMIC"], help="Preemption mechanisms that are tried for INDEX.")
    add("--threads", type=int, default=os.cpu_count() or 1, help="Threads that play episodes.")
    add("--output", type=Path, default=TUNED_FILE, help=f"File to write (default {TUNED_FILE.name} beside the registry).")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, write the file after every part, say what was found."""
    options = parse(arguments)
    workload = {} if options.window is None else {"workload": {"window": options.window}}
    config = EnvConfig.coerce({"decision_every": 1, **workload})
    evaluator = Evaluator(config, options.episodes, options.seed, threads=options.threads)
    given = sys.argv[1:] if arguments is None else arguments
    origin = {
        "command": shlex.join(["python", "-m", "agents.tune_index", *given]),
        "split": evaluator.split,
        "seed": evaluator.seed,
        "episodes": evaluator.episodes,
        "window": config.workload.window,
        "scales": SCALES,
    }
    known = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    for part in (name for name in PARTS if name in options.only):
        started = time.monotonic()
        known[part] = {**origin, **tune(evaluator, part, options, known)}
        kept = {name: known[name] for name in dict.fromkeys([*PARTS, *known]) if name in known}
        write_text(options.output, json.dumps(kept, indent=1) + "\n")
        print(json.dumps({key: known[part].get(key) for key in ("improvements_over_PREMA", "objective_by_mechanism")}))
        print(f"{part}: written to {options.output} after {time.monotonic() - started:.0f} s", flush=True)
    return 0
