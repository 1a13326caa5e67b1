"""What the reference machine is made of: rules, programs, tasks and the words of the event log."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

CHECKPOINT, KILL, DRAIN = "CHECKPOINT", "KILL", "DRAIN"
MECHANISMS = (CHECKPOINT, KILL, DRAIN)
"""In the order of the action columns."""


@dataclass(frozen=True)
class Rules:
    """What a machine plays by. All times are cycles."""

    quantum: int
    latency: int
    """What an asked decision costs."""
    decision_every: int | None
    clock_hz: int
    bytes_per_second: int
    dram_latency: int
    mechanisms: tuple[str, ...] = MECHANISMS

    def transfer(self, nbytes: int) -> int:
        """Cycles to save or restore ``nbytes``: latency plus transfer, nothing at 0 bytes."""
        if nbytes == 0:
            return 0
        return self.dram_latency + -(-nbytes * self.clock_hz // self.bytes_per_second)


@dataclass(frozen=True)
class Program:
    """Preemption points in order: where each commits, and what it costs to save, restore and refill there."""

    commits: tuple[int, ...]
    saves: tuple[int, ...]
    restores: tuple[int, ...]
    refills: tuple[int, ...]
    total: int
    predicted: int
    estimated: bool = False

    def next_point(self, position: int, beyond: int) -> int | None:
        """Return the first point at or after ``position`` and after ``beyond``, None where the program completes first."""
        point = max(bisect_left(self.commits, position), bisect_right(self.commits, beyond))
        if point == len(self.commits) or self.commits[point] >= self.total:
            return None
        return point


@dataclass
class Task:
    """A task of the episode: the truth and what the machine remembers of it."""

    index: int
    arrival: int
    priority: int
    program: Program
    completion: int | None = None
    slot: int | None = None
    ready: bool = False
    position: int = 0
    """Progress: a cycle of the program's undisturbed execution."""
    dispatch_position: int = 0
    context: int | None = None
    """The point at which it was checkpointed; None with nothing to restore."""
    waited_before: int = 0
    """Cycles of earlier waits."""
    ready_since: int = 0
    token_since: int = 0
    """Up to when the wait is in the token."""
    token: float = 0.0
    token_whole_wait: float = 0.0
    last_dispatch: int | None = None
    preemptions: int = 0

    @property
    def isolated(self) -> int:
        return self.program.total

    @property
    def remaining(self) -> int:
        return self.program.total - self.position

    def waited(self, now: int) -> int:
        """Return the cycles it has been ready so far."""
        return self.waited_before + (now - self.ready_since if self.ready else 0)

    def age(self, now: int) -> int:
        """Return the cycles from its arrival to ``now`` or to its completion; 0 before it arrives."""
        end = now if self.completion is None else min(now, self.completion)
        return max(end - self.arrival, 0)

    def become_ready(self, now: int) -> None:
        self.ready, self.ready_since, self.token_since = True, now, now

    def stop_waiting(self, now: int) -> None:
        self.waited_before, self.ready = self.waited(now), False

    def count_wait(self, now: int) -> None:
        """Update both readings of the token (Algorithm 2)."""
        self.token += self.priority * (now - self.token_since) / self.program.predicted
        self.token_whole_wait += self.priority * self.waited(now) / self.program.predicted
        self.token_since = now


@dataclass(frozen=True)
class Event:
    """An entry of the log."""

    cycle: int
    event: str
    slot: int
    task: int


@dataclass
class Account:
    """Where the cycles went."""

    useful: int = 0
    wasted: int = 0
    overhead: int = 0
    idle: int = 0


@dataclass
class Finished:
    """Log of PP of the finished tasks so far."""

    log_pp: list[float] = field(default_factory=list)

    @property
    def range(self) -> tuple[float, float]:
        return (min(self.log_pp), max(self.log_pp)) if self.log_pp else (0.0, 0.0)
