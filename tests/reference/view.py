"""What a policy may know of the reference machine: table, status, observation. Formulas follow the documented feature tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reference.machine import Machine
from reference.parts import ARRIVAL, BOUND, COMPLETION, QUANTUM, READY, RUNNING, WAITING, Task

Number = int | float

CAUSE_BITS = {COMPLETION: 1, ARRIVAL: 2, QUANTUM: 4, READY: 8}
STATES = {WAITING: 1, RUNNING: 2, BOUND: 3}
EMPTY_SLOT = {
    "state": 0,
    "task": -1,
    "program": -1,
    "priority": 0,
    "arrival_cycles": 0,
    "predicted_cycles": 0,
    "deadline_cycles": -1,
    "length_estimated": False,
    "executed_cycles": 0,
    "waited_cycles": 0,
    "accounted_cycles": 0,
    "token": 0.0,
    "token_whole_wait": 0.0,
    "last_dispatch_cycles": -1,
    "preemptions": 0,
    "saved_bytes": 0,
    "restore_bytes": 0,
    "refill_cycles": 0,
}
"""Nothing of a task stays behind it."""
REFERENCE = 1e6
"""Cycles that absolute times are taken relative to."""


def status(machine: Machine) -> dict[str, Number]:
    """Return the status of a machine with one NPU by field name."""
    (npu,) = machine.npus
    least, most = machine.finished.range
    return {
        "clock_cycles": machine.clock,
        "dispatch_cycles": npu.dispatch_cycle,
        "last_switch_cycles": npu.last_switch,
        "last_arrival_cycles": machine.last_arrival,
        "min_log_pp": least,
        "max_log_pp": most,
        "running_slot": -1 if npu.running is None or npu.running.slot is None else npu.running.slot,
        "last_slot": -1 if npu.last_slot is None else npu.last_slot,
        "cause": sum(CAUSE_BITS[cause] for cause in machine.causes),
        "ready": len(machine.waiting),
        "finished": len(machine.finished.log_pp),
    }


def slot(machine: Machine, index: int) -> dict[str, Number]:
    """Return the row ``index`` of the context table by field name."""
    task = machine.table[index]
    return dict(EMPTY_SLOT) if task is None else slot_of(machine, task)


def slot_of(machine: Machine, task: Task) -> dict[str, Number]:
    """Return the row of ``task`` by field name."""
    return {
        "state": STATES[task.state],
        "task": task.index,
        "priority": task.priority,
        "arrival_cycles": task.arrival,
        "predicted_cycles": machine.shown_program(task).predicted,
        "deadline_cycles": -1 if task.deadline is None else task.deadline,
        "length_estimated": machine.shown_program(task).estimated,
        "executed_cycles": task.position,
        "waited_cycles": task.waited(machine.clock),
        "token": task.token,
        "token_whole_wait": task.token_whole_wait,
        "last_dispatch_cycles": -1 if task.last_dispatch is None else task.last_dispatch,
        "preemptions": task.preemptions,
        **_context(task),
    }


def _context(task: Task) -> dict[str, Number]:
    if task.context is None:
        return {"saved_bytes": 0, "restore_bytes": 0, "refill_cycles": 0}
    program, point = task.program, task.context
    return {
        "saved_bytes": program.saves[point],
        "restore_bytes": program.restores[point],
        "refill_cycles": program.refills[point],
    }


def observation(machine: Machine, slot_names: Sequence[str], global_names: Sequence[str]) -> list[float]:
    """Return the flat observation: the named features of each slot, then the named global ones."""
    features: list[float] = []
    for task in machine.table:
        shown = dict.fromkeys(slot_names, 0.0) if task is None else slot_features(machine, task)
        features += [shown[name] for name in slot_names]
    shown = global_features(machine)
    return features + [shown[name] for name in global_names]


def remaining(machine: Machine, task: Task) -> float:
    """Return the predicted remaining cycles: never less than 1 % of the predicted total."""
    predicted = machine.shown_program(task).predicted
    return max(predicted - task.position, 0.01 * predicted)


def slot_features(machine: Machine, task: Task) -> dict[str, float]:
    """Return what the observation may tell of a task, by feature name."""
    now, program = machine.clock, machine.shown_program(task)
    predicted = program.predicted
    elapsed = now - task.arrival
    saved = program.saves[task.context] if task.context is not None else 0
    return {
        "present": 1.0,
        "running": float(task.state == RUNNING),
        "priority_low": float(task.priority == 1),
        "priority_medium": float(task.priority == 3),
        "priority_high": float(task.priority == 9),
        "log_token": clip(math.log(task.token) / 4, 0, 4),
        "log_elapsed": clip(math.log(1 + elapsed / predicted) / 4, 0, 4),
        "log_waited": clip(math.log(1 + task.waited(now) / predicted) / 4, 0, 4),
        "log_predicted": clip(math.log(predicted / REFERENCE) / 4, -4, 4),
        "log_remaining": clip(math.log(remaining(machine, task) / REFERENCE) / 4, -4, 4),
        "executed": clip(task.position / predicted, 0, 4),
        "overrun": float(task.position > predicted),
        "length_estimated": float(program.estimated),
        "saved_context": clip(machine.npus[0].hardware.transfer(saved) / 16503, 0, 8),
        "log_projected_ntt": clip(math.log((elapsed + remaining(machine, task)) / predicted) / 4, -2, 4),
        "preemptions": clip(task.preemptions / 8, 0, 4),
    }


def global_features(machine: Machine) -> dict[str, float]:
    """Return what the observation may tell of the NPU, by feature name."""
    now = machine.clock
    backlog = sum(remaining(machine, task) for task in machine.table if task is not None)
    least, most = machine.finished.range
    return {
        "ready_share": len(machine.waiting) / len(machine.table),
        "log_backlog": clip(math.log(1 + backlog / REFERENCE) / 4, 0, 4),
        "log_since_switch": clip(math.log(1 + (now - machine.npus[0].last_switch) / REFERENCE) / 4, 0, 4),
        "log_since_arrival": clip(math.log(1 + (now - machine.last_arrival) / REFERENCE) / 4, 0, 4),
        "min_log_pp": clip(least / 4, -4, 4),
        "max_log_pp": clip(most / 4, -4, 4),
        "completion": float(COMPLETION in machine.causes),
        "arrival": float(ARRIVAL in machine.causes),
        "quantum": float(QUANTUM in machine.causes),
    }


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
