"""The state of rows: everything that decides how they go on, taken out of an environment and put back, there or into another.

Programs, tables and draws belong to the configuration: they are shared and no part of a state.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from prema_gym.checks import whole
from prema_gym.config import EnvConfig
from prema_gym.envs.core import Checked, Core
from prema_gym.envs.observation import BLOCKS
from prema_gym.envs.step import OUTCOME, STREAM_OUTCOME
from prema_gym.errors import ConfigError, UsageError, shown
from prema_gym.sim.tables import State
from prema_gym.types import ASKING, MACHINE, NONE, SLOT, STATUS, TASK, TIMES
from prema_gym.workloads.listing import Listing
from prema_gym.workloads.programs import ProgramTable, known_models
from prema_gym.workloads.sizes import Key

AnyEnv = TypeVar("AnyEnv", bound=Any)
_AT_ONCE = "SameStep"
"""The autoreset mode in which a row's episode is never over between two steps."""
_NAMING_PROGRAMS = {"tasks": TASK, "times": TIMES, "table": SLOT}
"""Arrays whose records name rows of the program table."""


class Named(NamedTuple):
    """A program that a state names, by what it is."""

    row: int
    """Of the program table that the state comes from."""
    key: Key
    copy: int
    """On which configuration, of a program that only traces name; NONE of one that episodes draw: its row never differs."""
    cycles: tuple[int, int]
    """Predicted total, and the longest true one: what tells it from another program of the same name."""


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class EnvState:
    """The state of one row or several, as ``get_state()`` returns it. It never changes, can be pickled, and set many times."""

    config: EnvConfig
    split: int
    mode: str | None
    """Autoreset mode of a vector environment; None of a single one, or where it doesn't matter."""
    limit: int | None
    """Steps that the episodes are allowed."""
    playing: bool
    """Whether a step may follow."""
    sizes: tuple[tuple[str, int], ...]
    """Name and bytes a row of the arrays in ``memory``, in order."""
    memory: np.ndarray
    """(k, B) uint8: the arrays of k rows behind each other, row by row; read-only."""
    histograms: np.ndarray
    """(k, levels, bins) uint32, of a stream; read-only."""
    steps: np.ndarray
    """(k,) int64: steps of the present episodes, as far as they are counted."""
    listings: tuple[Listing | None, ...]
    """What each row plays in place of the requests of the configuration."""
    turns: tuple[tuple[Checked, ...], ...]
    """Traces that each row plays in turn, the next one first."""
    history: tuple[np.ndarray, ...] = ()
    """The event log of the present episode in parts, of a single environment; shared between states."""
    log_dropped: bool = False
    programs: ProgramTable | None = None
    """The table that the rows' programs lie in; None in a state that was pickled, which has ``named`` instead."""
    named: tuple[Named, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows it is of."""
        return len(self.memory)

    @property
    def nbytes(self) -> int:
        """Bytes of its own: without traces and the earlier parts of the event log, which states share."""
        return self.memory.nbytes + self.histograms.nbytes + self.steps.nbytes + sum(part.nbytes for part in self.history[-1:])

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        named = self.named if self.programs is None else tuple(_named(self, self.programs))
        return _unpickled, ({**fields, "programs": None, "named": named, "format": _format()},)


def _unpickled(fields: Mapping[str, Any]) -> EnvState:
    fields = dict(fields)
    if fields.pop("format") != _format():
        raise ConfigError("the pickled state was written by a version of prema-gym that lays out rows differently.")
    state = EnvState(**fields)
    for array in (state.memory, state.histograms, state.steps):
        array.flags.writeable = False
    return state


@functools.cache
def _format() -> str:
    """Return what tells this version's layout of a row from others'."""
    layouts = [dtype.descr for dtype in (MACHINE, STATUS, SLOT, TASK, TIMES, OUTCOME, STREAM_OUTCOME)]
    return hashlib.sha256(repr((layouts, State._fields, BLOCKS)).encode()).hexdigest()


# --- Rows as bytes --------------------------------------------------------------------------------------------------------------


def over(state: EnvState) -> np.ndarray:
    """Return (k,) bool: whose episode has ended."""
    machine = np.ascontiguousarray(state.memory[:, : MACHINE.itemsize]).view(MACHINE)[:, 0]
    ended: np.ndarray = machine["outcome"] != ASKING
    return ended


def take(core: Core, rows: slice, **others: Any) -> EnvState:
    """Return the state of ``rows``; ``others`` are the fields that only the environment knows."""
    memory = np.concatenate([view[rows] for view in core.views()], axis=1)
    simulator = core.simulator
    histograms = simulator.state.histograms[rows].copy()
    numbers = range(*rows.indices(simulator.rows))
    listings = tuple(simulator.listing_in(row) for row in numbers) if core.config.stream else (None,) * len(numbers)
    memory.flags.writeable = histograms.flags.writeable = False
    return EnvState(
        core.config, core.split, sizes=core.sizes, memory=memory, histograms=histograms, listings=listings,
        programs=simulator.programs, **others,
    )  # fmt: skip


# --- Putting it back ------------------------------------------------------------------------------------------------------------


def check_state(state: object, core: Core, count: int) -> EnvState:
    """Return ``state`` if ``count`` rows of ``core`` can go on from it; raises :class:`ConfigError`."""
    if not isinstance(state, EnvState):
        raise ConfigError(f"set_state({shown(state)}): must be a state, as get_state() returns.")
    if state.config is not core.config and state.config != core.config:
        raise ConfigError(
            f"set_state(): the state is of an environment of another configuration: {_difference(state, core.config)}."
        )
    if state.split != core.split:
        raise ConfigError("set_state(): the state is of an environment with another split of seeds.")
    if state.rows not in (1, count):
        allowed = "1" if count == 1 else f"1, or of {count} here"
        raise ConfigError(f"set_state(): the state is of {state.rows} rows: must be of {allowed}.")
    return state


def check_mode(state: EnvState, mode: str, limit: int | None) -> None:
    """Raise :class:`ConfigError` where rows under the autoreset ``mode`` and the ``limit`` of steps can't go on from ``state``."""
    if state.limit != limit:
        raise ConfigError(
            f"set_state(): the state is of an environment with max_episode_steps = {state.limit}; here it is {limit}."
        )
    if mode == _AT_ONCE and state.mode != mode and over(state).any():
        raise ConfigError("set_state(): the state's episode is over; rows that restart at once can't go on from there.")


def rows_of(rows: Any, count: int) -> np.ndarray:
    """Return which of ``count`` rows are meant: one, several, or with None all of them; raises :class:`ConfigError`."""
    if rows is None:
        return np.arange(count)
    several = isinstance(rows, (Sequence, np.ndarray)) and not isinstance(rows, (str, bytes)) and getattr(rows, "ndim", 1) == 1
    if several and not 1 <= len(rows) <= count:
        raise ConfigError(f"rows = {shown(rows)}: must be from 1 to {count} rows.")
    chosen = [whole("rows", row, 0, count - 1) for row in (rows if several else [rows])]
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"rows = {shown(rows)}: must be distinct rows.")
    return np.array(chosen, np.intp)


def _difference(state: EnvState, own: EnvConfig) -> str:
    """Return the first field in which the configurations differ, with both values."""
    for field in dataclasses.fields(own):
        theirs, ours = getattr(state.config, field.name), getattr(own, field.name)
        if theirs != ours:
            return f"its {field.name} = {shown(theirs)}, here {shown(ours)}"
    return "a field of it differs"


def put(core: Core, state: EnvState, rows: np.ndarray, turns: Mapping[int, deque[Checked]]) -> None:
    """Let the (n,) ``rows`` of ``core`` go on from ``state``, which has been checked; ``turns`` are the other rows' traces."""
    memory = state.memory if state.programs is core.simulator.programs else _renamed(state, core.simulator.programs)
    simulator = core.simulator
    if core.config.stream:
        _hold(core, state, rows, turns)
    simulator.take_grown_programs()
    chosen: Any = slice(None) if len(rows) == simulator.rows else rows
    first = 0
    for view in core.views():
        view[chosen] = memory[:, first : first + view.shape[1]]
        first += view.shape[1]
    simulator.state.machine["events"][chosen] = 0  # what the log held is in the state's history
    if core.config.stream:
        _put_stream(core, state, rows, chosen)


def _put_stream(core: Core, state: EnvState, rows: np.ndarray, chosen: Any) -> None:
    """Let ``rows``, which ``chosen`` selects, go on with the histograms and listings of ``state``."""
    own, given = core.simulator.state.histograms, state.histograms
    levels = min(given.shape[1], own.shape[1])
    own[chosen, :levels] = given[:, :levels]
    own[chosen, levels:] = 0
    for row, listing in zip(rows.tolist(), each(state.listings, len(rows)), strict=True):
        core.simulator.go_on_with(row, listing)


def each(values: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Return one of ``values`` for each of ``count`` rows."""
    return values if len(values) == count else values * count


def _hold(core: Core, state: EnvState, rows: np.ndarray, turns: Mapping[int, deque[Checked]]) -> None:
    """Have at hand what the rows play, and will play in turn: those of the state, and all others."""
    new: list[Checked | None] = [*state.listings, *(trace for traces in state.turns for trace in traces)]
    wanted = [trace for trace in new if isinstance(trace, Listing)]
    if core.simulator.holds(wanted):
        return
    untouched = np.ones(core.simulator.rows, np.bool_)
    untouched[rows] = False
    others = [trace for row, traces in turns.items() if untouched[row] for trace in traces]
    core.hold_traces([*wanted, *others, *core.simulator.listings(untouched)])


# --- As plain arrays ------------------------------------------------------------------------------------------------------------


def arrays_of(state: EnvState) -> dict[str, np.ndarray]:
    """Return a state of drawn episodes as arrays by name, for files; raises :class:`UsageError` where rows play traces."""
    if any(state.turns) or any(listing is not None for listing in state.listings):
        raise UsageError("a state of rows that play traces can't be kept as arrays; pickle it.")
    layout = np.frombuffer(bytes.fromhex(_format()), np.uint8)
    return {"memory": _without_gaps(state), "histograms": state.histograms, "steps": state.steps, "format": layout}


def _without_gaps(state: EnvState) -> np.ndarray:
    """Return a state's memory with zeros between the fields of outcomes: there lies what memory held before."""
    sizes = dict(state.sizes)
    first = sum(sizes[name] for name in itertools.takewhile(lambda name: name != "outcomes", sizes))
    place = slice(first, first + sizes["outcomes"])
    kept = state.memory[:, place].copy().view(STREAM_OUTCOME if state.config.stream else OUTCOME)
    outcomes = np.zeros(kept.shape, kept.dtype)
    for name in kept.dtype.names or ():
        outcomes[name] = kept[name]
    memory = state.memory.copy()
    memory[:, place] = outcomes.view(np.uint8)
    return memory


def state_of(arrays: Mapping[str, np.ndarray], like: EnvState) -> EnvState:
    """Return the state that :func:`arrays_of` made ``arrays`` of, for the environment that the state ``like`` is of.

    Raises :class:`ConfigError` where they are of another one.
    """
    own = arrays_of(like)
    for name, array in own.items():
        given = arrays.get(name)
        if given is None or given.dtype != array.dtype or given.shape != array.shape:
            raise ConfigError(f"state: array {name!r} is missing, or of an environment of another configuration.")
    if not np.array_equal(arrays["format"], own["format"]):
        raise ConfigError("state: the arrays were written by a version of prema-gym that lays out rows differently.")
    return dataclasses.replace(like, memory=arrays["memory"], histograms=arrays["histograms"], steps=arrays["steps"])


# --- Programs of another table -------------------------------------------------------------------------------------------------
#
# A state names programs by their rows in the program table. What episodes draw lies at the same rows in every table of a
# configuration; programs that only traces name were added in the order in which they came up.


def _naming(state: EnvState) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield where arrays that name programs lie in a state's memory, and a copy of each as a flat array of records."""
    first = 0
    for name, size in state.sizes:
        place = slice(first, first + size)
        if name in _NAMING_PROGRAMS:
            yield place, state.memory[:, place].copy().reshape(-1).view(_NAMING_PROGRAMS[name])
        first += size


def _named(state: EnvState, programs: ProgramTable) -> list[Named]:
    """Return the programs that a state names, by what they are."""
    used = {row for _, records in _naming(state) for row in np.unique(records["program"]).tolist()}
    count, drawn = len(programs.configurations), programs.stride * len(programs.configurations)
    return [
        Named(row, programs.keys[row], (row - drawn) % count if row >= drawn else NONE, _cycles_of(programs, row))
        for row in sorted(used)
        if row >= 0
    ]


def _cycles_of(programs: ProgramTable, row: int) -> tuple[int, int]:
    """Return the predicted total and the longest true one."""
    record = programs.arrays.programs[row]
    return int(record["predicted_cycles"]), int(programs.arrays.totals[record["first_total"] + record["totals"] - 1])


def _renamed(state: EnvState, programs: ProgramTable) -> np.ndarray:
    """Return the memory of ``state`` with the rows of ``programs``; compiles those that aren't in it yet."""
    if state.programs is None:
        _check_models(state)
    named = state.named if state.programs is None else _named(state, state.programs)
    rows = {entry.row: _row_in(programs, entry) for entry in named}
    if all(old == new for old, new in rows.items()):
        return state.memory
    memory = state.memory.copy()
    for place, records in _naming(state):
        records["program"] = [rows.get(row, row) for row in records["program"].tolist()]
        memory[:, place] = records.view(np.uint8).reshape(len(memory), -1)
    return memory


def _check_models(state: EnvState) -> None:
    """Raise :class:`ConfigError` where a pickled state plays, or will play, what isn't known here."""
    models = {named.key.model for named in state.named}
    for trace in (*state.listings, *(trace for traces in state.turns for trace in traces)):
        if trace is not None:
            models |= {task.model for task in ([task for _, task in trace.kinds] if isinstance(trace, Listing) else trace)}
    for model in sorted(models):
        if model not in known_models():
            raise ConfigError(f"set_state(): the state plays {model!r}, which is no known model here; register it first.")


def _row_in(programs: ProgramTable, named: Named) -> int:
    """Return the row of a program in the table; raises :class:`ConfigError` where it isn't the same there."""
    row, model = named.row, named.key.model
    if named.copy != NONE:
        row = programs.row_on(programs.row(named.key), named.copy)
    if programs.keys[row] != named.key or _cycles_of(programs, row) != named.cycles:
        raise ConfigError(f"set_state(): the state plays {model!r}, which is another program here.")
    return row


# --- Copies of environments -----------------------------------------------------------------------------------------------------


def twin_of(env: AnyEnv) -> AnyEnv:
    """Return a shallow copy of a single or vector environment with a memory of its own, which holds anything.

    It draws no numbers from the other's generators: after its first reset an environment draws from the seed in its state alone,
    and what else is drawn is the caller's business.
    """
    other = object.__new__(type(env))
    other.__dict__.update(env.__dict__)
    other._core = env._core.twin()
    if env._np_random is not None:
        other._np_random = None if env._seeded else copy.deepcopy(env._np_random)
    return other
