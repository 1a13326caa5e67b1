"""Programs of round numbers that are known at several sizes, and arguments of environments that form batches of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from prema_gym import Program, register_program

SINGLE_BYTES, BATCH_BYTES = 5114, 10228
"""Contexts of a lone request and of a batch: they take 10 and 20 cycles, 110 and 120 with the latency of 100."""
BATCH_CONTEXT_CYCLES = 120
REFILL_CYCLES = 7

STREAM: dict[str, Any] = {
    "batching": 4,
    "slots": 8,
    "horizon_requests": 60,
    "quantum_cycles": 150,
    "workload": {
        "models": ["echo", "lone"], "batches": [1], "sla": 4.0, "arrivals": {"process": "poisson", "utilisation": 1.4},
    },
}  # fmt: skip
"""Arguments of a stream."""


def _program(total: int, nbytes: int) -> Program:
    points = np.arange(100, total + 1, 100)
    return Program.from_points(total, points, nbytes, refill_cycles=REFILL_CYCLES)


def register_sized_programs() -> None:
    """Register ``echo`` (300 cycles for one sample, 400 for two, 600 for up to four), and ``lone`` (1000, for one sample only).

    All have a point every 100 cycles.
    """
    sizes = {1: _program(300, SINGLE_BYTES), 2: _program(400, BATCH_BYTES), 4: _program(600, BATCH_BYTES)}
    register_program("echo", sizes)
    register_program("lone", _program(1000, SINGLE_BYTES))
