"""The options that say what is played: the same in every command that plays."""

from __future__ import annotations

import argparse
from typing import Any

from prema_gym.config import MECHANISMS, MODEL_NAMES, NPUConfig, WorkloadConfig
from prema_gym.config.scenarios import SCENARIOS

_DEFAULTS = WorkloadConfig()


def add_world(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which NPUs, requests and decisions; :func:`env_arguments` reads them."""
    add = parser.add_argument
    add("--scenario", default=None, metavar="NAME",
        help=f"{', '.join(SCENARIOS)}; other options take the place of what it says (default Prema-v0)")  # fmt: skip
    add("--utilisation", type=float, default=None, metavar="X", help="of a stream: work that arrives over what the NPUs can do")
    add("--window", type=float, default=None, metavar="X",
        help="arrivals spread over X times the sum of isolated times, however many NPUs there are; smaller is busier "
        f"(default {_DEFAULTS.window})")  # fmt: skip
    add("--tasks", type=int, default=None, metavar="N", help=f"tasks per episode (default {_DEFAULTS.num_tasks})")
    add("--npu", default=None, metavar="NAME", help=f"hardware preset: {', '.join(NPUConfig.PRESETS)} (default prema)")
    add("--npus", default=None, metavar="NAMES", help="several NPUs behind one context table, as in prema,prema,edge")
    add(
        "--models",
        nargs="+",
        default=None,
        metavar="NAME",
        help=f"networks: {', '.join(MODEL_NAMES)} (default all)",
    )
    add("--batches", nargs="+", type=int, default=None, metavar="B", help="batch sizes (default 1 4 16)")
    add("--mechanisms", nargs="+", default=None, metavar="NAME",
        help=f"ways to evict that are allowed: {', '.join(MECHANISMS)} (default: those that each policy plays)")  # fmt: skip
    add(
        "--decision-every",
        type=int,
        default=None,
        metavar="Q",
        help="quanta between decisions, for all policies (default: as each needs; 0: arrivals and completions only)",
    )


def env_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the environment's arguments that the command line asks for; what it leaves out is each policy's to say."""
    named = {"num_tasks": options.tasks, "window": options.window, "models": options.models, "batches": options.batches}
    workload: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    if options.utilisation is not None:
        workload["arrivals"] = {"process": "poisson", "utilisation": options.utilisation}
    given = {"scenario": options.scenario, "npu": options.npu, "npus": options.npus, "workload": workload or None}
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if options.mechanisms is not None:
        chosen["mechanisms"] = tuple(options.mechanisms)
    if options.decision_every is not None:
        chosen["decision_every"] = options.decision_every or None
    return chosen
