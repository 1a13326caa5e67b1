"""The reference machine: one or more NPUs, their context table and the tasks of one episode, played event by event."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from reference import batching, switch
from reference.npu import NPU
from reference.parts import (
    ARRIVAL,
    COMPLETION,
    DONE,
    QUANTUM,
    READY,
    WAITING,
    Account,
    Event,
    Finished,
    Program,
    Rules,
    Task,
)


@dataclass(frozen=True)
class Question:
    """A decision that is asked, for one NPU."""

    npu: NPU
    asking_pass: int
    """1 or 2."""
    choosable: tuple[Task, ...]
    """In order of arrival."""
    may_keep: bool
    columns: tuple[str, ...]
    """Mechanisms that are legal for it; on an idle NPU the first column stands for a dispatch."""

    @property
    def moves(self) -> int:
        return int(self.may_keep) + len(self.choosable) * len(self.columns)


class Machine:
    """Plays to the first decision when made; :meth:`step` carries out an action and plays to the next, or to the end."""

    def __init__(self, rules: Rules, tasks: list[Task], program_of: batching.ProgramOf = batching.unknown) -> None:
        self.rules = rules
        self.tasks = tasks
        self.program_of = program_of
        """The program of a batch."""
        self.table: list[Task | None] = [None] * rules.slots
        self.npus = [NPU(index, hardware) for index, hardware in enumerate(rules.npus)]
        self.clock = 0
        self.horizon = self._horizon()
        self.backlog: deque[Task] = deque()
        """Of a stream: what has arrived and found no free slot, in order of arrival."""
        self.gap = 0.0
        """Of a stream: recent mean cycles between arrivals."""
        self.finished = Finished()
        self.log: list[Event] = []
        self.arrived = 0
        self.decisions = 0
        self.expired = 0
        """Quanta since the last decision or invocation with another cause."""
        self.quantum_due = 0
        self.causes: set[str] = set()
        """Of the latest invocation."""
        self.last_arrival = 0
        self.freed: list[Task] = []
        """Tasks that became choosable by decisions of the invocation under way."""
        self.asking = False
        self.invocation: Iterator[Question] = iter(())
        self.question: Question | None = None
        self.terminated = self.truncated = False
        self._play()

    def _horizon(self) -> int:
        """Return the cycle past which nobody is asked: of a stream its last arrival, but not before there was time to act."""
        if self.rules.horizon_requests is not None:
            return max(self.tasks[self.rules.horizon_requests - 1].arrival, 1)
        return self.tasks[-1].arrival + 20 * sum(task.slowest for task in self.tasks)

    # --- What may be done -------------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated

    @property
    def waiting(self) -> list[Task]:
        """The tasks that wait and aren't bound, in order of arrival."""
        return [task for task in self.tasks[: self.arrived] if task.state == WAITING]

    def mask(self) -> list[int]:
        """Return 1 for each legal action: keep, then per slot the mechanisms that have a column."""
        question, columns = self.question, self.rules.mechanisms
        if question is None:
            return [1] + [0] * (len(columns) * len(self.table))
        mask = [int(question.may_keep)]
        for task in self.table:
            mask += [int(task in question.choosable and column in question.columns) for column in columns]
        return mask

    def step(self, action: int) -> bool:
        """Carry out ``action`` for the asked NPU, or what replaces it, and play on. Return whether it was legal."""
        question = self.question
        assert question is not None, "nothing is asked"
        legal = bool(self.mask()[action])
        if legal and action > 0:
            slot, column = divmod(action - 1, len(self.rules.mechanisms))
            chosen = self.table[slot]
            assert chosen is not None
            self._start(question.npu, chosen, self.rules.mechanisms[column], asked=True)
        elif question.may_keep:
            question.npu.begin(switch.keep(self, question.npu), self.clock)
        else:
            self._start(question.npu, question.choosable[0], question.columns[0], asked=True)
        self._play()
        return legal

    def shown_program(self, task: Task) -> Program:
        """Return the program whose prediction a scheduler is shown: the task's own where it has progress, else the asked NPU's.

        With nothing asked it is the one that is predicted to be fastest. Of the leader of a batch it is the batch's.
        """
        if task.position > 0:
            return task.program
        if self.question is not None:
            return task.programs_now[self.question.npu.hardware.configuration]
        return min(task.programs_now.values(), key=lambda program: program.predicted)

    @property
    def account(self) -> Account:
        """Where the cycles of all NPUs went."""
        accounts = [npu.account for npu in self.npus]
        return Account(*(sum(column) for column in zip(*map(astuple, accounts), strict=True)))

    def choosable(self, npu: NPU) -> list[Task]:
        """Return what ``npu`` may take, in order of arrival."""
        return [task for task in self.waiting if task.choosable_for(npu.hardware.configuration)]

    # --- An invocation ----------------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """Play until a decision is asked or the episode is over."""
        self.question = None
        while not self.over:
            self.question = next(self.invocation, None)
            if self.question is not None:
                return
            if self._next_invocation():
                self.invocation = self._invoke()

    def _invoke(self) -> Iterator[Question]:
        """Play one invocation: tokens and the quantum, then each decision that is asked. Yields where there is a choice."""
        present = [npu for npu in self.npus if not npu.switching]
        self.causes = set().union(*(npu.seen for npu in present))
        for npu in present:
            npu.seen = set()
        for waiting in self.waiting:
            for task in (waiting, *waiting.others):
                task.count_wait(self.clock)
        self.quantum_due = self.clock + self.rules.quantum
        if all(task.state == DONE for task in self.tasks):
            self.terminated = True
        elif self.clock >= self.horizon:
            self.truncated = len(present) == len(self.npus)
        else:
            asked = present if self._asks() else self._in_wait(present)
            self.asking, self.freed = True, []
            yield from self._ask_around(asked)
            self.asking = False

    def _asks(self) -> bool:
        """Return whether the scheduler is asked at all: a quantum that is the only cause asks at each ``decision_every``-th."""
        if self.causes != {QUANTUM}:
            self.expired = 0
            return True
        self.expired += 1
        if self.expired != self.rules.decision_every:
            return False
        self.expired = 0
        return True

    def _in_wait(self, present: list[NPU]) -> list[NPU]:
        """Return the idle NPUs that wait for fuller batches: they are asked at every quantum."""
        return [npu for npu in present if self.rules.batching > 1 and npu.idle and self.choosable(npu)]

    def _ask_around(self, present: list[NPU]) -> Iterator[Question]:
        """Ask the NPUs that don't switch, then once more the idle ones that were left without a task."""
        idle = [npu for npu in present if npu.idle]
        for npu in present:
            yield from self._offer(npu, asking_pass=1)
        for npu in idle:
            if not npu.busy:
                yield from self._offer(npu, asking_pass=2)

    def _offer(self, npu: NPU, asking_pass: int) -> Iterator[Question]:
        """Ask for ``npu`` where there is a choice; apply the only move where there is none."""
        question = self._question(npu, asking_pass)
        if not question.choosable:
            return
        first = self.decisions == 0 and len(self.npus) == 1
        if question.moves == 1 and not first:
            self._start(npu, question.choosable[0], question.columns[0], asked=False)
            return
        self.decisions += 1
        if QUANTUM in self.causes and (npu.running is not None or self.rules.batching > 1):
            self.note_npu("quantum", npu)
        yield question

    def _question(self, npu: NPU, asking_pass: int) -> Question:
        choosable = self.choosable(npu)
        if asking_pass == 2 and (self.rules.allow_idle or self.rules.batching > 1):
            choosable = [task for task in choosable if task in self.freed]
        columns = self.rules.mechanisms[:1] if npu.running is None else self.rules.mechanisms
        return Question(npu, asking_pass, tuple(choosable), self._may_keep(npu, choosable, asking_pass), columns)

    def _may_keep(self, npu: NPU, choosable: list[Task], asking_pass: int) -> bool:
        """A running NPU always may; an idle one where a later idle one could take a task; with ``allow_idle`` beside a busy one.

        With batching it always may: it waits for a fuller batch.
        """
        others = [other for other in self.npus if other is not npu]
        if npu.running is not None or self.rules.batching > 1:
            return True
        if self.rules.allow_idle and any(other.busy for other in others):
            return True
        later = [other for other in others if other.idle and other.index > npu.index]
        return asking_pass == 1 and any(task.choosable_for(other.hardware.configuration) for other in later for task in choosable)

    def _start(self, npu: NPU, chosen: Task, mechanism: str, *, asked: bool) -> None:
        """Bind ``chosen`` to ``npu``, let join it who may, and begin the switch."""
        batching.form(self, npu, chosen)
        npu.bound = chosen
        chosen.bind(npu.index)
        npu.begin(switch.hand_over(self, npu, switch.Move(self.clock, chosen, mechanism, asked)), self.clock)

    # --- From event to event ----------------------------------------------------------------------------------------------------

    def _next_invocation(self) -> bool:
        """Play events until an invocation is due; return False where the episode has ended before one."""
        while not self.over:
            cycle = self._next_cycle()
            switching = any(npu.switching for npu in self.npus)
            if cycle > self.horizon and not switching:
                self._pass(max(self.horizon, self.clock))
                self.truncated = True
                return False
            self._play_cycle(int(cycle))
            if self.clock > self.horizon:
                self.truncated = not any(npu.switching for npu in self.npus)
            elif any(npu.seen for npu in self.npus if not npu.switching):
                return True
        return False

    def _next_cycle(self) -> float:
        """Return the cycle of the next event."""
        cycles = [npu.next_event(self.clock) for npu in self.npus]
        if self.arrived < len(self.tasks):
            cycles.append(self.tasks[self.arrived].arrival)
        if self.clock < self.horizon and self._quantum_live_on() and self.quantum_due <= self.horizon:
            cycles.append(self.quantum_due)
        return min(cycles)

    def _quantum_live_on(self) -> list[NPU]:
        """Return the NPUs that the quantum is there for: each runs, isn't switching, and could take another task.

        With batching it is there for idle ones that could, too: they wait.
        """
        still = [npu for npu in self.npus if not npu.switching and (npu.running is not None or self.rules.batching > 1)]
        return [npu for npu in still if self.choosable(npu)]

    def _play_cycle(self, cycle: int) -> None:
        """Move to ``cycle`` and play its events in order: NPUs by index, the backlog, arrivals, the quantum."""
        live = self._quantum_live_on()
        self._pass(cycle)
        for npu in self.npus:
            self._play_npu(npu)
        while self.backlog and None in self.table:
            self._enter(self.backlog.popleft())
        self._arrive()
        for_some = [npu for npu in live if npu.running is not None or self.rules.batching > 1]
        if self.clock == self.quantum_due <= self.horizon and for_some:
            self._happens(QUANTUM, [npu for npu in self.npus if not npu.switching])

    def _play_npu(self, npu: NPU) -> None:
        if not npu.switching:
            if npu.running is not None and npu.running.remaining == 0:
                self.complete(npu)
        elif npu.phase_end == self.clock:
            npu.next_phase(self.clock)
            if not npu.switching and self.quantum_due <= self.clock:
                self.quantum_due = self.clock + self.rules.quantum

    def _pass(self, until: int) -> None:
        """Let the time pass undisturbed, on every NPU."""
        for npu in self.npus:
            npu.spend(until - self.clock)
        self.clock = until

    def _happens(self, cause: str, to: list[NPU]) -> None:
        """Remember a cause for NPUs: they're asked about it now, or at the end of their switch."""
        for npu in to:
            npu.seen.add(cause)

    def _arrive(self) -> None:
        """Let the tasks come that arrive at this cycle: into the table, or of a stream into the backlog where it is full."""
        while self.arrived < len(self.tasks) and self.tasks[self.arrived].arrival == self.clock:
            task = self.tasks[self.arrived]
            self.arrived += 1
            if self.rules.horizon_requests is not None and self.arrived > 1:
                weight = 1 if self.arrived == 2 else 1 / 8
                self.gap += weight * (self.clock - self.last_arrival - self.gap)
            self.last_arrival = self.clock
            if None in self.table:
                self._enter(task)
            else:
                self.backlog.append(task)

    def _enter(self, task: Task) -> None:
        """Put a task into the lowest free slot; it has waited since its arrival."""
        task.slot = self.table.index(None)
        self.table[task.slot] = task
        task.wait(task.arrival)
        task.entered = self.clock
        task.token = task.token_whole_wait = float(task.priority)
        self._happens(ARRIVAL, self.npus)
        self.note("arrival", task, None)

    # --- What switches do to the machine ----------------------------------------------------------------------------------------

    def complete(self, npu: NPU) -> None:
        """Complete the running task, which has nothing left to do, and those that it leads; free their slots."""
        running = npu.running
        assert running is not None
        assert running.remaining == 0
        for task in (running, *running.others):
            assert task.slot is not None
            self.note("completion", task, npu)
            task.state, task.npu, task.completion = DONE, None, self.clock
            self.table[task.slot] = None
            self.finished.log_pp.append(math.log(1 / (task.age(self.clock) / task.isolated * task.priority)))
        npu.running = None
        self._happens(COMPLETION, self.npus)

    def evict(self, npu: NPU) -> None:
        """Take the running task off its NPU: from now on it waits."""
        task = npu.running
        assert task is not None
        task.preemptions += 1
        task.wait(self.clock)
        npu.running = None

    def freed_by(self, npu: NPU, task: Task) -> None:
        """Tell the other NPUs that could take it that ``task``, evicted by ``npu``, is choosable.

        Within an invocation, NPUs that don't switch need no telling: the passes get to them, or they have had their turn.
        """
        others = [other for other in self.npus if other is not npu and task.choosable_for(other.hardware.configuration)]
        self._happens(READY, [other for other in others if other.switching or not self.asking])
        self.freed.append(task)

    def write_off(self, task: Task) -> None:
        """Count the progress of ``task`` as wasted, on the NPUs that made it."""
        for index, cycles in task.made_on.items():
            self.npus[index].account.useful -= cycles
            self.npus[index].account.wasted += cycles

    # --- The log ----------------------------------------------------------------------------------------------------------------

    def note(self, event: str, task: Task, npu: NPU | None) -> None:
        """Log what happens to a task."""
        assert task.slot is not None
        self.log.append(Event(self.clock, event, task.slot, task.index, -1 if npu is None else npu.index))

    def note_npu(self, event: str, npu: NPU) -> None:
        """Log what happens to an NPU, whatever it runs: the slot is the running one, or none."""
        slot = -1 if npu.running is None or npu.running.slot is None else npu.running.slot
        self.log.append(Event(self.clock, event, slot, -1, npu.index))
