"""``python -m agents.front``: a family of learned policies along the front of ANTT against fairness.

    python -m agents.front --generations 40                train 16 policies, each from the one before it
    python -m agents.front --measure --episodes 5000       hypervolume against INDEX-FRONT on "eval", and a picture

Policy k maximises -ln ANTT + b_k ln fairness. The weight b_k of fairness rises geometrically from policy to policy. Together they
show what a learned scheduler can reach; INDEX-FRONT, tuned on the same costs, shows what an index rule can.
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.commands import pictures
from agents.commands.command import exit_status
from agents.commands.tune_index import FRONT_POINTS
from agents.learning.algorithms.cma import Search
from agents.learning.hypervolume import compare_fronts
from agents.learning.index_rule import index_rule
from agents.learning.objective import SCALES, by_measure, headline_values
from agents.learning.selection import SELECTION_SEED, SELECTION_SPLIT
from agents.network.slots.layout import Shape
from agents.network.slots.rollouts import Rollouts
from agents.publishing.policies import FRONT, LearnedPolicy
from agents.publishing.provenance import provenance
from agents.publishing.weights import save_weights
from baselines.evaluation.episodes import play_policy
from baselines.policies.needs import config_for
from prema_gym.config import EnvConfig
from prema_gym.exits import Parser

FAIRNESS_WEIGHTS = (0.1, 3.0)
"""Smallest and largest b."""
DECISION_EVERY = 4
"""Quanta between decisions in training."""


def front_weights(fairness_weight: float) -> np.ndarray:
    """Return (H,) weights of the improvements under which -ln ANTT + fairness_weight * ln fairness is maximised."""
    weights = dict.fromkeys(SCALES, 0.0)
    weights["antt"], weights["fairness"] = SCALES["antt"], fairness_weight * SCALES["fairness"]
    return np.array(list(weights.values()))


def train_family(options: argparse.Namespace) -> None:
    """Train and save the family, the lowest ANTT first."""
    opponent = index_rule("INDEX")
    shape = Shape(1, 1, 1)
    config = EnvConfig(mechanisms=("CHECKPOINT",), decision_every=DECISION_EVERY)
    rollouts = Rollouts(shape, config, "train", options.threads)
    weights = None
    for number, fairness_weight in enumerate(np.geomspace(*FAIRNESS_WEIGHTS, FRONT_POINTS)):
        started = time.monotonic()
        search = Search.begin(shape, opponent, options.seed + number, options.population)
        search.fixed_weights = front_weights(fairness_weight)
        if weights is not None:
            search.start_from(shape, weights)
        for _ in range(options.generations):
            search.advance(rollouts, opponent, options.episodes)
        weights = search.mean_weights
        policy = LearnedPolicy("member", shape, weights)
        selection = (options.valid_episodes, SELECTION_SEED)
        played = play_policy(
            policy, config_for(policy, EnvConfig(), {}), *selection, split=SELECTION_SPLIT, threads=options.threads
        )
        values = headline_values(played)
        about = {
            "summary": f"cma on the slot network, for -ln ANTT + {fairness_weight:.2f} ln fairness.",
            "command": shlex.join(["python", "-m", "agents.front", *_given(options)]),
            "algorithm": "cma",
            "seed": options.seed + number,
            "worth of fairness": float(fairness_weight),
            "training": config.to_dict(),
            "selection": {
                "split": SELECTION_SPLIT,
                "seed": SELECTION_SEED,
                "episodes": options.valid_episodes,
                "results": by_measure(values),
            },
            **provenance(),
        }
        written = save_weights(options.output / f"LEARNED-FRONT-{number:02}.safetensors", shape, weights, about)
        text = "  ".join(f"{name} {value:.4g}" for name, value in by_measure(values).items())
        print(f"{written.stem}: {text}  ({time.monotonic() - started:.0f} s)", flush=True)


def _given(options: argparse.Namespace) -> list[str]:
    """Return the options that change the family as words of a command line."""
    names = ("generations", "population", "episodes", "seed")
    return [word for name in names for word in (f"--{name}", str(getattr(options, name)))]


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser("python -m agents.front", description="A family of learned policies along a front.")
    parser.add_argument("--generations", type=int, default=40, help="Generations of CMA-ES for each policy (default 40).")
    parser.add_argument("--population", type=int, default=16, help="Candidates of each generation (default 16).")
    parser.add_argument("--episodes", type=int, help="Episodes that each candidate plays (default 512; with --measure 5000).")
    parser.add_argument("--seed", type=int, default=1, help="Seed of the search; with --measure, of the episodes (default 1).")
    parser.add_argument(
        "--valid-episodes",
        type=int,
        default=4000,
        help="Episodes of the split 'valid' on which each policy is shown (default 4000).",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="Threads that play episodes.")
    parser.add_argument("--output", type=Path, default=FRONT, help="Folder of the family (default: that of the published one).")
    parser.add_argument("--measure", action="store_true", help="Compare the family with INDEX-FRONT instead of training it.")
    parser.add_argument("--figure", type=Path, default=None, metavar="PATH", help="With --measure, draw both fronts there.")
    options = parser.parse_args(given)
    if options.episodes is None:
        options.episodes = 5000 if options.measure else 512
    return options


def _measure(options: argparse.Namespace) -> None:
    compared = compare_fronts(options.output, options.episodes, options.seed, threads=options.threads)
    print(compared.text)
    if options.figure is not None:
        pictures.fronts(compared, options.figure)


def main(given: Sequence[str] | None = None) -> int:
    """Train or measure; return the exit status."""
    options = parse(given)
    return exit_status(lambda: _measure(options) if options.measure else train_family(options))
