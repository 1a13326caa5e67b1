"""Cells on Ray: on a head of its own on this machine, or on the cluster at an address."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from baselines.sweeping.cells import Cell, Outcome, outcome_of
from baselines.sweeping.engines import Means, died
from prema_gym.errors import UsageError, missing_package

MOST_WAITING = 2048
"""Cells that are handed to a cluster at a time: enough for an autoscaler to see, few enough for the head to hold."""
STORE_BYTES = 200 << 20
"""Of a local head's object store: a cell's text is a few kilobytes, and travels with the answer; a rollout some megabytes."""
ADDRESS = "RAY_ADDRESS"
"""What Ray itself sets for a job that was submitted to a cluster."""


def play(cells: Sequence[Cell], means: Means) -> Generator[Outcome, None, None]:
    """Play ``cells`` as tasks of one core each; Ray plays those again whose worker or machine died.

    Raises :class:`prema_gym.errors.MissingPackage` without Ray, and :class:`UsageError` where no cluster answers.
    """
    address = means.address or os.environ.get(ADDRESS)
    with connected("--engine ray", address, means.local_workers) as ray:
        task = ray.remote(num_cpus=1, max_retries=means.retries, retry_exceptions=False)(outcome_of)
        at_once = (means.workers or MOST_WAITING) if address else MOST_WAITING
        waiting: dict[Any, Cell] = {}
        unsent = iter(cells)
        room = at_once if address else 1  # on one machine the first cell alone: what it compiles, the others read from disk
        try:
            while True:
                for cell in (cell for _, cell in zip(range(room - len(waiting)), unsent, strict=False)):
                    waiting[task.options(name=f"{cell.policy} at {cell.load:g}").remote(cell, cell.name)] = cell
                if not waiting:
                    return
                (done, *_), _ = ray.wait(list(waiting), num_returns=1)
                yield _outcome(ray, done, waiting.pop(done), means.retries)
                room = at_once
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


def _outcome(ray: Any, done: Any, cell: Cell, retries: int) -> Outcome:
    try:
        found: Outcome = ray.get(done)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        return Outcome(cell, problem=died(retries + 1))
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Outcome(cell, problem=lines[-1].strip() if lines else type(error).__name__)
    return found


@contextmanager
def connected(what: str, address: str | None, cores: int) -> Iterator[Any]:
    """Yield the module ``ray``, connected: to the cluster at ``address``, else to a head of its own with so many ``cores``.

    Raises :class:`prema_gym.errors.MissingPackage`, which says ``what`` needs Ray, without it. A head of its own ends with this.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unless its user says so
    try:
        import ray
    except ModuleNotFoundError as error:
        raise missing_package(what, error.name) from error
    if ray.is_initialized():  # whoever did it ends it
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:  # "local": not the cluster that this machine may belong to, which the user did not name
            ray.init(address="local", num_cpus=cores, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise UsageError(f"Ray at {address or 'this machine'}: {str(error).strip().partition(chr(10))[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
