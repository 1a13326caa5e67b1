"""PREMA's rules: tasks earn tokens while they wait, and those with enough of them are candidates (paper, Algorithm 2)."""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import SelectionRule, is_candidate, total_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.sim.levels import level_reached

ALGORITHM_2 = "Choi & Rhu, HPCA 2020, Algorithm 2."


@jit_borrowing
def token_of(slot, params):
    """Return the token of a row of the table that the rule goes by."""
    return slot.token_whole_wait if params.whole_wait else slot.token


@jit_borrowing
def candidate_threshold(seen, params):
    """Return the largest priority level that is not above the largest token of a candidate; 0 where all are."""
    largest = 0.0
    for i in range(seen.table.shape[0]):
        if is_candidate(seen.table[i]):
            largest = max(largest, token_of(seen.table[i], params))
    return level_reached(seen.npu.levels, largest)


@jit_borrowing
def earliest_candidate(seen, slot, threshold, params):
    """Return the cycle of arrival of a candidate; infinity for all others."""
    return np.inf if token_of(seen.table[slot], params) < threshold else float(seen.table[slot].arrival_cycles)


@jit_borrowing
def shortest_candidate(seen, slot, threshold, params):
    """Return the total time of a candidate; infinity for all others."""
    return np.inf if token_of(seen.table[slot], params) < threshold else total_cycles(seen, slot)


_WHOLE_WAIT = {"whole_wait": False}
"""Whether tokens grow by the whole wait at every invocation (the other reading of Algorithm 2)."""

TOKEN = SelectionRule(
    "TOKEN",
    "earliest arrival among PREMA's candidates",
    earliest_candidate,
    candidate_threshold,
    defaults=_WHOLE_WAIT,
    source=ALGORITHM_2,
)
PREMA = SelectionRule(
    "PREMA",
    "smallest predicted total time among the candidates: tasks whose token reaches the largest priority level "
    "that is not above the largest token (paper, Algorithm 2)",
    shortest_candidate,
    candidate_threshold,
    defaults=_WHOLE_WAIT,
    source=ALGORITHM_2,
)
