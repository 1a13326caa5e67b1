"""Tables and pictures, as far as commands share them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prema_gym.cli.parser import WIDTH
from prema_gym.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console() -> Console:
    """Return where tables go: as wide as the terminal, or of a fixed width elsewhere."""
    from rich.console import Console

    here = Console(highlight=False)
    return here if here.is_terminal else Console(width=WIDTH, highlight=False)


def new_table(title: str) -> Table:
    """Return an empty table in the style of all tables."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left", title_style="bold")


def check_pictures(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise :class:`UsageError` for an option whose file is of no format that matplotlib writes, before anything else is done."""
    given: dict[str, Path] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if not given:
        return
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    for name, path in given.items():
        if path.suffix.removeprefix(".").lower() not in kinds:
            raise UsageError(f"--{name} {path}: must end in one of {', '.join(f'.{kind}' for kind in kinds)}.")
