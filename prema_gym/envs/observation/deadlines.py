"""The group "deadlines": how much time a task has left, and whether that is too little."""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation.base import predicted_remaining
from prema_gym.envs.observation.features import DEADLINE_FLAGS, SLACKS
from prema_gym.envs.observation.lanes import fill, to_asinhs
from prema_gym.envs.observation.npus import remaining_on_fastest
from prema_gym.types import EMPTY, NONE

_FLAG, _SLACK = DEADLINE_FLAGS.at, SLACKS.at
SLACK, FLAGS = len(SLACKS.features), len(DEADLINE_FLAGS.features)


@jit_borrowing
def _fill_slot(slot, now, out, slacks, flags, slots):
    left = float(slot.deadline_cycles - now)
    slack, slack_fastest = left - predicted_remaining(slot), left - remaining_on_fastest(slot)
    out[slacks + _SLACK.slack * slots] = slack / slot.predicted_cycles
    out[slacks + _SLACK.slack_fastest * slots] = slack_fastest / slot.fastest_predicted_cycles
    out[flags + _FLAG.has_deadline * slots] = 1.0
    out[flags + _FLAG.late * slots] = slack < 0.0
    out[flags + _FLAG.late_everywhere * slots] = slack_fastest < 0.0


@jit_borrowing
def observe_deadlines(status, table, out, at):
    """Fill the group "deadlines" of ``out`` from ``at`` on; return where it ends."""
    slots = table.shape[0]
    flags = at + SLACK * slots
    end = flags + FLAGS * slots
    fill(out, at, end, 0.0)
    for i in range(slots):
        if table[i].state != EMPTY and table[i].deadline_cycles != NONE:
            _fill_slot(table[i], status.clock_cycles, out, at + i, flags + i, slots)
    to_asinhs(out, at, flags)
    return end
