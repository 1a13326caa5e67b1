"""What a schedule is worth: metrics of an episode and reward terms of a step, straight from their definitions."""

from __future__ import annotations

from reference.machine import Machine
from reference.parts import Task

TARGETS = range(2, 21)


def metrics(machine: Machine) -> dict[str, float]:
    """Return the metrics of an episode that has ended; an unfinished task counts with its NTT so far."""
    tasks, now = machine.tasks, machine.clock
    n, priorities = len(tasks), sum(task.priority for task in tasks)
    ntt = [task.age(now) / task.isolated for task in tasks]
    violated = {target: sum(task.age(now) > target * task.isolated for task in tasks) / n for target in TARGETS}
    account, cycles = machine.account, now * len(machine.npus)
    return {
        "antt": sum(ntt) / n,
        "weighted_antt": sum(task.priority * x for task, x in zip(tasks, ntt, strict=True)) / priorities,
        "stp": sum(progress(task, now) for task in tasks),
        "fairness": fairness(tasks, now),
        "sla_violation": sum(violated.values()) / len(TARGETS),
        "hp_excess": sum(max(x - 2.3, 0) for task, x in zip(tasks, ntt, strict=True) if task.priority == 9) / n,
        "preemptions": sum(task.preemptions for task in tasks),
        "useful_share": account.useful / cycles,
        "wasted_share": account.wasted / cycles,
        "overhead_share": account.overhead / cycles,
        "unfinished": sum(task.completion is None for task in tasks),
        **{f"sla_violation_at_{target}": share for target, share in violated.items()},
    }


def reward_terms(machine: Machine, start: int, *, first: bool) -> dict[str, float]:
    """Return the terms of the step from cycle ``start`` to now; the ``first`` step also pays for what its arrivals brought."""
    tasks, now = machine.tasks, machine.clock
    n, priorities = len(tasks), sum(task.priority for task in tasks)
    spent = [(task.age(now) - task.age(start)) / task.isolated for task in tasks]
    passed = sum(_targets(task, now) - _targets(task, start) for task in tasks)
    excess = sum(_excess(task, now) - _excess(task, start) for task in tasks if task.priority == 9)
    before = [] if first else _arrived(tasks, start)
    after = _arrived(tasks, now)
    return {
        "antt": -sum(spent) / n,
        "weighted_antt": -sum(task.priority * x for task, x in zip(tasks, spent, strict=True)) / priorities,
        "sla": -passed / (19 * n),
        "stp": sum(progress(task, now) for task in after) - sum(progress(task, start) for task in before),
        "fairness": fairness(tasks, now) if machine.over else 0.0,
        "fairness_shaped": fairness(after, now) - fairness(before, start),
        "hp_excess": -excess / n,
    }


def progress(task: Task, now: int) -> float:
    """Return f: isolated time over age, at most 1."""
    return task.isolated / max(task.isolated, task.age(now))


def fairness(tasks: list[Task], now: int) -> float:
    """Return the smallest over the largest progress per priority; 0 with no task."""
    shares = [progress(task, now) / task.priority for task in tasks]
    return min(shares) / max(shares) if shares else 0.0


def _arrived(tasks: list[Task], now: int) -> list[Task]:
    return [task for task in tasks if task.arrival <= now]


def _targets(task: Task, now: int) -> int:
    return sum(task.age(now) > target * task.isolated for target in TARGETS)


def _excess(task: Task, now: int) -> float:
    return max(task.age(now) / task.isolated - 2.3, 0)
