"""What a policy may know of the reference machine: table and status."""

from __future__ import annotations

from reference.machine import Machine
from reference.parts import ARRIVAL, BOUND, COMPLETION, JOINED, QUANTUM, READY, RUNNING, WAITING, Task

Number = int | float

CAUSE_BITS = {COMPLETION: 1, ARRIVAL: 2, QUANTUM: 4, READY: 8}
STATES = {WAITING: 1, RUNNING: 2, BOUND: 3, JOINED: 7}
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
