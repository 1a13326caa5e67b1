"""A lowered network in time: loops are played until they repeat, then skipped to their last steps.

The timeline is *materialised*: a loop of n steps keeps its first ``transients``, one period of p steps that stands for many, and
the last few. Once the state at the end of a step (relative to its own time) recurs, all further steps repeat exactly, so what is
left out is a whole number of periods and everything after it is shifted by them.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from prema_gym.config import NPUConfig
from prema_gym.errors import ConfigError, ModelError
from prema_gym.hardware.compiler.encoding import SPAN
from prema_gym.hardware.compiler.graph import INPUT
from prema_gym.hardware.compiler.lowering import MAX_OPERATIONS, Lowering, Stretch
from prema_gym.hardware.compiler.residency import SPILLED
from prema_gym.hardware.compiler.shapes import Ints
from prema_gym.hardware.compiler.timing import TIMED, cold_state, finish, place_pass, play, refill
from prema_gym.types import NEVER

TAIL_OPERATIONS = 32
"""Operations that are at least kept after the period, so that a pipeline refilled in the period settles before they end."""
MOST_TAIL_OPERATIONS = 1 << 17
"""Where a refill does not even settle in so many, it is taken over those."""
MAX_TRANSIENTS = 4096
"""Steps of the output loop that may differ before it repeats."""


class _TailTooShortError(Exception):
    """A refill did not settle within the steps that were kept of its loop."""


@dataclasses.dataclass
class Schedule:
    """The materialised timeline."""

    timed: np.ndarray
    """(ops,) TIMED."""
    spans: np.ndarray
    """(spans,) SPAN, in program order; the last repeats NEVER in a network with an output loop."""
    totals: Ints
    """(lengths,) cycles by output length from 1 on; one entry where the length is fixed."""
    open_steps: tuple[int, int, int, int]
    """Of the output loop: first materialised operation, operations a step, transients, period; zeros without one."""

    @property
    def busy_cycles(self) -> Ints:
        """(ops,) cycles that each operation keeps its engine from the next layer: in flight where it is its layer's last."""
        last = np.append(self.timed["overlapped"][1:] == 0, True)
        busy: Ints = self.timed["compute_cycles"] + last * self.timed["flight_cycles"]
        return busy

    def weighted_spans(self) -> list[tuple[int, int, int]]:
        """Return (begin, end, passes) of the operations that run, for the longest output."""
        first, per_step, transients, period = self.open_steps
        spans = [(int(s["begin"]), int(s["end"]), int(s["repeats"])) for s in self.spans]
        if not per_step:
            return spans
        steps = len(self.totals)
        kept = [span for span in spans if span[0] < first]
        early = min(steps, transients)
        kept.append((first, first + early * per_step, 1))
        passes, rest = divmod(steps - early, period)
        begin = first + transients * per_step
        return [*kept, (begin, begin + period * per_step, passes), (begin, begin + rest * per_step, 1)]


def schedule(lowering: Lowering) -> Schedule:
    """Return the timeline of ``lowering``, with commits, contexts and refills."""
    tail = TAIL_OPERATIONS
    while True:
        try:
            return _Scheduler(lowering, tail).run()
        except _TailTooShortError:
            tail *= 8


@dataclasses.dataclass
class _Skip:
    """A loop of which steps were left out, or whose end is open: refills of [begin, last_period) must settle by ``end``."""

    begin: int
    last_period: int
    end: int


class _Scheduler:
    def __init__(self, lowering: Lowering, tail_operations: int) -> None:
        self.lowering = lowering
        self.tail_operations = tail_operations
        self.npu: NPUConfig = lowering.npu
        self.latency = self.npu.dram_latency_cycles
        self.clock, self.bandwidth = _reduced(self.npu)
        self.timed = np.zeros(self._capacity(), TIMED)
        self.count = 0
        self.state = cold_state(self.latency)
        self.spans: list[tuple[int, int, int, int, int, int]] = []
        self.last_store = [-1] * len(lowering.graph.tensors)
        """Per tensor, the operation that stores the last of it."""
        self.skips: list[_Skip] = []
        self.skipped = 0
        """Cycles of the periods that were left out."""
        self.totals: Ints | None = None
        self.open_steps = (0, 0, 0, 0)

    def _capacity(self) -> int:
        sizes = [len(s.operations) * (1 if s.loop is None else min(s.loop.steps or 8, 8)) for s in self.lowering.stretches]
        return sum(sizes) + 4 * self.tail_operations

    def run(self) -> Schedule:
        for stretch in self.lowering.stretches:
            waits = self._waits(stretch)
            if stretch.loop is None:
                self._play_layers(stretch, waits)
            else:
                self._play_loop(stretch, waits)
            self._note_stores(stretch)
        end = finish(self.timed, self.count, self.state)
        refill(self.timed, self.count, end, self.latency)
        self._check_settled()
        totals = np.array([end + self.skipped], np.int64) if self.totals is None else self.totals
        return Schedule(self.timed[: self.count], np.array(self.spans, SPAN), totals, self.open_steps)

    def _waits(self, stretch: Stretch) -> Ints:
        """Return (ops, 3) what the first operation of each node waits for; later loads of the node can't come before it."""
        graph, residency = self.lowering.graph, self.lowering.residency
        waits = np.full((len(stretch.operations), 3), -1, np.int64)
        ends = stretch.first_operation
        for local in range(len(ends) - 1):
            node = graph.nodes[stretch.first_node + local]
            row = waits[ends[local]]
            for read in node.reads:
                tensor = graph.tensors[read.tensor]
                if read.tensor == INPUT or residency.resident[read.tensor] != SPILLED:
                    continue
                if tensor.producer >= stretch.first_node:
                    kind, value = int(read.lagged), int(ends[tensor.producer - stretch.first_node + 1]) - 1
                else:
                    kind, value = 2, self.last_store[read.tensor]
                row[kind] = max(row[kind], value)
        return waits

    def _note_stores(self, stretch: Stretch) -> None:
        """Remember the last operation of every node of ``stretch``, for the loads that wait for its store."""
        graph = self.lowering.graph
        begin = self.count - len(stretch.operations)
        for local, end in enumerate(stretch.first_operation[1:]):
            tensor = graph.nodes[stretch.first_node + local].tensor
            self.last_store[tensor] = begin + int(end) - 1
            sequence = graph.tensors[tensor].sequence
            if sequence >= 0:
                self.last_store[sequence] = begin + int(end) - 1

    def _append(self, stretch: Stretch, waits: Ints, previous: int, step: int) -> None:
        """Place one pass at the end of the timeline and play it."""
        begin, end = self.count, self.count + len(stretch.operations)
        if end > len(self.timed):
            self.timed = np.concatenate([self.timed, np.zeros(max(end, len(self.timed)), TIMED)])
        growth = (stretch.growth_save_bytes, stretch.growth_clean_bytes)
        place_pass(self.timed, begin, stretch.operations, waits, previous, step, *growth, self.clock, self.bandwidth)
        self.state = play(self.timed, begin, end, self.state, self.latency)
        self.count = end

    def _play_layers(self, stretch: Stretch, waits: Ints) -> None:
        begin = self.count
        self._append(stretch, waits, -1, 0)
        for first, end in zip(stretch.first_operation[:-1], stretch.first_operation[1:], strict=True):
            self.spans.append((begin + int(first), begin + int(end), 1, 0, 0, -1))

    def _play_loop(self, stretch: Stretch, waits: Ints) -> None:
        """Play a loop until its state recurs, then emit transients, the period, and (where its count is fixed) the last steps."""
        loop, size, begin = stretch.loop, len(stretch.operations), self.count
        assert loop is not None
        limit = MAX_TRANSIENTS if loop.steps is None else loop.steps
        seen: dict[tuple[int, ...], int] = {}
        ends: list[int] = []
        period = 0
        while not period and len(ends) < limit:
            if self.count > MAX_OPERATIONS:
                raise ModelError(f"loop {loop.name!r} does not become periodic within {len(ends)} steps.")
            self._step(stretch, waits, begin, len(ends))
            ends.append(int(finish(self.timed, self.count, self.state)))
            period = len(ends) - seen.setdefault(self._end_state(stretch, waits), len(ends))
        kept = len(ends)
        transients = kept - period
        tail = -(-self.tail_operations // size)
        if loop.steps is None:
            if not period:
                raise ModelError(f"loop {loop.name!r} does not become periodic within {MAX_TRANSIENTS} steps.")
            repeats, left = NEVER, tail
        else:
            repeats = (loop.steps - transients - tail) // period if period else 0
            left = loop.steps - transients - period * repeats
        if repeats < 2:
            transients, kept, repeats, left = loop.steps or 0, loop.steps or 0, 0, 0
            for step in range(len(ends), kept):
                self._step(stretch, waits, begin, step)
        self._add_steps(stretch, begin, 0, transients)
        if repeats == 0:
            return
        self._add_span(stretch, begin, transients, period, repeats)
        for step in range(left):
            # Of a fixed count these are the last steps; contexts have grown by those that were skipped.
            self._step(stretch, waits, begin, step + (kept if loop.steps is None else loop.steps - left))
        self.skips.append(_Skip(begin, begin + kept * size, self.count))
        if loop.steps is None:
            self.open_steps = (begin, size, transients, period)
            self.totals = self._open_totals(np.array(ends, np.int64), transients, period)
            self._check_drain(stretch, begin, ends)
        else:
            self._add_steps(stretch, begin, kept, kept + left)
            commits = self.timed["commit"]
            self.skipped += (repeats - 1) * int(commits[begin + kept * size - 1] - commits[begin + transients * size - 1])
            self._check_stores(begin)

    def _step(self, stretch: Stretch, waits: Ints, begin: int, step: int) -> None:
        previous = self.count - len(stretch.operations) if self.count > begin else -1
        self._append(stretch, waits, previous, step)

    def _add_steps(self, stretch: Stretch, begin: int, first: int, end: int) -> None:
        for step in range(first, end):
            self._add_span(stretch, begin, step, 1, 1)

    def _add_span(self, stretch: Stretch, begin: int, first: int, steps: int, repeats: int) -> None:
        size = len(stretch.operations)
        growth_save = steps * stretch.growth_save_bytes
        growth_restore = growth_save + steps * stretch.growth_clean_bytes
        self.spans.append((begin + first * size, begin + (first + steps) * size, repeats, growth_save, growth_restore, begin))

    def _end_state(self, stretch: Stretch, waits: Ints) -> tuple[int, ...]:
        """Return the state after the last step, relative to its last commit and raised to where it can bind."""
        start, end, commit, store_end, landed, port = self.state
        key = [start - end, max(store_end, end) - end, max(landed, commit) - end, max(port, start) - end]
        size = len(stretch.operations)
        last = self.count - size
        # Stores that are under way belong to the contexts of the commits to come.
        before = self.count - 2
        while before >= 0 and self.timed["landed"][before] > commit:
            pending = self.timed[before]
            key += [int(pending["landed"]) - end, int(pending["store_bytes"]), int(pending["through"])]
            before -= 1
        points = np.flatnonzero(stretch.operations["point"])
        if len(points):
            key.append(int(self.timed["commit"][last + points[-1]]) - end)
        for operation in waits[:, 1][waits[:, 1] >= 0].tolist():
            # The store of the last operation is still to be granted: the rest of the state says when.
            if operation < size - 1:
                key.append(max(int(self.timed["landed"][last + operation]) + self.latency, start) - end)
        return tuple(key)

    def _open_totals(self, ends: Ints, transients: int, period: int) -> Ints:
        """Return the cycles by output length, from the ``ends`` of the program cut after the first steps."""
        last = np.arange(self.lowering.output_length)
        laps = np.maximum(last - transients, 0) // period
        cycles = ends[transients + period - 1] - ends[transients - 1]
        return ends[last - laps * period] + laps * cycles + self.skipped

    def _check_drain(self, stretch: Stretch, begin: int, ends: list[int]) -> None:
        """The kernel cuts the open loop by its total: no point of the next step may come before it."""
        points = np.flatnonzero(stretch.operations["point"])
        if not len(points):
            return
        size = len(stretch.operations)
        for step, end in enumerate(ends, start=1):
            commit = int(self.timed["commit"][begin + step * size + points[0]])
            if commit < end:
                raise ModelError(
                    f"loop {stretch.loop.name!r}: a step's last store ends at cycle {end}, after the next step's first commit "  # type: ignore[union-attr]
                    f"at {commit}: an output loop must not store more at its end than its first operation takes."
                )

    def _check_stores(self, begin: int) -> None:
        """Loads after a shortened loop must not wait for stores before it, as they would not after the whole."""
        if begin and self.timed["landed"][begin - 1] + self.latency > self.timed["compute_start"][self.count - 1]:
            self._too_short()

    def _check_settled(self) -> None:
        for skip in self.skips:
            points = self.timed[skip.begin : skip.last_period]
            settled = points["settled"][points["point"]]
            if len(settled) and settled.max() > skip.end:
                self._too_short()

    def _too_short(self) -> None:
        if self.tail_operations < MOST_TAIL_OPERATIONS:
            raise _TailTooShortError


def _reduced(npu: NPUConfig) -> tuple[int, int]:
    """Return clock and bandwidth without their common factor, so that bytes times clock fits 64 bits."""
    shared = math.gcd(npu.clock_hz, npu.dram_bytes_per_second)
    clock, bandwidth = npu.clock_hz // shared, npu.dram_bytes_per_second // shared
    if clock > 1 << 36 or bandwidth > 1 << 61:
        raise ConfigError(
            f"NPUConfig.clock_hz = {npu.clock_hz}: must be below {1 << 36} where it shares no factor with the bandwidth."
        )
    return clock, bandwidth
