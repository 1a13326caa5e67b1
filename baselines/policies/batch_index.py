"""BATCH-INDEX: a rule for batches whose delay and size are each network's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from baselines.policies.heuristic import Heuristic
from baselines.policies.rules.batching import BATCH_INDEX, NETWORK
from prema_gym.workloads.programs import ProgramTable


class Patience(NamedTuple):
    """How long a network's requests wait for more of their kind."""

    delay_ms: float
    """After which the oldest of them is let go."""
    samples: float
    """That end the wait at once."""


class BatchIndex(Heuristic):
    """BATCH-INDEX with a :class:`Patience` for each network by name; networks that have none don't wait."""

    def __init__(
        self, name: str, mechanism: str, networks: Mapping[str, Sequence[float]], *, source: str = "", **parameters: float | bool
    ) -> None:
        super().__init__(name, BATCH_INDEX.name, mechanism, source=source, clairvoyant=False, **parameters)
        self.networks = {network: Patience(*values) for network, values in networks.items()}

    def __repr__(self) -> str:
        return f"BatchIndex({self.name!r}, {self.mechanism!r}, {self.networks}, {dict(self.parameters)})"

    @cached_property
    def _arrays(self) -> dict[int, tuple[ProgramTable, np.ndarray]]:
        return {}

    def _known(self, programs: ProgramTable) -> Sequence[np.ndarray]:
        """Return the (n + 1,) NETWORK of the table's networks; the last stands for any that comes later."""
        if id(programs) not in self._arrays:
            clock_hz = programs.configurations[0].clock_hz
            waits = [self.networks.get(name, Patience(0.0, 1.0)) for name in (*programs.models, "")]
            networks = np.array([(wait.delay_ms * 1e-3 * clock_hz, wait.samples) for wait in waits], NETWORK)
            self._arrays[id(programs)] = (programs, networks)  # holding the table keeps its id its own
        return (self._arrays[id(programs)][1],)
