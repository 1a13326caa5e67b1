"""The reference machine: one NPU, its context table and the tasks of one episode, played event by event."""

from __future__ import annotations

import math

from reference.parts import CHECKPOINT, DRAIN, KILL, Account, Event, Finished, Rules, Task

COMPLETION, ARRIVAL, QUANTUM = "completion", "arrival", "quantum"


class Machine:
    """Plays to the first decision when made; :meth:`step` carries out an action and plays to the next, or to the end."""

    def __init__(self, rules: Rules, slots: int, tasks: list[Task]) -> None:
        self.rules = rules
        self.tasks = tasks
        self.table: list[Task | None] = [None] * slots
        self.running: Task | None = None
        self.clock = 0
        self.horizon = tasks[-1].arrival + 20 * sum(task.isolated for task in tasks)
        self.account = Account()
        self.finished = Finished()
        self.log: list[Event] = []
        self.arrived = 0
        self.decisions = 0
        self.expired = 0
        """Quanta since the last decision, arrival, completion or switch with events."""
        self.quantum_due = 0
        self.causes: set[str] = set()
        self.seen: set[str] = set()
        """What happened since the last invocation."""
        self.asking = self.terminated = self.truncated = False
        self.dispatch_cycle = self.last_switch = self.last_arrival = 0
        self.last_slot: int | None = None
        self._play()

    # --- What may be done -------------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated

    @property
    def waiting(self) -> list[Task]:
        """The ready tasks in order of arrival."""
        return [task for task in self.tasks[: self.arrived] if task.ready]

    def mask(self) -> list[int]:
        """Return 1 for each legal action: keep, then per slot the allowed mechanisms, of which an idle NPU takes the first."""
        columns = len(self.rules.mechanisms)
        if self.over:
            return [1] + [0] * (columns * len(self.table))
        mask = [int(self.running is not None)]
        for task in self.table:
            ready = task is not None and task.ready
            mask += [int(ready and (column == 0 or self.running is not None)) for column in range(columns)]
        return mask

    def step(self, action: int) -> bool:
        """Carry out ``action``, or what replaces it, and play on. Return whether it was legal."""
        legal = bool(self.mask()[action])
        self.asking = False
        if legal and action > 0:
            slot, column = divmod(action - 1, len(self.rules.mechanisms))
            chosen = self.table[slot]
            assert chosen is not None
            self._decide(chosen, self.rules.mechanisms[column])
        elif self.running is not None:
            self._decide(None, CHECKPOINT)
        else:
            self._decide(self.waiting[0], CHECKPOINT)
        self._play()
        return legal

    # --- From decision to decision ----------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """Play until a decision is asked or the episode is over."""
        while not (self.asking or self.over):
            if self.clock > self.horizon:
                self.truncated = True
                return
            if not self.seen:
                self._next_events()
            if not self.over:
                self._invoke()

    def _next_events(self) -> None:
        """Move to the next cycle at which something happens, and play what does."""
        arrival = self.tasks[self.arrived].arrival if self.arrived < len(self.tasks) else math.inf
        completion = self.clock + self.running.remaining if self.running else math.inf
        quantum_live = self.running is not None and bool(self.waiting)
        quantum = self.quantum_due if quantum_live else math.inf
        cycle = min(arrival, completion, quantum)
        if cycle > self.horizon:
            self._pass(self.horizon)
            self.truncated = True
            return
        self._pass(int(cycle))
        if cycle == completion:
            self._complete()
        self._arrive()
        if cycle == quantum and self.running is not None:
            self.seen.add(QUANTUM)

    def _invoke(self) -> None:
        """Play the invocation that follows the events just seen: tokens, quantum, then the decision or the only move."""
        self.causes, self.seen = self.seen, set()
        for task in self.waiting:
            task.count_wait(self.clock)
        self.quantum_due = self.clock + self.rules.quantum
        if len(self.finished.log_pp) == len(self.tasks):
            self.terminated = True
        elif self.clock >= self.horizon:
            self.truncated = True
        elif self._asks():
            self._ask()
        elif self.running is None and self.waiting:
            self._hand_over(self.waiting[0], CHECKPOINT)

    def _asks(self) -> bool:
        if self.decisions == 0:
            return True
        if self.running is None:
            return len(self.waiting) >= 2
        if self.causes != {QUANTUM}:
            self.expired = 0
            return bool(self.waiting)
        self.expired += 1
        return self.expired == self.rules.decision_every

    def _ask(self) -> None:
        self.asking = True
        self.decisions += 1
        self.expired = 0
        if QUANTUM in self.causes:
            self._note_npu("quantum")

    # --- Events -----------------------------------------------------------------------------------------------------------------

    def _note(self, event: str, task: Task) -> None:
        """Log what happens to a task."""
        assert task.slot is not None
        self.log.append(Event(self.clock, event, task.slot, task.index))

    def _note_npu(self, event: str) -> None:
        """Log what happens to the NPU, whatever it runs: the slot is the running one, or none."""
        slot = -1 if self.running is None or self.running.slot is None else self.running.slot
        self.log.append(Event(self.clock, event, slot, -1))

    def _arrive(self) -> None:
        """Let the tasks enter that arrive at this cycle, each in the lowest free slot."""
        while self.arrived < len(self.tasks) and self.tasks[self.arrived].arrival == self.clock:
            task = self.tasks[self.arrived]
            self.arrived += 1
            task.slot = self.table.index(None)
            self.table[task.slot] = task
            task.become_ready(self.clock)
            task.token = float(task.priority)
            task.token_whole_wait = float(task.priority)
            self.last_arrival = self.clock
            self.seen.add(ARRIVAL)
            self._note("arrival", task)

    def _complete(self) -> None:
        """Complete the running task, which has nothing left to do, and free its slot."""
        task = self.running
        assert task is not None
        assert task.slot is not None
        assert task.remaining == 0
        self._note("completion", task)
        task.completion = self.clock
        self.table[task.slot] = None
        ntt = task.age(self.clock) / task.isolated
        self.finished.log_pp.append(math.log(1 / (ntt * task.priority)))
        self.running = None
        self.seen.add(COMPLETION)

    def _pass(self, until: int) -> None:
        """Let the time pass undisturbed: the running task makes progress, or the NPU idles."""
        cycles = until - self.clock
        if self.running is None:
            self.account.idle += cycles
        else:
            self.account.useful += cycles
            self.running.position += cycles
        self.clock = until

    # --- A switch, and the window in which the NPU can't be preempted -----------------------------------------------------------

    def _decide(self, chosen: Task | None, mechanism: str) -> None:
        """Carry out an asked decision at the scheduler's latency: hand over to ``chosen``, or keep where it is None."""
        decision = self.clock
        if self.rules.latency:
            self._note_npu("stall")
            self._spend(self.rules.latency)
        if chosen is not None:
            self._hand_over(chosen, mechanism, decision)
            return
        assert self.running is not None
        if self.rules.latency:
            self._note("run", self.running)
        self._close_window(decision)

    def _hand_over(self, chosen: Task, mechanism: str, decision: int | None = None) -> None:
        """Give the NPU to ``chosen``, evicting the running task by ``mechanism``."""
        start = self.clock if decision is None else decision
        dispatch = start
        if self.running is not None:
            {CHECKPOINT: self._checkpoint, KILL: self._kill, DRAIN: self._drain}[mechanism]()
            if mechanism == DRAIN:
                dispatch = self.clock
        chosen.stop_waiting(self.clock)
        self.running = chosen
        chosen.last_dispatch = self.dispatch_cycle = dispatch
        self.last_slot = chosen.slot
        self._note("dispatch", chosen)
        if chosen.context is not None:
            program = chosen.program
            self._spend(self.rules.transfer(program.restores[chosen.context]) + program.refills[chosen.context])
            chosen.context = None
        chosen.dispatch_position = chosen.position
        self.last_switch = self.clock
        self._note("run", chosen)
        self._close_window(start)

    def _close_window(self, start: int) -> None:
        """End the window that began at ``start``: events of this cycle join those within it, a quantum that expired is dropped."""
        if self.clock == start:
            return
        self._arrive()
        if self.quantum_due <= self.clock:
            self.quantum_due = self.clock + self.rules.quantum

    def _checkpoint(self) -> None:
        """Let the running operation commit and save the context, or the task complete where it does so first."""
        task = self.running
        assert task is not None
        point = task.program.next_point(task.position, task.dispatch_position)
        if point is None:
            self._drain_now()
            return
        self._run_on(task.program.commits[point] - task.position)
        self._note("commit", task)
        task.context = point
        task.preemptions += 1
        task.become_ready(self.clock)
        self.running = None
        self._spend(self.rules.transfer(task.program.saves[point]))
        self._note("saved", task)

    def _kill(self) -> None:
        """Drop the running task's progress and context; its token stays."""
        task = self.running
        assert task is not None
        self._note("kill", task)
        self.account.useful -= task.position
        self.account.wasted += task.position
        task.position = 0
        task.context = None
        task.preemptions += 1
        task.become_ready(self.clock)
        self.running = None

    def _drain(self) -> None:
        """Let the running task complete."""
        assert self.running is not None
        self._note("drain", self.running)
        self._drain_now()

    def _drain_now(self) -> None:
        assert self.running is not None
        self._run_on(self.running.remaining)
        self._complete()

    def _run_on(self, cycles: int) -> None:
        """Run the running task within a window."""
        assert self.running is not None
        self.account.useful += cycles
        self.running.position += cycles
        self._elapse(cycles)

    def _spend(self, cycles: int) -> None:
        """Pass overhead within a window."""
        self.account.overhead += cycles
        self._elapse(cycles)

    def _elapse(self, cycles: int) -> None:
        """Let time pass within a window; arrivals enter at their own cycle, those of its last one are left to what ends there."""
        end = self.clock + cycles
        while self.arrived < len(self.tasks) and self.tasks[self.arrived].arrival < end:
            self.clock = self.tasks[self.arrived].arrival
            self._arrive()
        self.clock = end
