"""What a policy is: a stateless function from a view of N rows to N actions."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from prema_gym.envs.view import View


@runtime_checkable
class Policy(Protocol):
    """A scheduler. What it remembers is in the context table, so one instance may play any number of rows and episodes."""

    @property
    def name(self) -> str:
        """Unique in the registry."""
        ...

    @property
    def clairvoyant(self) -> bool:
        """Whether it may know true times; only then :func:`baselines.evaluate` calls :meth:`act` with ``truth``."""
        ...

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 legal actions. ``truth`` is (N, T) int64 true isolated cycles, for clairvoyant policies only."""
        ...
