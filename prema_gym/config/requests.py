"""Requests: the classes of a mix, their priorities and deadlines, and how they arrive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from prema_gym.checks import is_number, is_whole, one_of, plain
from prema_gym.config.base import Config, check, refuses_unknown_fields
from prema_gym.errors import ConfigError, shown, unknown_name

HIGHEST_PRIORITY = 64
"""Priorities are the whole numbers from 1 up to this one."""
PROCESSES = ("window", "poisson", "bursty", "closed", "trace")
"""Arrival processes."""
_MOST_MS = 1e9
"""Longest time that a configuration may name: eleven days."""
MOST_WINDOW = 1e6
"""Longest stretch of arrivals, in sums of isolated times."""
_MOST_WEIGHT = 1e9
"""Largest weight of a class or of a priority."""

Sla = float | Mapping[str, float] | None
"""A deadline: a multiple of the prediction on the fastest NPU, {"ms": time from arrival}, or None."""


def is_priority(value: object) -> bool:
    """Whether ``value`` is a whole number from 1 to 64."""
    return is_whole(value, 1, HIGHEST_PRIORITY)


def checked_sla(owner: str, field: str, value: Any) -> Sla:
    """Return ``value`` as a deadline; raises :class:`ConfigError` for what isn't one."""
    rule = 'None, a number above 0 and up to 10^6 (times the prediction), or {"ms": a number above 0 and up to 10^9}'
    if isinstance(value, Mapping):
        ms: Any = value.get("ms")
        check(owner, field, value, set(value) == {"ms"} and is_number(ms) and 0 < ms <= _MOST_MS, rule)
        return {"ms": float(ms)}
    check(owner, field, value, value is None or (is_number(value) and 0 < value <= 1e6), rule)
    return None if value is None else float(value)


class DrawnClass(NamedTuple):
    """A class of requests in one form, however it was written."""

    model: str
    batches: tuple[int, ...]
    """Equally likely."""
    weight: float
    levels: tuple[tuple[int, float], ...]
    """Priorities and their weights."""
    sla: Sla
    input_lengths: tuple[int, int] | None
    """Shortest and longest input; None leaves them to the network."""


def _fields_of(owner: str, given: object, names: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{owner} = {shown(given)}: must be a mapping with the fields {', '.join(names)}.")
    for key in given:
        if key not in names:
            raise ConfigError(f"{owner}: {unknown_name('field', key, list(names))}")
    return given


@dataclasses.dataclass(frozen=True)
class RequestClass:
    """Requests that are alike: one network, drawn by weight beside the other classes of the mix."""

    model: str
    batch: int | tuple[int, ...] = 1
    """One batch, or several that are equally likely."""
    weight: float = 1.0
    """How often the class is drawn, relative to the others."""
    priority: int | Mapping[str, float] = dataclasses.field(default=1, hash=False)
    """One priority from 1 to 64, or a mapping from priorities to weights."""
    sla: Sla = dataclasses.field(default=None, hash=False)
    """The deadline: a multiple of the prediction on the fastest NPU, fixed at arrival, or {"ms": time from arrival}."""
    input_length: int | tuple[int, int] | None = None
    """One input length, or the shortest and the longest that the network's are clipped to."""

    @classmethod
    def checked(cls, owner: str, given: object) -> RequestClass:
        """Return ``given`` (an instance or a mapping) as a class; an error begins with ``owner``."""
        if isinstance(given, cls):
            given = {field.name: getattr(given, field.name) for field in dataclasses.fields(cls)}
        given = plain(given)
        fields = dict(_fields_of(owner, given, [field.name for field in dataclasses.fields(cls)]))
        model, weight = fields.get("model"), fields.get("weight", 1.0)
        check(owner, "model", model, isinstance(model, str) and bool(model), "a model's name")
        check(owner, "weight", weight, is_number(weight) and 0 < weight <= _MOST_WEIGHT, "a number above 0 and up to 10^9")
        return cls(
            model=str(model),
            batch=_checked_batch(owner, fields.get("batch", 1)),
            weight=float(weight),
            priority=_checked_priority(owner, fields.get("priority", 1)),
            sla=checked_sla(owner, "sla", fields.get("sla")),
            input_length=_checked_input(owner, fields.get("input_length")),
        )

    @property
    def drawn(self) -> DrawnClass:
        """The class as it is drawn."""
        batches = (self.batch,) if isinstance(self.batch, int) else self.batch
        levels = ((self.priority, 1.0),) if isinstance(self.priority, int) else tuple(
            (int(level), weight) for level, weight in self.priority.items()
        )  # fmt: skip
        length = self.input_length
        return DrawnClass(
            self.model, batches, self.weight, levels, self.sla, (length, length) if isinstance(length, int) else length
        )


def _checked_batch(owner: str, value: Any) -> int | tuple[int, ...]:
    rule = "a whole number from 1 to 1024, or a non-empty list of them"
    batches = value if isinstance(value, (list, tuple)) else [value]
    check(owner, "batch", value, bool(batches) and all(is_whole(batch, 1, 1024) for batch in batches), rule)
    return tuple(value) if isinstance(value, (list, tuple)) else int(value)


def _checked_priority(owner: str, value: Any) -> int | Mapping[str, float]:
    rule = f"a whole number from 1 to {HIGHEST_PRIORITY}, or a mapping from such numbers to weights above 0 and up to 10^9"
    if not isinstance(value, Mapping):
        check(owner, "priority", value, is_priority(value), rule)
        return int(value)
    weights: dict[int, float] = {}
    for key, weight in value.items():
        level = int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 2 else key
        check(owner, "priority", value, is_priority(level) and is_number(weight) and 0 < weight <= _MOST_WEIGHT, rule)
        check(owner, "priority", value, level not in weights, "a mapping that names each priority once")
        weights[level] = float(weight)
    check(owner, "priority", value, bool(weights), rule)
    return {str(level): weights[level] for level in sorted(weights)}


def _checked_input(owner: str, value: Any) -> int | tuple[int, int] | None:
    rule = "None, a whole number of at least 1, or a list of the shortest and the longest"
    if value is None:
        return None
    ends = value if isinstance(value, (list, tuple)) else [value, value]
    ok = len(ends) == 2 and all(is_whole(end, 1, 1 << 20) for end in ends) and ends[0] <= ends[1]
    check(owner, "input_length", value, ok, rule)
    return (int(ends[0]), int(ends[1])) if isinstance(value, (list, tuple)) else int(value)


@refuses_unknown_fields
@dataclasses.dataclass(frozen=True)
class ArrivalsConfig(Config):
    """When requests arrive. Fields of other processes than ``process`` must be left alone."""

    process: str = "window"
    """``window``: uniform over a stretch of time. ``poisson``. ``bursty``: Poisson at two rates in turn. ``closed``: clients that
    send the next request when they have thought about the answer. ``trace``: from a file."""
    window: float | None = None
    """``window``: the stretch, in sums of the drawn tasks' isolated times; None means 0.5."""
    utilisation: float | None = None
    """``poisson``, ``bursty``: work that arrives over what the NPUs can do, each request running on every NPU in turn."""
    requests_per_second: float | None = None
    """``poisson``, ``bursty``: in place of ``utilisation``."""
    burst_factor: float = 4.0
    """``bursty``: the rate in a burst over the rate outside."""
    burst_share: float = 0.2
    """``bursty``: share of the time that is burst."""
    burst_requests: float = 20.0
    """``bursty``: mean number of requests of a burst."""
    clients: int = 8
    """``closed``: how many there are."""
    think_ms: float = 0.0
    """``closed``: mean time from an answer to the client's next request."""
    path: str | None = None
    """``trace``: a JSONL file."""

    FIELDS_OF: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "window": ("window",),
        "poisson": ("utilisation", "requests_per_second"),
        "bursty": ("utilisation", "requests_per_second", "burst_factor", "burst_share", "burst_requests"),
        "closed": ("clients", "think_ms"),
        "trace": ("path",),
    }
    """The fields that a process reads."""

    def __post_init__(self) -> None:
        one_of("process", self.process, PROCESSES, where="ArrivalsConfig.process: ")
        self._check_others_left_alone()
        window = self.window
        self._require("window", window is None or (is_number(window) and 0 <= window <= MOST_WINDOW), "a number from 0 to 10^6")
        rates = (self.utilisation, self.requests_per_second)
        if self.process in ("poisson", "bursty") and (rates[0] is None) == (rates[1] is None):
            raise ConfigError(
                f"ArrivalsConfig: process {self.process!r} with utilisation = {shown(rates[0])} and requests_per_second = "
                f"{shown(rates[1])}: give one of the two."
            )
        for field in ("utilisation", "requests_per_second"):
            value = getattr(self, field)
            self._require(
                field, value is None or (is_number(value) and 1e-9 <= value <= 1e9), "None or a number from 10^-9 to 10^9"
            )
        self._require("burst_factor", is_number(self.burst_factor) and 1 <= self.burst_factor <= 1e6, "a number from 1 to 10^6")
        self._require("burst_share", is_number(self.burst_share) and 0 < self.burst_share < 1, "a number between 0 and 1")
        self._require("burst_requests", is_number(self.burst_requests) and 0.01 <= self.burst_requests <= 1e9, "from 0.01 to 10^9")
        self._require("clients", is_whole(self.clients, 1, 4096), "a whole number from 1 to 4096")
        self._require("think_ms", is_number(self.think_ms) and 0 <= self.think_ms <= _MOST_MS, "a number from 0 to 10^9")
        named = isinstance(self.path, str) and bool(self.path) and "\0" not in self.path
        self._require("path", named if self.process == "trace" else self.path is None, "the name of a JSONL file")

    def _require(self, field: str, ok: bool, rule: str) -> None:
        check(type(self).__name__, field, getattr(self, field), ok, rule)

    def _check_others_left_alone(self) -> None:
        read = ("process", *self.FIELDS_OF[self.process])
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in read and value != field.default:
                raise ConfigError(
                    f"ArrivalsConfig.{field.name} = {shown(value)}: process {self.process!r} has no {field.name}; leave it out."
                )


_EVERY_LEVEL = {"1": 1.0, "3": 1.0, "9": 1.0}
_BATCHES = (1, 4, 16)
_CONVOLUTIONAL = ("CNN-AN", "CNN-GN", "CNN-VN", "CNN-MN")
_RECURRENT = ("RNN-SA", "RNN-MT1", "RNN-MT2", "RNN-ASR")

MIXES: Mapping[str, tuple[RequestClass, ...]] = {
    "paper": tuple(RequestClass(model, _BATCHES, priority=_EVERY_LEVEL) for model in (*_CONVOLUTIONAL, *_RECURRENT)),
    "cnn": tuple(RequestClass(model, _BATCHES, priority=_EVERY_LEVEL) for model in _CONVOLUTIONAL),
    "rnn": tuple(RequestClass(model, _BATCHES, priority=_EVERY_LEVEL) for model in _RECURRENT),
    "interactive-and-batch": (
        RequestClass("CNN-MN", 1, weight=4.0, priority=9, sla=4.0),
        RequestClass("RNN-SA", 1, weight=2.0, priority=9, sla=4.0),
        RequestClass("RNN-MT1", 1, weight=2.0, priority=9, sla=4.0),
        RequestClass("CNN-VN", 16, weight=1.0, priority=1, sla=20.0),
        RequestClass("RNN-ASR", 16, weight=1.0, priority=1),
    ),
    "vision": (
        RequestClass("MobileNet-v2", (1, 4), weight=4.0, priority=9, sla=4.0),
        RequestClass("ResNet-50", (1, 4, 16), weight=3.0, priority=3, sla=8.0),
        RequestClass("ViT-B/16", (1, 4), weight=1.0, priority=3, sla=8.0),
        RequestClass("CNN-GN", (4, 16), weight=1.0, priority=1),
    ),
    "datacentre": (
        RequestClass("DLRM", (16, 64), weight=8.0, priority=9, sla=4.0),
        RequestClass("BERT-base", (1, 4), weight=4.0, priority=9, sla=4.0),
        RequestClass("ResNet-50", (4, 16), weight=2.0, priority=3, sla=8.0),
        RequestClass("RNN-MT1", (1, 4), weight=1.0, priority=3, sla=8.0),
        RequestClass("ViT-B/16", 16, weight=1.0, priority=1),
    ),
}
"""Mixes by name.

The paper's eight networks and the halves of them; short urgent requests beside long patient ones; images, urgent and not; and what
a data centre serves: recommendations most of all, text, images, translations. Weights, priorities and targets are our choice.
"""
