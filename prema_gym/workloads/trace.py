"""Traces that a user injects: what an entry may say, and checking it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prema_gym.checks import LATEST_CYCLES, as_whole, is_number, plain
from prema_gym.config.requests import HIGHEST_PRIORITY, checked_sla
from prema_gym.errors import ConfigError, TraceError, shown, unknown_name

TASK_KEYS = (
    "arrival_cycles",
    "arrival_ms",
    "model",
    "batch",
    "priority",
    "input_length",
    "output_length",
    "sla",
    "deadline_cycles",
    "deadline_ms",
    "prediction_factor",
)


@dataclass(frozen=True)
class TraceTask:
    """One checked entry of an injected trace; lengths are None where the network has none or leaves them to a default."""

    arrival_cycles: int
    model: str
    batch: int
    priority: int
    input_length: int | None = None
    output_length: int | None = None
    deadline_cycles: int | None = None
    """On the clock of the arrivals; None where there is no deadline, or ``sla`` says it."""
    sla: float | None = None
    """Multiple of the prediction on the fastest NPU, from the arrival on."""
    prediction_factor: float = 1.0
    """What its predictions are multiplied by."""


class _Entry:
    """One entry while it is checked; ``where`` begins every error."""

    def __init__(self, where: str, task: Mapping[str, Any], clock_hz: int) -> None:
        self.where, self.task, self._clock_hz = where, task, clock_hz

    def refuse(self, key: str, rule: str) -> TraceError:
        return TraceError(f"{self.where}[{key!r}] = {shown(self.task.get(key))}: must be {rule}.")

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        value = as_whole(self.task.get(key, default))
        if value is None or not least <= value <= most:
            limits = f"of at least {least}, up to 2^60" if most == LATEST_CYCLES else f"from {least} to {most}"
            raise self.refuse(key, f"a whole number {limits}")
        return value

    def number(self, key: str, rule: str, most: float) -> float:
        value = self.task[key]
        if not is_number(value) or not 0 <= value <= most:
            raise self.refuse(key, rule)
        return float(value)

    def length(self, key: str) -> int | None:
        return None if self.task.get(key) is None else self.whole(key, 1, LATEST_CYCLES)

    def moment(self, name: str) -> int | None:
        """Return ``name``_cycles, or ``name``_ms in cycles; None where there is neither."""
        cycles, ms = f"{name}_cycles", f"{name}_ms"
        if cycles in self.task and ms in self.task:
            raise TraceError(f"{self.where}: has both {cycles!r} and {ms!r}; give one of them.")
        if self.task.get(ms) is not None:
            limit = 1e3 * LATEST_CYCLES / self._clock_hz
            return round(self.number(ms, "a number of milliseconds of at least 0", limit) * self._clock_hz / 1000)
        return None if self.task.get(cycles) is None else self.whole(cycles, 0, LATEST_CYCLES)


def parse_task(where: str, task: object, known: Collection[str], clock_hz: int) -> TraceTask:
    """Check one entry of a trace; raises :class:`TraceError` naming the entry, the key, the value and the rule."""
    if not isinstance(task, Mapping):
        raise TraceError(f"{where} = {shown(task)}: must be a mapping with the keys {', '.join(TASK_KEYS)}.")
    for key in task:
        if key not in TASK_KEYS:
            raise TraceError(f"{where}: {unknown_name('key', key, TASK_KEYS)}")
    model = task.get("model")
    if model not in known:
        raise TraceError(f"{where}: {unknown_name('model', model, known)}")
    entry = _Entry(where, task, clock_hz)
    arrival = entry.moment("arrival")
    if arrival is None:
        arrival = entry.whole("arrival_cycles", 0, LATEST_CYCLES)
    deadline, sla = _deadline(entry, arrival, clock_hz)
    factor = 1.0
    if task.get("prediction_factor") is not None:
        factor = entry.number("prediction_factor", "a number above 0 and up to 10^9", 1e9)
        if factor == 0.0:
            raise entry.refuse("prediction_factor", "a number above 0 and up to 10^9")
    return TraceTask(
        arrival_cycles=arrival,
        model=str(model),
        batch=entry.whole("batch", 1, 1024, 1),
        priority=entry.whole("priority", 1, HIGHEST_PRIORITY, 1),
        input_length=entry.length("input_length"),
        output_length=entry.length("output_length"),
        deadline_cycles=deadline,
        sla=sla,
        prediction_factor=factor,
    )


def _deadline(entry: _Entry, arrival: int, clock_hz: int) -> tuple[int | None, float | None]:
    """Return (deadline in cycles, multiple of the prediction), one of which is None, or both."""
    deadline = entry.moment("deadline")
    given = plain(entry.task.get("sla"))
    if deadline is not None and given is not None:
        raise TraceError(f"{entry.where}: has both a deadline and 'sla'; give one of them.")
    if deadline is not None and deadline <= arrival:
        key = "deadline_ms" if "deadline_ms" in entry.task else "deadline_cycles"
        raise entry.refuse(key, "after the arrival")
    try:
        sla = checked_sla(entry.where, "sla", given)
    except ConfigError as error:
        raise TraceError(f"{entry.where}['sla']{str(error).removeprefix(f'{entry.where}.sla')}") from None
    if isinstance(sla, Mapping):
        return arrival + max(round(sla["ms"] * clock_hz / 1000), 1), None
    return deadline, sla


def parse_trace(trace: object, known: Collection[str], clock_hz: int) -> list[TraceTask]:
    """Check a whole trace and return its tasks in order of arrival (equal arrivals keep their order).

    ``clock_hz`` is what milliseconds are turned into cycles by.
    """
    if isinstance(trace, (str, bytes, Mapping)) or not isinstance(trace, Sequence) or len(trace) == 0:
        raise TraceError(f"trace = {shown(trace)}: must be a non-empty list of tasks.")
    tasks = [parse_task(f"trace[{index}]", task, known, clock_hz) for index, task in enumerate(trace)]
    return sorted(tasks, key=lambda task: task.arrival_cycles)
