"""From an event log to slices of time: what every task and every NPU did, to the cycle."""

from __future__ import annotations

import dataclasses
import itertools
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
    """The task has arrived and is on no NPU."""
    JOINED = "joined"
    """The task is in a batch that another one leads, and that is on an NPU. It belongs to no account: its leader's slices do."""
    IDLE = "idle"
    """The NPU has nothing to do."""


ACCOUNTS = {
    "useful": (Kind.EXECUTE,),
    "wasted": (Kind.KILLED,),
    "overhead": (Kind.SAVE, Kind.RESTORE, Kind.REFILL, Kind.STALL),
    "idle": (Kind.IDLE,),
}
"""Which slices of an NPU make up each account; together they are the time that has passed."""


class Slice(NamedTuple):
    """A stretch of one kind, from ``start_cycles`` up to, but not with, ``end_cycles``."""

    kind: Kind
    start_cycles: int
    end_cycles: int
    task: int
    """Whose it is, by order of arrival; NONE where it is nobody's."""
    nbytes: int = 0
    """Moved over the DRAM port by a save or a restore; 0 where unknown."""
    npu: int = NONE
    """On which NPU it happened; NONE where a task waits."""
    members: tuple[int, ...] = ()
    """Who runs with the task in the batch that it leads, in order of arrival; nobody where it runs by itself."""
    leader: int = NONE
    """Of a joined slice: the task that leads the batch."""

    @property
    def cycles(self) -> int:
        """Its length."""
        return self.end_cycles - self.start_cycles


class Context(NamedTuple):
    """What a preemption point costs."""

    save_bytes: int
    restore_bytes: int
    restore_cycles: int
    """Of the transfer; what a dispatch takes beyond it is the refill."""


Lookup = Callable[..., Context]
"""``lookup(task, executed_cycles, npu)`` returns the context of the point at which ``task`` has committed on ``npu``; of a batch
its members follow: ``lookup(task, executed_cycles, npu, *members)``."""


class _Lane:
    """The slices of one task as they come. ``kind`` is what it does from ``since`` on, None before arrival and after completion."""

    def __init__(self, task: int) -> None:
        self.task = task
        self.slices: list[Slice] = []
        self.kind: Kind | None = None
        self.npu = NONE
        self.since = 0
        self.executed_cycles = 0
        self.first_kept = 0  # before it, in ``slices``, lie earlier lives that ended in a KILL
        self.context: Context | None = None
        self.members: tuple[int, ...] = ()  # of the batch that it leads
        self.leader = NONE  # of the batch that it has joined

    def close(self, cycle: int) -> list[Slice]:
        """Return the slices that end at ``cycle`` if what is going on ends there."""
        if self.kind is None or cycle <= self.since:
            return []
        nbytes, middle = 0, cycle
        if self.context is not None and self.kind is Kind.SAVE:
            nbytes = self.context.save_bytes
        if self.context is not None and self.kind is Kind.RESTORE:
            nbytes = self.context.restore_bytes
            middle = min(self.since + self.context.restore_cycles, cycle)
        members = self.members if self.npu != NONE else ()
        leader = self.leader if self.kind is Kind.JOINED else NONE
        parts = [
            Slice(self.kind, self.since, middle, self.task, nbytes, self.npu, members, leader),
            Slice(Kind.REFILL, middle, cycle, self.task, 0, self.npu, members),
        ]
        return [part for part in parts if part.cycles]

    def turn(self, kind: Kind | None, cycle: int, npu: int = NONE) -> None:
        """Do ``kind`` from ``cycle`` on."""
        ended = self.close(cycle)
        self.slices += ended
        self.executed_cycles += sum(part.cycles for part in ended if part.kind is Kind.EXECUTE)
        self.kind, self.since, self.npu = kind, cycle, npu

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

    ``tasks`` is how many the episode has, or the numbers of those that the events are about; ``npus`` how many NPUs the row,
    ``latency_cycles`` what an asked decision costs. With a ``lookup``, saves and restores know their bytes, and refills are told
    from restores; without, a restore slice holds both.
    """

    def __init__(self, tasks: int | Iterable[int], latency_cycles: int = 0, lookup: Lookup | None = None, *, npus: int = 1) -> None:
        self._lanes = {task: _Lane(task) for task in (range(tasks) if isinstance(tasks, int) else tasks)}
        self._latency_cycles = latency_cycles
        self._lookup = lookup
        self._running: list[_Lane | None] = [None] * npus
        self._stalls: list[Slice] = []

    def feed(self, cycle: int, event: str, task: int, npu: int) -> None:
        """Take one event; an unknown one changes nothing."""
        handler = self._HANDLERS.get(event)
        if handler is not None:
            handler(self, cycle, task, npu)

    def _arrival(self, cycle: int, task: int, npu: int) -> None:
        self._lanes[task].turn(Kind.WAIT, cycle)

    def _dispatch(self, cycle: int, task: int, npu: int) -> None:
        self._running[npu] = lane = self._lanes[task]
        lane.turn(Kind.RESTORE, cycle, npu)
        self._turn_members(lane, Kind.JOINED, cycle, npu)

    def _join(self, cycle: int, task: int, npu: int) -> None:
        """Let a task run with the one that was just dispatched. Where its leader is none of these tasks, it goes on waiting."""
        leader = self._running[npu]
        if leader is not None:
            leader.members += (task,)
            self._lanes[task].leader = leader.task
            self._lanes[task].turn(Kind.JOINED, cycle, npu)

    def _turn_members(self, leader: _Lane, kind: Kind, cycle: int, npu: int = NONE) -> None:
        for member in leader.members:
            self._lanes[member].turn(kind, cycle, npu)

    def _run(self, cycle: int, task: int, npu: int) -> None:
        self._lanes[task].turn(Kind.EXECUTE, cycle, npu)
        self._lanes[task].context = None

    def _commit(self, cycle: int, task: int, npu: int) -> None:
        lane = self._lanes[task]
        lane.turn(Kind.SAVE, cycle, npu)
        lane.context = self._lookup(task, lane.executed_cycles, npu, *lane.members) if self._lookup else None
        self._turn_members(lane, Kind.WAIT, cycle)
        self._running[npu] = None

    def _saved(self, cycle: int, task: int, npu: int) -> None:
        self._lanes[task].turn(Kind.WAIT, cycle)

    def _kill(self, cycle: int, task: int, npu: int) -> None:
        lane = self._lanes[task]
        lane.turn(Kind.WAIT, cycle)
        lane.drop_progress()
        self._turn_members(lane, Kind.WAIT, cycle)
        lane.members = ()
        self._running[npu] = None

    def _completion(self, cycle: int, task: int, npu: int) -> None:
        self._lanes[task].turn(None, cycle)
        self._running[npu] = None

    def _stall(self, cycle: int, task: int, npu: int) -> None:
        """The latency is known, so its end needs no event: the running task runs on there unless it is switched away."""
        end = cycle + self._latency_cycles
        running = self._running[npu]
        if running is None:
            self._stalls.append(Slice(Kind.STALL, cycle, end, NONE, npu=npu))
        else:
            running.turn(Kind.STALL, cycle, npu)
            running.turn(Kind.EXECUTE, end, npu)

    _HANDLERS: Mapping[str, Callable[[TimelineBuilder, int, int, int], None]] = {
        "arrival": _arrival,
        "dispatch": _dispatch,
        "join": _join,
        "run": _run,
        "commit": _commit,
        "saved": _saved,
        "kill": _kill,
        "completion": _completion,
        "stall": _stall,
    }

    def timeline(self, end_cycles: int) -> Timeline:
        """Return the slices up to ``end_cycles``, which no event that was fed is beyond. A stall may last longer: it is cut."""
        tasks = tuple(_until(end_cycles, [*lane.slices, *lane.close(end_cycles)]) for lane in self._lanes.values())
        lanes: list[list[Slice]] = [[] for _ in self._running]
        for part in itertools.chain(*tasks, _until(end_cycles, self._stalls)):
            if part.npu != NONE and part.kind is not Kind.JOINED:
                lanes[part.npu].append(part)
        npus = (_with_idle(sorted(lane, key=_start), end_cycles, npu) for npu, lane in enumerate(lanes))
        return Timeline(end_cycles, tasks, tuple(map(tuple, npus)))


def _until(end_cycles: int, slices: Iterable[Slice]) -> tuple[Slice, ...]:
    """Return the slices as far as ``end_cycles``."""
    begun = (part for part in slices if part.start_cycles < end_cycles)
    return tuple(part if part.end_cycles <= end_cycles else part._replace(end_cycles=end_cycles) for part in begun)


def _start(part: Slice) -> int:
    return part.start_cycles


def _with_idle(busy: Iterable[Slice], end_cycles: int, npu: int) -> list[Slice]:
    """Return the slices of an NPU with the gaps between them filled by idle ones."""
    filled: list[Slice] = []
    now = 0
    for part in busy:
        if part.start_cycles > now:
            filled.append(Slice(Kind.IDLE, now, part.start_cycles, NONE, npu=npu))
        filled.append(part)
        now = part.end_cycles
    if now < end_cycles:
        filled.append(Slice(Kind.IDLE, now, end_cycles, NONE, npu=npu))
    return filled


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Every cycle from 0 to ``end_cycles``, accounted for on every NPU. Slices of a lane are in order and do not overlap."""

    end_cycles: int
    tasks: tuple[tuple[Slice, ...], ...]
    """Per task, in order of arrival: from its arrival to its completion without a gap. A task that is being saved counts as
    waiting in the context table; here its save is a slice of its own. Members of a batch wait from its commit on."""
    npus: tuple[tuple[Slice, ...], ...]
    """What each NPU did, without a gap: no slice waits. A batch is there once, as slices of its leader."""

    @property
    def npu(self) -> tuple[Slice, ...]:
        """The slices of NPU 0, the only one unless there are several."""
        return self.npus[0]

    @classmethod
    def of(
        cls,
        events: Iterable[Mapping[str, Any]],
        *,
        tasks: int,
        end_cycles: int,
        latency_cycles: int = 0,
        lookup: Lookup | None = None,
        npus: int = 1,
    ) -> Timeline:
        """Return the timeline of a whole event log (see :class:`TimelineBuilder` for the arguments)."""
        builder = TimelineBuilder(tasks, latency_cycles, lookup, npus=npus)
        for event in events:
            builder.feed(event["cycle"], event["event"], event["task"], event["npu"])
        return builder.timeline(end_cycles)

    def cycles(self, *kinds: Kind, task: int | None = None, npu: int | None = None) -> int:
        """Return the cycles that went into ``kinds``: of all NPUs or of one, on all tasks or on one."""
        lanes = self.npus if task is None else (self.tasks[task],)
        return sum(part.cycles for lane in lanes for part in lane if part.kind in kinds and npu in (None, part.npu))

    def accounts(self, npu: int | None = None) -> dict[str, int]:
        """Return useful, wasted, overhead and idle cycles of all NPUs, or of one; of each NPU their sum is ``end_cycles``."""
        return {name: self.cycles(*kinds, npu=npu) for name, kinds in ACCOUNTS.items()}


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
