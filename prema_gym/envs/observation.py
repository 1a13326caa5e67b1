"""The observation: a flat float32 vector, T * F slot features and then G global ones, computed from what a policy may see.

:func:`observe` takes the visible arrays only; there is no argument through which the truth could leak. Times enter as logarithms,
divided so that typical values lie within [-1, 1]; every feature is clipped to its finite bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.config import NPUConfig
from prema_gym.sim.programs import context_cycles
from prema_gym.types import CAUSE_ARRIVAL, CAUSE_COMPLETION, CAUSE_QUANTUM, EMPTY, RUNNING


@dataclass(frozen=True)
class Feature:
    """One feature: its meaning with the scale, and the bounds it is clipped to."""

    name: str
    meaning: str
    low: float
    high: float


LOG_SCALE = 4.0
"""Logarithms are divided by this."""
REFERENCE_CYCLES = 1_000_000.0
"""Absolute times are taken relative to this (1.43 ms at 700 MHz) before the logarithm."""
CONTEXT_SCALE_CYCLES = float(NPUConfig().context_cycles(NPUConfig().ubuf_bytes))
"""Context times are divided by this: the save of a full activation buffer on the default NPU, 16 503 cycles."""
REMAINING_FLOOR = 0.01
"""predicted_remaining is at least this share of the predicted total."""

SLOT_FEATURES = (
    Feature("present", "1 if a task holds the slot; every other feature of an empty slot is 0", 0, 1),
    Feature("running", "1 if the task is on the NPU", 0, 1),
    Feature("priority_low", "1 if the priority is 1", 0, 1),
    Feature("priority_medium", "1 if the priority is 3", 0, 1),
    Feature("priority_high", "1 if the priority is 9", 0, 1),
    Feature("log_token", "ln(token) / 4", 0, 4),
    Feature("log_elapsed", "ln(1 + elapsed / predicted total) / 4; elapsed = now - arrival", 0, 4),
    Feature("log_waited", "ln(1 + waited / predicted total) / 4", 0, 4),
    Feature("log_predicted", "ln(predicted total / 10^6 cycles) / 4", -4, 4),
    Feature("log_remaining", "ln(predicted remaining / 10^6 cycles) / 4", -4, 4),
    Feature("executed", "executed / predicted total", 0, 4),
    Feature("overrun", "1 if executed has passed the predicted total", 0, 1),
    Feature("length_estimated", "1 if the output length is a guess", 0, 1),
    Feature("saved_context", f"DMA time of the saved context / {CONTEXT_SCALE_CYCLES:.0f} cycles", 0, 8),
    Feature("log_projected_ntt", "ln((elapsed + predicted remaining) / predicted total) / 4", -2, 4),
)
"""The F features of a slot, in order."""

GLOBAL_FEATURES = (
    Feature("ready_share", "ready tasks / T", 0, 1),
    Feature("log_backlog", "ln(1 + predicted remaining of all tasks / 10^6 cycles) / 4", 0, 4),
    Feature("log_since_switch", "ln(1 + time since the last switch / 10^6 cycles) / 4", 0, 4),
    Feature("log_since_arrival", "ln(1 + time since the last arrival / 10^6 cycles) / 4", 0, 4),
    Feature("min_log_pp", "smallest ln(1 / (NTT * priority)) of finished tasks / 4; 0 if none has finished", -4, 4),
    Feature("max_log_pp", "largest ln(1 / (NTT * priority)) of finished tasks / 4; 0 if none has finished", -4, 4),
    Feature("completion", "1 if a completion is among the causes of this invocation", 0, 1),
    Feature("arrival", "1 if an arrival is among the causes of this invocation", 0, 1),
    Feature("quantum", "1 if an expired quantum is among the causes of this invocation", 0, 1),
)
"""The G global features, in order."""

F = len(SLOT_FEATURES)
G = len(GLOBAL_FEATURES)


def observation_size(slots: int) -> int:
    """Return T * F + G."""
    return slots * F + G


def observation_bounds(slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the (T * F + G,) float32 bounds (low, high)."""
    low = [feature.low for feature in SLOT_FEATURES] * slots + [feature.low for feature in GLOBAL_FEATURES]
    high = [feature.high for feature in SLOT_FEATURES] * slots + [feature.high for feature in GLOBAL_FEATURES]
    return np.array(low, np.float32), np.array(high, np.float32)


def feature_names(slots: int) -> list[str]:
    """Return the name of each element of an observation: ``"slot0.present"``, ..., ``"ready_share"``, ..."""
    names = [f"slot{slot}.{feature.name}" for slot in range(slots) for feature in SLOT_FEATURES]
    return names + [feature.name for feature in GLOBAL_FEATURES]


@jit_borrowing
def predicted_remaining(slot):
    """Return max(predicted total - executed, 1 % of predicted total) of a slot, in cycles."""
    return max(float(slot.predicted_cycles - slot.executed_cycles), REMAINING_FLOOR * slot.predicted_cycles)


@jit_borrowing
def _clip(value, low, high):
    return min(max(value, low), high)


@jit_borrowing
def _log1(ratio):
    """Return ln(1 + ratio) / 4, at most 4; ``ratio`` is at least 0."""
    return min(np.log(1.0 + ratio) * (1.0 / LOG_SCALE), 4.0)


@jit_borrowing
def _log_cycles(cycles):
    """Return ln(cycles / 10^6) / 4, clipped to [-4, 4]."""
    return _clip(np.log(cycles * (1.0 / REFERENCE_CYCLES)) * (1.0 / LOG_SCALE), -4.0, 4.0)


@jit_borrowing
def _observe_progress(slot, elapsed, share, rules, out, at):
    """Fill the features that progress and preemption change; ``share`` is 1 / predicted total. Return the predicted remaining."""
    executed, waited, saved = slot.executed_cycles, slot.waited_cycles, slot.saved_bytes
    predicted = slot.predicted_cycles
    remaining = predicted_remaining(slot)
    out[at + 7] = _log1(waited * share)
    out[at + 9] = _log_cycles(remaining)
    out[at + 10] = min(executed * share, 4.0)
    out[at + 11] = executed > predicted
    out[at + 13] = min(context_cycles(rules, saved) * (1.0 / CONTEXT_SCALE_CYCLES), 8.0)
    out[at + 14] = _clip(np.log((elapsed + remaining) * share) * (1.0 / LOG_SCALE), -2.0, 4.0)
    return remaining


@jit_borrowing
def _observe_slot(slot, now, rules, out, at):
    # Every field is read before the first feature is written: the compiler can't know that they don't overlap.
    predicted, token, priority = float(slot.predicted_cycles), slot.token, slot.priority
    elapsed = now - slot.arrival_cycles
    only_waited = slot.executed_cycles == 0 and slot.waited_cycles == elapsed
    running, estimated = slot.state == RUNNING, slot.length_estimated
    share = 1.0 / predicted
    log_elapsed = _log1(elapsed * share)
    log_predicted = _log_cycles(predicted)
    out[at] = 1.0
    out[at + 1] = running
    out[at + 2] = priority == 1
    out[at + 3] = priority == 3
    out[at + 4] = priority == 9
    out[at + 5] = min(np.log(token) * (1.0 / LOG_SCALE), 4.0)
    out[at + 6] = log_elapsed
    out[at + 8] = log_predicted
    out[at + 12] = estimated
    if not only_waited:
        return _observe_progress(slot, float(elapsed), share, rules, out, at)
    # Then waited = elapsed and remaining = predicted, so three logarithms are known already.
    out[at + 7] = log_elapsed
    out[at + 9] = log_predicted
    out[at + 10] = 0.0
    out[at + 11] = 0.0
    out[at + 13] = 0.0
    out[at + 14] = log_elapsed
    return predicted


@jit_borrowing
def observe(status, slots, rules, out):
    """Fill ``out`` (T * F + G,) float32 from a row's visible arrays: ``status`` (STATUS), ``slots`` (T,) SLOT."""
    now = status.clock_cycles
    count = slots.shape[0]
    backlog = 0.0
    for i in range(count):
        if slots[i].state == EMPTY:
            for k in range(i * F, (i + 1) * F):
                out[k] = 0.0
        else:
            backlog += _observe_slot(slots[i], now, rules, out, i * F)
    at = count * F
    out[at] = status.ready / count
    out[at + 1] = _log1(backlog * (1.0 / REFERENCE_CYCLES))
    out[at + 2] = _log1((now - status.last_switch_cycles) * (1.0 / REFERENCE_CYCLES))
    out[at + 3] = _log1((now - status.last_arrival_cycles) * (1.0 / REFERENCE_CYCLES))
    out[at + 4] = _clip(status.min_log_pp / LOG_SCALE, -4.0, 4.0)
    out[at + 5] = _clip(status.max_log_pp / LOG_SCALE, -4.0, 4.0)
    out[at + 6] = (status.cause & CAUSE_COMPLETION) != 0
    out[at + 7] = (status.cause & CAUSE_ARRIVAL) != 0
    out[at + 8] = (status.cause & CAUSE_QUANTUM) != 0
