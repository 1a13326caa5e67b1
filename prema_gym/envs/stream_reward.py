"""The rewards of a stream: the same terms, per request, in time that depends on the slots and not on the backlog."""

from __future__ import annotations

from prema_gym._jit import jit_apart
from prema_gym.envs.reward_terms import Step
from prema_gym.envs.step_reward import fill_in_turn
from prema_gym.sim.streams.cohort import clear_sums, settle_present
from prema_gym.sim.streams.records import STEP_SUMS
from prema_gym.types import ASKING


@jit_apart
def fill_stream_terms(row, start, now, out):
    """Fill ``out`` (terms,) float64 with the terms from the decision at cycle ``start`` to cycle ``now``, once per step.

    The machine has settled what completed in between, and at the end of the episode everything.
    """
    memory, sums, reward = row.stream.memory, row.stream.sums[STEP_SUMS], row.reward
    time, weighted_time = 0.0, 0.0
    if row.machine.outcome == ASKING:
        settle_present(row)
        time = memory.backlog_share * (now - start) - memory.late_share
        weighted_time = memory.backlog_weight * (now - start) - memory.late_weight
    time += sums.ntt
    weighted_time += sums.weighted_ntt
    before = reward.progress
    progress = before + (row.machine.next_task - memory.rewarded) - sums.lost_progress
    fill_in_turn(
        Step(
            row.machine, row.tasks, start, now, 1, row.machine.priority_sum, time, weighted_time, sums.targets, sums.excess,
            progress, 0.0, before, 0.0, row.machine.deadlines, sums.missed, sums.tardiness, sums.in_time,
        ),
        out,
    )  # fmt: skip
    reward.progress = progress
    clear_sums(sums)
    memory.start_cycles = now
    memory.rewarded = row.machine.next_task
    memory.late_share, memory.late_weight = 0.0, 0.0
