"""What there is to see at one moment: the clock, the tasks that have arrived, the NPU's past. All render modes draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prema_gym.config import NPUConfig
from prema_gym.metrics import SLA_TARGETS
from prema_gym.rendering.timeline import Timeline
from prema_gym.sim.simulator import Simulator
from prema_gym.types import ASKING, CAUSE_ARRIVAL, CAUSE_COMPLETION, CAUSE_QUANTUM, NONE, RUNNING

CAUSES = {"completion": CAUSE_COMPLETION, "arrival": CAUSE_ARRIVAL, "quantum": CAUSE_QUANTUM}
"""Bits of an invocation's cause by name."""
MAX_ROWS = 16
"""Tasks that are shown at once."""

RUNS, WAITS, SAVED, DONE = "runs", "waits", "saved", "done"
"""What a task does: "saved" waits with a context in DRAM."""


@dataclass(frozen=True)
class TaskRow:
    """A task that has arrived."""

    task: int
    model: str
    batch: int
    priority: int
    state: str
    progress: float
    """Executed over predicted, at most 1."""
    token: float
    """NaN once it is done."""
    ntt: float
    """Turnaround over isolated time, so far."""
    saved_bytes: int
    sla_target: int
    """The tightest SLA target that it has not missed; the loosest where it has missed all."""
    slack_ms: float
    """Time left until that target is missed, or what was left at completion; negative once the loosest is."""


@dataclass(frozen=True)
class Scene:
    """One moment of an episode."""

    npu: NPUConfig
    now_cycles: int
    cause: str
    """Events of the latest invocation; "end" after the last one."""
    decisions: int
    rows: tuple[TaskRow, ...]
    """At most MAX_ROWS, in order of arrival: the running one, those that wait longest, those that came last."""
    arrived: int
    waiting: int
    finished: int
    timeline: Timeline

    @property
    def now_ms(self) -> float:
        """The clock in milliseconds."""
        return self.npu.ms(self.now_cycles)

    @property
    def running(self) -> int:
        """The task on the NPU, NONE while it idles."""
        return next((row.task for row in self.rows if row.state == RUNS), NONE)


def cause_name(cause: int) -> str:
    """Return the events of an invocation, as in "completion, arrival"."""
    return ", ".join(name for name, bit in CAUSES.items() if cause & bit)


def sla_slack(age_cycles: int, isolated_cycles: int) -> tuple[int, int]:
    """Return the tightest SLA target that a task of this age has not missed, and the cycles left until it does.

    The loosest target where it has missed all: then the cycles are negative.
    """
    target = min(max(-(-age_cycles // isolated_cycles), SLA_TARGETS[0]), SLA_TARGETS[-1])
    return target, target * isolated_cycles - age_cycles


def _row(npu: NPUConfig, index: int, task: dict[str, Any], slot: np.void | None, now: int) -> TaskRow:
    end = now if slot is not None else task["completion_cycles"]
    age = end - task["arrival_cycles"]
    target, slack = sla_slack(age, task["isolated_cycles"])
    state, progress, token, saved = DONE, 1.0, float("nan"), 0
    if slot is not None:
        saved = int(slot["saved_bytes"])
        state = RUNS if slot["state"] == RUNNING else SAVED if saved else WAITS
        progress = min(int(slot["executed_cycles"]) / int(slot["predicted_cycles"]), 1.0)
        token = float(slot["token"])
    return TaskRow(
        task=index,
        model=task["model"],
        batch=task["batch"],
        priority=task["priority"],
        state=state,
        progress=progress,
        token=token,
        ntt=age / task["isolated_cycles"],
        saved_bytes=saved,
        sla_target=target,
        slack_ms=npu.ms(slack),
    )


_ORDER = {RUNS: 0, WAITS: 1, SAVED: 1, DONE: 2}


def _shown(rows: Sequence[TaskRow]) -> tuple[TaskRow, ...]:
    """Return the rows to show, in order of arrival."""

    def urgency(row: TaskRow) -> tuple[int, int]:
        return _ORDER[row.state], -row.task if row.state == DONE else row.task

    return tuple(sorted(sorted(rows, key=urgency)[:MAX_ROWS], key=lambda row: row.task))


def scene_of(simulator: Simulator, timeline: Timeline) -> Scene:
    """Return what there is to see in row 0 of ``simulator``, whose past is ``timeline``."""
    machine, status = simulator.state.machine[0], simulator.state.status[0]
    now, npu = int(status["clock_cycles"]), simulator.config.npu
    slots = {int(slot["task"]): slot for slot in simulator.state.table[0] if slot["task"] != NONE}
    tasks = simulator.describe_tasks(0)[: int(machine["next_task"])]
    rows = [_row(npu, index, task, slots.get(index), now) for index, task in enumerate(tasks)]
    return Scene(
        npu=npu,
        now_cycles=now,
        cause=cause_name(int(status["cause"])) if machine["outcome"] == ASKING else "end",
        decisions=int(machine["decisions"]),
        rows=_shown(rows),
        arrived=len(rows),
        waiting=int(status["ready"]),
        finished=int(status["finished"]),
        timeline=timeline,
    )
