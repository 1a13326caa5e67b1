"""Whom to run: each rule gives every present task a key; the smallest key runs.

Ties go to the running task, then to the earlier arrival, then to the lower slot. Rules are functions of one signature,
``key(slot, now, params, remaining, total)`` with times in cycles, listed in :data:`SELECTIONS`.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation import predicted_remaining
from prema_gym.metrics import HIGHEST_TARGET, LOWEST_TARGET
from prema_gym.types import EMPTY, NONE, READY, RUNNING

PARAMS = np.dtype(
    [
        ("selection", np.int64),  # index into SELECTIONS
        ("mechanism", np.int64),  # index into MECHANISM_RULES
        ("whole_wait", np.bool_),  # candidates by the other token
        ("clairvoyant", np.bool_),  # true times in place of predicted ones
        ("priority_power", np.float64),  # a of INDEX
        ("wait_weight", np.float64),  # d of INDEX
        ("length_power", np.float64),  # c of INDEX
        ("seed", np.uint64),  # of RANDOM
    ],
    align=True,
)
"""Everything that tells one compiled heuristic from another."""

SELECTIONS = {
    "FCFS": "earliest arrival",
    "RRB": "next ready slot cyclically after the last dispatched one, once the running task has run a quantum or completed",
    "HPF": "highest priority, then earliest arrival",
    "SJF": "smallest predicted total time",
    "TOKEN": "earliest arrival among PREMA's candidates",
    "PREMA": "smallest predicted total time among the candidates: tasks whose token reaches the largest priority level "
    "that is not above the largest token (paper, Algorithm 2)",
    "SRPT": "smallest remaining time",
    "INDEX": "largest priority^a * (1 + d * elapsed / predicted) / predicted^c",
    "EDF": "earliest deadline, that of the tightest SLA target (N * predicted, N in 2..20) that can still be met",
    "LLF": "least laxity: time to EDF's deadline less predicted remaining time",
    "RANDOM": "uniform over the legal actions",
}
"""Selection rules by name, in the order of their index."""
FCFS, RRB, HPF, SJF, TOKEN, PREMA, SRPT, INDEX, EDF, LLF, RANDOM = range(len(SELECTIONS))

LEVELS = (9, 3, 1)
"""Priority levels, largest first."""


@jit_borrowing
def times(slot, params, truth):
    """Return (remaining, total) cycles of a slot as the policy believes them; ``truth`` is its true total."""
    if params.clairvoyant:
        return float(truth - slot.executed_cycles), float(truth)
    return predicted_remaining(slot), float(slot.predicted_cycles)


@jit_borrowing
def token_of(slot, params):
    """Return the token that the policy goes by."""
    return slot.token_whole_wait if params.whole_wait else slot.token


@jit_borrowing
def candidate_threshold(slots, params):
    """Return the largest priority level that is not above the largest token of a present task (Algorithm 2)."""
    largest = 0.0
    for i in range(slots.shape[0]):
        if slots[i].state != EMPTY:
            largest = max(largest, token_of(slots[i], params))
    for level in LEVELS:
        if level <= largest:
            return float(level)
    return 0.0


@jit_borrowing
def _deadline(slot, now, remaining, total):
    """Return the arrival plus the tightest SLA target that can still be met; infinity where none can."""
    needed = np.ceil((now + remaining - slot.arrival_cycles) / total)
    if needed > HIGHEST_TARGET:
        return np.inf
    return slot.arrival_cycles + max(needed, float(LOWEST_TARGET)) * total


@jit_borrowing
def _index(slot, now, params, total):
    """Return the priority index of a slot; lengths in milliseconds at 1 GHz, so that powers stay of moderate size."""
    waited = params.wait_weight * (now - slot.arrival_cycles) / total
    return slot.priority**params.priority_power * (1.0 + waited) / (total * 1e-6) ** params.length_power


@jit_borrowing
def _key(slot, now, params, threshold, truth):
    """Return the key of a present slot under ``params.selection``; the smallest key runs."""
    rule = params.selection
    remaining, total = times(slot, params, truth)
    if rule in (TOKEN, PREMA) and token_of(slot, params) < threshold:
        return np.inf
    if rule == HPF:
        return -float(slot.priority)
    if rule in (SJF, PREMA):
        return total
    if rule == SRPT:
        return remaining
    if rule == INDEX:
        return -_index(slot, now, params, total)
    if rule == EDF:
        return _deadline(slot, now, remaining, total)
    if rule == LLF:
        return _deadline(slot, now, remaining, total) - remaining - now
    return float(slot.arrival_cycles)


@jit_borrowing
def _precedes(slot, other):
    """Whether ``slot`` wins a tie against ``other``, of a lower slot number."""
    if slot.state == RUNNING or other.state == RUNNING:
        return slot.state == RUNNING
    return slot.arrival_cycles < other.arrival_cycles


@jit_borrowing
def _next_in_turn(status, slots, quantum_cycles):
    """Round robin: keep the running task until it has run a quantum, then the next ready slot after the last dispatched one."""
    running = status.running_slot
    if running >= 0 and status.clock_cycles - status.dispatch_cycles < quantum_cycles:
        return running
    count = slots.shape[0]
    for step in range(1, count + 1):
        i = (status.last_slot + step) % count
        if slots[i].state == READY:
            return i
    return running


@jit_borrowing
def select(status, slots, params, quantum_cycles, truth):
    """Return the slot to run. ``truth`` is (T,) int64 true totals, read by clairvoyant policies only."""
    if params.selection == RRB:
        return _next_in_turn(status, slots, quantum_cycles)
    threshold = candidate_threshold(slots, params)
    best, best_key = NONE, np.inf
    for i in range(slots.shape[0]):
        if slots[i].state == EMPTY:
            continue
        key = _key(slots[i], status.clock_cycles, params, threshold, truth[i])
        if best == NONE or key < best_key or (key == best_key and _precedes(slots[i], slots[best])):
            best, best_key = i, key
    return best
