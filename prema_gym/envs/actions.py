"""Actions: 0 keeps; 1 + M * slot + column gives the asked NPU to a slot by one of the environment's M mechanisms.

A column is a mechanism that the environment allows, in the order CHECKPOINT, KILL, DRAIN: with ``mechanisms=["CHECKPOINT"]`` there
is one column, and by default there are three. Throughout, ``mechanisms`` has bit m set where mechanism m is allowed. On an idle NPU
a slot's first column dispatches it, and the others are illegal. The mask says which actions are legal.

An action is decoded once into a *move*, (slot, mechanism), with slot NONE for keep; everything behind the environment's door knows
moves only.
"""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.types import CHECKPOINT, NONE, READY

NUM_MECHANISMS = 3
KEEP = 0
"""The action that keeps what runs, or where it is legal on an idle NPU, keeps it idle."""
NO_ACTION = -1
"""What :func:`encode` returns for a mechanism that the environment doesn't allow; never legal."""


@jit_borrowing
def count_columns(mechanisms):
    """Return M, the number of allowed mechanisms."""
    count = 0
    for mechanism in range(NUM_MECHANISMS):
        count += (mechanisms >> mechanism) & 1
    return count


@jit_borrowing
def count_actions(slots, mechanisms):
    """Return A for T slots."""
    return 1 + count_columns(mechanisms) * slots


@jit_borrowing
def is_action(action, slots, mechanisms):
    """Whether ``action`` is one of those for ``slots`` slots."""
    return 0 <= action < count_actions(slots, mechanisms)


@jit_borrowing
def dispatch(slot, mechanisms):
    """Return the action that gives an idle NPU to ``slot``: its first column."""
    return 1 + count_columns(mechanisms) * slot


@jit_borrowing
def encode(slot, mechanism, mechanisms):
    """Return the action that gives the NPU to ``slot`` by ``mechanism``; NO_ACTION where that is not among ``mechanisms``."""
    if (mechanisms >> mechanism) & 1 == 0:
        return NO_ACTION
    return dispatch(slot, mechanisms) + count_columns(mechanisms & ((1 << mechanism) - 1))


@jit_borrowing
def decode(action, mechanisms):
    """Return the move (slot, mechanism) of an ``action`` in range; slot is NONE for KEEP."""
    if action == KEEP:
        return NONE, CHECKPOINT
    columns = count_columns(mechanisms)
    column = (action - 1) % columns
    mechanism = 0
    while (mechanisms >> mechanism) & 1 == 0 or column > 0:
        column -= (mechanisms >> mechanism) & 1
        mechanism += 1
    return (action - 1) // columns, mechanism


@jit_borrowing
def may_keep(status):
    """Whether the asked NPU may keep what runs on it, or if idle stay so."""
    return status.running_slot >= 0 or status.may_keep


@jit_borrowing
def fill_mask(status, slots, mechanisms, asking, out):
    """Fill ``out`` (A,) int8 with 1 where an action is legal; with nothing asked any more, only keep is."""
    out[:] = 0
    if not asking:
        out[KEEP] = 1
        return
    out[KEEP] = may_keep(status)
    running = status.running_slot >= 0
    columns = count_columns(mechanisms)
    for slot in range(slots.shape[0]):
        if slots[slot].state == READY:
            first = 1 + columns * slot
            out[first] = 1
            for column in range(1, columns):
                out[first + column] = running


@jit_borrowing
def is_legal(status, slots, mechanisms, action):
    """Whether ``action`` is one, and legal; agrees with :func:`fill_mask` element by element."""
    if action == KEEP:
        return may_keep(status)
    columns = count_columns(mechanisms)
    if action < 0 or action > columns * slots.shape[0]:
        return False
    slot, column = (action - 1) // columns, (action - 1) % columns
    return slots[slot].state == READY and (status.running_slot >= 0 or column == 0)


@jit_borrowing
def replacement(status, slots):
    """Return the move that is played in place of an illegal action: keep where it is legal, else the earliest ready task."""
    if may_keep(status):
        return NONE, CHECKPOINT
    best = NONE
    for slot in range(slots.shape[0]):
        if slots[slot].state == READY and (best == NONE or slots[slot].task < slots[best].task):
            best = slot
    return best, CHECKPOINT
