"""``python -m agents.tune_index``: tune the index rule and its front, the opponents that a learned policy must beat.

``INDEX`` maximises the smallest improvement over PREMA (see :mod:`agents.learning.objective`) by CMA-ES over (a, c, log d),
for each mechanism. ``INDEX-FRONT`` are 16 rules along the front of ANTT against fairness, from Sobol points refined twice. Every
candidate plays the same episodes of the split "valid". The outcome is frozen in ``baselines/policies/index.json``, which the
registry reads.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from agents.learning.objective import SCALES, by_measure, dominance, headline_values, improvements
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.measures import HEADLINES
from baselines.policies.heuristic import Heuristic
from baselines.policies.registry import INDEX_FILE, make_policy
from prema_gym.config import EnvConfig

FRONT_POINTS = 16
"""Number of rules in INDEX-FRONT."""
LOW = np.array([0.0, 0.0, np.log(0.05)])
"""Smallest (a, c, log d) that is searched."""
HIGH = np.array([2.5, 1.2, np.log(20.0)])
"""Largest (a, c, log d) that is searched."""
SIMPLE = "INDEX-SIMPLE"
START = np.array([1.0, 0.25, 0.0])
"""(a, c, log d) of INDEX-SIMPLE, from which the search starts."""


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
            return headline_values(play_policy(policy, self.config, self.episodes, self.seed, split=self.split))

        with ThreadPoolExecutor(self.threads) as pool:
            return np.array(list(pool.map(values_of, policies)))


def rule(name: str, point: np.ndarray, mechanism: str) -> Heuristic:
    """Return the index rule at (a, c, log d)."""
    a, c, log_d = (float(value) for value in point)
    return Heuristic(name, "INDEX", mechanism, priority_power=a, length_power=c, wait_weight=float(np.exp(log_d)))


def search(evaluator: Evaluator, mechanism: str, generations: int, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (point, objective) of the best rule that CMA-ES finds; ``target`` is the (H,) headline values to improve on."""
    from cmaes import CMA

    optimizer = CMA(mean=START.copy(), sigma=0.2, bounds=np.column_stack([LOW, HIGH]), seed=evaluator.seed, population_size=8)
    best, best_score = START, -np.inf
    for _ in range(generations):
        points = [optimizer.ask() for _ in range(optimizer.population_size)]
        values = evaluator.values([rule("candidate", point, mechanism) for point in points])
        scores = [dominance(improvements(row, target)) for row in values]
        optimizer.tell([(point, -score) for point, score in zip(points, scores, strict=True)])
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
    points = qmc.scale(qmc.Sobol(3, rng=evaluator.seed).random(size), LOW, HIGH)
    values = evaluator.values([rule("candidate", point, mechanism) for point in points])
    for spread in (0.1, 0.03):
        kept = nondominated(_costs(values))
        parents = points[rng.choice(kept, size // 2)]
        children = np.clip(parents + spread * (HIGH - LOW) * rng.standard_normal(parents.shape), LOW, HIGH)
        points = np.concatenate([points, children])
        values = np.concatenate([values, evaluator.values([rule("candidate", point, mechanism) for point in children])])
    kept = nondominated(_costs(values))
    chosen = kept[spaced(_costs(values[kept]))]
    return points[chosen], values[chosen]


def _entry(policy: Heuristic, values: np.ndarray) -> dict[str, Any]:
    numbers = {key: policy.parameters[key] for key in ("priority_power", "wait_weight", "length_power")}
    return {"mechanism": policy.mechanism, **numbers, "results": by_measure(values)}


def _heuristic(name: str) -> Heuristic:
    policy = make_policy(name)
    assert isinstance(policy, Heuristic)
    return policy


def tune(evaluator: Evaluator, generations: int, front_size: int, mechanisms: Iterable[str]) -> dict[str, Any]:
    """Return the content of the file: INDEX and INDEX-FRONT with their results."""
    target, simple = evaluator.values([_heuristic("PREMA"), _heuristic(SIMPLE)])
    found = {}
    for mechanism in mechanisms:
        point, score = found[mechanism] = search(evaluator, mechanism, generations, target)
        print(
            f"{mechanism}: a {point[0]:.3f} c {point[1]:.3f} d {np.exp(point[2]):.3f}, smallest improvement {score:.3f}", flush=True
        )
    mechanism = max(found, key=lambda name: found[name][1])
    best = rule("INDEX", found[mechanism][0], mechanism)
    values = evaluator.values([best])[0]
    points, front_values = front(evaluator, mechanism, front_size)
    rules = [rule("front", point, mechanism) for point in points]
    return {
        "index": {**_entry(best, values), "improvements_over_PREMA": by_measure(improvements(values, target))},
        "front": [_entry(policy, row) for policy, row in zip(rules, front_values, strict=True)],
        "opponents": {"PREMA": by_measure(target), SIMPLE: by_measure(simple)},
        "objective_by_mechanism": {name: score for name, (_, score) in found.items()},
        "objective_of_simple": dominance(improvements(simple, target)),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser("python -m agents.tune_index", description=__doc__)
    parser.add_argument("--episodes", type=int, default=2000, help="Episodes that each candidate plays (default 2000).")
    parser.add_argument("--generations", type=int, default=20, help="Generations of CMA-ES, of eight candidates each (default 20).")
    parser.add_argument(
        "--front", type=int, default=128, help="Sobol points tried for the front; each refinement tries half as many (default 128)."
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the episodes and of the search (default 0).")
    parser.add_argument(
        "--window", type=float, default=None, help="Window of the workload's arrivals (default: the environment's)."
    )
    parser.add_argument("--mechanisms", nargs="+", default=["CHECKPOINT", "DYNAMIC"], help="Preemption mechanisms that are tried.")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="Threads that play episodes.")
    parser.add_argument(
        "--output", type=Path, default=INDEX_FILE, help=f"File to write (default {INDEX_FILE.name} beside the registry)."
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune, write the file, say what was found."""
    options = parse(arguments)
    config = EnvConfig.coerce({} if options.window is None else {"workload": {"window": options.window}})
    evaluator = Evaluator(config, options.episodes, options.seed, threads=options.threads)
    started = time.monotonic()
    found = tune(evaluator, options.generations, options.front, options.mechanisms)
    given = sys.argv[1:] if arguments is None else arguments
    origin = {
        "command": shlex.join(["python", "-m", "agents.tune_index", *given]),
        "split": evaluator.split,
        "seed": evaluator.seed,
        "episodes": evaluator.episodes,
        "window": config.workload.window,
        "scales": SCALES,
    }
    options.output.write_text(json.dumps({**origin, **found}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["index"], indent=1))
    print(f"{options.output}: written in {time.monotonic() - started:.0f} s")
    return 0
