"""Compile ahead what a first step, a first comparison and a first picture would wait for: ``prema-gym warmup``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from baselines.commands.compare import default_policies
from baselines.evaluation.evaluate import evaluate
from prema_gym._jit.cache import cache_dir
from prema_gym.checks import one_of
from prema_gym.config import EnvConfig
from prema_gym.errors import UsageError
from prema_gym.exits import Parser, guarded

EPILOG = """\
examples:
  prema-gym warmup                      one NPU: environment, vector environment, every policy
  prema-gym warmup one several streams  several NPUs and streams as well"""

WORLDS: dict[str, dict[str, Any]] = {
    "one": {},
    "several": {"npus": ["prema", "prema"]},
    "streams": {"horizon_requests": 16, "workload": {"arrivals": {"process": "poisson", "utilisation": 0.7}}},
}
"""What differs in the machine code: the environment's arguments by the world's name."""


def step_once(arguments: dict[str, Any]) -> None:
    """Make an environment and take its first step."""
    env = gym.make("Prema-v0", **arguments)
    _, info = env.reset(seed=0)
    env.step(int(np.flatnonzero(info["action_mask"])[0]))
    env.close()


def step_rows(arguments: dict[str, Any]) -> None:
    """The same for the vector environment."""
    envs = gym.make_vec("Prema-v0", num_envs=2, **arguments)
    _, info = envs.reset(seed=0)
    envs.step(info["action_mask"].argmax(axis=1))
    envs.close()


def compare_all(arguments: dict[str, Any]) -> None:
    """Play an episode under every policy of the default comparison."""
    evaluate(default_policies(EnvConfig.coerce(arguments)), episodes=2, seed=1, **arguments)


PARTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "the environment": step_once,
    "the vector environment": step_rows,
    "every policy": compare_all,
}
"""What is compiled, by what a user would call it, in the order in which most users need it."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="prema-gym warmup",
        description="Compile ahead what a first step or a first comparison would wait for.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "worlds", nargs="*", default=["one"], metavar="WORLD", help=f"what to compile for: {', '.join(WORLDS)} (default one)"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing of what is being compiled")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Compile, and say what took how long; return the exit code."""
    chosen = build_parser().parse_args(arguments)
    return guarded(lambda: warm_up(chosen.worlds, chosen.quiet))


def warm_up(worlds: Sequence[str], quiet: bool) -> None:
    """Compile for ``worlds``; raises :class:`UsageError`, before anything is compiled, for an unknown one."""
    for world in worlds:
        one_of("world", world, WORLDS, error=UsageError)
    for world in worlds:
        for name, compile_part in PARTS.items():
            begin = time.perf_counter()
            compile_part(WORLDS[world])
            if not quiet:
                print(f"{world}: {name} {time.perf_counter() - begin:.1f} s", flush=True)
    if not quiet:
        print(f"kept in {cache_dir()}")
