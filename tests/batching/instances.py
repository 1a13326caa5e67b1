"""Models whose programs have sizes, in round numbers, and machines that form batches of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference.parts import Hardware, Program, Rules
from reference.player import Player, Setup
from tools.several_npus import CONTEXT_BYTES, FAST, PLAYERS, PROGRAMS, REFILL_CYCLES

KNOW_BATCHING = ("twin",)
"""The players that can form batches."""
BATCH_PLAYERS: dict[str, Callable[[], Player]] = {name: PLAYERS[name] for name in KNOW_BATCHING}


def _sized(size: int, totals: Sequence[int], predicted: int) -> Program:
    """Return a program with a point at every 100 cycles; a context of two samples or more is twice that of one."""
    commits = range(100, totals[-1] + 1, 100)
    contexts = [CONTEXT_BYTES * min(size, 2)] * len(commits)
    refills = [REFILL_CYCLES] * len(commits)
    return Program(commits, contexts, contexts, refills, totals[-1], predicted, totals=totals if len(totals) > 1 else ())


def _sizes(totals: Mapping[int, Sequence[int]]) -> dict[str, dict[int, Program]]:
    """Return programs by configuration and size, from totals by output length; predicted is the middle one."""
    return {
        name: {
            size: _sized(size, [factor * total for total in each], factor * each[len(each) // 2]) for size, each in totals.items()
        }
        for name, factor in (("fast", 1), ("slow", 2))
    }


SIZES = {
    "echo": _sizes({1: [300], 2: [400], 4: [600], 8: [1000]}),
    "talk": _sizes({1: [200, 400, 600], 2: [300, 600, 900]}),
    "pair": _sizes({1: [300], 2: [400], 8: [1000]}),
}
"""``echo`` takes 300 cycles for one sample, 400 for two, 600 for up to four. ``talk`` generates: 200, 400 or 600 cycles alone, 300,
600 or 900 in twos, of which the middle is predicted. ``pair`` has no program of four. Others never join anybody."""


def batching_setup(*npus: Hardware, batching: int = 4, **rules: Any) -> Setup:
    """Return a machine of ``npus`` (a fast one unless told otherwise), whose quantum never expires unless told otherwise."""
    programs = {name: {on: sizes[1] for on, sizes in each.items()} for name, each in SIZES.items()}
    kept: dict[str, Any] = {"slots": 5, "quantum": 10**9, "batching": batching, **rules}
    return Setup(Rules(npus or (FAST,), **kept), {**PROGRAMS, **programs}, SIZES, {"echo": (1, 2, 4)})
