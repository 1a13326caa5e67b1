"""Rules that go by how long tasks are."""

from __future__ import annotations

from baselines.policies.rules.arrival import CLASSIC
from baselines.policies.rules.rule import SelectionRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing


@jit_borrowing
def shortest_total(seen, slot, shared, params):
    """Return the total time."""
    return total_cycles(seen, slot)


@jit_borrowing
def shortest_remaining(seen, slot, shared, params):
    """Return the remaining time."""
    return remaining_cycles(seen, slot)


SJF = SelectionRule("SJF", "smallest predicted total time", shortest_total, source=CLASSIC, changes_between_events=False)
SRPT = SelectionRule(
    "SRPT",
    "smallest remaining time",
    shortest_remaining,
    source="Schrage, Operations Research 1968.",
    changes_between_events=False,  # the running task's remaining time falls, all others stand still
)
