"""The grammar of the command line: options that mean the same in every command that plays.

A command takes the groups that apply to it, and refuses what others have by :func:`refuse`, with the reason. ``--scenario --npu
--npus --tasks --window --utilisation --workload --models --batches --mechanisms --decision-every --batching`` say which world is
played, ``--reward`` what its reward is, ``--seed --episodes`` which episodes, ``--json [PATH] --quiet`` what is printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prema_gym.config import MECHANISMS, MODEL_NAMES, NPUConfig, WorkloadConfig
from prema_gym.config.scenarios import SCENARIOS
from prema_gym.errors import ConfigError
from prema_gym.files import write_text

_DEFAULTS = WorkloadConfig()
PRINTED = "-"
"""The path of ``--json`` without one: the JSON is printed."""
WORLD = (
    "--scenario", "--utilisation", "--window", "--tasks", "--npu", "--npus", "--workload", "--models", "--batches", "--mechanisms",
    "--decision-every", "--batching",
)  # fmt: skip
"""The options that :func:`add_world` adds."""
NO_REWARD = "every policy is measured by all metrics, whatever it was rewarded for; prema-gym train takes a reward"
"""Why commands that compare refuse ``--reward``."""


def add_world(parser: argparse.ArgumentParser, leave_out: Mapping[str, str] | None = None, scenario: str | None = None) -> None:
    """Add the options that say which NPUs, requests and decisions; :func:`env_arguments` reads them.

    Parameters
    ----------
    parser: that gets them.
    leave_out: options that can't apply, each with the reason: they are refused with it.
    scenario: where nothing is said.

    """
    refused = leave_out or {}
    for flag, details in _world(scenario).items():
        if flag in refused:
            refuse(parser, {flag: refused[flag]})
        else:
            parser.add_argument(flag, **details)


def _world(scenario: str | None) -> dict[str, dict[str, Any]]:
    """Return the options of a world, and what argparse is told of each."""
    names = ", ".join(SCENARIOS)
    return {
        "--scenario": {
            "default": scenario,
            "metavar": "NAME",
            "help": f"{names}; other options take the place of what it says (default {scenario or 'Prema-v0'})",
        },
        "--utilisation": {
            "type": float,
            "metavar": "X",
            "help": "of a stream: work that arrives over what the NPUs can do",
        },
        "--window": {
            "type": float,
            "metavar": "X",
            "help": "arrivals spread over X times the sum of isolated times, however many NPUs there are; smaller is busier "
            f"(default {_DEFAULTS.window})",
        },
        "--tasks": {"type": int, "metavar": "N", "help": f"tasks per episode (default {_DEFAULTS.num_tasks})"},
        "--npu": {"metavar": "NAME", "help": f"hardware preset: {', '.join(NPUConfig.PRESETS)} (default prema)"},
        "--npus": {"metavar": "NAMES", "help": "several NPUs behind one context table, as in prema,prema,edge"},
        "--workload": {
            "metavar": "WHAT",
            "help": f"what is asked for: {', '.join(WorkloadConfig.PRESETS)}, a .json file, or JSON; other options take the place "
            "of what it says",
        },
        "--models": {"nargs": "+", "metavar": "NAME", "help": f"networks: {', '.join(MODEL_NAMES)} (default all)"},
        "--batches": {"nargs": "+", "type": int, "metavar": "B", "help": "batch sizes (default 1 4 16)"},
        "--mechanisms": {
            "nargs": "+",
            "metavar": "NAME",
            "help": f"ways to evict that are allowed: {', '.join(MECHANISMS)} (default: those that each policy plays)",
        },
        "--decision-every": {
            "type": int,
            "metavar": "Q",
            "help": "quanta between decisions, for all policies (default: as each needs; 0: arrivals and completions only)",
        },
        "--batching": {
            "type": int,
            "metavar": "B",
            "help": "most samples of waiting requests that run together (default 1: none do; PremaBatch-v0: 16)",
        },
    }


def add_reward(parser: argparse.ArgumentParser) -> None:
    """Add ``--reward``."""
    parser.add_argument("--reward", default=None, metavar="WHAT", help="a reward term's name, or JSON from names to weights")


def add_seed(
    parser: argparse.ArgumentParser, default: int = 0, what: str = "which episodes; the same seed, the same episodes"
) -> None:
    """Add ``--seed``."""
    parser.add_argument("--seed", type=int, default=default, metavar="S", help=f"{what} (default {default})")


def add_episodes(parser: argparse.ArgumentParser, default: int | None, text: str) -> None:
    """Add ``--episodes``."""
    parser.add_argument("--episodes", type=int, default=default, metavar="N", help=text)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet``; :func:`give_json` reads the first."""
    parser.add_argument("--json", nargs="?", const=PRINTED, default=None, metavar="PATH",
        help="print JSON in place of tables, and write no files; with a path write it there as well as all else")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="results only: no progress, no names of written files")


class _Refused(argparse.Action):
    """An option that a command does not take."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        parser.error(f"{self.option_strings[0]}: does not apply here: {self.const}.")


def refuse(parser: argparse.ArgumentParser, reasons: Mapping[str, str]) -> None:
    """Let ``parser`` refuse options that other commands have, each with its reason; its help does not list them."""
    for flag, reason in reasons.items():
        parser.add_argument(flag, nargs="*", action=_Refused, const=reason, help=argparse.SUPPRESS, default=argparse.SUPPRESS)


# --- What was given -------------------------------------------------------------------------------------------------------------


def _read_json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{option}: is no JSON ({error}).") from None


def workload_of(text: str) -> dict[str, Any]:
    """Return the fields of the workload that ``--workload`` names: a preset's, a file's, or those of JSON itself."""
    if text.lstrip().startswith("{"):
        found = _read_json("--workload", text)
    elif text.endswith(".json"):
        try:
            found = _read_json(f"--workload {text}", Path(text).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"--workload {text}: can't be read ({reason}).") from None
    else:
        WorkloadConfig.preset(text)  # raises for an unknown one
        return dict(WorkloadConfig.PRESETS[text])
    if not isinstance(found, dict):
        raise ConfigError(f"--workload: must be an object of fields, it is a {type(found).__name__}.")
    return found


def reward_of(text: str) -> Any:
    """Return what ``--reward`` names: a term, or weights by term."""
    return _read_json("--reward", text) if text.lstrip().startswith("{") else text


def env_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the environment's arguments that the command line asks for; what it leaves out is each policy's to say."""

    def given(name: str) -> Any:
        return getattr(options, name, None)

    text = given("workload")
    workload: dict[str, Any] = {} if text is None else workload_of(text)
    named = {"num_tasks": given("tasks"), "window": given("window"), "models": given("models"), "batches": given("batches")}
    workload |= {key: value for key, value in named.items() if value is not None}
    if given("utilisation") is not None:
        workload["arrivals"] = {"process": "poisson", "utilisation": options.utilisation}
    reward = given("reward")
    whole = {"scenario": given("scenario"), "npu": given("npu"), "npus": given("npus"), "workload": workload or None}
    whole["reward"] = None if reward is None else reward_of(reward)
    chosen: dict[str, Any] = {key: value for key, value in whole.items() if value is not None}
    if given("mechanisms") is not None:
        chosen["mechanisms"] = tuple(options.mechanisms)
    if given("decision_every") is not None:
        chosen["decision_every"] = options.decision_every or None
    if given("batching") is not None:
        chosen["batching"] = options.batching
    return chosen


def give_json(options: argparse.Namespace, value: Any) -> bool:
    """Print or write ``value`` as ``--json`` asks; return whether it was printed, in place of all else."""
    if options.json is None:
        return False
    text = json.dumps(value, indent=1, allow_nan=False)
    if options.json == PRINTED:
        print(text)
        return True
    write_text(options.json, text + "\n")
    return False
