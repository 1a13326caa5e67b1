"""The gate: on unlike NPUs, *where* a task runs is a decision of its own, and the worst of it is to start one on a slow NPU.

A gate stands over any selection rule. What it adds, for a task that takes ``here`` on the asked NPU and ``fastest`` on its best
one, both predicted:

* nothing is started where ``here > gate * fastest``: rather than that, an NPU stays idle (``allow_idle``);
* the rule's key is made worse by ``(fastest / here)^advantage_power``, so that an NPU prefers the tasks that it is good at.

Two more parameters are about the requests' own deadlines, and 0 unless they are tuned (requests without one are left as they are):

* ``doomed_penalty``: the key of a task that misses its deadline even if this NPU runs it from now on is made worse by
  ``1 + doomed_penalty``;
* ``slack_weight``: the key of any other is made better by ``1 + slack_weight / (1 + slack / fastest)``, where slack is the
  time to the deadline beyond the remaining time here. Those that wait then gain on the one that runs: such a gate is asked at every
  quantum.

A key that is a density (negative: the largest density runs) is multiplied by that, one that is a length is divided. For keys that
are neither, as arrivals, only the gate has a meaning: leave ``advantage_power`` at 0. On one NPU the gate changes nothing.
"""

from __future__ import annotations

import dataclasses

from baselines.policies.rules.density import WSRPT
from baselines.policies.rules.rule import SelectionRule, remaining_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.types import NONE, RUNNING

DEFAULTS: dict[str, float | bool] = {"advantage_power": 1.0, "gate": 4.0, "doomed_penalty": 0.0, "slack_weight": 0.0}


@jit_borrowing
def below_the_gate(seen, slot, params):
    """Whether the asked NPU is at most ``gate`` times slower than the task's best one, or has begun with the task.

    A task with progress stays on its configuration, so that one that this NPU may take has been let in before.
    """
    task = seen.table[slot]
    if task.state == RUNNING or task.executed_cycles > 0:
        return True
    return task.predicted_cycles <= params.gate * task.fastest_predicted_cycles


@jit_borrowing
def urgency(seen, slot, params):
    """Return how many times better a task's own deadline makes its key; 1 where it has none."""
    task = seen.table[slot]
    if task.deadline_cycles == NONE:
        return 1.0
    slack = task.deadline_cycles - seen.npu.clock_cycles - remaining_cycles(seen, slot)
    if slack < 0.0:
        return 1.0 / (1.0 + params.doomed_penalty)
    return 1.0 + params.slack_weight / (1.0 + slack / task.fastest_predicted_cycles)


@jit_borrowing
def by_advantage(seen, slot, key, params):
    """Return the key, worse by (fastest / here)^advantage_power, and better by the urgency."""
    task = seen.table[slot]
    advantage = (task.fastest_predicted_cycles / task.predicted_cycles) ** params.advantage_power
    factor = advantage * urgency(seen, slot, params)
    return key * factor if key < 0.0 else key / factor


def gated(base: SelectionRule, name: str | None = None) -> SelectionRule:
    """Return the gate over ``base``, with its parameters and those of the gate."""
    return dataclasses.replace(
        base,
        name=name or f"GATE/{base.name}",
        words=f"{base.words}; times (fastest time / time here)^advantage_power and the urgency of its own deadline, and nothing "
        "is started on an NPU more than gate times slower than the task's best",
        defaults={**base.defaults, **DEFAULTS},
        admits=below_the_gate,
        weigh=by_advantage,
        changes_with=("slack_weight",),
        source="Ours.",
    )


GATE = gated(WSRPT, "GATE")
