"""What the reference machine is made of: rules, hardware, programs, tasks and the words of the event log."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference.batching import Batch

CHECKPOINT, KILL, DRAIN = "CHECKPOINT", "KILL", "DRAIN"
MECHANISMS = (CHECKPOINT, KILL, DRAIN)

COMPLETION, ARRIVAL, QUANTUM, READY = "completion", "arrival", "quantum", "ready"
"""Causes of an invocation. READY: a task became choosable."""

ABSENT, WAITING, BOUND, RUNNING, DONE, JOINED = "absent", "waiting", "bound", "running", "done", "joined"
"""States of a task. Waiting: in the table, on no NPU. Bound: chosen for an NPU that isn't free yet. Running: on an NPU, also while
its context is restored or its NPU stalls. Joined: in a batch that another task leads."""


@dataclass(frozen=True)
class Hardware:
    """An NPU's configuration, as far as the machine minds it."""

    configuration: str
    """Its name. Programs are compiled per configuration; NPUs of one name are alike."""
    bytes_per_second: int
    dram_latency: int
    """Cycles."""
    clock_hz: int

    def transfer(self, nbytes: int) -> int:
        """Cycles to save or restore ``nbytes``: latency plus transfer, nothing at 0 bytes."""
        if nbytes == 0:
            return 0
        return self.dram_latency + -(-nbytes * self.clock_hz // self.bytes_per_second)


@dataclass(frozen=True)
class Rules:
    """What a machine plays by. All times are cycles."""

    npus: tuple[Hardware, ...]
    slots: int
    quantum: int
    latency: int = 0
    """What an asked decision costs the asked NPU."""
    decision_every: int | None = 1
    mechanisms: tuple[str, ...] = MECHANISMS
    """Those that may evict, in order: each has a column in the action code."""
    allow_idle: bool = False
    levels: tuple[int, ...] = (1, 3, 9)
    """Priorities that the mix has."""
    horizon_requests: int | None = None
    """H of a stream, which is truncated when the H-th request arrives; None plays a closed episode."""
    batching: int = 1
    """B: the most samples of a batch that forms here; 1: none does."""

    @property
    def clock_hz(self) -> int:
        return self.npus[0].clock_hz


@dataclass(frozen=True)
class Program:
    """Preemption points in order: where each commits, and what it costs to save, restore and refill there."""

    commits: Sequence[int]
    saves: Sequence[int]
    restores: Sequence[int]
    refills: Sequence[int]
    total: int
    predicted: int
    estimated: bool = False
    totals: Sequence[int] = ()
    """By output length 1, 2, ...: where the program ends that generates as much. Empty where all outputs take ``total``."""

    def at(self, output_length: int) -> Program:
        """Return the program that generates ``output_length``, at most as much as there is."""
        if not self.totals:
            return self
        return replace(self, total=self.totals[min(output_length, len(self.totals)) - 1])

    def misjudged(self, factor: float) -> Program:
        """Return the program whose prediction is off by ``factor``."""
        return self if factor == 1 else replace(self, predicted=max(round(self.predicted * factor), 1))

    def next_point(self, position: int, beyond: int) -> int | None:
        """Return the first point at or after ``position`` and after ``beyond``, None where the program completes first."""
        point = max(bisect_left(self.commits, position), bisect_right(self.commits, beyond))
        if point == len(self.commits) or self.commits[point] >= self.total:
            return None
        return point


@dataclass(eq=False)
class Task:
    """A task of the episode: the truth and what the machine remembers of it."""

    index: int
    arrival: int
    priority: int
    programs: Mapping[str, Program]
    """Its own, by configuration: one for each that the machine has."""
    state: str = ABSENT
    slot: int | None = None
    completion: int | None = None
    saving: bool = False
    """Whether its context is still on its way to DRAM."""
    npu: int | None = None
    """Where it runs, or for which NPU it is bound."""
    configuration: str | None = None
    """The one that it was last dispatched on."""
    position: int = 0
    """Progress: a cycle of its program's undisturbed execution."""
    made_on: Counter[int] = field(default_factory=Counter)
    """The same by the NPU that made it."""
    dispatch_position: int = 0
    context: int | None = None
    """The point at which it was checkpointed; None with nothing to restore."""
    waited_before: int = 0
    """Cycles of earlier waits."""
    waiting_since: int = 0
    token_since: int = 0
    """Up to when the wait is in the token."""
    token: float = 0.0
    token_whole_wait: float = 0.0
    last_dispatch: int | None = None
    preemptions: int = 0
    entered: int | None = None
    """When it got its slot: on its arrival, or from the backlog."""
    deadline: int | None = None
    """A cycle, as the arrival is."""
    model: str = ""
    samples: int = 1
    input_length: int | None = None
    """None where the model has no such thing."""
    output_length: int = 1
    """The true one."""
    factor: float = 1.0
    """What predictions of it are off by; that of ``programs`` is in them."""
    batch: Batch | None = None
    """Of two or more tasks; it stays with them when they are done."""

    # --- Its batch --------------------------------------------------------------------------------------------------------------

    @property
    def leader(self) -> Task:
        """The task that leads its batch: itself where it is in none."""
        return self if self.batch is None else self.batch.leader

    @property
    def others(self) -> tuple[Task, ...]:
        """Those that it leads, in order of arrival."""
        return () if self.batch is None or self.batch.leader is not self else self.batch.others

    @property
    def programs_now(self) -> Mapping[str, Program]:
        """Its programs, or those of the batch that it leads."""
        return self.programs if self.batch is None or self.batch.leader is not self else self.batch.programs

    # --- Its programs: on a configuration, on the fastest, on the slowest -------------------------------------------------------

    @property
    def program(self) -> Program:
        """The program that it runs, or in which it has stopped."""
        assert self.configuration is not None
        return self.programs_now[self.configuration]

    @property
    def remaining(self) -> int:
        return self.program.total - self.position

    @cached_property
    def isolated(self) -> int:
        """The true total on the fastest NPU."""
        return min(program.total for program in self.programs.values())

    @cached_property
    def slowest(self) -> int:
        return max(program.total for program in self.programs.values())

    @cached_property
    def predicted(self) -> int:
        """The prediction for the NPU that is predicted to be fastest."""
        return min(program.predicted for program in self.programs.values())

    # --- Waiting ----------------------------------------------------------------------------------------------------------------

    def choosable_for(self, configuration: str) -> bool:
        """Return whether an NPU of ``configuration`` may take it: progress binds it to the configuration that made it."""
        return self.state == WAITING and not self.saving and (self.position == 0 or self.configuration == configuration)

    def waited(self, now: int) -> int:
        """Return the cycles it has waited so far; a bound task still waits, and a joined one while its leader does."""
        return self.waited_before + (now - self.waiting_since if self.leader.state in {WAITING, BOUND} else 0)

    def wait(self, now: int) -> None:
        """Begin to wait, on no NPU; those that it leads begin to wait with it."""
        self.state, self.npu = WAITING, None
        for task in (self, *self.others):
            task.waiting_since = task.token_since = now

    def bind(self, npu: int) -> None:
        """Be chosen for an NPU. The wait goes on, its tokens don't."""
        self.state, self.npu = BOUND, npu

    def take(self, npu: int, configuration: str, now: int) -> None:
        """Get the NPU, for those that it leads too."""
        for task in (*self.others, self):
            task.waited_before = task.waited(now)
        self.state, self.npu, self.configuration = RUNNING, npu, configuration

    def count_wait(self, now: int) -> None:
        """Update both readings of the token (Algorithm 2), at the rate of the fastest NPU."""
        self.token += self.priority * (now - self.token_since) / self.predicted
        self.token_whole_wait += self.priority * self.waited(now) / self.predicted
        self.token_since = now

    # --- Progress ---------------------------------------------------------------------------------------------------------------

    def age(self, now: int) -> int:
        """Return the cycles from its arrival to ``now`` or to its completion; 0 before it arrives."""
        end = now if self.completion is None else min(now, self.completion)
        return max(end - self.arrival, 0)

    def work(self, cycles: int) -> None:
        """Make progress on its NPU."""
        assert self.npu is not None
        self.position += cycles
        self.made_on[self.npu] += cycles

    def forget(self) -> None:
        """Lose all progress; the token stays."""
        self.position = 0
        self.made_on.clear()
        self.context = None


@dataclass(frozen=True)
class Event:
    """An entry of the log."""

    cycle: int
    event: str
    slot: int
    task: int
    npu: int
    """-1 for an arrival."""


@dataclass
class Account:
    """Where an NPU's cycles went."""

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
