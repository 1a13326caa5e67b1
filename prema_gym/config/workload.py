"""What an episode draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from prema_gym.checks import is_number, is_whole, one_of
from prema_gym.config.base import Config, check, refuses_unknown_fields
from prema_gym.config.requests import (
    HIGHEST_PRIORITY,
    MIXES,
    MOST_WINDOW,
    ArrivalsConfig,
    DrawnClass,
    RequestClass,
    Sla,
    checked_sla,
    is_priority,
)
from prema_gym.errors import ConfigError, shown

PRIORITIES = (1, 3, 9)
"""Low, medium and high priority (paper, section VI)."""
MODEL_NAMES = ("CNN-AN", "CNN-GN", "CNN-VN", "CNN-MN", "RNN-SA", "RNN-MT1", "RNN-MT2", "RNN-ASR")
"""The eight networks of the paper's benchmark (paper, section VI)."""


@refuses_unknown_fields
@dataclasses.dataclass(frozen=True)
class WorkloadConfig(Config):
    """What is drawn: requests of the classes of ``mix``, or in short of ``models``, ``batches`` and ``priorities``, and arrivals.

    In the short form models, batches and priorities are uniform and independent.
    """

    num_tasks: int = 8
    models: tuple[str, ...] = MODEL_NAMES
    batches: tuple[int, ...] = (1, 4, 16)
    priorities: tuple[int, ...] = PRIORITIES
    window: float = 0.5
    """Arrivals are uniform over ``window`` times the sum of the drawn tasks' isolated times; smaller is busier."""
    hoist_inputs: bool = False
    """True computes the input half of recurrent cells as one GEMM before the steps (a sensitivity)."""
    predictor_error: float = 0.0
    """Standard deviation of a log-normal factor on every predicted total (a sensitivity); 0 is Algorithm 1 as it is."""
    sla: Sla = dataclasses.field(default=None, hash=False)
    """The short form's deadline, as in a class of ``mix``: 4.0 times the prediction on the fastest NPU, or {"ms": 20}."""
    mix: tuple[RequestClass, ...] | None = None
    """Classes of requests, or a name: paper, cnn, rnn, interactive-and-batch, vision, datacentre. None is the short form."""
    arrivals: ArrivalsConfig | None = None
    """When requests arrive; None spreads them over ``window``."""

    SHORT_FORM: ClassVar[tuple[str, ...]] = ("models", "batches", "priorities", "sla")
    """Fields that a ``mix`` takes the place of."""
    PRESETS: ClassVar[dict[str, Mapping[str, Any]]] = {name: {"mix": name} for name in MIXES}
    PARTS: ClassVar[Mapping[str, type[Config]]] = {"arrivals": ArrivalsConfig}

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in ("models", "batches", "priorities"):
            value = getattr(self, field)
            check(name, field, value, isinstance(value, (list, tuple)) and len(value) > 0, "a non-empty list")
            object.__setattr__(self, field, tuple(value))
        check(name, "num_tasks", self.num_tasks, is_whole(self.num_tasks, 1, 4096), "a whole number from 1 to 4096")
        ok = is_number(self.window) and 0 <= self.window <= MOST_WINDOW
        check(name, "window", self.window, ok, "a number from 0 to 10^6")
        for model in self.models:
            check(name, "models", model, isinstance(model, str), "a list of model names")
        for batch in self.batches:
            check(name, "batches", batch, is_whole(batch, 1, 1024), "a list of whole numbers from 1 to 1024")
        for priority in self.priorities:
            check(name, "priorities", priority, is_priority(priority), f"a list of whole numbers from 1 to {HIGHEST_PRIORITY}")
        check(name, "hoist_inputs", self.hoist_inputs, isinstance(self.hoist_inputs, bool), "True or False")
        error = self.predictor_error
        check(name, "predictor_error", error, is_number(error) and 0 <= error <= 4, "a number from 0 to 4")
        object.__setattr__(self, "sla", checked_sla(name, "sla", self.sla))
        self._check_mix()
        if self.arrivals is not None:
            object.__setattr__(self, "arrivals", ArrivalsConfig.coerce(self.arrivals))
            check(name, "window", self.window, self.window == type(self).window, "left out where arrivals are given; name it there")

    def _check_mix(self) -> None:
        given = self.mix
        if given is None:
            return
        if isinstance(given, str):
            given = MIXES[one_of("mix", given, MIXES, where="WorkloadConfig.mix: ")]
        check(
            "WorkloadConfig",
            "mix",
            given,
            isinstance(given, (list, tuple)) and 0 < len(given) <= 256,
            "1 to 256 classes, or a name",
        )
        classes = tuple(RequestClass.checked(f"WorkloadConfig.mix[{index}]", entry) for index, entry in enumerate(given))
        object.__setattr__(self, "mix", classes)
        for field in self.SHORT_FORM:
            value, default = getattr(self, field), getattr(type(self), field)
            if value != default:
                raise ConfigError(f"WorkloadConfig.{field} = {shown(value)}: must be left out beside a mix, whose classes say it.")

    @property
    def classes(self) -> tuple[DrawnClass, ...]:
        """What requests are drawn from; in the short form one class for each model."""
        if self.mix is not None:
            return tuple(entry.drawn for entry in self.mix)
        levels = tuple((priority, 1.0) for priority in self.priorities)
        return tuple(DrawnClass(model, self.batches, 1.0, levels, self.sla, None) for model in self.models)

    @property
    def levels(self) -> tuple[int, ...]:
        """Priorities that a request may have, rising."""
        return tuple(sorted({level for entry in self.classes for level, _ in entry.levels}))

    @property
    def has_deadlines(self) -> bool:
        """Whether requests have deadlines, or come from a file and so may have them."""
        listed = self.arrivals is not None and self.arrivals.path is not None
        return listed or any(entry.sla is not None for entry in self.classes)

    @property
    def networks(self) -> tuple[tuple[str, int], ...]:
        """Models and batches that are drawn, in order of first appearance."""
        return tuple(dict.fromkeys((entry.model, batch) for entry in self.classes for batch in entry.batches))

    @property
    def spread(self) -> float | None:
        """The window that arrivals are spread over, in sums of isolated times; None where they have a rate."""
        if self.arrivals is None:
            return self.window
        if self.arrivals.process != "window":
            return None
        return type(self).window if self.arrivals.window is None else self.arrivals.window
