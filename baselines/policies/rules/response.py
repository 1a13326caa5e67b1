"""Rules that go by how long a task has waited for its length."""

from __future__ import annotations

from baselines.policies.rules.rule import SelectionRule, total_cycles
from prema_gym._jit import jit_borrowing


@jit_borrowing
def highest_response_ratio(seen, slot, shared, params):
    """Return minus (waited + total) / total, times the priority unless ``weighted`` is False."""
    total = total_cycles(seen, slot)
    ratio = (seen.table[slot].waited_cycles + total) / total
    return -ratio * seen.table[slot].priority if params.weighted else -ratio


HRRN = SelectionRule(
    "HRRN",
    "largest priority * (waited + predicted) / predicted",
    highest_response_ratio,
    defaults={"weighted": True},
    source="Highest response ratio next: Brinch Hansen, IFIP 1971, which has no priorities (weighted=False) and does not evict.",
)
