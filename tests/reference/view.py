"""What a policy may know of the reference machine: table, status, observation. Formulas follow the documented feature tables."""

from __future__ import annotations

import math

from reference.machine import ARRIVAL, COMPLETION, QUANTUM, Machine
from reference.parts import Task

Number = int | float

CAUSE_BITS = {COMPLETION: 1, ARRIVAL: 2, QUANTUM: 4}
REFERENCE = 1e6
"""Cycles that absolute times are taken relative to."""


def status(machine: Machine) -> dict[str, Number]:
    """Return the NPU's status by field name."""
    least, most = machine.finished.range
    return {
        "clock_cycles": machine.clock,
        "dispatch_cycles": machine.dispatch_cycle,
        "last_switch_cycles": machine.last_switch,
        "last_arrival_cycles": machine.last_arrival,
        "min_log_pp": least,
        "max_log_pp": most,
        "running_slot": -1 if machine.running is None or machine.running.slot is None else machine.running.slot,
        "last_slot": -1 if machine.last_slot is None else machine.last_slot,
        "cause": sum(CAUSE_BITS[cause] for cause in machine.causes),
        "ready": len(machine.waiting),
        "finished": len(machine.finished.log_pp),
    }


def slot(machine: Machine, index: int) -> dict[str, Number]:
    """Return the row ``index`` of the context table by field name; an empty slot has only a state."""
    task = machine.table[index]
    if task is None:
        return {"state": 0}
    return {
        "state": 1 if task.ready else 2,
        "task": task.index,
        "priority": task.priority,
        "arrival_cycles": task.arrival,
        "predicted_cycles": task.program.predicted,
        "length_estimated": task.program.estimated,
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


def observation(machine: Machine) -> list[float]:
    """Return the flat observation: 15 features per slot, then 9 global ones."""
    features: list[float] = []
    for task in machine.table:
        features += [0.0] * 15 if task is None else _slot_features(machine, task)
    return features + _global_features(machine)


def remaining(task: Task) -> float:
    """Return the predicted remaining cycles: never less than 1 % of the predicted total."""
    return max(task.program.predicted - task.position, 0.01 * task.program.predicted)


def _slot_features(machine: Machine, task: Task) -> list[float]:
    now, predicted = machine.clock, task.program.predicted
    elapsed = now - task.arrival
    saved = task.program.saves[task.context] if task.context is not None else 0
    return [
        1.0,
        float(task is machine.running),
        float(task.priority == 1),
        float(task.priority == 3),
        float(task.priority == 9),
        clip(math.log(task.token) / 4, 0, 4),
        clip(math.log(1 + elapsed / predicted) / 4, 0, 4),
        clip(math.log(1 + task.waited(now) / predicted) / 4, 0, 4),
        clip(math.log(predicted / REFERENCE) / 4, -4, 4),
        clip(math.log(remaining(task) / REFERENCE) / 4, -4, 4),
        clip(task.position / predicted, 0, 4),
        float(task.position > predicted),
        float(task.program.estimated),
        clip(machine.rules.transfer(saved) / 16503, 0, 8),
        clip(math.log((elapsed + remaining(task)) / predicted) / 4, -2, 4),
    ]


def _global_features(machine: Machine) -> list[float]:
    now = machine.clock
    backlog = sum(remaining(task) for task in machine.table if task is not None)
    least, most = machine.finished.range
    return [
        len(machine.waiting) / len(machine.table),
        clip(math.log(1 + backlog / REFERENCE) / 4, 0, 4),
        clip(math.log(1 + (now - machine.last_switch) / REFERENCE) / 4, 0, 4),
        clip(math.log(1 + (now - machine.last_arrival) / REFERENCE) / 4, 0, 4),
        clip(least / 4, -4, 4),
        clip(most / 4, -4, 4),
        float(COMPLETION in machine.causes),
        float(ARRIVAL in machine.causes),
        float(QUANTUM in machine.causes),
    ]


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
