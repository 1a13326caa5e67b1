"""The observation of the reference machine, feature by feature, by the documented tables and by their formulas alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from reference.batching import would_be
from reference.machine import Machine
from reference.npu import NPU
from reference.parts import ARRIVAL, BOUND, COMPLETION, JOINED, QUANTUM, READY, RUNNING, WAITING, Hardware, Task

REFERENCE = 1e6
"""Cycles that absolute times are taken relative to."""
FULL_CONTEXT = 16503
"""Cycles that context times are taken relative to."""


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def log(value: float) -> float:
    return clip(math.log(value) / 4, -4, 4)


def asinh(value: float) -> float:
    return clip(math.asinh(value) / 4, -4, 4)


def asked(machine: Machine) -> NPU:
    """Return the NPU that a decision is asked for; the first where none is."""
    return machine.npus[0] if machine.question is None else machine.question.npu


def hardware(machine: Machine) -> Hardware:
    return asked(machine).hardware


def offered(machine: Machine) -> list[Task]:
    """Return the tasks that the asked NPU may take; once the episode is over, those that wait."""
    return machine.waiting if machine.question is None else list(machine.question.choosable)


# --- Times --------------------------------------------------------------------------------------------------------------------


def floored(predicted: int, position: int) -> float:
    """Return what is left of a prediction: never less than 1 % of it."""
    return max(predicted - position, 0.01 * predicted)


def remaining(machine: Machine, task: Task) -> float:
    return floored(machine.shown_program(task).predicted, task.position)


def remaining_fastest(machine: Machine, task: Task) -> float:
    """Return the same on the fastest NPU; where there is progress, on the configuration that made it."""
    return remaining(machine, task) if task.position > 0 else task.predicted


def remaining_on(task: Task, npu: NPU) -> float:
    program = task.program if task.position > 0 else task.programs_now[npu.hardware.configuration]
    return floored(program.predicted, task.position)


def work_of(npu: NPU) -> float:
    """Return what an NPU has to do: the task on it, and the one that it is bound to run."""
    return sum(remaining_on(task, npu) for task in (npu.running, npu.bound) if task is not None)


# --- The group "base" ---------------------------------------------------------------------------------------------------------


def base_of_slot(machine: Machine, task: Task) -> dict[str, float]:
    now, program = machine.clock, machine.shown_program(task)
    predicted, left = program.predicted, remaining(machine, task)
    elapsed = now - task.arrival
    levels = sorted({*machine.rules.levels, *(each.priority for each in machine.tasks)})
    saved = task.program.saves[task.context] if task.context is not None else 0
    return {
        "present": 1.0,
        "ready": float(task in offered(machine)),
        "running": float(task.state == RUNNING and task.npu == asked(machine).index),
        "rank": levels.index(task.priority) / (len(levels) - 1) if len(levels) > 1 else 1.0,
        "executed": clip(task.position / predicted, 0, 4),
        "overrun": float(task.position > predicted),
        "length_estimated": float(program.estimated),
        "saved_context": clip(hardware(machine).transfer(saved) / FULL_CONTEXT, 0, 8),
        "log_priority": log(task.priority),
        "log_token": log(task.token),
        "log_elapsed": log(1 + elapsed / predicted),
        "log_waited": log(1 + task.waited(now) / predicted),
        "log_predicted": log(predicted / REFERENCE),
        "log_remaining": log(left / REFERENCE),
        "log_projected_ntt": log((elapsed + left) / predicted),
    }


def base_of_row(machine: Machine) -> dict[str, float]:
    now, npu = machine.clock, asked(machine)
    work = sum(remaining(machine, task) for task in machine.table if task is not None)
    least, most = machine.finished.range
    return {
        "log_work": log(1 + work / REFERENCE),
        "log_since_switch": log(1 + (now - npu.last_switch) / REFERENCE),
        "log_since_arrival": log(1 + (now - machine.last_arrival) / REFERENCE),
        "ready_share": len(offered(machine)) / len(machine.table),
        "min_log_pp": clip(least / 4, -4, 4),
        "max_log_pp": clip(most / 4, -4, 4),
        "completion": float(COMPLETION in machine.causes),
        "arrival": float(ARRIVAL in machine.causes),
        "quantum": float(QUANTUM in machine.causes),
    }


# --- The group "npus" ---------------------------------------------------------------------------------------------------------


def npus_of_slot(machine: Machine, task: Task) -> dict[str, float]:
    return {
        "log_fastest": log(remaining_fastest(machine, task) / REFERENCE),
        "log_slowdown": log(max(machine.shown_program(task).predicted / task.predicted, 1.0)),
        "elsewhere": float(task.state == RUNNING and task.npu != asked(machine).index),
        "bound": float(task.state == BOUND),
        "saving": float(task.state == WAITING and task.saving),
    }


def of_npu(machine: Machine, npu: NPU) -> dict[str, float]:
    tasks = [task for task in machine.table if task is not None]
    slowdowns = [task.programs_now[npu.hardware.configuration].predicted / task.predicted for task in tasks]
    has = npu.bound or npu.running
    switching = npu.doing not in {"run", "idle"}
    return {
        "npu_log_slowdown": log(max(sum(slowdowns) / len(slowdowns), 1.0)) if slowdowns else 0.0,
        "npu_log_work": log(1 + work_of(npu) / REFERENCE),
        "npu_log_priority": 0.0 if has is None else log(has.priority),
        "npu_idle": float(npu.running is None and not switching),
        "npu_next": float(npu.index > asked(machine).index and not switching),
    }


def in_order(machine: Machine) -> list[NPU]:
    """Return the asked NPU, then the others by what they have to do."""
    others = [npu for npu in machine.npus if npu is not asked(machine)]
    return [asked(machine), *sorted(others, key=lambda npu: (work_of(npu), npu.index))]


def npus_of_row(machine: Machine) -> dict[str, float]:
    name = hardware(machine).configuration
    tasks = [task for task in machine.table if task is not None]
    work = sum(remaining_fastest(machine, task) for task in tasks)
    here = sum(remaining_fastest(machine, task) for task in tasks if task.programs_now[name].predicted <= task.predicted)
    return {"fastest_here": here / work if work else 0.0, "became_ready": float(READY in machine.causes)}


# --- The groups "deadlines", "streams" and "batching" --------------------------------------------------------------------------


def deadlines_of_slot(machine: Machine, task: Task) -> dict[str, float]:
    if task.deadline is None:
        return dict.fromkeys(("slack", "slack_fastest", "has_deadline", "late", "late_everywhere"), 0.0)
    left = task.deadline - machine.clock
    slack, slack_fastest = left - remaining(machine, task), left - remaining_fastest(machine, task)
    return {
        "slack": asinh(slack / machine.shown_program(task).predicted),
        "slack_fastest": asinh(slack_fastest / task.predicted),
        "has_deadline": 1.0,
        "late": float(slack < 0),
        "late_everywhere": float(slack_fastest < 0),
    }


def stream_of_row(machine: Machine) -> dict[str, float]:
    oldest = machine.clock - machine.backlog[0].arrival if machine.backlog else 0
    return {
        "log_backlog": log(1 + len(machine.backlog)),
        "log_oldest": log(1 + oldest / REFERENCE),
        "log_gap": log(machine.gap / REFERENCE) if machine.gap > 0 else 0.0,
    }


def batching_of_slot(machine: Machine, task: Task) -> dict[str, float]:
    batch = task.batch
    flags = {
        "leads": float(batch is not None and batch.leader is task),
        "joined": float(task.state == JOINED),
        "batch_members": len(batch.tasks) / len(machine.table) if batch else 0.0,
    }
    if machine.question is None or task not in machine.question.choosable:
        return {**dict.fromkeys(("log_batch_predicted", "log_batch_density", "log_batch_wait"), 0.0), **flags, "batch_samples": 0.0}
    would = would_be(machine, machine.question.npu, task)
    left = floored(would.predicted, task.position)
    return {
        "log_batch_predicted": log(left / REFERENCE),
        "log_batch_density": log(would.weight / left * 1e12),
        "log_batch_wait": log(1 + (machine.clock - would.oldest) / REFERENCE),
        **flags,
        "batch_samples": min(would.samples / machine.rules.batching, 4.0),
    }


# --- The vector ---------------------------------------------------------------------------------------------------------------


def observation(machine: Machine, *, deadlines: bool = False) -> dict[str, list[float]]:
    """Return every feature by name, in the order of the vector: of all slots, of all NPUs, or one number of the row.

    ``deadlines`` says whether the workload has deadlines.
    """
    shown: dict[str, list[float]] = {}
    _add_slots(shown, machine, base_of_slot)
    _add_row(shown, base_of_row(machine))
    if len(machine.npus) > 1:
        _add_slots(shown, machine, npus_of_slot)
        for npu in in_order(machine):
            for name, value in of_npu(machine, npu).items():
                shown.setdefault(name, []).append(value)
        _add_row(shown, npus_of_row(machine))
    if deadlines:
        _add_slots(shown, machine, deadlines_of_slot)
    if machine.rules.horizon_requests is not None:
        _add_row(shown, stream_of_row(machine))
    if machine.rules.batching > 1:
        _add_slots(shown, machine, batching_of_slot)
    return shown


def _add_slots(shown: dict[str, list[float]], machine: Machine, features: Callable[[Machine, Task], dict[str, float]]) -> None:
    """Add the features of every slot; all are 0 where it is empty."""
    of_slots = [None if task is None else features(machine, task) for task in machine.table]
    names = next((list(each) for each in of_slots if each is not None), None)
    for name in names or NAMES[features.__name__]:
        shown[name] = [0.0 if each is None else each[name] for each in of_slots]


def _add_row(shown: dict[str, list[float]], features: dict[str, float]) -> None:
    for name, value in features.items():
        shown[name] = [value]


NAMES = {
    "base_of_slot": (
        *("present", "ready", "running", "rank", "executed", "overrun", "length_estimated", "saved_context", "log_priority"),
        *("log_token", "log_elapsed", "log_waited", "log_predicted", "log_remaining", "log_projected_ntt"),
    ),
    "npus_of_slot": ("log_fastest", "log_slowdown", "elsewhere", "bound", "saving"),
    "deadlines_of_slot": ("slack", "slack_fastest", "has_deadline", "late", "late_everywhere"),
    "batching_of_slot": (
        *("log_batch_predicted", "log_batch_density", "log_batch_wait", "leads", "joined", "batch_members", "batch_samples"),
    ),
}
"""Features of a slot by group, where no slot is occupied that would name them."""
