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
        "hp_excess": sum(max(x - 2.3, 0) for task, x in zip(tasks, ntt, strict=True) if task.priority == highest(machine)) / n,
        "preemptions": sum(task.preemptions for task in tasks),
        "useful_share": account.useful / cycles,
        "wasted_share": account.wasted / cycles,
        "overhead_share": account.overhead / cycles,
        "unfinished": sum(task.completion is None for task in tasks),
        **deadlines(tasks, now),
        **{f"sla_violation_at_{target}": share for target, share in violated.items()},
    }


def reward_terms(machine: Machine, start: int, *, first: bool) -> dict[str, float]:
    """Return the terms of the step from cycle ``start`` to now; the ``first`` step also pays for what its arrivals brought."""
    tasks, now = machine.tasks, machine.clock
    n, priorities = len(tasks), sum(task.priority for task in tasks)
    spent = [(task.age(now) - task.age(start)) / task.isolated for task in tasks]
    passed = sum(_targets(task, now) - _targets(task, start) for task in tasks)
    excess = sum(_excess(task, now) - _excess(task, start) for task in tasks if task.priority == highest(machine))
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
        **_deadline_terms(tasks, start, now),
    }


def highest(machine: Machine) -> int:
    """Return the highest priority that the mix or the trace has."""
    return max(*machine.rules.levels, *(task.priority for task in machine.tasks))


def deadlines(tasks: list[Task], now: int) -> dict[str, float]:
    """Return what has come of the deadlines by ``now``; an unfinished task has missed its own once it has passed."""
    bound = [task for task in tasks if task.deadline is not None]
    late = [_late(task, now) for task in bound]
    good = [
        t for t in tasks if t.completion is not None and t.completion <= now and (t.deadline is None or t.completion <= t.deadline)
    ]
    count = len(bound) or 1
    return {
        "deadline_misses": sum(cycles > 0 for cycles in late) / count,
        "tardiness": sum(cycles / task.isolated for task, cycles in zip(bound, late, strict=True)) / count,
        "goodput": len(good) / len(tasks),
        "impossible_deadlines": sum(task.arrival + task.isolated > (task.deadline or 0) for task in bound) / count,
    }


def _late(task: Task, now: int) -> int:
    """Return the cycles from the deadline to the completion, or to ``now``; 0 before the deadline."""
    end = now if task.completion is None else min(now, task.completion)
    return 0 if task.deadline is None else max(end - task.deadline, 0)


def _deadline_terms(tasks: list[Task], start: int, now: int) -> dict[str, float]:
    """Return the growth of the deadline metrics in a step, costs with a minus sign."""
    before, after = deadlines(tasks, start), deadlines(tasks, now)
    signs = {"deadline_misses": -1, "tardiness": -1, "goodput": 1}
    return {name: sign * (after[name] - before[name]) for name, sign in signs.items()}


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
