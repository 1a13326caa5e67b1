"""What holds with batching on one to four NPUs, whatever is played: as time passes, at each decision, and over whole logs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from batching.instances import batching_setup
from reference.machine import Machine
from reference.parts import BOUND, DONE, JOINED, RUNNING, WAITING
from reference.player import Arrival, ReferencePlayer, tasks_of
from reference.snapshot import snapshot
from tools.several_cases import Case, choose, draw, draw_batching
from tools.several_npus import give

from tests.sim.test_several_npus_invariants import tokens_come_from_waits

BLOCK, CASES = 75, 300


class Watched(Machine):
    """Checks itself whenever time passes."""

    def _pass(self, until: int) -> None:
        if until > self.clock:
            self.nothing_is_skipped(until)
            self.every_task_is_in_one_place()
            self.batches_are_whole()
        super()._pass(until)
        self.every_cycle_is_accounted_for()

    def nothing_is_skipped(self, until: int) -> None:
        assert all(until <= npu.next_event(self.clock) for npu in self.npus)
        if self.arrived < len(self.tasks):
            assert until <= self.tasks[self.arrived].arrival
        if any(npu.doing in {"run", "idle"} and self.choosable(npu) for npu in self.npus) and until <= self.horizon:
            assert self.clock < self.quantum_due
            assert until <= self.quantum_due

    def every_task_is_in_one_place(self) -> None:
        running = [npu.running for npu in self.npus if npu.running is not None]
        bound = [npu.bound for npu in self.npus if npu.bound is not None]
        assert len(set(running + bound)) == len(running) + len(bound)
        assert {task for task in self.tasks if task.state == RUNNING} == set(running)
        assert {task for task in self.tasks if task.state == BOUND} == set(bound)
        present = {task for task in self.table if task is not None}
        assert present == {task for task in self.tasks if task.state in {WAITING, RUNNING, BOUND, JOINED}}

    def batches_are_whole(self) -> None:
        live = [task for task in self.table if task is not None and task.others]
        joined = [other for leader in live for other in leader.others]
        assert len(set(joined)) == len(joined)
        assert {task for task in self.tasks if task.state == JOINED} == set(joined)
        for leader in live:
            members = (leader, *leader.others)
            assert sum(task.samples for task in members) <= self.rules.batching
            assert {task.model for task in members} == {leader.model}
            assert [task.index for task in leader.others] == sorted(task.index for task in leader.others)
            assert leader.state in {BOUND, RUNNING} or leader.position > 0
            assert all(task.position == 0 and task.context is None and not task.saving for task in leader.others)
            assert all(task.last_dispatch == leader.last_dispatch for task in leader.others if leader.position > 0)

    def every_cycle_is_accounted_for(self) -> None:
        for npu in self.npus:
            account = vars(npu.account)
            assert sum(account.values()) == self.clock
            assert min(account.values()) >= 0
        done = sum(task.program.total for task in self.tasks if task.state == DONE and task.leader is task)
        kept = sum(task.position for task in self.tasks if task.state != DONE)
        assert self.account.useful == done + kept
        assert sum(vars(self.account).values()) == self.clock * len(self.npus)


@dataclass
class Walk:
    """An episode followed through its log alone: who runs with whom, and how long that has to take by the programs of the case."""

    case: Case
    log: list[Any]
    batches: dict[int, list[int]] = field(default_factory=dict)
    """Tasks by NPU, and by the leader while it is evicted: the leader first."""
    evicted: dict[int, list[int]] = field(default_factory=dict)
    executed: Counter[int] = field(default_factory=Counter)
    started: dict[int, int] = field(default_factory=dict)
    completed: list[int] = field(default_factory=list)

    def follow(self) -> None:
        at, latency = 0, self.case.setup.rules.latency
        while at < len(self.log):
            event = self.log[at]
            cycle, npu, task = event.cycle, event.npu, event.task
            at += 1
            if event.event == "dispatch":
                self.batches[npu] = self.evicted.pop(task, [task])
                resumed = self.executed[task] > 0
                while at < len(self.log) and self.log[at].event == "join":
                    assert not resumed
                    assert (self.log[at].cycle, self.log[at].npu) == (cycle, npu)
                    self.batches[npu].append(self.log[at].task)
                    at += 1
            elif event.event == "run":
                assert self.batches[npu][0] == task
                self.started[npu] = cycle
            elif event.event == "stall" and npu in self.batches:
                self._stop(cycle, npu)
                self.started[npu] = cycle + latency
            elif event.event in ("commit", "kill"):
                self._stop(cycle, npu)
                batch = self.batches.pop(npu)
                assert batch[0] == task
                if event.event == "kill":
                    self.executed[task] = 0
                else:
                    self.evicted[task] = batch
            elif event.event == "completion":
                self._stop(cycle, npu)
                batch = self.batches.pop(npu)
                ended = self.log[at - 1 : at - 1 + len(batch)]
                assert [(each.cycle, each.event, each.npu, each.task) for each in ended] == [
                    (cycle, "completion", npu, each) for each in batch
                ]
                at += len(batch) - 1
                assert self.executed[task] == self._total(batch, npu)
                self.completed += batch
            else:
                assert event.event in ("arrival", "quantum", "drain", "saved", "stall")

    def _stop(self, cycle: int, npu: int) -> None:
        self.executed[self.batches[npu][0]] += max(cycle - self.started[npu], 0)

    def _total(self, batch: list[int], npu: int) -> int:
        """Return how long a batch takes on ``npu``: its samples are padded to a power of two, those of a lone task are not."""
        setup, entries = self.case.setup, [self.case.trace[task] for task in batch]
        name = setup.rules.npus[npu].configuration
        samples = sum(entry.samples for entry in entries)
        if len(batch) > 1:
            return setup.sizes[entries[0].model][name][1 << (samples - 1).bit_length()].total
        sizes = setup.sizes.get(entries[0].model)
        return (setup.programs[entries[0].model][name] if sizes is None else sizes[name][samples]).total


def who_would_join(machine: Machine, case: Case, leader: int) -> list[int]:
    """Return the tasks that would join the one in slot ``leader`` if it were chosen now, by what shows of the table alone."""
    shown = snapshot(machine)
    slots, npu = shown["slots"], shown["asked_npu"]
    own = slots[leader]
    if own["executed_cycles"] > 0:
        return []
    model, name = case.trace[own["task"]].model, machine.npus[npu].hardware.configuration
    free = [s["task"] for s in slots if s["state"] == "waiting" and s["configuration"] is None and not s["saving"]]
    others = sorted(task for task in free if task != own["task"] and case.trace[task].model == model)
    known, batching = case.setup.sizes.get(model, {}).get(name, {}), case.setup.rules.batching
    fit = 0
    for count in range(1, len(others) + 1):
        samples = case.trace[own["task"]].samples + sum(case.trace[task].samples for task in others[:count])
        if samples > batching or 1 << (samples - 1).bit_length() not in known:
            break
        fit = count
    return others[:fit]


def the_offers_are_right(machine: Machine, case: Case) -> None:
    """Check the mask, and what each dispatch would bring."""
    question, shown = machine.question, snapshot(machine)
    assert question is not None
    assert shown["mask"][0] == 1, "keep is always legal"
    for index, slot in enumerate(shown["slots"]):
        batch, task = slot["batch"], machine.table[index]
        runs = task is not None and task is question.npu.running
        if task is None or not (slot["choosable"] or runs):
            assert [batch[name] for name in batch if name.startswith("would")] == [0, 0, 0, 0, -1, -1]
            continue
        joining = [] if runs else [machine.tasks[each] for each in who_would_join(machine, case, index)]
        members = [task, *task.others, *joining]
        assert not (task.others and joining)
        assert batch["would_members"] == len(members)
        assert batch["would_samples"] == sum(member.samples for member in members)
        assert batch["would_oldest_cycles"] == min(member.arrival for member in members)
        assert batch["would_weight"] == pytest.approx(sum(member.priority / member.predicted for member in members))


def watched(case: Case) -> Machine:
    """Play ``case`` on a machine that checks itself, and check what shows at each decision and what comes of it."""
    machine = Watched(case.setup.rules, tasks_of(case.trace, case.setup), case.setup.program_of)
    rng, tokens = random.Random(f"actions {case.number}"), dict[int, float]()
    for _ in range(case.most_steps):
        tokens_come_from_waits(machine, tokens)
        if machine.over:
            return machine
        the_offers_are_right(machine, case)
        action = choose(rng, machine.mask(), case)
        slot = (action - 1) // len(case.setup.rules.mechanisms)
        chosen = machine.table[slot] if machine.mask()[action] and action > 0 else None
        joining = who_would_join(machine, case, slot) if chosen is not None else []
        began = len(machine.log)
        machine.step(action)
        if chosen is not None and joining:
            others_of_it = [task.index for task in chosen.others]
            killed = any(event.event == "kill" and event.task == chosen.index for event in machine.log[began:])
            assert others_of_it == joining or killed
    while not machine.over:
        assert machine.question is not None
        runs = machine.question.npu.running is not None
        machine.step(0 if runs else machine.mask().index(1, 1))
    return machine


def cases(first: int, count: int) -> list[Case]:
    """Return those with batching among ``count`` cases."""
    drawn = [draw_batching(number) for number in range(first, first + count)]
    return [case for case in drawn if case.setup.rules.batching > 1]


@pytest.mark.parametrize("first", range(0, CASES, BLOCK))
def test_random_play_breaks_no_invariant(first: int) -> None:
    for case in cases(first, BLOCK):
        machine = watched(case)
        walk = Walk(case, machine.log)
        walk.follow()
        assert sorted(walk.completed) == [task.index for task in machine.tasks if task.state == DONE]
        assert machine.terminated == all(task.state == DONE for task in machine.tasks)
        assert machine.terminated or machine.clock >= machine.horizon


def test_cases_without_batching_are_those_that_are_drawn_anyway() -> None:
    plain = [number for number in range(60) if draw_batching(number).setup.rules.batching == 1]
    assert set(range(0, 60, 6)) <= set(plain)
    assert all(draw_batching(number) == draw(number) for number in plain)


METRIC_OF_TERM = {
    "antt": ("antt", -1),
    "weighted_antt": ("weighted_antt", -1),
    "sla": ("sla_violation", -1),
    "stp": ("stp", 1),
    "fairness_shaped": ("fairness", 1),
    "hp_excess": ("hp_excess", -1),
}


def test_rewards_sum_to_metrics_and_elapsed_times_to_the_clock() -> None:
    for case in cases(0, 40):
        player, rng = ReferencePlayer(), random.Random(case.number)
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
            assert sums[term] == pytest.approx(sign * shown["metrics"][metric], abs=1e-9), (case.number, term)


def test_a_stream_with_batching_serves_the_backlog_and_ends_at_its_horizon() -> None:
    # Two slots: the first two run as two until 400, when both of the backlog enter and run as two until 800.
    trace = [Arrival(at, "echo") for at in (0, 0, 10, 20, 2000)]
    setup = batching_setup(slots=2, horizon_requests=len(trace))
    machine = Machine(setup.rules, tasks_of(trace, setup), setup.program_of)
    for cycle in (0, 400):
        assert machine.clock == cycle
        machine.step(give(0))
    assert (machine.truncated, machine.clock) == (True, 2000)
    expected = [(0, "arrival", 0), (0, "arrival", 1), (0, "dispatch", 0), (0, "join", 1), (0, "run", 0)]
    expected += [(400, "completion", 0), (400, "completion", 1), (400, "arrival", 2), (400, "arrival", 3)]
    expected += [(400, "dispatch", 2), (400, "join", 3), (400, "run", 2), (800, "completion", 2), (800, "completion", 3)]
    expected += [(2000, "arrival", 4)]
    assert [(event.cycle, event.event, event.task) for event in machine.log] == expected


def _met(case: Case) -> Counter[str]:
    """Play a case; count what it met."""
    player, met = ReferencePlayer(), Counter[str]()
    player.start(case.trace, case.setup)
    rng = random.Random(f"actions {case.number}")
    for _ in range(case.most_steps):
        shown, machine = player.snapshot(), player.machine
        met["+".join(shown["cause"])] += 1
        met[f"pass {shown['asking_pass']}"] += 1
        leaders = [task for task in machine.table if task is not None and task.others]
        met.update(f"leads {'saving' if task.saving else task.state}" for task in leaders)
        met.update(f"leads while {machine.npus[task.npu].doing}" for task in leaders if task.npu is not None)
        met["padded"] += any(task.batch is not None and task.batch.samples.bit_count() > 1 for task in leaders)
        met["joined by older ones"] += any(task.others[0].index < task.index for task in leaders)
        if player.asked() is None:
            break
        idle = shown["npus"][shown["asked_npu"]]["running_slot"] == -1
        met["idle, at the quantum alone"] += idle and shown["cause"] == ["quantum"]
        met["illegal"] += not player.act(choose(rng, player.mask(), case))
    met["truncated while waiting"] += player.machine.truncated and bool(player.machine.waiting)
    met.update(event.event for event in player.machine.log)
    return met


def test_random_cases_meet_everything_that_can_happen() -> None:
    met: Counter[str] = sum((_met(case) for case in cases(0, CASES)), Counter())
    wanted = {"join", "quantum", "kill", "drain", "commit", "pass 1", "pass 2", "padded", "joined by older ones", "illegal"}
    wanted |= {f"leads {state}" for state in ("waiting", "saving", "bound", "running")}
    wanted |= {f"leads while {phase}" for phase in ("run", "latency", "commit", "drain", "save", "restore")}
    wanted |= {"completion+quantum", "arrival+quantum", "ready", "idle, at the quantum alone", "truncated while waiting"}
    assert {name for name in wanted if met[name] == 0} == set()
