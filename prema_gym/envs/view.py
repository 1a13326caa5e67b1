"""The view: everything a policy may know, for N rows at once. It holds no truth and no future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.envs.observation import REMAINING_FLOOR, Layout
from prema_gym.errors import ConfigError
from prema_gym.types import EMPTY, READY, RUNNING


def read_only(array: np.ndarray) -> np.ndarray:
    """Return an array over the memory of ``array`` through which nothing can be written; a copy if it isn't C-contiguous.

    It lies on a read-only buffer, so that NumPy refuses to make it writeable again.
    """
    plain = np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # no buffer of records: describing their fields takes time
    view: np.ndarray = np.frombuffer(plain.data.toreadonly(), array.dtype).reshape(array.shape)
    return view


@dataclass(frozen=True)
class View:
    """Context table, NPU status, mask and observation of N rows.

    The environment hands out read-only arrays: a policy that writes into one gets a ``ValueError``. They are live: they show the
    next decision once the environment has stepped.
    """

    config: EnvConfig
    npu: np.ndarray
    """(N,) STATUS: clock, cause of the invocation, finished tasks' log PP; the asked NPU, its running slot and dispatch."""
    table: np.ndarray
    """(N, T) SLOT: the context table; ``view.table["priority"]`` is (N, T)."""
    mask: np.ndarray
    """(N, A) int8: 1 where an action is legal."""
    observation: np.ndarray
    """(N, D) float32."""
    npus: np.ndarray
    """(N, M) NPU: every NPU of the row."""
    predictions: np.ndarray
    """(N, T, C) int64: predicted total cycles of a slot's task on each of the C distinct configurations (``npus["configuration"]``
    names them by index; empty slots hold anything). C = 0 where a row is one NPU: ``table["predicted_cycles"]`` is all there is."""
    batches: np.ndarray
    """(N, T) BATCH: the batches of running requests, and those that would run together if a slot were dispatched now. T = 0 where
    requests run one by one (``batching=1``)."""

    @property
    def rows(self) -> int:
        """N."""
        return self.npu.shape[0]

    def give(self, slots: np.ndarray | int, mechanism: str = "CHECKPOINT") -> np.ndarray:
        """Return (N,) int64 actions that give the NPU to ``slots`` (N,): by ``mechanism`` while a task runs, else by dispatching.

        Raises :class:`ConfigError` for a mechanism that the environment does not allow.
        """
        allowed = self.config.mechanisms
        if mechanism not in allowed:
            raise ConfigError(f"mechanism {mechanism!r}: this environment allows {', '.join(allowed)}.")
        column = np.where(self.npu["running_slot"] >= 0, allowed.index(mechanism), 0)
        return 1 + len(allowed) * np.asarray(slots, np.int64) + column

    def feature(self, name: str) -> np.ndarray:
        """Return the (N, T), (N, M) or (N, 1) float32 feature called ``name``: of slots, of NPUs, or of the row.

        Raises :class:`ConfigError` for a name that the environment's observation doesn't have.
        """
        return self.observation[:, Layout.of(self.config)[name]]

    @property
    def present(self) -> np.ndarray:
        """(N, T) bool: slots that hold a task."""
        return self.table["state"] != EMPTY

    @property
    def ready(self) -> np.ndarray:
        """(N, T) bool: tasks that wait and that the asked NPU may take."""
        return self.table["state"] == READY

    @property
    def running(self) -> np.ndarray:
        """(N, T) bool: the task on the asked NPU."""
        return self.table["state"] == RUNNING

    @property
    def elapsed_cycles(self) -> np.ndarray:
        """(N, T) int64: cycles since arrival, 0 in empty slots."""
        return np.where(self.present, self.npu["clock_cycles"][:, None] - self.table["arrival_cycles"], 0)

    @property
    def predicted_remaining_cycles(self) -> np.ndarray:
        """(N, T) float64: max(predicted total - executed, 1 % of the predicted total)."""
        predicted = self.table["predicted_cycles"]
        return np.maximum(predicted - self.table["executed_cycles"], REMAINING_FLOOR * predicted)

    @property
    def since_dispatch_cycles(self) -> np.ndarray:
        """(N,) int64: cycles since the running task was chosen."""
        return self.npu["clock_cycles"] - self.npu["dispatch_cycles"]
