"""What all commands of the command line share: options, examples, printing."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prema_gym.config import NPUConfig
from prema_gym.files import write_text

PROG = "prema-gym"
WIDTH = 108
"""Columns of tables where the output is no terminal."""
EXAMPLE_COLUMN = 62
"""Where the purpose of an example begins."""


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


def add_printing(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet`` of a command that takes words besides its options."""
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument("--quiet", action="store_true", help="print results only: no progress, no names of written files")


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
