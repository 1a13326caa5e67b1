"""Two NPUs and programs of round numbers, and a way to play a few decisions on them and read the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reference.parts import CHECKPOINT, DRAIN, KILL, MECHANISMS, Hardware, Program, Rules
from reference.player import Arrival, Player, ReferencePlayer, Setup

from tools.kernel_player import KernelPlayer

PLAYERS: dict[str, Callable[[], Player]] = {"twin": ReferencePlayer, "kernel": KernelPlayer}
"""The implementations that must agree. Each is held to the hand-solved instances and against the first one."""

KEEP = 0
CONTEXT_BYTES = 1440
REFILL_CYCLES = 5
FAST = Hardware("fast", bytes_per_second=16_000, dram_latency=10, clock_hz=1000)
"""Saves or restores a context in 1440 / 16 + 10 = 100 cycles."""
SLOW = Hardware("slow", bytes_per_second=8_000, dram_latency=10, clock_hz=1000)
"""In 190 cycles; programs take twice as long."""

Log = list[tuple[int, str, int, int]]


def _divided(step: int, total: int) -> Program:
    """Return a program with a point at every ``step`` cycles, each with the same context."""
    commits = range(step, total + 1, step)
    contexts = [CONTEXT_BYTES] * len(commits)
    return Program(commits, contexts, contexts, [REFILL_CYCLES] * len(commits), total, predicted=total)


PROGRAMS = {
    "long": {"fast": _divided(100, 1000), "slow": _divided(200, 2000)},
    "short": {"fast": _divided(100, 300), "slow": _divided(200, 600)},
    "whole": {"fast": _divided(250, 250), "slow": _divided(500, 500)},
}
"""``whole`` can't be checkpointed."""


def setup(*npus: Hardware, **rules: Any) -> Setup:
    """Return a machine of ``npus`` (two fast ones unless told otherwise), whose quantum never expires unless told otherwise."""
    return Setup(Rules(npus or (FAST, FAST), **{"slots": 5, "quantum": 10**9, **rules}), PROGRAMS)


def give(slot: int, mechanism: str = CHECKPOINT) -> int:
    """Return the action that gives the asked NPU to ``slot``; on an idle one it dispatches."""
    return 1 + len(MECHANISMS) * slot + MECHANISMS.index(mechanism)


def kill(slot: int) -> int:
    """Return the action that kills the running task."""
    return give(slot, KILL)


def drain(slot: int) -> int:
    """Return the action that lets the running task complete first."""
    return give(slot, DRAIN)


@dataclass(frozen=True)
class Decision:
    """What is to be asked, and the answer."""

    cycle: int
    npu: int
    action: int
    cause: str
    """Causes in alphabetical order, joined by "+"."""
    asking_pass: int = 1
    may_keep: bool = True


@dataclass(frozen=True)
class Played:
    """An episode that was played to its end."""

    log: Log
    """(cycle, event, slot, NPU); the NPU of an arrival is -1."""
    shown: list[dict[str, Any]]
    """The snapshot at each decision, then the one of the end."""

    @property
    def end(self) -> dict[str, Any]:
        return self.shown[-1]


def play(player: Player, machine: Setup, trace: Sequence[Arrival], decisions: Sequence[Decision]) -> Played:
    """Play exactly ``decisions``, each asked as it says; the episode must end with the last."""
    player.start(trace, machine)
    shown = [player.snapshot()]
    for number, decision in enumerate(decisions):
        question = player.asked()
        assert question is not None, f"the episode ended before decision {number}: {decision}"
        mask = player.mask()
        assert mask[decision.action] == 1, f"decision {number} is illegal: {decision}"
        cause = "+".join(shown[-1]["cause"])
        asked = Decision(shown[-1]["clock_cycles"], question[0], decision.action, cause, question[1], bool(mask[KEEP]))
        assert asked == decision, f"decision {number}"
        assert player.act(decision.action)
        shown.append(player.snapshot())
    assert player.asked() is None, f"another decision is asked: {shown[-1]}"
    log = [(cycle, event, slot, npu) for snapshot in shown for cycle, event, slot, _, npu in snapshot["events"]]
    return Played(log, shown)
