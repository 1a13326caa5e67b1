"""Everything that a user can see of the reference machine, with one or more NPUs, as plain values under fixed names."""

from __future__ import annotations

from typing import Any

from reference import batching, view
from reference.machine import Machine
from reference.npu import NPU
from reference.parts import JOINED, RUNNING, Task


def snapshot(machine: Machine) -> dict[str, Any]:
    """Return clock, outcome, question, cause, timers, the status of each NPU, the table, and the cycles of all NPUs together.

    Times are cycles. Absent indices are -1. ``slots`` has one dict per row of the table, ``npus`` one per NPU. With batching each
    slot, an empty one too, has a dict under "batch".
    """
    question, (least, most) = machine.question, machine.finished.range
    return {
        "clock_cycles": machine.clock,
        "terminated": machine.terminated,
        "truncated": machine.truncated,
        "asked_npu": -1 if question is None else question.npu.index,
        "asking_pass": 0 if question is None else question.asking_pass,
        "cause": sorted(machine.causes),
        "mask": machine.mask(),
        "decisions": machine.decisions - (question is not None),
        "quantum_due_cycles": machine.quantum_due,
        "horizon_cycles": machine.horizon,
        "last_arrival_cycles": machine.last_arrival,
        "backlog": len(machine.backlog),
        "oldest_backlog_cycles": machine.backlog[0].arrival if machine.backlog else -1,
        "arrival_gap_cycles": machine.gap,
        "ready": len(machine.waiting),
        "finished": len(machine.finished.log_pp),
        "min_log_pp": least,
        "max_log_pp": most,
        "npus": [npu_status(npu) for npu in machine.npus],
        "slots": [slot(machine, task) for task in machine.table],
        "account": dict(vars(machine.account)),
    }


def npu_status(npu: NPU) -> dict[str, Any]:
    """Return what shows of an NPU. Its phase, or "run" or "idle"; "latency" on an idle NPU follows a keep."""
    return {
        "phase": npu.doing,
        "running_slot": _slot(npu.running),
        "bound_slot": _slot(npu.bound),
        "last_slot": -1 if npu.last_slot is None else npu.last_slot,
        "dispatch_cycles": npu.dispatch_cycle,
        "last_switch_cycles": npu.last_switch,
    }


def slot(machine: Machine, task: Task | None) -> dict[str, Any]:
    """Return what shows of a row of the table; nothing of a task stays behind it."""
    batch = {"batch": batching.shown(machine, task)} if machine.rules.batching > 1 else {}
    if task is None:
        return {"state": "empty", **batch}
    leader = task.leader
    return {
        "state": task.state,
        "npu": -1 if leader.npu is None else leader.npu,
        "choosable": machine.question is not None and task in machine.question.choosable,
        "saving": task.saving,
        "configuration": leader.configuration if _is_settled(task) else None,
        "predicted_fastest_cycles": task.predicted,
        **{name: value for name, value in view.slot_of(machine, task).items() if name != "state"},
        **batch,
    }


def _is_settled(task: Task) -> bool:
    """Return whether its configuration shows: with progress, and of a task that has joined another also while that one runs."""
    return task.leader.position > 0 or (task.state == JOINED and task.leader.state == RUNNING)


def _slot(task: Task | None) -> int:
    return -1 if task is None or task.slot is None else task.slot
