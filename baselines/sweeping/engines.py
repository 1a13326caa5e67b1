"""The engines that play a sweep's cells, by name. An engine's module is imported when it is asked for, its libraries with it.

An engine is a function that is handed cells and yields an :class:`~baselines.sweeping.cells.Outcome` for each, in the order in
which they end. Cells whose process died are played again up to ``retries`` times; what a cell itself says is wrong is final.
Whoever closes the generator stops all that it has started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib import import_module

from baselines.sweeping.cells import Cell, Outcome
from prema_gym.errors import UsageError, unknown_name

DEFAULT_RETRIES = 3


@dataclass(frozen=True)
class Means:
    """What an engine has to play with."""

    workers: int | None = None
    """Cells at a time; None: one per core, of this machine or of the cluster."""
    address: str | None = None
    """Of a cluster."""
    retries: int = DEFAULT_RETRIES

    @property
    def local_workers(self) -> int:
        """Cells at a time on this machine alone."""
        return self.workers or os.cpu_count() or 1


Play = Callable[[Sequence[Cell], Means], Generator[Outcome, None, None]]
DEFAULT_ENGINE = "local"
ENGINES = {
    DEFAULT_ENGINE: "baselines.sweeping.local",
    "ray": "baselines.sweeping.on_ray",
}
"""By name the module whose function ``play`` is the engine."""


def engine(name: str) -> Play:
    """Return the engine of that name; raises :class:`UsageError` for an unknown one."""
    if name not in ENGINES:
        raise UsageError(unknown_name("engine", name, ENGINES))
    found: Play = import_module(ENGINES[name]).play
    return found


def died(times: int) -> str:
    """Return what is said of a cell whose worker died ``times`` times."""
    return f"its process died {times} {'time' if times == 1 else 'times'} (killed, or out of memory)."
