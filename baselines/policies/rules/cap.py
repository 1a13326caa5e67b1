"""The index rule under a cap on progress per priority, which learned policies have too (:mod:`agents.network.slots.layout`).

Fairness is the smallest over the largest progress per priority, (1 / NTT) / priority, of an episode's tasks. With r the logarithm
of a task's progress per priority, should it run to its end from now on:

    lowest = min(floor, least of finished tasks, smallest r of those present)
    cap    = max(largest of finished tasks, lowest + room)
    score  = ln index - above_weight * (r - cap)+ - [r > cap] * (held_weight + held_length_power * ln remaining)
           + lagging_weight * (lowest + near - r)+

A task above the cap would raise the largest for good if it completed now. It is held back until it has waited long enough, and of
those that are held the shortest runs first; a task near the lowest is brought forward. (The network can't tell a first task that
finished at an NTT of 1 and priority 1 from none: its observation is 0 for both. This rule can.)
"""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import SelectionRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.types import EMPTY

AT_THE_CAP = 1e-3
"""What is above the cap by less is at it: as is a task that has not waited yet where one like it has finished."""


@jit_borrowing
def log_progress_per_priority(seen, slot):
    """Return ln((1 / NTT) / priority) of the task in ``slot``, should it run to its end from now on."""
    task = seen.table[slot]
    turnaround = float(seen.npu.clock_cycles - task.arrival_cycles) + remaining_cycles(seen, slot)
    return -np.log(turnaround / total_cycles(seen, slot) * task.priority)


@jit_borrowing
def lowest_and_cap(seen, params):
    """Return (lowest, cap) of the logarithm of progress per priority."""
    finished = seen.npu.finished > 0
    lowest = min(params.floor, seen.npu.min_log_pp) if finished else params.floor
    for i in range(seen.table.shape[0]):
        if seen.table[i].state != EMPTY:
            lowest = min(lowest, log_progress_per_priority(seen, i))
    cap = lowest + params.room
    return lowest, max(cap, seen.npu.max_log_pp) if finished else cap


@jit_borrowing
def _log_index(seen, slot, params):
    """Return the logarithm of the index rule's index; lengths are in milliseconds at 1 GHz."""
    task, total = seen.table[slot], total_cycles(seen, slot)
    waited = params.wait_weight * (seen.npu.clock_cycles - task.arrival_cycles) / total
    return params.priority_power * np.log(task.priority) + np.log1p(waited) - params.length_power * np.log(total * 1e-6)


@jit_borrowing
def index_under_the_cap(seen, slot, lowest_cap, params):
    """Return minus the score."""
    lowest, cap = lowest_cap
    log_pp = log_progress_per_priority(seen, slot)
    score = _log_index(seen, slot, params) + params.lagging_weight * max(lowest + params.near - log_pp, 0.0)
    if log_pp > cap + AT_THE_CAP:
        score -= params.above_weight * (log_pp - cap)
        score -= params.held_weight + params.held_length_power * np.log(remaining_cycles(seen, slot) * 1e-6)
    return -score


CAP_INDEX = SelectionRule(
    "CAP-INDEX",
    "largest INDEX, but a task whose progress per priority would exceed the cap max(largest finished, lowest + room) is held back, "
    "the shortest first among the held, and one within near of the lowest is brought forward",
    index_under_the_cap,
    lowest_and_cap,
    defaults={
        "priority_power": 1.0,  # a
        "wait_weight": 1.0,  # d
        "length_power": 0.25,  # c
        "floor": -3.0,
        "room": 0.5,
        "near": 0.3,
        "above_weight": 3.0,
        "held_weight": 0.5,
        "held_length_power": 0.3,
        "lagging_weight": 0.0,
    },
    source="Ours.",
)
