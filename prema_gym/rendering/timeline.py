"""From an event log to slices of time: what every task and the NPU did, to the cycle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from prema_gym.types import NONE


class Kind(StrEnum):
    """What a slice of time went into."""

    EXECUTE = "execute"
    """Operations whose progress was kept."""
    KILLED = "killed"
    """Operations whose progress was dropped later."""
    SAVE = "save"
    RESTORE = "restore"
    REFILL = "refill"
    """The pipeline fills again, beyond what running on would have taken."""
    STALL = "stall"
    """A decision costs scheduler latency."""
    WAIT = "wait"
    """The task has arrived and is not on the NPU."""
    IDLE = "idle"
    """The NPU has nothing to do."""


ACCOUNTS = {
    "useful": (Kind.EXECUTE,),
    "wasted": (Kind.KILLED,),
    "overhead": (Kind.SAVE, Kind.RESTORE, Kind.REFILL, Kind.STALL),
    "idle": (Kind.IDLE,),
}
"""Which slices of the NPU make up each account; together they are the time that has passed."""


class Slice(NamedTuple):
    """A stretch of one kind, from ``start_cycles`` up to, but not with, ``end_cycles``."""

    kind: Kind
    start_cycles: int
    end_cycles: int
    task: int
    """Whose it is, by order of arrival; NONE where it is nobody's."""
    nbytes: int = 0
    """Moved over the DRAM port by a save or a restore; 0 where unknown."""

    @property
    def cycles(self) -> int:
        """Its length."""
        return self.end_cycles - self.start_cycles


class Context(NamedTuple):
    """What a preemption point costs."""

    save_bytes: int
    restore_bytes: int
    refill_cycles: int


Lookup = Callable[[int, int], Context]
"""``lookup(task, executed_cycles)`` returns the context of the point at which ``task`` has committed."""


class _Lane:
    """The slices of one task as they come. ``kind`` is what it does from ``since`` on, None before arrival and after completion."""

    def __init__(self, task: int) -> None:
        self.task = task
        self.slices: list[Slice] = []
        self.kind: Kind | None = None
        self.since = 0
        self.executed_cycles = 0
        self.first_kept = 0  # before it, in ``slices``, lie earlier lives that ended in a KILL
        self.context: Context | None = None

    def close(self, cycle: int) -> list[Slice]:
        """Return the slices that end at ``cycle`` if what is going on ends there."""
        if self.kind is None or cycle <= self.since:
            return []
        nbytes, middle = 0, cycle
        if self.context is not None and self.kind is Kind.SAVE:
            nbytes = self.context.save_bytes
        if self.context is not None and self.kind is Kind.RESTORE:
            nbytes = self.context.restore_bytes
            middle = max(cycle - self.context.refill_cycles, self.since)
        parts = [Slice(self.kind, self.since, middle, self.task, nbytes), Slice(Kind.REFILL, middle, cycle, self.task)]
        return [part for part in parts if part.cycles]

    def turn(self, kind: Kind | None, cycle: int) -> None:
        """Do ``kind`` from ``cycle`` on."""
        ended = self.close(cycle)
        self.slices += ended
        self.executed_cycles += sum(part.cycles for part in ended if part.kind is Kind.EXECUTE)
        self.kind, self.since = kind, cycle

    def drop_progress(self) -> None:
        """Turn what was executed since the last start into killed work."""
        for i in range(self.first_kept, len(self.slices)):
            if self.slices[i].kind is Kind.EXECUTE:
                self.slices[i] = self.slices[i]._replace(kind=Kind.KILLED)
        self.first_kept = len(self.slices)
        self.executed_cycles = 0
        self.context = None


class TimelineBuilder:
    """Takes events in the order of the log, one at a time, and gives the timeline up to any later cycle.

    ``tasks`` is how many the episode has, ``latency_cycles`` what an asked decision costs. With a ``lookup``, saves and restores
    know their bytes and refills are told from restores; without, a restore slice holds both.
    """

    def __init__(self, tasks: int, latency_cycles: int = 0, lookup: Lookup | None = None) -> None:
        self._lanes = [_Lane(task) for task in range(tasks)]
        self._latency_cycles = latency_cycles
        self._lookup = lookup
        self._running: _Lane | None = None
        self._stalls: list[Slice] = []

    def feed(self, cycle: int, event: str, task: int) -> None:
        """Take one event; an unknown one changes nothing."""
        handler = self._HANDLERS.get(event)
        if handler is not None:
            handler(self, cycle, task)

    def _arrival(self, cycle: int, task: int) -> None:
        self._lanes[task].turn(Kind.WAIT, cycle)

    def _dispatch(self, cycle: int, task: int) -> None:
        self._running = self._lanes[task]
        self._running.turn(Kind.RESTORE, cycle)

    def _run(self, cycle: int, task: int) -> None:
        self._lanes[task].turn(Kind.EXECUTE, cycle)
        self._lanes[task].context = None

    def _commit(self, cycle: int, task: int) -> None:
        lane = self._lanes[task]
        lane.turn(Kind.SAVE, cycle)
        lane.context = self._lookup(task, lane.executed_cycles) if self._lookup else None
        self._running = None

    def _saved(self, cycle: int, task: int) -> None:
        self._lanes[task].turn(Kind.WAIT, cycle)

    def _kill(self, cycle: int, task: int) -> None:
        lane = self._lanes[task]
        lane.turn(Kind.WAIT, cycle)
        lane.drop_progress()
        self._running = None

    def _completion(self, cycle: int, task: int) -> None:
        self._lanes[task].turn(None, cycle)
        self._running = None

    def _stall(self, cycle: int, task: int) -> None:
        """The latency is known, so its end needs no event: the running task runs on there unless it is switched away."""
        end = cycle + self._latency_cycles
        if self._running is None:
            self._stalls.append(Slice(Kind.STALL, cycle, end, NONE))
        else:
            self._running.turn(Kind.STALL, cycle)
            self._running.turn(Kind.EXECUTE, end)

    _HANDLERS: Mapping[str, Callable[[TimelineBuilder, int, int], None]] = {
        "arrival": _arrival,
        "dispatch": _dispatch,
        "run": _run,
        "commit": _commit,
        "saved": _saved,
        "kill": _kill,
        "completion": _completion,
        "stall": _stall,
    }

    def timeline(self, end_cycles: int) -> Timeline:
        """Return the slices up to ``end_cycles``, which no event that was fed is beyond."""
        tasks = tuple((*lane.slices, *lane.close(end_cycles)) for lane in self._lanes)
        busy = [part for lane in tasks for part in lane if part.kind is not Kind.WAIT]
        return Timeline(end_cycles, tasks, tuple(_with_idle(sorted(busy + self._stalls, key=_start), end_cycles)))


def _start(part: Slice) -> int:
    return part.start_cycles


def _with_idle(busy: Iterable[Slice], end_cycles: int) -> list[Slice]:
    """Return the slices of the NPU with the gaps between them filled by idle ones."""
    filled: list[Slice] = []
    now = 0
    for part in busy:
        if part.start_cycles > now:
            filled.append(Slice(Kind.IDLE, now, part.start_cycles, NONE))
        filled.append(part)
        now = part.end_cycles
    if now < end_cycles:
        filled.append(Slice(Kind.IDLE, now, end_cycles, NONE))
    return filled


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Every cycle from 0 to ``end_cycles``, accounted for. Slices are in order and do not overlap."""

    end_cycles: int
    tasks: tuple[tuple[Slice, ...], ...]
    """Per task, in order of arrival: from its arrival to its completion without a gap. A task that is being saved counts as
    waiting in the context table; here its save is a slice of its own."""
    npu: tuple[Slice, ...]
    """What the NPU did, without a gap: no slice waits."""

    @classmethod
    def of(
        cls,
        events: Iterable[Mapping[str, Any]],
        *,
        tasks: int,
        end_cycles: int,
        latency_cycles: int = 0,
        lookup: Lookup | None = None,
    ) -> Timeline:
        """Return the timeline of a whole event log (see :class:`TimelineBuilder` for the arguments)."""
        builder = TimelineBuilder(tasks, latency_cycles, lookup)
        for event in events:
            builder.feed(event["cycle"], event["event"], event["task"])
        return builder.timeline(end_cycles)

    def cycles(self, *kinds: Kind, task: int | None = None) -> int:
        """Return the cycles that went into ``kinds``: of the NPU, or of one task."""
        slices = self.npu if task is None else self.tasks[task]
        return sum(part.cycles for part in slices if part.kind in kinds)

    def accounts(self) -> dict[str, int]:
        """Return useful, wasted, overhead and idle cycles; their sum is ``end_cycles``."""
        return {name: self.cycles(*kinds) for name, kinds in ACCOUNTS.items()}


def shares(slices: Sequence[Slice], first_cycles: float, last_cycles: float, cells: int) -> list[Slice | None]:
    """Return, for each of ``cells`` equal stretches of time, the slice that fills most of it; None where none touches it."""
    best: list[Slice | None] = [None] * cells
    covered = [0.0] * cells
    width = (last_cycles - first_cycles) / cells
    for part in slices:
        begin, end = max(part.start_cycles, first_cycles), min(part.end_cycles, last_cycles)
        if begin >= end:
            continue
        for cell in range(int((begin - first_cycles) / width), min(int((end - first_cycles) / width), cells - 1) + 1):
            left = first_cycles + cell * width
            cover = min(end, left + width) - max(begin, left)
            if cover > covered[cell]:
                best[cell], covered[cell] = part, cover
    return best
