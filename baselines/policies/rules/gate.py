"""The gate: on unlike NPUs, *where* a task runs is a decision of its own, and the worst of it is to start one on a slow NPU.

A gate stands over any selection rule. What it adds, for a task that takes ``here`` on the asked NPU and ``fastest`` on its best
one, both predicted:

* nothing is started where ``here > gate * fastest``: rather than that, an NPU stays idle (``allow_idle``);
* the rule's key is made worse by ``(fastest / here)^advantage_power``, so that an NPU prefers the tasks that it is good at.

A key that is a density (negative: the largest density runs) is multiplied by that, one that is a length is divided. For keys that
are neither, as arrivals, only the gate has a meaning: leave ``advantage_power`` at 0. On one NPU the gate changes nothing.
"""

from __future__ import annotations

import dataclasses

from baselines.policies.rules.density import WSRPT
from baselines.policies.rules.rule import SelectionRule
from prema_gym._jit import jit_borrowing
from prema_gym.types import RUNNING

DEFAULTS: dict[str, float | bool] = {"advantage_power": 1.0, "gate": 4.0}


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
def by_advantage(seen, slot, key, params):
    """Return the key, worse by (fastest / here)^advantage_power."""
    task = seen.table[slot]
    advantage = (task.fastest_predicted_cycles / task.predicted_cycles) ** params.advantage_power
    return key * advantage if key < 0.0 else key / advantage


def gated(base: SelectionRule, name: str | None = None) -> SelectionRule:
    """Return the gate over ``base``, with its parameters and those of the gate."""
    return dataclasses.replace(
        base,
        name=name or f"GATE/{base.name}",
        words=f"{base.words}; times (fastest time / time here)^advantage_power, and nothing is started on an NPU more than gate "
        "times slower than the task's best",
        defaults={**base.defaults, **DEFAULTS},
        admits=below_the_gate,
        weigh=by_advantage,
        source="Ours.",
    )


GATE = gated(WSRPT, "GATE")
