"""The claim of docs/tracks.md, played: the runs of a learner, of which the first is the named one, against the best tuned rule.

    python benchmarks/claim.py results/train/seed-* --seed N

The rule is chosen on the split "valid"; the contrast is played on 200 streams of "eval" with the seed that is given. What is said
of all runs is bootstrapped over runs and streams.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agents.publishing.policies import policy_from_run
from baselines.evaluation.evaluate import evaluate
from baselines.policies.registry import make_policy
from baselines.studies.headroom import GRIDS, MEASURES, RULES, WORLDS, best_rule, tuned

WORLD = WORLDS["PremaCluster-v0, tardiness"]
DRAWS, TUNING = 10_000, 32


def over_runs_and_streams(differences: np.ndarray, seed: int = 0) -> list[float]:
    """Return the mean of (R, E) differences, and the ends of its 95 % interval, drawn over runs and streams."""
    rng, (runs, streams) = np.random.default_rng(seed), differences.shape
    means = [differences[np.ix_(rng.integers(0, runs, runs), rng.integers(0, streams, streams))].mean() for _ in range(DRAWS)]
    return [float(differences.mean()), *map(float, np.percentile(means, (2.5, 97.5)))]


def claim(folders: list[Path], seed: int, episodes: int, threads: int | None) -> dict[str, Any]:
    """Return what was found, as plain JSON."""

    def report(name: str, count: int) -> None:
        return None

    gates = [tuned(WORLD, name, TUNING, 0, report) for name in GRIDS]
    best, means = best_rule(WORLD, [*map(make_policy, RULES), *gates], episodes, 0, report)
    runs = [policy_from_run(folder) for folder in folders]
    results = evaluate([best, *runs], episodes, seed, threads=threads, **WORLD.arguments)
    named, measure = runs[0].name, WORLD.measure
    rule = results.per_episode(best.name, measure)
    differences = np.array([results.per_episode(run.name, measure) - rule for run in runs])
    gaps = {run.name: {each: results.difference(run.name, best.name, each).to_dict() for each in MEASURES} for run in runs}
    return {
        "seed": seed,
        "episodes": episodes,
        "valid": means,
        "tuned": {rule.name: dict(rule.parameters) for rule in gates},
        "best": best.name,
        "named": named,
        "policies": {
            name: {each: results.estimate(name, each).to_dict() for each in MEASURES} for name in results.policies
        },
        "contrast": gaps[named][measure],
        "runs": gaps,
        "runs that are better": sum(gap[measure]["better"] for gap in gaps.values()),
        "over runs and streams": over_runs_and_streams(differences),
    }  # fmt: skip


def main() -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of the runs, the named one first")
    parser.add_argument("--seed", type=int, required=True, help='of the streams of "eval"')
    parser.add_argument("--episodes", type=int, default=200, help="streams (default 200)")
    parser.add_argument("--threads", type=int, help="default: one per core")
    options = parser.parse_args()
    print(json.dumps(claim(options.runs, options.seed, options.episodes, options.threads), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
