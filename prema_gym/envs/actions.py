"""Actions: 0 keeps; 1 + 3 * slot + mechanism gives the NPU to a slot. The mask says which are legal."""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.types import CHECKPOINT, KEEP, READY

NUM_MECHANISMS = 3


def num_actions(slots: int) -> int:
    """Return A for T slots."""
    return 1 + NUM_MECHANISMS * slots


count_actions = jit_borrowing(num_actions)
"""The same, compiled."""


@jit_borrowing
def encode(slot, mechanism):
    """Return the action that gives the NPU to ``slot`` by ``mechanism``."""
    return 1 + NUM_MECHANISMS * slot + mechanism


@jit_borrowing
def decode(action):
    """Return (slot, mechanism) of ``action``; slot is KEEP for action 0."""
    if action == 0:
        return KEEP, CHECKPOINT
    return (action - 1) // NUM_MECHANISMS, (action - 1) % NUM_MECHANISMS


@jit_borrowing
def fill_mask(status, slots, mechanisms, asking, out):
    """Fill ``out`` (A,) int8 with 1 where an action is legal; with nothing asked any more, only keep is.

    ``mechanisms`` has bit m set where mechanism m may evict. On an idle NPU only the CHECKPOINT column is open: it dispatches.
    """
    out[:] = 0
    if not asking:
        out[0] = 1
        return
    running = status.running_slot >= 0
    columns = mechanisms if running else 1 << CHECKPOINT
    if running:
        out[0] = 1
    for i in range(slots.shape[0]):
        if slots[i].state == READY:
            for mechanism in range(NUM_MECHANISMS):
                out[encode(i, mechanism)] = (columns >> mechanism) & 1


@jit_borrowing
def is_legal(status, slots, mechanisms, action):
    """Return whether ``action`` is legal; agrees with :func:`fill_mask` element by element."""
    if action < 0 or action >= count_actions(slots.shape[0]):
        return False
    slot, mechanism = decode(action)
    running = status.running_slot >= 0
    if slot == KEEP:
        return running
    if slots[slot].state != READY:
        return False
    columns = mechanisms if running else 1 << CHECKPOINT
    return (columns >> mechanism) & 1 == 1


@jit_borrowing
def replacement(status, slots):
    """Return what is played in place of an illegal action: keep, or on an idle NPU the earliest ready task."""
    if status.running_slot >= 0:
        return 0
    best = KEEP
    for i in range(slots.shape[0]):
        if slots[i].state == READY and (best == KEEP or slots[i].task < slots[best].task):
            best = i
    return 0 if best == KEEP else encode(best, CHECKPOINT)
