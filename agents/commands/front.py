"""``python -m agents.front``: a family of learned policies along the front of ANTT against fairness.

    python -m agents.front --generations 40                train 16 policies, each from the one before it
    python -m agents.front --measure --episodes 5000       hypervolume against INDEX-FRONT on "eval", and a picture

Policy k maximises -ln ANTT + b_k ln fairness, b_k rising geometrically: what a unit of fairness is worth. Together they show what a
learned scheduler can reach; INDEX-FRONT, tuned on the same costs, is what an index rule can.
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.commands.command import exit_status
from agents.commands.tune_index import FRONT_POINTS
from agents.learning.cma import Search, opponent_of
from agents.learning.hypervolume import measure, picture
from agents.learning.objective import SCALES, five, named
from agents.learning.rollouts import Rollouts
from agents.learning.run import VALID_SEED, provenance
from agents.network.slotnet import Shape
from agents.publishing.policies import FRONT, LearnedPolicy
from agents.publishing.weights import save_weights
from baselines.evaluation.episodes import play_policy
from prema_gym.config import EnvConfig

WORTH = (0.1, 3.0)
"""Smallest and largest b."""
DECISION_EVERY = 4


def preference(worth: float) -> np.ndarray:
    """Return (5,) weights of the scaled improvements under which -ln ANTT + worth ln fairness is maximised."""
    weights = dict.fromkeys(SCALES, 0.0)
    weights["antt"], weights["fairness"] = SCALES["antt"], worth * SCALES["fairness"]
    return np.array(list(weights.values()))


def train(options: argparse.Namespace) -> None:
    """Train and save the family, the lowest ANTT first."""
    opponent = opponent_of("INDEX")
    shape = Shape(1, 1, 1)
    config = EnvConfig(mechanisms=("CHECKPOINT",), decision_every=DECISION_EVERY)
    rollouts = Rollouts(shape, config, "train", options.threads)
    center = None
    for number, worth in enumerate(np.geomspace(*WORTH, FRONT_POINTS)):
        started = time.monotonic()
        search = Search.begin(shape, opponent, options.seed + number, options.population)
        search.preference = preference(worth)
        if center is not None:
            search.start_from(shape, center)
        for _ in range(options.generations):
            search.advance(rollouts, opponent, options.episodes)
        center = search.center
        member = LearnedPolicy("member", shape, center)
        values = five(play_policy(member, EnvConfig(), options.valid_episodes, VALID_SEED, split="valid", threads=options.threads))
        about = {
            "summary": f"cma on the slot network, for -ln ANTT + {worth:.2f} ln fairness.",
            "command": shlex.join(["python", "-m", "agents.front", *_given(options)]),
            "algorithm": "cma",
            "seed": options.seed + number,
            "worth of fairness": float(worth),
            "training": config.to_dict(),
            "selection": {"split": "valid", "seed": VALID_SEED, "episodes": options.valid_episodes, "results": named(values)},
            **provenance(),
        }
        written = save_weights(options.output / f"LEARNED-FRONT-{number:02}.safetensors", shape, center, about)
        text = "  ".join(f"{name} {value:.4g}" for name, value in named(values).items())
        print(f"{written.stem}: {text}  ({time.monotonic() - started:.0f} s)", flush=True)


def _given(options: argparse.Namespace) -> list[str]:
    names = ("generations", "population", "episodes", "seed")
    return [word for name in names for word in (f"--{name}", str(getattr(options, name)))]


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser("python -m agents.front", description="A family of learned policies along a front.")
    parser.add_argument("--generations", type=int, default=40, help="of CMA-ES for each policy (default 40)")
    parser.add_argument("--population", type=int, default=16, help="candidates of a generation (default 16)")
    parser.add_argument("--episodes", type=int, help="that each candidate plays (default 512; with --measure 5000)")
    parser.add_argument("--seed", type=int, default=1, help="of the search; with --measure of the episodes (default 1)")
    parser.add_argument("--valid-episodes", type=int, default=4000, help="on which each policy is shown (default 4000)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=FRONT, help="folder of the family")
    parser.add_argument("--measure", action="store_true", help="measure the family against INDEX-FRONT instead of training it")
    parser.add_argument("--figure", type=Path, default=None, metavar="PATH", help="with --measure: draw both fronts")
    options = parser.parse_args(given)
    if options.episodes is None:
        options.episodes = 5000 if options.measure else 512
    return options


def _measure(options: argparse.Namespace) -> None:
    measured = measure(options.output, options.episodes, options.seed, threads=options.threads)
    print(measured.text)
    if options.figure is not None:
        picture(measured, options.figure)


def main(given: Sequence[str] | None = None) -> int:
    """Train or measure; return the exit status."""
    options = parse(given)
    return exit_status(lambda: _measure(options) if options.measure else train(options))
