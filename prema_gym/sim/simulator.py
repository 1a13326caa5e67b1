"""The simulator owns the arrays of N rows: program tables, hidden state, visible state. The kernel's functions work on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from prema_gym.config import EnvConfig, level_bits, mechanism_bits
from prema_gym.errors import TraceError
from prema_gym.sim.book import address_words, moved_book, write_book
from prema_gym.sim.streams.again import draw_again
from prema_gym.sim.streams.cohort import HISTOGRAM_BINS
from prema_gym.sim.streams.lists import Lists
from prema_gym.sim.streams.records import PLACE, STREAM, SUMS
from prema_gym.sim.tables import State, Tables
from prema_gym.types import (
    ARRIVALS,
    BATCH,
    EMPTY,
    ENGINE,
    EVENT,
    MACHINE,
    NONE,
    NPU,
    REWARD,
    RULES,
    SLOT,
    STATUS,
    TASK,
    TERMINATED,
    TIMES,
)
from prema_gym.workloads.drawing import Draws, mispredicted
from prema_gym.workloads.limits import check_deadline, check_drawn, check_prediction, check_trace
from prema_gym.workloads.listing import Listing, with_listing
from prema_gym.workloads.mixes import draws_of
from prema_gym.workloads.programs import ProgramTable
from prema_gym.workloads.sizes import size_index
from prema_gym.workloads.trace import TraceTask


def rules_record(config: EnvConfig) -> np.ndarray:
    """Return the (C,) RULES that the NPUs of ``config`` play by, one for each distinct configuration."""
    rules = np.zeros(len(config.configurations), RULES)
    rules["quantum_cycles"] = config.quantum_cycles
    rules["scheduler_latency_cycles"] = config.scheduler_latency_cycles
    rules["decision_every"] = config.decision_every or 0
    rules["mechanisms"] = mechanism_bits(config.mechanisms)
    rules["levels"] = level_bits(config.workload.levels)
    rules["allow_idle"] = config.allow_idle
    rules["batching"] = config.batching
    rules["has_deadlines"] = config.workload.has_deadlines
    rules["horizon_requests"] = config.horizon
    arrivals = config.workload.arrivals
    if arrivals is not None and arrivals.process == "closed":
        rules["clients"] = arrivals.clients
        rules["think_cycles"] = arrivals.think_ms * config.npu.clock_hz / 1000
    for record, npu in zip(rules, config.configurations, strict=True):
        for name in ("clock_hz", "dram_bytes_per_second", "dram_latency_cycles"):
            record[name] = getattr(npu, name)
    return rules


def mean_priority(draws: Draws) -> float:
    """Return the expected priority of a drawn request."""
    shares = np.diff(draws.classes["cumulative_weight"], prepend=0.0)
    means = []
    for drawn in draws.classes:
        levels = draws.levels[drawn["first_level"] : drawn["first_level"] + drawn["levels"]]
        means.append(np.average(levels["priority"], weights=np.diff(levels["cumulative_weight"], prepend=0.0)))
    return float(np.average(means, weights=shares))


def _state(config: EnvConfig, rows: int, log_entries: int) -> State:
    slots, npus = config.num_slots, config.all_npus
    several, streams = len(npus) > 1 or config.batching > 1, rows if config.stream else 0
    records = slots + 2 if config.stream else slots
    levels = int(level_bits(config.workload.levels)).bit_count()
    state = State(
        machine=np.zeros(rows, MACHINE),
        arrivals=np.zeros(rows, ARRIVALS),
        engines=np.zeros((rows, len(npus)), ENGINE),
        tasks=np.zeros((rows, records), TASK),
        times=np.zeros((rows, records, len(config.configurations) if several else 0), TIMES),
        shares=np.zeros((rows, slots, len(npus) if several else 0), np.int64),
        status=np.zeros(rows, STATUS),
        npus=np.zeros((rows, len(npus)), NPU),
        table=np.zeros((rows, slots), SLOT),
        predictions=np.zeros((rows, slots, len(config.configurations) if several else 0), np.int64),
        batches=np.zeros((rows, slots if config.batching > 1 else 0), BATCH),
        reward=np.zeros(rows, REWARD),
        log=np.zeros((rows, log_entries), EVENT),
        streams=np.zeros(streams, STREAM),
        heads=np.zeros(streams, ARRIVALS),
        places=np.zeros((streams, slots), PLACE),
        sums=np.zeros((streams, 3), SUMS),
        histograms=np.zeros((streams, levels, HISTOGRAM_BINS), np.uint32),
        several=1 if several else None,
        source=1 if config.stream else None,
    )
    state.machine["outcome"] = TERMINATED
    state.status["running_slot"] = NONE
    state.status["oldest_backlog_cycles"] = NONE
    state.npus["running_slot"] = NONE
    state.npus["configuration"] = [config.configurations.index(npu) for npu in npus]
    return state


_APART = ("log", "histograms")
"""Arrays that a state keeps by themselves: of a log the filled part, and histograms, whose number of priorities lists can raise."""
_ALIGNMENT = 64


class MemoryLayout(NamedTuple):
    """How the arrays of a :class:`State` lie behind each other where they are given memory together."""

    names: list[str]
    parts: list[tuple[tuple[int, ...], np.dtype]]
    """Shape and type of every array."""
    offsets: list[int]
    offsets_array: np.ndarray
    nbytes: int
    places: list[int]
    """The words of the book that are their addresses."""
    sizes: tuple[tuple[str, int], ...]
    """Name and bytes a row of the arrays that the state of a row is made of; the first is MACHINE."""
    bytes_parts: list[tuple[tuple[int, int], int]]
    """Shape as bytes, (N, b), and offset of these."""

    @classmethod
    def of(cls, state: State) -> MemoryLayout:
        """Return the layout for arrays like those of ``state``."""
        named = {name: array for name, array in state._asdict().items() if isinstance(array, np.ndarray)}
        ends = list(accumulate(-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in named.values()))
        offsets, rows = [0, *ends[:-1]], len(state.machine)
        first = dict(zip(named, offsets, strict=True))
        sizes = tuple((name, array.nbytes // rows) for name, array in named.items() if name not in _APART and array.size)
        return cls(
            names=list(named),
            parts=[(array.shape, array.dtype) for array in named.values()],
            offsets=offsets,
            offsets_array=np.array(offsets, np.int64),
            nbytes=ends[-1],
            places=address_words(named),
            sizes=sizes,
            bytes_parts=[((rows, size), first[name]) for name, size in sizes],
        )


def _deadline_of(task: TraceTask, predicted_cycles: int) -> int:
    """Return the deadline of a task of a trace in cycles; NONE where it has none."""
    if task.deadline_cycles is not None:
        return task.deadline_cycles
    if task.sla is None:
        return NONE
    return task.arrival_cycles + max(round(task.sla * predicted_cycles), 1)


class Simulator:
    """N rows, each M NPUs with T slots playing episodes of one workload. ``words`` is what compiled entry points take."""

    def __init__(self, config: EnvConfig, rows: int = 1, log_entries: int = 0) -> None:
        self.config = config = with_listing(config)
        self.rows = rows
        self.slots = config.num_slots
        self.programs = ProgramTable.of(config.configurations, config.workload, config.batching)
        self.state = _state(config, rows, log_entries)
        self._rules = rules_record(config)
        self._lists = Lists(config)
        self._bind()
        self._rules["mean_priority"] = mean_priority(self.draws)

    def _bind(self) -> None:
        """Point the book at the arrays; called again whenever the program table has grown."""
        self._layout: MemoryLayout | None = None
        self._views: list[np.ndarray] | None = None
        self.draws = draws_of(self.config, self.programs, self._lists.join(self.programs))
        arrays = self.programs.arrays
        sized, at_size = self.programs.sizes
        self.tables = Tables(
            arrays.runs, arrays.blocks, arrays.segments, arrays.programs, arrays.totals, sized, at_size, self._rules
        )
        check_drawn(self.config, self.programs, self.draws)
        self._lists.write(self.state.streams, range(len(self.state.streams)))
        self.words = write_book(self.tables, self.draws, self.state)

    @property
    def memory_layout(self) -> MemoryLayout:
        """How the memory of the rows is laid out."""
        if self._layout is None:
            self._layout = MemoryLayout.of(self.state)
        return self._layout

    @property
    def views(self) -> list[np.ndarray]:
        """The memory of the rows as bytes: (N, b) uint8 of each array of the layout, in order."""
        if self._views is None:
            arrays = self.state._asdict()
            self._views = [arrays[name].view(np.uint8).reshape(self.rows, -1) for name, _ in self.memory_layout.sizes]
        return self._views

    def twin(self) -> Simulator:
        """Return a simulator of as many rows, whose memory is its own and holds anything; the rest is shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._lists = self._lists.twin()
        layout = self.memory_layout
        memory = np.empty(layout.nbytes, np.uint8)
        arrays = [
            np.ndarray(shape, dtype, memory, first) for (shape, dtype), first in zip(layout.parts, layout.offsets, strict=True)
        ]
        own: dict[str, Any] = dict(zip(layout.names, arrays, strict=True))
        other.state = self.state._replace(**own)
        other._views = [np.ndarray(shape, np.uint8, memory, first) for shape, first in layout.bytes_parts]
        addresses = memory.ctypes.data + layout.offsets_array
        other.words = moved_book(self.words, self.tables, self.draws, other.state, layout.places, addresses)
        return other

    def take_grown_programs(self) -> None:
        """Look programs up in the table as it is now, which may have grown by another simulator's traces."""
        if len(self.tables.programs) != len(self.programs.arrays.programs):
            self._bind()

    def seed(self, row: int, seed: int) -> None:
        """Make the next drawn episode of ``row`` the first of ``seed``."""
        self.state.machine[row]["seed"] = seed % (1 << 64)
        self.state.machine[row]["episode"] = 0

    def load_trace(self, row: int, trace: Sequence[TraceTask]) -> None:
        """Write a checked trace into the tasks of ``row``; compiles programs that are not in the table yet."""
        if len(trace) > self.slots:
            raise TraceError(
                f"trace has {len(trace)} tasks, the table {self.slots} slots: make the environment with slots={len(trace)}."
            )
        chosen = [self.programs.choose(index, task) for index, task in enumerate(trace)]
        self.take_grown_programs()
        times = [self._times(index, *pair, trace[index].prediction_factor) for index, pair in enumerate(chosen)]
        check_trace(self.config, sum(max(int(on[name].max()) for name in ("isolated_cycles", "predicted_cycles")) for on in times))
        tasks = self.state.tasks[row]
        tasks[:] = np.zeros((), TASK)
        for index, (task, (program, output_length), on) in enumerate(zip(trace, chosen, times, strict=True)):
            tasks[index]["arrival_cycles"] = task.arrival_cycles
            tasks[index]["completion_cycles"] = NONE
            tasks[index]["isolated_cycles"] = on["isolated_cycles"].min()
            tasks[index]["predicted_cycles"] = on["predicted_cycles"].min()
            tasks[index]["program"] = program
            tasks[index]["output_length"] = output_length
            tasks[index]["priority"] = task.priority
            tasks[index]["request_class"] = NONE
            tasks[index]["prediction_factor"] = task.prediction_factor
            deadline = check_deadline(index, _deadline_of(task, int(tasks[index]["predicted_cycles"])))
            tasks[index]["deadline_cycles"] = deadline
            tasks[index]["length_estimated"] = self.tables.programs[program]["length_estimated"]
            if self.state.several is not None:
                self.state.times[row, index] = on

    def holds(self, listings: Sequence[Listing]) -> bool:
        """Return whether all of ``listings`` are at hand."""
        return self._lists.holds(listings)

    def hold_lists(self, listings: Sequence[Listing]) -> None:
        """Have ``listings`` at hand for rows of streams; rows that play others go on with nothing."""
        if not self._lists.hold(listings):
            return
        histograms, levels = self.state.histograms, self._lists.levels
        if levels != histograms.shape[1]:
            resized = np.zeros((len(histograms), levels, HISTOGRAM_BINS), np.uint32)
            kept = min(levels, histograms.shape[1])
            resized[:, :kept] = histograms[:, :kept]
            self.state = self.state._replace(histograms=resized)
        self._bind()

    def listing_in(self, row: int) -> Listing | None:
        """Return the listing that ``row`` plays; None where it plays what the configuration says."""
        return self._lists.given(row)

    def listings(self, rows: np.ndarray) -> list[Listing]:
        """Return the listings that the ``rows`` (N,) bool play in place of what the configuration says."""
        given = map(self.listing_in, np.flatnonzero(rows).tolist() if self.config.stream else ())
        return [listing for listing in given if listing is not None]

    def play_list(self, row: int, listing: Listing | None) -> None:
        """Let the next stream of ``row`` be ``listing``, one of those at hand; with None what the configuration says."""
        self._lists.give(row, listing)
        self._lists.write(self.state.streams, [row])

    def go_on_with(self, row: int, listing: Listing | None) -> None:
        """Let ``row``, whose memory says that it plays ``listing``, find it where it lies here."""
        if listing is None:  # what the configuration says lies at the same place everywhere
            self._lists.give(row, None)
        else:
            self.play_list(row, listing)

    def _times(self, index: int, program: int, output_length: int, factor: float) -> np.ndarray:
        """Return the (C,) TIMES of entry ``index`` of a trace; ``program`` is its row on the first configuration."""
        times = np.zeros(len(self.config.configurations), TIMES)
        for configuration, record in enumerate(times):
            record["program"] = self.programs.row_on(program, configuration)
            entry = self.tables.programs[record["program"]]
            record["isolated_cycles"] = self.draws.totals[entry["first_total"] + output_length - 1]
            check_prediction(index, float(entry["predicted_cycles"]) * factor)
            record["predicted_cycles"] = mispredicted(entry["predicted_cycles"], factor)
        return times

    def sent_by_clients(self, row: int) -> bool:
        """Return whether closed clients send the requests of the stream in ``row``."""
        return bool(self._rules["clients"][0] > 0 and self.state.streams[row]["listed"] == 0)

    def requests(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) TASK and (n, C) TIMES of all requests of a stream that have arrived in ``row``, in order of arrival.

        They are drawn anew, with no completion; those of closed clients arrive at 0. C = 0 where a row is one NPU.
        """
        count = int(self.state.machine[row]["next_task"])
        tasks, times = np.zeros(count, TASK), np.zeros((count, self.state.times.shape[2]), TIMES)
        draw_again(self.words, row, tasks, times, np.zeros(1, ARRIVALS))
        return tasks, times

    def true_totals(self) -> np.ndarray:
        """Return the (N, T) int64 true totals of the present tasks, and of the batches that they lead; 0 where a slot is empty.

        They are those on the asked NPU, or where a task has begun.
        """
        state, table = self.state, self.state.table
        slots = np.arange(self.slots)[None, :]
        tasks = np.broadcast_to(slots, table.shape) if self.config.stream else np.maximum(table["task"], 0)
        if state.several is None:
            totals = np.take_along_axis(state.tasks["isolated_cycles"], tasks, axis=1)
        else:
            own = np.where(table["executed_cycles"] > 0, table["configuration"], state.status["configuration"][:, None])
            totals = state.times["isolated_cycles"][np.arange(self.rows)[:, None], tasks, own]
            for row, slot in np.argwhere(state.batches["leader"] == slots) if state.batches.size else ():
                totals[row, slot] = self._batch_total(row, slot, tasks[row], int(own[row, slot]))
        return np.where(table["state"] == EMPTY, 0, totals)

    def _batch_total(self, row: int, leader: int, tasks: np.ndarray, configuration: int) -> int:
        """Return the true total of the batch that slot ``leader`` of ``row`` leads; ``tasks`` (T,) are records by slot."""
        batches, state = self.state.batches[row], self.state
        members = tasks[batches["leader"] == leader]
        own = state.times["program"][row, tasks[batches["longest"][leader]], configuration]
        program = self.tables.programs[self.tables.at_size[own, size_index(int(batches["samples"][leader]))]]
        output = min(int(state.tasks["output_length"][row, members].max()), int(program["totals"]))
        return int(self.tables.totals[program["first_total"] + output - 1])

    def describe_tasks(self, row: int) -> list[dict[str, Any]]:
        """Return the tasks of ``row`` in order of arrival, truth included, as :meth:`describe` does: of a stream those present."""
        return self.describe(self._kept_tasks(row))

    def describe(self, tasks: np.ndarray) -> list[dict[str, Any]]:
        """Return ``tasks`` (n,) TASK as plain dicts, model, batch and input length by name."""
        described = []
        for task in tasks:
            key = self.programs.keys[task["program"]]
            numbers = {name: task[name].item() for name in TASK.names or () if name not in ("program", "request_class")}
            described.append({"model": key.model, "batch": key.batch, "input_length": key.input_length, **numbers})
        return described

    def _kept_tasks(self, row: int) -> np.ndarray:
        """Return the TASK records of ``row`` in order of arrival: of a stream only those in the table, since no others are kept."""
        tasks, table = self.state.tasks[row], self.state.table[row]
        if not self.config.stream:
            return tasks[: self.state.machine[row]["tasks"]]
        slots = np.flatnonzero(table["state"] != EMPTY)
        return tasks[slots[np.argsort(table["task"][slots])]]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("words", "tables", "draws", "_layout", "_views")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()
