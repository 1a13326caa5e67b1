"""``python -m agents.rllib``: masked PPO of RLlib on this machine's cores or on a cluster's; it needs the extras ray and rl.

    python -m agents.rllib --minutes 10                           two runners on this machine
    python -m agents.rllib --runners 64 --rows 256 --rollout 262144 --batch 16384 --address auto     on a cluster
    python -m agents.rllib --output results/mine --resume         go on after Ctrl-C or a crash
    python -m agents.evaluate --policy results/rllib/0 --versus PREMA INDEX

The settings are those that the page on learning recommends: CHECKPOINT alone, decisions on arrivals and completions, no discount.
A runner that dies is started again. The run's folder holds the network that was best on "valid" with its card:
``best.safetensors``, or of several NPUs ``best.onnx``.
"""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from agents.commands.command import exit_status
from agents.learning.options import add_options, option_fields
from agents.learning.rllib.options import Options
from baselines.commands.options import PRINTED, add_output, add_reward, add_seed, add_world, env_arguments, give_json, refuse
from baselines.sweeping.on_ray import ADDRESS, connected
from prema_gym.config import EnvConfig
from prema_gym.exits import Parser

STARTING_POINT = {"mechanisms": ("CHECKPOINT",), "decision_every": None, "reward": "weighted_antt"}
"""Of the environment where the command line says nothing else."""


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("python -m agents.rllib", description=__doc__)
    add_world(parser, scenario="Prema-v0")
    add_reward(parser)
    add_seed(parser, what="of episodes and initial weights")
    refuse(parser, {"--episodes": "a run is as long as --minutes says"})
    add_output(parser)
    add_options(parser, Options, "options of the recipe")
    return parser


def _run(given: Sequence[str]) -> None:
    parsed = build_parser().parse_args(given)
    said = {entry.name: getattr(parsed, entry.name) for entry in option_fields(Options) if hasattr(parsed, entry.name)}
    options = Options(**said)
    options.check()
    arguments = {**STARTING_POINT, **env_arguments(parsed)}
    EnvConfig.coerce(arguments)
    quiet = parsed.quiet or parsed.json == PRINTED
    with connected("agents.rllib", options.address or os.environ.get(ADDRESS), max(options.runners, 1)):
        outcome = _train(options, parsed.seed, arguments, shlex.join(["python", "-m", "agents.rllib", *given]), quiet)
    if not give_json(parsed, outcome):
        print(f"{outcome['path']}: weighted ANTT {outcome['valid']:.4f} on valid, PREMA {outcome['prema']:.4f}")


def _train(options: Options, seed: int, arguments: dict[str, Any], command: str, quiet: bool) -> dict[str, Any]:
    """Train on a connected Ray; return what is told of the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Ray's and RLlib's own
        from agents.learning.rllib.recipe import Training

        training = Training(options, seed, arguments, command, (lambda _: None) if quiet else lambda line: print(line, flush=True))
        path = training.run()
    return {"path": str(path), "command": command, "valid": training.progress.best, "prema": training.reference}


def main(given: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    return exit_status(lambda: _run(sys.argv[1:] if given is None else given))
