"""All groups of a row's observation, one behind the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation.base import observe_base
from prema_gym.envs.observation.batching import observe_batches
from prema_gym.envs.observation.deadlines import observe_deadlines
from prema_gym.envs.observation.npus import observe_npus
from prema_gym.envs.observation.streams import observe_stream


class Visible(NamedTuple):
    """What a policy may see of a row. There is no field through which the truth could leak."""

    status: Any
    """STATUS record."""
    npus: Any
    """(M,) NPU."""
    table: Any
    """(T,) SLOT."""
    predictions: Any
    """(T, C) int64; C = 0 where the row is one NPU."""
    batches: Any
    """(T,) BATCH; T = 0 where requests run one by one."""
    rules: Any
    """RULES record, of the asked NPU's configuration."""


@jit_borrowing
def _add_npus(seen, out, at, several):
    if several is None or seen.npus.shape[0] == 1:  # the driver of several NPUs, played on one
        return at
    return observe_npus(seen, out, at)


@jit_borrowing
def _add_stream(seen, out, at, stream):
    return at if stream is None else observe_stream(seen.status, out, at)


@jit_borrowing
def _add_batches(seen, out, at, several):
    if several is None or seen.batches.shape[0] == 0:
        return at
    return observe_batches(seen, out, at)


@jit_borrowing
def observe(seen, out, several, stream):
    """Fill ``out`` (D,) float32 from what is :class:`Visible`.

    ``several`` and ``stream`` are None where the row is one NPU and where its episodes are closed: their types tell the compiler.
    """
    at = observe_base(seen.status, seen.table, seen.rules, out)
    at = _add_npus(seen, out, at, several)
    if seen.rules.has_deadlines:
        at = observe_deadlines(seen.status, seen.table, out, at)
    at = _add_stream(seen, out, at, stream)
    _add_batches(seen, out, at, several)
