"""The view: everything a policy may know, for N rows at once. It holds no truth and no future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.types import EMPTY, READY, RUNNING


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class View:
    """Context table, NPU status, mask and observation of N rows. The arrays are live: they change with the next step.

    ``table`` and ``npu`` are read-only; ``slots`` and ``status`` are the same memory for compiled policies.
    """

    config: EnvConfig
    status: np.ndarray
    """(N,) STATUS: clock, running slot, cause of the invocation, dispatch, finished tasks' log PP."""
    slots: np.ndarray
    """(N, T) SLOT: the context table."""
    mask: np.ndarray
    """(N, A) int8: 1 where an action is legal."""
    observation: np.ndarray
    """(N, D) float32."""

    @property
    def rows(self) -> int:
        """N."""
        return self.status.shape[0]

    @property
    def table(self) -> np.ndarray:
        """The context table, read-only: ``view.table["priority"]`` is (N, T)."""
        return _read_only(self.slots)

    @property
    def npu(self) -> np.ndarray:
        """The NPU status, read-only: ``view.npu["clock_cycles"]`` is (N,)."""
        return _read_only(self.status)

    @property
    def present(self) -> np.ndarray:
        """(N, T) bool: slots that hold a task."""
        return self.slots["state"] != EMPTY

    @property
    def ready(self) -> np.ndarray:
        """(N, T) bool: tasks that wait."""
        return self.slots["state"] == READY

    @property
    def running(self) -> np.ndarray:
        """(N, T) bool: the task on the NPU."""
        return self.slots["state"] == RUNNING

    @property
    def elapsed_cycles(self) -> np.ndarray:
        """(N, T) int64: cycles since arrival, 0 in empty slots."""
        return np.where(self.present, self.status["clock_cycles"][:, None] - self.slots["arrival_cycles"], 0)

    @property
    def predicted_remaining_cycles(self) -> np.ndarray:
        """(N, T) float64: max(predicted total - executed, 1 % of the predicted total)."""
        predicted = self.slots["predicted_cycles"]
        return np.maximum(predicted - self.slots["executed_cycles"], 0.01 * predicted)

    @property
    def since_dispatch_cycles(self) -> np.ndarray:
        """(N,) int64: cycles since the running task was chosen."""
        return self.status["clock_cycles"] - self.status["dispatch_cycles"]
