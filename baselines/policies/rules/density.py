"""Rules that go by density: what a cycle of the NPU is worth to the sum of weighted normalised turnaround times.

Smith's rule orders jobs of weight w and length p by w / p, which is optimal for the sum of w * (completion time) where all jobs are
there from the start. A normalised turnaround time is a turnaround divided by the isolated time, so the weight of a task in weighted
ANTT is priority / isolated, not priority, and its density is (priority / predicted) / predicted. (Smith's rule for turnaround that
isn't normalised, priority / predicted, is INDEX with a = 1, c = 1 and d = 0.)
"""

from __future__ import annotations

from baselines.policies.rules.rule import SelectionRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing


@jit_borrowing
def least_remaining_density(seen, slot, shared, params):
    """Return minus priority / (total * remaining)."""
    return -seen.table[slot].priority / (total_cycles(seen, slot) * remaining_cycles(seen, slot))


@jit_borrowing
def least_density(seen, slot, shared, params):
    """Return minus priority / total^2."""
    total = total_cycles(seen, slot)
    return -seen.table[slot].priority / (total * total)


WSRPT = SelectionRule(
    "WSRPT",
    "largest priority / (predicted * remaining): the weight in weighted ANTT, priority / predicted, per remaining cycle",
    least_remaining_density,
    changes_between_events=False,  # the running task's density grows, all others stand still
    source="Smith, Naval Research Logistics Quarterly 1956, on remaining time as Schrage, Operations Research 1968.",
)
WSPT = SelectionRule(
    "WSPT",
    "largest priority / predicted^2: WSRPT with the total in place of the remaining time, so that progress counts for nothing",
    least_density,
    changes_between_events=False,
    source="Smith, Naval Research Logistics Quarterly 1956, with the weight priority / predicted.",
)
