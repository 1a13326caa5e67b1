"""What holds on one to four NPUs, like and unlike, whatever is played: checked at every passage of time and over the whole log."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from reference.machine import Machine
from reference.npu import NPU
from reference.parts import BOUND, DONE, RUNNING, WAITING, Task
from reference.player import ReferencePlayer, tasks_of
from reference.snapshot import snapshot
from tools.several_cases import Case, choose, draw

BLOCK = 100


class Watched(Machine):
    """Checks itself whenever time passes."""

    def _pass(self, until: int) -> None:
        if until > self.clock:
            self.nothing_is_skipped(until)
            self.every_task_is_in_one_place()
            if self.clock < self.horizon:
                self.nobody_idles_without_reason()
        super()._pass(until)
        self.every_cycle_is_accounted_for()

    def nothing_is_skipped(self, until: int) -> None:
        assert all(until <= npu.next_event(self.clock) for npu in self.npus)
        if self.arrived < len(self.tasks):
            assert until <= self.tasks[self.arrived].arrival
        preemptible = [npu for npu in self.npus if npu.doing == "run"]
        if any(self.choosable(npu) for npu in preemptible) and until <= self.horizon:
            assert self.clock < self.quantum_due
            assert until <= self.quantum_due

    def every_task_is_in_one_place(self) -> None:
        running = [npu.running for npu in self.npus if npu.running is not None]
        bound = [npu.bound for npu in self.npus if npu.bound is not None]
        assert len(set(running + bound)) == len(running) + len(bound)
        assert {task for task in self.tasks if task.state == RUNNING} == set(running)
        assert {task for task in self.tasks if task.state == BOUND} == set(bound)
        present = {task for task in self.table if task is not None}
        assert present == {task for task in self.tasks if task.state in {WAITING, RUNNING, BOUND}}
        for task in running:
            assert task.npu is not None
            assert task.configuration == self.npus[task.npu].hardware.configuration

    def nobody_idles_without_reason(self) -> None:
        """Without ``allow_idle`` nobody idles beside a task that it may take; with it somebody is busy while any task waits."""
        idle = [npu for npu in self.npus if npu.idle]
        if not self.rules.allow_idle:
            assert not any(self.choosable(npu) for npu in idle)
        elif any(self.choosable(npu) for npu in self.npus):
            assert any(npu.busy or npu.switching for npu in self.npus)

    def every_cycle_is_accounted_for(self) -> None:
        for npu in self.npus:
            account = vars(npu.account)
            assert sum(account.values()) == self.clock
            assert min(account.values()) >= 0
        done = sum(task.program.total for task in self.tasks if task.state == DONE)
        kept = sum(task.position for task in self.tasks if task.state != DONE)
        assert self.account.useful == done + kept


@dataclass
class Walk:
    """An episode followed through its log alone: who holds what, and what each task has executed."""

    machine: Machine
    holder: dict[int, int | None] = field(default_factory=dict)
    """Task that each NPU has."""
    started: dict[int, int | None] = field(default_factory=dict)
    """Cycle since when it has made progress."""
    executed: Counter[int] = field(default_factory=Counter)
    configuration: dict[int, str] = field(default_factory=dict)
    """Of the progress of each task."""
    saving: set[int] = field(default_factory=set)
    draining: set[int] = field(default_factory=set)
    """NPUs."""

    def follow(self) -> None:
        cycles = [event.cycle for event in self.machine.log]
        assert cycles == sorted(cycles)
        for event in self.machine.log:
            getattr(self, event.event)(event.cycle, event.task, event.npu)

    def arrival(self, cycle: int, task: int, npu: int) -> None:
        assert npu == -1
        assert cycle == self.machine.tasks[task].arrival

    def dispatch(self, cycle: int, task: int, npu: int) -> None:
        assert self.holder.get(npu) is None
        assert task not in self.holder.values()
        assert task not in self.saving
        name = self.machine.npus[npu].hardware.configuration
        assert self.executed[task] == 0 or self.configuration[task] == name
        self.holder[npu], self.started[npu], self.configuration[task] = task, None, name

    def run(self, cycle: int, task: int, npu: int) -> None:
        assert self.holder[npu] == task
        self.started[npu] = cycle

    def stall(self, cycle: int, task: int, npu: int) -> None:
        if self.holder.get(npu) is not None:
            self._stop(cycle, npu)
            self.started[npu] = cycle + self.machine.rules.latency

    def quantum(self, cycle: int, task: int, npu: int) -> None:
        assert self.started[npu] is not None

    def drain(self, cycle: int, task: int, npu: int) -> None:
        assert self.holder[npu] == task
        self.draining.add(npu)

    def commit(self, cycle: int, task: int, npu: int) -> None:
        self._leave(cycle, task, npu)
        self.saving.add(task)
        commits = self.machine.tasks[task].programs[self.configuration[task]].commits
        assert self.executed[task] in commits

    def saved(self, cycle: int, task: int, npu: int) -> None:
        self.saving.remove(task)

    def kill(self, cycle: int, task: int, npu: int) -> None:
        self._leave(cycle, task, npu)
        self.executed[task] = 0

    def completion(self, cycle: int, task: int, npu: int) -> None:
        self.draining.discard(npu)
        self._leave(cycle, task, npu)
        assert self.executed[task] == self.machine.tasks[task].programs[self.configuration[task]].total

    def _stop(self, cycle: int, npu: int) -> None:
        task, started = self.holder[npu], self.started[npu]
        assert task is not None
        assert started is not None
        self.executed[task] += max(cycle - started, 0)

    def _leave(self, cycle: int, task: int, npu: int) -> None:
        assert self.holder[npu] == task
        assert npu not in self.draining, "a drain is undone"
        self._stop(cycle, npu)
        self.holder[npu] = None


def tokens_come_from_waits(machine: Machine, before: dict[int, float]) -> None:
    """Check Algorithm 2: from its priority on, a token grows with what a task has waited without being bound, and never falls."""
    for task in machine.tasks[: machine.arrived]:
        if task.state == DONE:
            continue
        most = task.priority * (1 + task.waited(machine.clock) / task.predicted)
        assert max(before.get(task.index, task.priority), task.priority) <= task.token <= most * (1 + 1e-12)
        if task.state == WAITING and task.last_dispatch is None and not machine.over:
            assert task.token == pytest.approx(most)
        before[task.index] = task.token


def watched(case: Case) -> Machine:
    """Play ``case`` on a machine that checks itself, and check what shows at each decision."""
    machine = Watched(case.setup.rules, reference_tasks(case))
    rng, tokens = random.Random(f"actions {case.number}"), dict[int, float]()
    for _ in range(case.most_steps):
        tokens_come_from_waits(machine, tokens)
        if machine.over:
            break
        assert machine.question is not None
        the_mask_is_right(machine, machine.question.npu)
        clock = machine.clock
        machine.step(choose(rng, machine.mask(), case))
        assert machine.clock >= clock
    while not machine.over:
        machine.step(machine.mask().index(1))
    return machine


def reference_tasks(case: Case) -> list[Task]:
    return tasks_of(case.trace, case.setup)


def the_mask_is_right(machine: Machine, npu: NPU) -> None:
    """Check the mask against what shows of table and NPUs: the asked NPU is preemptible, the tasks lie ready for it."""
    shown = snapshot(machine)
    mask, columns = shown["mask"], machine.rules.mechanisms
    phase = shown["npus"][npu.index]["phase"]
    assert phase in {"run", "idle"} or (shown["asking_pass"] == 2 and phase == "latency")
    assert mask[0] or phase != "run"
    assert sum(mask) >= 2 or (machine.decisions == 1 and len(machine.npus) == 1)
    for index, slot in enumerate(shown["slots"]):
        legal = mask[1 + index * len(columns) :][: len(columns)]
        if slot["state"] != "waiting" or slot["saving"] or slot["configuration"] not in {None, npu.hardware.configuration}:
            assert not any(legal)
        elif shown["asking_pass"] == 1 or not machine.rules.allow_idle:
            assert legal == ([1] * len(columns) if phase == "run" else [1] + [0] * (len(columns) - 1))


@pytest.mark.parametrize("first", range(0, 600, BLOCK))
def test_random_play_breaks_no_invariant(first: int) -> None:
    for number in range(first, first + BLOCK):
        machine = watched(draw(number))
        Walk(machine).follow()
        assert machine.over
        assert machine.terminated == all(task.state == DONE for task in machine.tasks)
        assert machine.terminated or machine.clock >= machine.horizon


METRIC_OF_TERM = {
    "antt": ("antt", -1),
    "weighted_antt": ("weighted_antt", -1),
    "sla": ("sla_violation", -1),
    "stp": ("stp", 1),
    "fairness_shaped": ("fairness", 1),
    "hp_excess": ("hp_excess", -1),
    "deadline_misses": ("deadline_misses", -1),
    "tardiness": ("tardiness", -1),
    "goodput": ("goodput", 1),
}


def test_rewards_sum_to_metrics_and_elapsed_times_to_the_clock() -> None:
    for number in range(100):
        case, player, rng = draw(number), ReferencePlayer(), random.Random(number)
        player.start(case.trace, case.setup)
        shown = player.snapshot()
        began, elapsed, sums = shown["clock_cycles"], 0, Counter[str]()
        while player.asked() is not None:
            player.act(choose(rng, player.mask(), case))
            shown = player.snapshot()
            elapsed += shown["elapsed_cycles"]
            sums.update(shown["reward_terms"])
        assert elapsed == shown["clock_cycles"] - began
        for term, (metric, sign) in METRIC_OF_TERM.items():
            assert sums[term] == pytest.approx(sign * shown["metrics"][metric], abs=1e-9), (number, term)


def test_whoever_serves_first_come_dispatches_in_the_order_of_arrival() -> None:
    # Whatever the NPUs: running ones keep, idle ones take the first. Latency would let a later, unasked move begin before an
    # asked one.
    for number in range(60):
        case = draw(number)
        rules = dataclasses.replace(case.setup.rules, latency=0)
        machine = Machine(rules, reference_tasks(case))
        while not machine.over:
            question = machine.question
            assert question is not None
            slot = question.choosable[0].slot
            assert slot is not None
            machine.step(0 if question.npu.running else 1 + len(rules.mechanisms) * slot)
        assert machine.terminated
        assert [event.task for event in machine.log if event.event == "dispatch"] == list(range(len(case.trace)))


def _met(number: int) -> Counter[str]:
    """Play a case; count what it met."""
    case, player, met = draw(number), ReferencePlayer(), Counter[str]()
    player.start(case.trace, case.setup)
    rng = random.Random(f"actions {number}")
    configurations = [hardware.configuration for hardware in case.setup.rules.npus]
    met[f"{len(configurations)} NPUs, {'like' if len(set(configurations)) == 1 else 'unlike'}"] += 1
    for _ in range(case.most_steps):
        shown = player.snapshot()
        met["+".join(shown["cause"])] += 1
        met[f"pass {shown['asking_pass']}"] += 1
        met.update(f"while {npu['phase']}" for npu in shown["npus"])
        met.update(slot["state"] for slot in shown["slots"])
        met["truncated"] += shown["truncated"]
        met["switching at the horizon"] += shown["truncated"] and shown["clock_cycles"] > shown["horizon_cycles"]
        if player.asked() is None:
            break
        idle = shown["npus"][shown["asked_npu"]]["running_slot"] == -1
        action = choose(rng, player.mask(), case)
        met["idle keep"] += action == 0 and idle
        met["illegal"] += not player.act(action)
    homes: dict[int, set[int]] = {}
    for event in player.machine.log:
        met[event.event] += 1
        if event.event == "dispatch":
            homes.setdefault(event.task, set()).add(event.npu)
    met["on two NPUs in turn"] += any(len(npus) > 1 for npus in homes.values())
    return met


def test_random_cases_meet_everything_that_can_happen() -> None:
    met: Counter[str] = sum((_met(number) for number in range(600)), Counter())
    machines = {f"{count} NPUs, {kind}" for count in (2, 3, 4) for kind in ("like", "unlike")} | {"1 NPUs, like"}
    events = {"arrival", "completion", "quantum", "dispatch", "run", "commit", "saved", "kill", "drain", "stall"}
    phases = {f"while {phase}" for phase in ("idle", "run", "latency", "commit", "drain", "save", "restore")}
    causes = {
        "arrival",
        "completion",
        "ready",
        "quantum",
        "arrival+completion",
        "arrival+ready",
        "completion+ready",
        "quantum+ready",
    }
    ends = {"truncated", "switching at the horizon"}
    wanted = machines | events | phases | causes | ends
    wanted |= {"pass 1", "pass 2", "bound", "waiting", "running", "idle keep", "illegal", "on two NPUs in turn"}
    assert {name for name in wanted if met[name] == 0} == set()
