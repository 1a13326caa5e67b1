"""Actions: 0 keeps; 1 + 3 * slot + mechanism gives the asked NPU to a slot. The mask says which are legal.

An action is decoded once into a *move*, (slot, mechanism), with slot NONE for keep; everything behind the environment's door knows
moves only.
"""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.types import CHECKPOINT, NONE, READY

NUM_MECHANISMS = 3
KEEP = 0
"""The action that keeps what runs, or where it is legal on an idle NPU, keeps it idle."""


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
    """Return the move (slot, mechanism) of ``action``; slot is NONE for KEEP."""
    if action == KEEP:
        return NONE, CHECKPOINT
    return (action - 1) // NUM_MECHANISMS, (action - 1) % NUM_MECHANISMS


@jit_borrowing
def is_action(action, slots):
    """Whether ``action`` is one of those for ``slots`` slots."""
    return 0 <= action < count_actions(slots)


@jit_borrowing
def _may_keep(status):
    return status.running_slot >= 0 or status.may_keep


@jit_borrowing
def _columns(status, mechanisms):
    """Return the open columns, bit m for mechanism m: on an idle NPU CHECKPOINT's alone, which dispatches."""
    return mechanisms if status.running_slot >= 0 else 1 << CHECKPOINT


@jit_borrowing
def fill_mask(status, slots, mechanisms, asking, out):
    """Fill ``out`` (A,) int8 with 1 where an action is legal; with nothing asked any more, only keep is.

    ``mechanisms`` has bit m set where mechanism m may evict.
    """
    out[:] = 0
    if not asking:
        out[KEEP] = 1
        return
    out[KEEP] = _may_keep(status)
    columns = _columns(status, mechanisms)
    for slot in range(slots.shape[0]):
        if slots[slot].state == READY:
            for mechanism in range(NUM_MECHANISMS):
                out[encode(slot, mechanism)] = (columns >> mechanism) & 1


@jit_borrowing
def is_legal_move(status, slots, mechanisms, slot, mechanism):
    """Whether a move is legal; agrees with :func:`fill_mask` element by element."""
    if slot == NONE:
        return _may_keep(status)
    if slots[slot].state != READY:
        return False
    return (_columns(status, mechanisms) >> mechanism) & 1 == 1


@jit_borrowing
def is_legal(status, slots, mechanisms, action):
    """Whether ``action`` is one, and legal."""
    if not is_action(action, slots.shape[0]):
        return False
    slot, mechanism = decode(action)
    return is_legal_move(status, slots, mechanisms, slot, mechanism)


@jit_borrowing
def replacement(status, slots):
    """Return the move that is played in place of an illegal action: keep where it is legal, else the earliest ready task."""
    if _may_keep(status):
        return NONE, CHECKPOINT
    best = NONE
    for slot in range(slots.shape[0]):
        if slots[slot].state == READY and (best == NONE or slots[slot].task < slots[best].task):
            best = slot
    return best, CHECKPOINT
