"""An NPU of the reference machine: what it holds, the phases of its switch, and where its cycles went."""

from __future__ import annotations

import math
from collections.abc import Iterator

from reference.parts import Account, Hardware, Task

LATENCY, COMMIT, DRAIN_PHASE, SAVE, RESTORE = "latency", "commit", "drain", "save", "restore"
"""Phases of a switch. Commit: the running operation is awaited. Drain: the running task's end is. Restore: the refill included."""
WORKING = {COMMIT, DRAIN_PHASE}
"""Phases in which the task that is leaving still makes progress."""

Phases = Iterator[tuple[str, int]]
"""A switch: yields each phase with its length in cycles, and goes on when that has passed."""


class NPU:
    """Knows its own tasks and phases, and nothing of the table or the other NPUs."""

    def __init__(self, index: int, hardware: Hardware) -> None:
        self.index = index
        self.hardware = hardware
        self.running: Task | None = None
        self.bound: Task | None = None
        """The task that it switches to and that still waits for it."""
        self.phase: str | None = None
        self.phase_end = 0
        self.switches: list[Phases] = []
        """The switch under way, and one that follows upon it."""
        self.seen: set[str] = set()
        """Causes since it last took part in an invocation."""
        self.account = Account()
        self.dispatch_cycle = self.last_switch = 0
        self.last_slot: int | None = None

    @property
    def switching(self) -> bool:
        return self.phase is not None

    @property
    def busy(self) -> bool:
        """Whether it runs a task or switches to one; a stall after a keep on an idle NPU is neither."""
        return self.running is not None or self.bound is not None

    @property
    def idle(self) -> bool:
        return not self.busy and not self.switching

    @property
    def doing(self) -> str:
        """Return its phase, or whether it runs or idles."""
        if self.phase is not None:
            return self.phase
        return "idle" if self.running is None else "run"

    def next_event(self, now: int) -> float:
        """Return the cycle at which its phase ends or its task completes, undisturbed."""
        if self.switching:
            return self.phase_end
        return math.inf if self.running is None else now + self.running.remaining

    def begin(self, switch: Phases, now: int) -> None:
        """Begin a switch now, or upon the one under way."""
        self.switches.append(switch)
        if not self.switching:
            self.next_phase(now)

    def next_phase(self, now: int) -> None:
        """Enter the next phase that takes time; where there is none, the switch is over."""
        while self.switches:
            for phase, cycles in self.switches[0]:
                if cycles > 0:
                    self.phase, self.phase_end = phase, now + cycles
                    return
            del self.switches[0]
        self.phase = None

    def spend(self, cycles: int) -> None:
        """Let ``cycles`` pass: progress, overhead or idling."""
        if self.running is not None and (self.phase is None or self.phase in WORKING):
            self.account.useful += cycles
            self.running.work(cycles)
        elif self.phase is not None:
            self.account.overhead += cycles
        else:
            self.account.idle += cycles
