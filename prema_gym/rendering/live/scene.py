"""What there is to see at one moment: the clock, the tasks that have arrived, the NPUs' past. All render modes draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from prema_gym.config import NPUConfig
from prema_gym.metrics import SLA_TARGETS
from prema_gym.rendering.episode import batch_name, npu_labels
from prema_gym.rendering.live.past import Past
from prema_gym.rendering.style import color_of
from prema_gym.rendering.timeline import Slice, Timeline
from prema_gym.sim.simulator import Simulator
from prema_gym.types import (
    ASKING,
    BOUND,
    CAUSE_ARRIVAL,
    CAUSE_COMPLETION,
    CAUSE_QUANTUM,
    CAUSE_READY,
    ELSEWHERE,
    JOINED,
    NONE,
    RUNNING,
    SAVING,
)

CAUSES = {"completion": CAUSE_COMPLETION, "arrival": CAUSE_ARRIVAL, "quantum": CAUSE_QUANTUM, "ready": CAUSE_READY}
"""Bits of an invocation's cause by name."""
MAX_ROWS = 16
"""Tasks that are shown at once."""

RUNS, NEXT, SAVES, WAITS, SAVED, IN_BATCH, DONE = "runs", "next", "saves", "waits", "saved", "joined", "done"
"""What a task does. "saved" waits with a context in DRAM, "saves" waits while it is on its way there. "next" is bound to an NPU
that switches. "joined" is in a batch that another leads, which runs or waits. One NPU is never seen while it switches."""
_BUSY_STATES = {RUNNING: RUNS, ELSEWHERE: RUNS, BOUND: NEXT, SAVING: SAVES, JOINED: IN_BATCH}
"""By state of the slot: what a task does that an NPU is busy with, or a batch."""


@dataclass(frozen=True)
class NpuRow:
    """An NPU."""

    label: str
    task: int
    """On it; NONE where there is none."""
    next_task: int
    """For which it switches; NONE where there is none."""
    is_asked: bool
    """Whether this is its decision. Where there is one NPU nothing is said about it."""
    members: tuple[int, ...] = ()
    """Who runs with the task on it, or will with the next one."""

    @property
    def doing(self) -> str:
        """What it does, in words."""
        if self.next_task != NONE:
            return f"switches to {batch_name(self.next_task, self.members)}"
        return "idle" if self.task == NONE else f"runs {batch_name(self.task, self.members)}"


@dataclass(frozen=True)
class TaskRow:
    """A task that has arrived."""

    task: int
    model: str
    batch: int
    priority: int
    state: str
    npu: int
    """That is busy with it; NONE where none is, or where there is one NPU."""
    progress: float
    """Executed over predicted, at most 1; of a batch where it is in one."""
    token: float
    """NaN once it is done."""
    ntt: float
    """Turnaround over isolated time, so far."""
    saved_bytes: int
    sla_target: int
    """The tightest SLA target that it has not missed; the loosest where it has missed all; 0 where it has a deadline of its own."""
    slack_ms: float
    """Time left until that target, or the deadline, is missed, or what was left at completion; negative once it is."""
    leader: int = NONE
    """Who leads the batch that it has joined."""
    waits: bool = False
    """Whether it is on no NPU, be it in a batch that waits."""

    @property
    def where(self) -> str:
        """Its state, and whom it has joined, else the NPU where there are several: "runs 2", "joined #5"."""
        if self.leader != NONE:
            return f"{self.state} #{self.leader}"
        return self.state if self.npu == NONE else f"{self.state} {self.npu}"

    @property
    def where_in_short(self) -> str:
        """The same in few characters: "in #5"."""
        return self.where if self.leader == NONE else f"in #{self.leader}"


@dataclass(frozen=True)
class Scene:
    """One moment of an episode."""

    npu: NPUConfig
    npus: tuple[NpuRow, ...]
    now_cycles: int
    cause: str
    """Events of the latest invocation; "end" after the last one."""
    decisions: int
    rows: tuple[TaskRow, ...]
    """At most MAX_ROWS, in order of arrival: the running ones, those that wait longest, those that have joined a batch, those that
    came last."""
    priorities: Mapping[int, int]
    """Of the tasks that the timeline is about, by number."""
    waiting: int
    finished: int
    arrived: int
    """Tasks that have arrived."""
    listed: int
    """Tasks that there could be rows for: all that have arrived, of a stream those in the table."""
    timeline: Timeline
    since_cycles: int = 0
    """Where the timeline begins: of a stream only the recent past is shown."""
    backlog: int | None = None
    """Requests of a stream that wait for a slot of the table; None where episodes are closed."""
    batching: bool = False
    """Whether tasks may run in batches."""

    @property
    def now_ms(self) -> float:
        """The clock in milliseconds."""
        return self.npu.ms(self.now_cycles)

    @property
    def since_ms(self) -> float:
        """Where the timeline begins, in milliseconds."""
        return self.npu.ms(self.since_cycles)

    def lane(self, task: int) -> tuple[Slice, ...]:
        """Return the slices of a task."""
        return self._lanes.get(task, ())

    @cached_property
    def _lanes(self) -> dict[int, tuple[Slice, ...]]:
        return {slices[0].task: slices for slices in self.timeline.tasks if slices}

    @property
    def busy(self) -> int:
        """NPUs that have a task or are about to."""
        return sum(npu.doing != "idle" for npu in self.npus)

    @property
    def asked(self) -> NpuRow | None:
        """The NPU whose decision this is, where there are several."""
        return next((npu for npu in self.npus if npu.is_asked), None)

    def color_of(self, part: Slice) -> str:
        """Return the colour of a slice."""
        return color_of(part.kind, 0 if part.task == NONE else self.priorities[part.task])


def cause_name(cause: int) -> str:
    """Return the events of an invocation, as in "completion, arrival"."""
    return ", ".join(name for name, bit in CAUSES.items() if cause & bit)


def sla_slack(age_cycles: int, isolated_cycles: int) -> tuple[int, int]:
    """Return the tightest SLA target that a task of this age has not missed, and the cycles left until it does.

    The loosest target where it has missed all: then the cycles are negative.
    """
    target = min(max(-(-age_cycles // isolated_cycles), SLA_TARGETS[0]), SLA_TARGETS[-1])
    return target, target * isolated_cycles - age_cycles


def _row(simulator: Simulator, index: int, task: dict[str, Any], slot: np.void | None, leader: np.void | None) -> TaskRow:
    """Return the row of a task, which has left the table where ``slot`` is None, and has joined the ``leader`` if there is one."""
    npu, now = simulator.config.npu, int(simulator.state.status[0]["clock_cycles"])
    end = now if slot is not None else task["completion_cycles"]
    age = end - task["arrival_cycles"]
    target, slack = sla_slack(age, task["isolated_cycles"])
    if task["deadline_cycles"] != NONE:
        target, slack = 0, task["deadline_cycles"] - end
    present = _gone() if slot is None else _present(slot, leader, len(simulator.config.all_npus) > 1)
    return TaskRow(
        task=index,
        model=task["model"],
        batch=task["batch"],
        priority=task["priority"],
        ntt=age / task["isolated_cycles"],
        sla_target=target,
        slack_ms=npu.ms(slack),
        **present,
    )


def _gone() -> dict[str, Any]:
    return {"state": DONE, "npu": NONE, "progress": 1.0, "token": float("nan"), "saved_bytes": 0}


def _state(slot: np.void) -> str:
    return _BUSY_STATES.get(int(slot["state"]), SAVED if slot["saved_bytes"] else WAITS)


def _present(slot: np.void, leader: np.void | None, several: bool) -> dict[str, Any]:
    """Return what the table says of a task."""
    runs = slot if leader is None else leader
    return {
        "state": _state(slot),
        "npu": int(slot["npu"]) if several else NONE,
        "progress": min(int(runs["executed_cycles"]) / int(runs["predicted_cycles"]), 1.0),
        "token": float(slot["token"]),
        "saved_bytes": int(slot["saved_bytes"]),
        "leader": NONE if leader is None else int(leader["task"]),
        "waits": _state(runs) != RUNS,
    }


_ORDER = {RUNS: 0, NEXT: 0, SAVES: 1, WAITS: 1, SAVED: 1, IN_BATCH: 2, DONE: 3}


def _shown(rows: Sequence[TaskRow]) -> tuple[TaskRow, ...]:
    """Return the rows to show, in order of arrival."""

    def urgency(row: TaskRow) -> tuple[int, int]:
        return _ORDER[row.state], -row.task if row.state == DONE else row.task

    return tuple(sorted(sorted(rows, key=urgency)[:MAX_ROWS], key=lambda row: row.task))


def _leaders(simulator: Simulator) -> list[int]:
    """Return by slot the slot that leads the batch that its task has joined; NONE for leaders, and where there is none."""
    if simulator.config.batching == 1:
        return [NONE] * simulator.slots
    leaders = simulator.state.batches[0]["leader"].tolist()
    return [NONE if leader == slot else leader for slot, leader in enumerate(leaders)]


def _members(simulator: Simulator, leader: int) -> tuple[int, ...]:
    """Return the tasks that have joined that in slot ``leader``, in order of arrival."""
    if leader == NONE:
        return ()
    table = simulator.state.table[0]
    return tuple(sorted(int(table[slot]["task"]) for slot, other in enumerate(_leaders(simulator)) if other == leader))


def _npu_rows(simulator: Simulator, asking: bool) -> tuple[NpuRow, ...]:
    labels, asked = npu_labels(simulator.config), int(simulator.state.status[0]["npu"])
    tasks = [*simulator.state.table[0]["task"].tolist(), NONE]  # slot NONE is the last, which holds no task
    rows = []
    for index, (label, npu) in enumerate(zip(labels, simulator.state.npus[0], strict=True)):
        running, bound = int(npu["running_slot"]), int(npu["bound_slot"])
        is_asked = asking and len(labels) > 1 and index == asked
        members = _members(simulator, running if bound == NONE else bound)
        rows.append(NpuRow(label, tasks[running], tasks[bound], is_asked, members))
    return tuple(rows)


def _task_rows(simulator: Simulator) -> list[TaskRow]:
    """Return in order of arrival a row for every task that has arrived; of a stream for every request in the table."""
    table, leaders, stream = simulator.state.table[0], _leaders(simulator), simulator.config.stream
    slots = {int(entry["task"]): slot for slot, entry in enumerate(table) if entry["task"] != NONE}
    numbers = sorted(slots) if stream else range(int(simulator.state.machine[0]["next_task"]))
    rows = []
    for number, task in zip(numbers, simulator.describe_tasks(0), strict=False):
        slot = slots.get(number)
        leader = NONE if slot is None else leaders[slot]
        entries = (None if place in (None, NONE) else table[place] for place in (slot, leader))
        rows.append(_row(simulator, number, task, *entries))
    return rows


def scene_of(simulator: Simulator, past: Past) -> Scene:
    """Return what there is to see in row 0 of ``simulator``, whose past is ``past``."""
    machine, status = simulator.state.machine[0], simulator.state.status[0]
    now, npu, asking = int(status["clock_cycles"]), simulator.config.npu, bool(machine["outcome"] == ASKING)
    npus, stream = _npu_rows(simulator, asking), simulator.config.stream
    rows = _task_rows(simulator)
    return Scene(
        npu=npu,
        npus=npus,
        now_cycles=now,
        cause=cause_name(int(status["cause"])) if asking else "end",
        decisions=int(machine["decisions"]),
        rows=_shown(rows),
        priorities={**past.priorities, **{row.task: row.priority for row in rows}},
        waiting=sum(row.waits for row in rows),
        finished=int(status["finished"]),
        arrived=int(machine["next_task"]),
        listed=len(rows),
        timeline=past.timeline,
        since_cycles=past.since_cycles,
        backlog=int(status["backlog"]) if stream else None,
        batching=simulator.config.batching > 1,
    )
