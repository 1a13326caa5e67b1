"""What all commands of the command line share: a parser with errors on one line, options, printing."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from prema_gym.config import NPUConfig
from prema_gym.exits import ERROR
from prema_gym.files import write_text

PROG = "prema-gym"
WIDTH = 108
"""Columns of tables where the output is no terminal."""
EXAMPLE_COLUMN = 62
"""Where the purpose of an example begins."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose description and examples keep their lines."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print ``error: message`` and exit with 2."""
        self.exit(ERROR, f"error: {message} ({self.prog} --help lists the options)\n")


def examples(*pairs: tuple[str, str]) -> str:
    """Return the examples of a help text: (what follows ``prema-gym``, what it does); a long command has its line to itself."""
    lines = ["examples:"]
    for command, purpose in pairs:
        shown = f"  {PROG} {command}"
        if len(shown) >= EXAMPLE_COLUMN - 1:
            lines.append(shown)
            shown = ""
        lines.append(f"{shown:<{EXAMPLE_COLUMN}}{purpose}")
    return "\n".join(lines)


def add_npu(parser: argparse.ArgumentParser) -> None:
    """Add ``--npu``."""
    parser.add_argument(
        "--npu", default="prema", metavar="NAME", help=f"hardware preset: {', '.join(NPUConfig.PRESETS)} (default prema)"
    )


def add_episode(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which episode: those of ``compare``."""
    from baselines.commands.options import add_world

    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which episode (default 0): that of reset(seed=S)")
    add_world(parser)


def add_printing(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet``."""
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument("--quiet", action="store_true", help="print results only: no progress, no names of written files")


def env_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the environment's arguments that :func:`add_episode`'s options ask for, read as ``compare`` reads its own."""
    from baselines.commands.options import env_arguments as compare_arguments

    return compare_arguments(options)


def plain(value: Any) -> Any:
    """Return ``value`` as JSON's types: numbers of NumPy become Python's, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    print(json.dumps(plain(value), indent=1, allow_nan=False))


def save_json(value: Any, path: Path) -> None:
    """Write ``value`` to ``path`` as JSON, folders included."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")
