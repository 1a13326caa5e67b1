"""Rules that go by priority alone."""

from __future__ import annotations

from baselines.policies.rules.arrival import CLASSIC
from baselines.policies.rules.rule import SelectionRule
from prema_gym._jit import jit_borrowing


@jit_borrowing
def highest_priority(seen, slot, shared, params):
    """Return minus the priority; ties go to the earlier arrival, as all ties do."""
    return -float(seen.table[slot].priority)


HPF = SelectionRule(
    "HPF", "highest priority, then earliest arrival", highest_priority, source=CLASSIC, changes_between_events=False
)
