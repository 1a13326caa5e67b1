"""What the single and the vector environment share: configuration, simulator, buffers, spaces, view."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from gymnasium import spaces

from prema_gym.config import MECHANISMS, EnvConfig, mechanism_bits
from prema_gym.envs.actions import count_actions
from prema_gym.envs.observation import Layout
from prema_gym.envs.reward import FAIRNESS_TERMS, REWARD_TERMS, reward_weights
from prema_gym.envs.step import OUTCOME, STREAM_OUTCOME, begin_row, reset_rows
from prema_gym.envs.view import View, read_only
from prema_gym.errors import ConfigError, TraceError, shown, unknown_name
from prema_gym.metrics import metrics_dict
from prema_gym.sim.simulator import Simulator
from prema_gym.sim.streams.metrics import stream_metrics_dict
from prema_gym.types import ENGINE, MACHINE, NPU, SLOT, STATUS, TASK
from prema_gym.workloads.jsonl import load_trace
from prema_gym.workloads.listing import Listing, listing_of, listing_of_tasks, with_listing
from prema_gym.workloads.programs import known_models
from prema_gym.workloads.seeding import split_index
from prema_gym.workloads.trace import TraceTask, parse_trace

AnySpace = TypeVar("AnySpace", bound="spaces.Space[Any]")
OPTIONS = ("trace", "reset_mask")
Checked: TypeAlias = "list[TraceTask] | Listing"
"""A trace that has been checked: of a closed episode, or of a stream."""
_SHOWN = ("_npu", "_table", "_npus", "_predictions", "_batches", "_shown")
"""What a core shows of its own memory, and makes anew where it is taken."""
MOST_BYTES = 64 << 30
"""Of all rows of an environment together."""


class Core:
    """N rows of simulator with the buffers that a step fills."""

    def __init__(self, arguments: Mapping[str, Any], rows: int, *, split: str = "env", log_entries: int = 0) -> None:
        self.config = with_listing(EnvConfig.coerce(arguments))
        self.weights = reward_weights(self.config.reward)
        self._check_stream()
        self.split = split_index(split)
        self._check_size(rows)
        try:
            self._take_memory(rows, log_entries)
        except MemoryError:
            raise ConfigError(f"num_envs = {rows}: rows of {self.config.num_slots} slots don't fit in memory.") from None

    def _take_memory(self, rows: int, log_entries: int) -> None:
        self.simulator = Simulator(self.config, rows, log_entries)
        slots = self.simulator.slots
        self.num_actions = int(count_actions(slots, mechanism_bits(self.config.mechanisms)))
        self.layout = Layout.of(self.config)
        self.observation_space = spaces.Box(*self.layout.bounds, dtype=np.float32)
        self.action_space: spaces.Discrete = spaces.Discrete(self.num_actions)
        self.outcomes = np.zeros(rows, STREAM_OUTCOME if self.config.stream else OUTCOME)
        self.observations = np.zeros((rows, self.layout.size), np.float32)
        self.masks = np.zeros((rows, self.num_actions), np.int8)
        self._show_read_only()

    def twin(self) -> Core:
        """Return rows as many of the same configuration, whose memory is their own and holds anything; the rest is shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.simulator = self.simulator.twin()
        other.weights = self.weights.copy()
        other.outcomes, other.observations = np.empty_like(self.outcomes), np.empty_like(self.observations)
        other.masks = np.empty_like(self.masks)
        other._shown = None
        other.action_space = own_random(self.action_space)
        return other

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes a row of what :meth:`views` returns."""
        shown = (("outcomes", self.outcomes), ("observations", self.observations), ("masks", self.masks))
        return (*self.simulator.memory_layout.sizes, *((name, array.strides[0]) for name, array in shown))

    def views(self) -> list[np.ndarray]:
        """Return the memory of all rows as bytes, (N, b) uint8 each: the simulator's, and the buffers that a step fills."""
        shown = (self.outcomes, self.observations, self.masks)
        return [*self.simulator.views, *(array.view(np.uint8).reshape(len(array), -1) for array in shown)]

    def _check_size(self, rows: int) -> None:
        """Refuse more rows than memory is likely to hold, before any of it is taken."""
        slots, npus = self.config.num_slots, len(self.config.all_npus)
        of_slot = SLOT.itemsize + TASK.itemsize + (12 + 16 * npus if npus > 1 else 0) + len(MECHANISMS)
        row = (
            4 * 3 * Layout.of(self.config).size
            + slots * of_slot
            + npus * (NPU.itemsize + ENGINE.itemsize)
            + MACHINE.itemsize
            + STATUS.itemsize
        )
        if rows * row > MOST_BYTES:
            raise ConfigError(f"num_envs = {rows}: must be at most {MOST_BYTES // row} here: {slots} slots take {row} bytes.")

    def _check_stream(self) -> None:
        """Refuse what a stream doesn't have."""
        asked = [name for name, weight in zip(REWARD_TERMS, self.weights.tolist(), strict=True) if weight != 0]
        for name in asked if self.config.stream else ():
            if name in FAIRNESS_TERMS:
                raise ConfigError(f"reward: {name!r} compares the tasks of one episode; a stream has no such term.")

    def metrics_of(self, row: int) -> dict[str, object]:
        """Return the metrics of the episode that has ended in ``row``, as plain numbers by name."""
        values = self.outcomes["metrics"][row]
        return stream_metrics_dict(values, len(self.config.all_npus)) if self.config.stream else metrics_dict(values)

    def _show_read_only(self) -> None:
        """Prepare once what every view shows of the simulator's own memory."""
        state = self.simulator.state
        self._npu, self._table, self._npus = read_only(state.status), read_only(state.table), read_only(state.npus)
        self._predictions, self._batches = read_only(state.predictions), read_only(state.batches)
        self._shown: tuple[np.ndarray, np.ndarray, View] | None = self._show()

    def _show(self) -> tuple[np.ndarray, np.ndarray, View]:
        view = View(
            self.config, self._npu, self._table, read_only(self.masks), read_only(self.observations), self._npus,
            self._predictions, self._batches,
        )  # fmt: skip
        return self.masks, self.observations, view

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in _SHOWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._show_read_only()

    def view(self) -> View:
        """Return what policies may know of all rows, read-only: the same view until ``masks`` or ``observations`` is replaced."""
        if self._shown is None:
            self._show_read_only()
        elif self._shown[0] is not self.masks or self._shown[1] is not self.observations:
            self._shown = self._show()
        assert self._shown is not None
        return self._shown[2]

    def check_traces(self, traces: Sequence[object]) -> list[Checked]:
        """Return checked traces, each a list of tasks or a JSONL file's name; one that stands there twice is checked once."""
        checked: dict[int, Checked] = {}
        for trace in traces:
            if id(trace) not in checked:
                checked[id(trace)] = checked_stream(trace, self.config) if self.config.stream else checked_trace(trace, self.config)
        return [checked[id(trace)] for trace in traces]

    def hold_traces(self, traces: Sequence[Checked]) -> None:
        """Have the traces of streams at hand that rows will play, and no others."""
        self.simulator.hold_lists([trace for trace in traces if isinstance(trace, Listing)])

    def begin_traces(self, traces: Mapping[int, Checked]) -> None:
        """Put checked traces, those of streams at hand, into rows and play to their first decision; all outcomes are cleared."""
        streams = np.zeros(self.simulator.rows, np.bool_)
        for row, trace in traces.items():
            if isinstance(trace, Listing):
                self.simulator.play_list(row, trace)
                streams[row] = True
            else:
                self.begin_trace(row, trace)
        if streams.any():
            reset_rows(self.simulator.words, streams, self.split, self.outcomes, self.observations, self.masks)
            self.simulator.state.machine["episode_seed"][streams] = 0

    def begin_trace(self, row: int, tasks: Sequence[TraceTask]) -> None:
        """Put the checked trace of a closed episode into ``row`` and play to its first decision."""
        self.simulator.load_trace(row, tasks)
        begin_row(self.simulator.words, row, len(tasks), self.outcomes, self.observations, self.masks)

    def begin_drawn(self, chosen: np.ndarray, outcomes: np.ndarray | None = None) -> None:
        """Start the next episode of the configuration in the ``chosen`` (N,) bool rows; show every row.

        All outcomes are cleared, or in their place the (N,) ``outcomes`` that are given.
        """
        for row in np.flatnonzero(chosen).tolist() if self.config.stream else ():
            self.simulator.play_list(row, None)
        cleared = self.outcomes if outcomes is None else outcomes
        reset_rows(self.simulator.words, chosen, self.split, cleared, self.observations, self.masks)


def own_random(space: AnySpace) -> AnySpace:
    """Return the same space with a generator of its own."""
    other = object.__new__(type(space))
    other.__dict__.update(space.__dict__, _np_random=None)
    return other


def checked_trace(trace: object, config: EnvConfig) -> list[TraceTask]:
    """Return the tasks of ``trace``, a list of tasks or a JSONL file's name."""
    if isinstance(trace, (str, os.PathLike)):
        return load_trace(trace, known_models(), config.npu.clock_hz)
    return parse_trace(trace, known_models(), config.npu.clock_hz)


def checked_stream(trace: object, config: EnvConfig) -> Listing:
    """Return the requests of ``trace``, a list of tasks or a JSONL file's name, as those of a stream."""
    if isinstance(trace, (str, os.PathLike)):
        return listing_of(trace, config.npu.clock_hz)
    return listing_of_tasks(parse_trace(trace, known_models(), config.npu.clock_hz))


def check_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return ``options`` or an empty mapping; raises :class:`ConfigError` for an unknown key."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"options = {shown(options)}: must be a mapping or None.")
    for key in options:
        if key not in OPTIONS:
            raise ConfigError(f"reset(options=...): {unknown_name('key', key, OPTIONS)}")
    return options


def traces_of(options: Mapping[str, Any], rows: int) -> list[list[object]] | None:
    """Return the traces that each row plays in turn; None where ``options`` has none.

    ``options["trace"]`` is one trace for all rows (a list of tasks or a file's name), or a list of one entry per row: a trace, or
    a list of traces.
    """
    given = options.get("trace")
    if given is None:
        return None
    if _is_one_trace(given):
        return [[given]] * rows
    if len(given) != rows:
        raise TraceError(f"options['trace'] holds {len(given)} traces: must be one trace, or one for each of {rows} rows.")
    return [[entry] if _is_one_trace(entry) else list(entry) for entry in given]


def _is_one_trace(given: Any) -> bool:
    """Whether ``given`` is a file's name or a list of tasks; what is no trace at all is left to the check of traces."""
    if isinstance(given, (str, bytes, os.PathLike)) or not isinstance(given, Sequence) or len(given) == 0:
        return True
    return isinstance(given[0], Mapping) or not isinstance(given[0], (str, os.PathLike, Sequence))
