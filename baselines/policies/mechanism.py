"""How to switch: what a policy plays once it knows whom to run."""

from __future__ import annotations

import numpy as np

from baselines.policies.selection import RANDOM, select, times
from prema_gym._jit import jit_borrowing
from prema_gym.envs.actions import encode, is_legal
from prema_gym.types import CHECKPOINT, DRAIN, KILL
from prema_gym.workloads.seeding import mix64

MECHANISM_RULES = {
    "NONE": "never evicts: chooses on an idle NPU only",
    "CHECKPOINT": "saves the running task's context",
    "KILL": "drops the running task's progress",
    "DRAIN": "commits the running task to complete, then switches",
    "DYNAMIC": "Algorithm 3: lets the running task run on, and is asked again, where waiting costs the chosen one relatively "
    "less than being evicted costs the running one; else CHECKPOINT",
    "COMMIT": "Algorithm 3, but where the running task is let run it is committed to complete (DRAIN)",
}
"""Mechanism rules by name, in the order of their index."""
NEVER_EVICT, BY_CHECKPOINT, BY_KILL, BY_DRAIN, DYNAMIC, COMMIT = range(len(MECHANISM_RULES))
_KEEP_ACTION = 0


@jit_borrowing
def running_is_let_run(slots, running, chosen, params, truth):
    """Algorithm 3: whether evicting degrades the running task relatively more than waiting degrades the chosen one."""
    running_remaining, running_total = times(slots[running], params, truth[running])
    chosen_remaining, chosen_total = times(slots[chosen], params, truth[chosen])
    return chosen_remaining / running_total > running_remaining / chosen_total


@jit_borrowing
def _eviction(slots, running, chosen, params, truth):
    """Return the action that follows from wanting ``chosen`` while ``running`` runs."""
    rule = params.mechanism
    if rule == BY_KILL:
        return encode(chosen, KILL)
    if rule == BY_DRAIN:
        return encode(chosen, DRAIN)
    if rule == BY_CHECKPOINT or not running_is_let_run(slots, running, chosen, params, truth):
        return encode(chosen, CHECKPOINT)
    return encode(chosen, DRAIN) if rule == COMMIT else _KEEP_ACTION


@jit_borrowing
def _any_legal(status, slots, params, mechanisms):
    """Return a legal action drawn uniformly, from a hash of the seed, the clock and the table."""
    legal = 0
    word = mix64(params.seed ^ np.uint64(status.clock_cycles))
    for i in range(slots.shape[0]):
        word = mix64(word ^ np.uint64(slots[i].arrival_cycles))
    for action in range(1 + 3 * slots.shape[0]):
        legal += is_legal(status, slots, mechanisms, action)
    wanted = int(word % np.uint64(max(legal, 1)))
    for action in range(1 + 3 * slots.shape[0]):
        if is_legal(status, slots, mechanisms, action):
            if wanted == 0:
                return action
            wanted -= 1
    return _KEEP_ACTION


@jit_borrowing
def act_row(status, slots, params, mechanisms, quantum_cycles, truth):
    """Return one row's action. A mechanism that the environment forbids is not played: the policy keeps."""
    if params.selection == RANDOM:
        return _any_legal(status, slots, params, mechanisms)
    running = status.running_slot
    if running >= 0 and (params.mechanism == NEVER_EVICT or status.ready == 0):
        return _KEEP_ACTION
    chosen = select(status, slots, params, quantum_cycles, truth)
    if running < 0:
        return encode(chosen, CHECKPOINT) if chosen >= 0 else _KEEP_ACTION
    if chosen == running:
        return _KEEP_ACTION
    action = _eviction(slots, running, chosen, params, truth)
    return action if is_legal(status, slots, mechanisms, action) else _KEEP_ACTION


@jit_borrowing
def act_rows(status, slots, params, mechanisms, quantum_cycles, truth, out):
    """Fill ``out`` (N,) int64 with the actions of N rows; ``truth`` is (N, T) int64."""
    for i in range(out.shape[0]):
        out[i] = act_row(status[i], slots[i], params[0], mechanisms, quantum_cycles, truth[i])
