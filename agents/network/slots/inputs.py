"""What the network over slots reads of an observation: its group "base", slot by slot, priorities 1, 3 and 9 as flags.

These inputs are what the published weights were trained on; their names, bounds and scales are in the fingerprint of a card.
They are the same in every environment: further groups of its observation are not read.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation import BASE_FLAGS, BASE_LOGS, BASE_ROW, BASE_ROW_LOGS, LOG_SCALE, F, G

SLOT_INPUTS = (
    ("present", 0, 1),
    ("running", 0, 1),
    ("priority_low", 0, 1),
    ("priority_medium", 0, 1),
    ("priority_high", 0, 1),
    ("log_token", 0, 4),
    ("log_elapsed", 0, 4),
    ("log_waited", 0, 4),
    ("log_predicted", -4, 4),
    ("log_remaining", -4, 4),
    ("executed", 0, 4),
    ("overrun", 0, 1),
    ("length_estimated", 0, 1),
    ("saved_context", 0, 8),
    ("log_projected_ntt", -2, 4),
)
"""Name and bounds of what is read of each slot."""
ROW_INPUTS = (
    ("ready_share", 0, 1),
    ("log_backlog", 0, 4),
    ("log_since_switch", 0, 4),
    ("log_since_arrival", 0, 4),
    ("min_log_pp", -4, 4),
    ("max_log_pp", -4, 4),
    ("completion", 0, 1),
    ("arrival", 0, 1),
    ("quantum", 0, 1),
)
"""Name and bounds of what is read of the row. ``log_backlog`` is the observation's ``log_work``."""
PRIORITY_FLAGS = {"priority_low": 1, "priority_medium": 3, "priority_high": 9}
"""The priority that each flag stands for; of other priorities none is set."""
RENAMED = {"log_backlog": "log_work"}
S, R = len(SLOT_INPUTS), len(ROW_INPUTS)
"""Inputs of a slot, and of the row."""
TOLERANCE = 1e-4
"""By how much the feature ``log_priority`` may miss that of a priority for which a flag stands."""

_SLOT_FEATURES = [feature.name for block in (BASE_FLAGS, BASE_LOGS) for feature in block.features]
_ROW_FEATURES = [feature.name for block in (BASE_ROW_LOGS, BASE_ROW) for feature in block.features]


def _sources(inputs: tuple[tuple[str, int, int], ...], features: list[str]) -> np.ndarray:
    names = [RENAMED.get(name, name) for name, _, _ in inputs]
    return np.array([features.index("log_priority" if name in PRIORITY_FLAGS else name) for name in names], np.int64)


SLOT_SOURCES = _sources(SLOT_INPUTS, _SLOT_FEATURES)
"""(S,) int64: the number of the feature, among a slot's, that each input is read from."""
ROW_SOURCES = _sources(ROW_INPUTS, _ROW_FEATURES)
"""(R,) int64: likewise for the row."""
LOG_PRIORITIES = np.array([np.log(PRIORITY_FLAGS.get(name, np.nan)) / LOG_SCALE for name, _, _ in SLOT_INPUTS])
"""(S,) float64: the feature ``log_priority`` for which an input is set; NaN for inputs that are no flags of a priority."""
_slot_sources, _row_sources, _flagged = tuple(SLOT_SOURCES.tolist()), tuple(ROW_SOURCES.tolist()), LOG_PRIORITIES


def inputs_size(slots: int) -> int:
    """Return T * S + R."""
    return slots * S + R


@jit_borrowing
def fill_inputs(observation, slots, out):
    """Fill ``out`` (T * S + R,) slot by slot, then the row, from an observation (D,) whose group "base" is of T ``slots``."""
    for k in range(S):
        source, flagged = _slot_sources[k] * slots, _flagged[k]
        for i in range(slots):
            value = observation[source + i]
            if not np.isnan(flagged):
                value = 1.0 if abs(value - flagged) < TOLERANCE and observation[i] > 0.0 else 0.0
            out[i * S + k] = value
    for k in range(R):
        out[slots * S + k] = observation[slots * F + _row_sources[k]]


def base_size(slots: int) -> int:
    """Return the length of the group "base" of T ``slots``."""
    return slots * F + G
