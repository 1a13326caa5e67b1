"""Cells on processes of this machine."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool

from baselines.sweeping.cells import Cell, Outcome, outcome_of
from baselines.sweeping.engines import Means, died
from prema_gym.exits import FAILED


def play(cells: Sequence[Cell], means: Means) -> Generator[Outcome, None, None]:
    """Play ``cells`` in this process, or on several of their own.

    Where a process dies its pool is lost, and with it whose cell it was: what has not ended is played again by a fresh pool.
    """
    if means.local_workers == 1:
        for cell in cells:
            yield outcome_of(cell, cell.name)
        return
    left = list(cells)
    for attempt in range(means.retries + 1):
        lost: list[Cell] = []
        for outcome in _play_once(left, means.local_workers):
            if outcome.problem == _LOST and attempt < means.retries:
                lost.append(outcome.cell)
            else:
                yield outcome._replace(problem=died(attempt + 1)) if outcome.problem == _LOST else outcome
        left = lost
        if not left:
            return


_LOST = "lost"
"""The problem of a cell whose process died, or that of another cell of the same pool."""


def _play_once(cells: Sequence[Cell], workers: int) -> Generator[Outcome, None, None]:
    # Fresh interpreters: a forked one would inherit the threads and locks of compiled code.
    context = multiprocessing.get_context("spawn")
    size = min(workers, len(cells))
    with concurrent.futures.ProcessPoolExecutor(size, mp_context=context, initializer=end_with_parent) as pool:
        # The first cell alone: what it compiles, the others read from disk.
        concurrent.futures.wait([first := pool.submit(outcome_of, cells[0], cells[0].name)])
        waiting = {first: cells[0]}
        try:
            waiting |= {pool.submit(outcome_of, cell, cell.name): cell for cell in cells[1:]}
            for done in concurrent.futures.as_completed(waiting):
                yield _outcome(waiting[done], done)
        except BrokenProcessPool:  # as soon as the first cell was played
            yield from (Outcome(cell, problem=_LOST) for cell in cells)
        finally:
            for future in waiting:
                future.cancel()


def _outcome(cell: Cell, done: concurrent.futures.Future[Outcome]) -> Outcome:
    error = done.exception()
    if error is None:
        return done.result()
    if isinstance(error, BrokenProcessPool):
        return Outcome(cell, problem=_LOST)
    return Outcome(cell, problem=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone: a pool's processes would wait for its work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()
