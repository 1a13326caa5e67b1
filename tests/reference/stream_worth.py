"""What a schedule of a stream is worth, straight from the definitions: metrics of the cohort, and reward terms per request.

A stream's terms divide by nothing but, where they weigh, by the expected priority. Time is paid for as it passes. What goes by
thresholds, and progress, is paid for a request in the backlog when it enters the table, or at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from reference.machine import Machine
from reference.parts import Task
from reference.worth import TARGETS, progress


def metrics(machine: Machine) -> dict[str, float | None]:
    """Return the metrics of a stream that has ended; None where one has no value."""
    now, hertz = machine.clock, machine.rules.clock_hz
    horizon = machine.rules.horizon_requests or 0
    cohort = [task for task in machine.tasks if 0.1 * horizon <= task.index < 0.8 * horizon]
    ntt = [task.age(now) / task.isolated for task in cohort]
    bound = [task for task in cohort if task.deadline is not None]
    done = [task for task in machine.tasks if task.completion is not None]
    cycles = now * len(machine.npus)
    idle = [npu.account.idle / now for npu in machine.npus]
    return {
        "antt": _mean(ntt),
        "weighted_antt": sum(t.priority * x for t, x in zip(cohort, ntt, strict=True)) / sum(t.priority for t in cohort),
        "wait_ms": 1e3 * _mean([task.age(now) - task.isolated for task in cohort]) / hertz,
        "sla_violation": _mean([_targets(task, task.age(now)) / len(TARGETS) for task in cohort]),
        "hp_excess": _mean([_excess(machine, task, task.age(now)) for task in cohort]),
        "deadline_misses": _mean([float(_late(task, task.age(now)) > 0) for task in bound]) if bound else None,
        "tardiness": _mean([_late(task, task.age(now)) / task.isolated for task in bound]) if bound else None,
        "capped_tardiness": _capped(bound, now) if bound else None,
        "impossible_deadlines": _mean([float(task.isolated > _allowed(task)) for task in bound]) if bound else None,
        "goodput": _mean([float(_in_time(task)) for task in cohort]),
        "requests_per_second": len(machine.finished.log_pp) * hertz / now,
        "samples_per_second": sum(task.samples for task in done) * hertz / now,
        "batch_samples": sum(task.samples for task in done) / sum(task.leader is task for task in done) if done else None,
        **{f"ntt_p{round(100 * share)}": quantile(ntt, share) for share in (0.5, 0.95, 0.99)},
        "unfinished_share": _mean([float(task.completion is None) for task in cohort]),
        **_windows(machine, cohort),
        "utilisation": 1 - _mean(idle),
        "queue_length": sum(waited(task, now) for task in machine.tasks) / now,
        "preemptions": sum(task.preemptions for task in machine.tasks),
        "useful_share": machine.account.useful / cycles,
        "wasted_share": machine.account.wasted / cycles,
        "overhead_share": machine.account.overhead / cycles,
        **{f"{name}_all": value for name, value in _totals(machine).items()},
        **{f"utilisation_{index}": 1 - share for index, share in enumerate(idle)},
    }


def _totals(machine: Machine) -> dict[str, float]:
    """Return the sums over all requests that the rewards add up to."""
    tasks, now = machine.tasks, machine.clock
    return {
        "antt": sum(task.age(now) / task.isolated for task in tasks),
        "weighted_antt": sum(task.priority * task.age(now) / task.isolated for task in tasks) / mean_priority(machine),
        "sla_violation": sum(_targets(task, task.age(now)) for task in tasks) / len(TARGETS),
        "stp": sum(progress(task, now) for task in tasks),
        "hp_excess": sum(_excess(machine, task, task.age(now)) for task in tasks),
        "deadline_misses": sum(_late(task, task.age(now)) > 0 for task in tasks),
        "tardiness": sum(_late(task, task.age(now)) / task.isolated for task in tasks),
        "goodput": sum(_in_time(task) for task in tasks),
    }


def reward_terms(machine: Machine, start: int, *, first: bool) -> dict[str, float]:
    """Return the terms of the step from cycle ``start`` to now; the ``first`` step also pays for what its arrivals brought."""
    tasks, now = machine.tasks, machine.clock
    older = [(task, task.age(now) - task.age(start)) for task in tasks if task.age(now) > task.age(start)]
    spent = [(task, cycles / task.isolated) for task, cycles in older]
    seen = [(task, _seen(task, start), task.age(now) if machine.over else _seen(task, now)) for task in tasks]
    ages = [(task, before, after) for task, before, after in seen if after != before]
    arrived = sum(task.arrival <= now and (first or task.arrival > start) for task in tasks)
    lost = sum(_progress(task, before) - _progress(task, after) for task, before, after in ages)
    return {
        "antt": -sum(x for _, x in spent),
        "weighted_antt": -sum(task.priority * x for task, x in spent) / mean_priority(machine),
        "sla": -sum(_targets(task, after) - _targets(task, before) for task, before, after in ages) / len(TARGETS),
        "stp": arrived - lost,
        "fairness": 0.0,
        "fairness_shaped": 0.0,
        "hp_excess": -sum(_excess(machine, task, after) - _excess(machine, task, before) for task, before, after in ages),
        "deadline_misses": -float(sum((_late(t, after) > 0) - (_late(t, before) > 0) for t, before, after in ages)),
        "tardiness": -sum((_late(t, after) - _late(t, before)) / t.isolated for t, before, after in ages),
        "goodput": float(sum(_in_time(t) and t.completion is not None and start < t.completion <= now for t in tasks)),
    }


def _windows(machine: Machine, cohort: Sequence[Task]) -> dict[str, float | None]:
    """Return fairness and Jain's index of every eight completions of the cohort that follow each other, averaged."""
    numbers = {task.index: task for task in cohort}
    ended = [numbers[event.task] for event in machine.log if event.event == "completion" and event.task in numbers]
    windows = [ended[first : first + 8] for first in range(len(ended) - 7)]
    if not windows:
        return {"fairness_8": None, "jain_8": None}
    fairness, jain = [], []
    for window in windows:
        reached = [task.isolated / ((task.completion or 0) - task.arrival) for task in window]
        weighted = [x / task.priority for x, task in zip(reached, window, strict=True)]
        fairness.append(min(weighted) / max(weighted))
        jain.append(sum(reached) ** 2 / (8 * sum(x * x for x in reached)))
    return {"fairness_8": _mean(fairness), "jain_8": _mean(jain)}


def mean_priority(machine: Machine) -> float:
    """Return the expected priority: all levels of the mix are equally likely. Of a list it is that of its requests."""
    if getattr(machine.rules, "listed", False):
        return _mean([float(task.priority) for task in machine.tasks])
    return _mean([float(level) for level in _levels(machine)])


def waited(task: Task, now: int) -> int:
    """Return the cycles that a request has waited, in the backlog and in the table."""
    return task.age(now) if task.entered is None else task.waited(now)


def quantile(ntt: Sequence[float], share: float) -> float | None:
    """Return the quantile from bins that are 2^(1/32) wide, the middle of its bin; None below 20 requests."""
    if len(ntt) < 20:
        return None
    bins = sorted(0 if x <= 1 else math.floor(32 * math.log2(x)) for x in ntt)
    return 2.0 ** ((bins[math.ceil(share * len(bins)) - 1] + 0.5) / 32)


def _levels(machine: Machine) -> tuple[int, ...]:
    return getattr(machine.rules, "levels", (1, 3, 9))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _seen(task: Task, now: int) -> int:
    """Return the age that thresholds have been paid for: none while the request is in the backlog."""
    return task.age(now) if task.entered is not None and task.entered <= now else 0


def _progress(task: Task, age: int) -> float:
    return task.isolated / max(task.isolated, age)


def _targets(task: Task, age: int) -> int:
    return sum(age > target * task.isolated for target in TARGETS)


def _excess(machine: Machine, task: Task, age: int) -> float:
    return max(age / task.isolated - 2.3, 0) if task.priority == max(_levels(machine)) else 0.0


def _allowed(task: Task) -> float:
    return math.inf if task.deadline is None else task.deadline - task.arrival


def _late(task: Task, age: int) -> int:
    """Return the cycles beyond the deadline at an age."""
    return 0 if task.deadline is None else max(age - (task.deadline - task.arrival), 0)


def _capped(bound: Sequence[Task], now: int) -> float:
    """Return mean tardiness over isolated time by priority, where none counts more than ten."""
    late = [(task.priority, min(_late(task, task.age(now)) / task.isolated, 10)) for task in bound]
    return sum(priority * x for priority, x in late) / sum(priority for priority, _ in late)


def _in_time(task: Task) -> bool:
    return task.completion is not None and (task.deadline is None or task.completion <= task.deadline)
