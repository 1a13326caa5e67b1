"""Rules that weigh priority, wait and length against each other in one number."""

from __future__ import annotations

from baselines.policies.rules.rule import SelectionRule, total_cycles
from prema_gym._jit import jit_borrowing


@jit_borrowing
def priority_index(seen, slot, shared, params):
    """Return minus the index; lengths are in milliseconds at 1 GHz, so that powers stay of moderate size."""
    task, total = seen.table[slot], total_cycles(seen, slot)
    waited = params.wait_weight * (seen.npu.clock_cycles - task.arrival_cycles) / total
    return -(task.priority**params.priority_power * (1.0 + waited) / (total * 1e-6) ** params.length_power)


@jit_borrowing
def highest_response_ratio(seen, slot, shared, params):
    """Return minus (waited + total) / total, times the priority unless ``weighted`` is False."""
    total = total_cycles(seen, slot)
    ratio = (seen.table[slot].waited_cycles + total) / total
    return -ratio * seen.table[slot].priority if params.weighted else -ratio


INDEX = SelectionRule(
    "INDEX",
    "largest priority^a * (1 + d * elapsed / predicted) / predicted^c",
    priority_index,
    defaults={"priority_power": 1.0, "wait_weight": 1.0, "length_power": 0.25},  # a, d, c
    source="Ours.",
)
HRRN = SelectionRule(
    "HRRN",
    "largest priority * (waited + predicted) / predicted",
    highest_response_ratio,
    defaults={"weighted": True},
    source="Highest response ratio next: Brinch Hansen, IFIP 1971, which has no priorities (weighted=False) and does not evict.",
)
