"""What an episode draws."""

from __future__ import annotations

import dataclasses

from prema_gym.config.base import Config, check, is_int, is_number, refuses_unknown_fields

PRIORITIES = (1, 3, 9)
"""Low, medium and high priority (paper, section VI)."""
MODEL_NAMES = ("CNN-AN", "CNN-GN", "CNN-VN", "CNN-MN", "RNN-SA", "RNN-MT1", "RNN-MT2", "RNN-ASR")
"""The eight networks of the paper's benchmark (paper, section VI)."""


@refuses_unknown_fields
@dataclasses.dataclass(frozen=True)
class WorkloadConfig(Config):
    """What an episode draws: tasks, models, batches, priorities and arrivals (DESIGN: uniform, independent)."""

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

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in ("models", "batches", "priorities"):
            value = getattr(self, field)
            check(name, field, value, isinstance(value, (list, tuple)) and len(value) > 0, "a non-empty list")
            object.__setattr__(self, field, tuple(value))
        check(
            name,
            "num_tasks",
            self.num_tasks,
            is_int(self.num_tasks) and 1 <= self.num_tasks <= 4096,
            "a whole number from 1 to 4096",
        )
        check(name, "window", self.window, is_number(self.window) and self.window >= 0, "a number of at least 0")
        for model in self.models:
            check(name, "models", model, isinstance(model, str), "a list of model names")
        for batch in self.batches:
            check(name, "batches", batch, is_int(batch) and 1 <= batch <= 1024, "a list of whole numbers from 1 to 1024")
        for priority in self.priorities:
            check(name, "priorities", priority, is_int(priority) and priority in PRIORITIES, f"a list drawn from {PRIORITIES}")
        check(name, "hoist_inputs", self.hoist_inputs, isinstance(self.hoist_inputs, bool), "True or False")
        error = self.predictor_error
        check(name, "predictor_error", error, is_number(error) and 0 <= error <= 4, "a number from 0 to 4")
