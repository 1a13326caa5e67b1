"""How the running task makes room once another is to run."""

from __future__ import annotations

from baselines.policies.rules.rule import SwitchingRule, remaining_cycles, total_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.envs.actions import KEEP, encode
from prema_gym.types import CHECKPOINT, DRAIN, KILL


@jit_borrowing
def running_is_let_run(seen, chosen):
    """Algorithm 3: whether evicting degrades the running task relatively more than waiting degrades the chosen one."""
    running = seen.npu.running_slot
    waiting_costs = remaining_cycles(seen, running) / total_cycles(seen, chosen)
    return remaining_cycles(seen, chosen) / total_cycles(seen, running) > waiting_costs


@jit_borrowing
def never(seen, chosen, params):
    """Keep the running task."""
    return KEEP


@jit_borrowing
def by_checkpoint(seen, chosen, params):
    """Save the running task's context."""
    return encode(chosen, CHECKPOINT, seen.rules.mechanisms)


@jit_borrowing
def by_kill(seen, chosen, params):
    """Drop the running task's progress."""
    return encode(chosen, KILL, seen.rules.mechanisms)


@jit_borrowing
def by_drain(seen, chosen, params):
    """Let the running task complete, then switch, and ask nothing in between."""
    return encode(chosen, DRAIN, seen.rules.mechanisms)


@jit_borrowing
def dynamic(seen, chosen, params):
    """Algorithm 3: keep and ask again, or save the running task's context."""
    return KEEP if running_is_let_run(seen, chosen) else encode(chosen, CHECKPOINT, seen.rules.mechanisms)


@jit_borrowing
def commit(seen, chosen, params):
    """Algorithm 3: let the running task complete, or save its context."""
    return encode(chosen, DRAIN if running_is_let_run(seen, chosen) else CHECKPOINT, seen.rules.mechanisms)


NONE = SwitchingRule("NONE", "never evicts: chooses on an idle NPU only", never, evicts=False, mechanisms=())
BY_CHECKPOINT = SwitchingRule("CHECKPOINT", "saves the running task's context", by_checkpoint, mechanisms=("CHECKPOINT",))
BY_KILL = SwitchingRule("KILL", "drops the running task's progress", by_kill, mechanisms=("KILL",))
BY_DRAIN = SwitchingRule("DRAIN", "commits the running task to complete, then switches", by_drain, mechanisms=("DRAIN",))
DYNAMIC = SwitchingRule(
    "DYNAMIC",
    "Algorithm 3: lets the running task run on, and is asked again, where waiting costs the chosen one relatively "
    "less than being evicted costs the running one; else CHECKPOINT",
    dynamic,
    mechanisms=("CHECKPOINT",),
)
COMMIT = SwitchingRule(
    "COMMIT",
    "Algorithm 3, but where the running task is let run it is committed to complete (DRAIN)",
    commit,
    mechanisms=("CHECKPOINT", "DRAIN"),
)
