"""What the kernel works on: tables that never change while rows advance, and the state of N rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import config, types
from numba.extending import overload

from prema_gym._jit import jit_inline
from prema_gym.workloads.drawing import Draws


class Tables(NamedTuple):
    """What never changes while rows advance (dtypes in types.py)."""

    runs: np.ndarray
    """(R,) RUN."""
    blocks: np.ndarray
    """(B,) BLOCK."""
    segments: np.ndarray
    """(S,) SEGMENT."""
    programs: np.ndarray
    """(P,) PROGRAM."""
    totals: np.ndarray
    """(lengths,) int64: total cycles of programs, one for each output length."""
    sized: np.ndarray
    """(P,) SIZED."""
    at_size: np.ndarray
    """(P, S) int32: the program of the same model and input length at a batch of 2 to the column; NONE where there is none.
    S = 0 where requests run one by one."""
    rules: np.ndarray
    """(C,) RULES, one for each distinct configuration of the NPUs; what is the same for all is read from the first."""


class State(NamedTuple):
    """What changes: the arrays of N rows."""

    machine: np.ndarray
    """(N,) MACHINE, hidden."""
    arrivals: np.ndarray
    """(N,) ARRIVALS, hidden."""
    engines: np.ndarray
    """(N, M) ENGINE, hidden."""
    tasks: np.ndarray
    """(N, n) TASK, hidden."""
    times: np.ndarray
    """(N, n, C) TIMES, hidden; C = 0 where a row is one NPU: TASK says it all."""
    shares: np.ndarray
    """(N, T, M) int64, hidden: which NPU has executed how many cycles of a task's progress; M = 0 where a row is one NPU."""
    status: np.ndarray
    """(N,) STATUS, visible."""
    npus: np.ndarray
    """(N, M) NPU, visible."""
    table: np.ndarray
    """(N, T) SLOT: the context table, visible."""
    predictions: np.ndarray
    """(N, T, C) int64, visible: predicted total cycles of a slot's task on each configuration, of the last one in an empty slot;
    C = 0 where a row is one NPU: SLOT says it all."""
    batches: np.ndarray
    """(N, T) BATCH, visible; T = 0 where requests run one by one."""
    reward: np.ndarray
    """(N,) REWARD, envs/reward.py's own."""
    log: np.ndarray
    """(N, L) EVENT; L = 0 records nothing."""
    streams: np.ndarray
    """(N,) STREAM, hidden; this and the next four are of no rows where episodes are closed."""
    heads: np.ndarray
    """(N,) ARRIVALS, hidden: how far the arrivals have come that enter from the backlog."""
    places: np.ndarray
    """(N, T) PLACE, hidden."""
    sums: np.ndarray
    """(N, 3) SUMS, hidden."""
    histograms: np.ndarray
    """(N, levels, HISTOGRAM_BINS) uint32, hidden: requests of the cohort by priority and NTT."""
    several: int | None
    """None where a row is one NPU that runs requests one by one, else 1: its *type* tells the compiler which driver to build in."""
    source: Draws | int | None
    """None where episodes are closed, else what a stream's requests are drawn from (1 outside compiled code). Its type likewise."""

    @property
    def arrays(self) -> list[np.ndarray]:
        """The arrays alone."""
        return [array for array in self if isinstance(array, np.ndarray)]


class Stream(NamedTuple):
    """What a row of a stream has beyond that of a closed episode."""

    memory: np.void
    """STREAM."""
    head: np.void
    """ARRIVALS."""
    places: np.ndarray
    """(T,) PLACE."""
    sums: np.ndarray
    """(3,) SUMS."""
    histogram: np.ndarray
    """(levels, HISTOGRAM_BINS) uint32."""
    draws: Draws


class Row(NamedTuple):
    """One row of :class:`State`."""

    machine: np.void
    arrivals: np.void
    engines: np.ndarray
    tasks: np.ndarray
    times: np.ndarray
    shares: np.ndarray
    status: np.void
    npus: np.ndarray
    table: np.ndarray
    predictions: np.ndarray
    batches: np.ndarray
    reward: np.void
    log: np.ndarray
    several: int | None
    stream: Stream | None


def _stream_of(source: Draws | None, state: State, i: int) -> Stream | None:
    """Return what row ``i`` has as a stream; None where it isn't one, which is known when compiling."""
    if source is None:
        return None
    return Stream(state.streams[i], state.heads[i], state.places[i], state.sums[i], state.histograms[i], source)


if not config.DISABLE_JIT:

    @overload(_stream_of, inline="always", jit_options={"no_cfunc_wrapper": True, "no_cpython_wrapper": True})
    def _compiled_stream_of(source, state, i):
        if isinstance(source, types.NoneType):
            return lambda source, state, i: None

        def stream_of(source, state, i):
            return Stream(state.streams[i], state.heads[i], state.places[i], state.sums[i], state.histograms[i], source)

        return stream_of


@jit_inline
def row_of(state, i):
    """Return row ``i`` of ``state``, without a copy."""
    return Row(
        state.machine[i],
        state.arrivals[i],
        state.engines[i],
        state.tasks[i],
        state.times[i],
        state.shares[i],
        state.status[i],
        state.npus[i],
        state.table[i],
        state.predictions[i],
        state.batches[i],
        state.reward[i],
        state.log[i],
        state.several,
        _stream_of(state.source, state, i),
    )
