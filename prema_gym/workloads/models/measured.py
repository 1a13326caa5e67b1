"""A network known by how long its layers take on real hardware, not by their shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError
from prema_gym.hardware.program import Program


@dataclasses.dataclass(frozen=True)
class MeasuredLayer:
    """A layer at a batch size."""

    layer: str
    batch: int
    cycles: int | None
    microseconds: float | None
    live_bytes: int

    def cycles_at(self, clock_hz: int) -> int:
        """Return the latency in cycles of a clock, at least 1."""
        if self.cycles is not None:
            return self.cycles
        assert self.microseconds is not None
        return max(1, round(self.microseconds * clock_hz / 1e6))


@dataclasses.dataclass(frozen=True)
class MeasuredModel:
    """A network known by its measured layers: it takes what was measured, whatever the NPU's array is like.

    A batch between two measured ones is padded to the larger, as servers do. Preemption points are the ends of the layers: the last
    one is the program's end. ``register_model(profiled)`` lets traces and workloads name it.
    """

    name: str
    rows: tuple[MeasuredLayer, ...]
    citation: str = ""
    lengths: None = None
    """Its input has one size, that of the measurement."""

    @property
    def batches(self) -> tuple[int, ...]:
        """The measured batch sizes."""
        return tuple(sorted({row.batch for row in self.rows}))

    def layers_at(self, batch: int) -> list[MeasuredLayer]:
        """Return the layers as measured at the smallest batch size that holds ``batch`` samples."""
        larger = [measured for measured in self.batches if measured >= batch]
        if not larger:
            raise ModelError(f"{self.name}: batch = {batch!r}: was measured at {', '.join(map(str, self.batches))} only.")
        return [row for row in self.rows if row.batch == larger[0]]

    def program(self, batch: int = 1, npu: NPUConfig | str | Mapping[str, Any] | None = None) -> Program:
        """Return the program at ``batch`` on an NPU: its clock and memory count, its array does not."""
        config = NPUConfig.coerce(npu)
        layers = self.layers_at(batch)
        ends = np.cumsum([row.cycles_at(config.clock_hz) for row in layers])
        live = [row.live_bytes for row in layers]
        return Program.from_points(int(ends[-1]), ends.tolist(), save_bytes=live, name=self.name)
