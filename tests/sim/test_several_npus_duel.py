"""Implementations agree on random cases of one to four NPUs; the comparison notices faults; like NPUs are as many single ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from reference.machine import Machine
from reference.npu import NPU
from reference.parts import COMPLETION, QUANTUM, READY, WAITING, Event, Task
from reference.player import Arrival, ReferencePlayer, Setup, tasks_of
from tools.duel import compare, differences
from tools.several_cases import draw
from tools.several_npus import PLAYERS

EXPECTED = PLAYERS["twin"]


@pytest.mark.parametrize("name", PLAYERS)
def test_implementations_play_random_cases_as_the_twin_does(name: str) -> None:
    # The twin itself is among them: it plays a case twice alike.
    found, decisions = differences(0, 200, PLAYERS[name], EXPECTED)
    assert found == []
    assert decisions > 1000


# --- Faults that must be noticed ------------------------------------------------------------------------------------------------


class NobodyIsTold(Machine):
    def freed_by(self, npu: NPU, task: Task) -> None:
        self.freed.append(task)


class TheEvictorIsToldToo(Machine):
    def freed_by(self, npu: NPU, task: Task) -> None:
        super().freed_by(npu, task)
        self._happens(READY, [npu])


class OneForgetsWhatHappensInASwitch(Machine):
    def _happens(self, cause: str, to: list[NPU]) -> None:
        super()._happens(cause, [npu for npu in to if cause != COMPLETION or not npu.switching])


class TheQuantumIsOwed(Machine):
    def _happens(self, cause: str, to: list[NPU]) -> None:
        super()._happens(cause, self.npus if cause == QUANTUM else to)


class TheQuantumIsNotPutOff(Machine):
    def _play_npu(self, npu: NPU) -> None:
        due = self.quantum_due
        super()._play_npu(npu)
        self.quantum_due = due


class TheLastNpuIsAskedFirst(Machine):
    def _ask_around(self, present: list[NPU]) -> Any:
        yield from super()._ask_around(present[::-1])


class ThereIsOnePass(Machine):
    def _offer(self, npu: NPU, asking_pass: int) -> Any:
        if asking_pass == 1:
            yield from super()._offer(npu, asking_pass)


class AnIdleNpuNeverKeeps(Machine):
    def _may_keep(self, npu: NPU, choosable: list[Task], asking_pass: int) -> bool:
        return npu.running is not None


class AnIdleKeepIgnoresWhatTheOtherCanTake(Machine):
    def _may_keep(self, npu: NPU, choosable: list[Task], asking_pass: int) -> bool:
        later = any(other.idle and other.index > npu.index for other in self.npus)
        return super()._may_keep(npu, choosable, asking_pass) or (asking_pass == 1 and later)


class BoundTasksEarnTokens(Machine):
    def _invoke(self) -> Any:
        for npu in self.npus:
            if npu.bound is not None:
                npu.bound.count_wait(self.clock)
        yield from super()._invoke()


class TheHorizonIsTheFastest(Machine):
    def _play(self) -> None:
        self.horizon = self.tasks[-1].arrival + 20 * sum(task.isolated for task in self.tasks)
        super()._play()


class AnOnlyMoveIsAsked(Machine):
    def _start(self, npu: NPU, chosen: Task, mechanism: str, *, asked: bool) -> None:
        self.decisions += not asked
        super()._start(npu, chosen, mechanism, asked=True)


class DrainsAreUndone(Machine):
    def choosable(self, npu: NPU) -> list[Task]:
        bound = [other.bound for other in self.npus if other.phase == "drain" and other.bound is not None]
        return super().choosable(npu) + [task for task in bound if not task.position]


class ContextsTravel(Task):
    def choosable_for(self, configuration: str) -> bool:
        return self.state == WAITING and not self.saving


class ATaskIsChoosableFromItsCommit(Task):
    def choosable_for(self, configuration: str) -> bool:
        return self.state == WAITING and (self.position == 0 or self.configuration == configuration)


class KilledTasksStayOnTheirConfiguration(Task):
    def choosable_for(self, configuration: str) -> bool:
        return super().choosable_for(configuration) and self.configuration in {None, configuration}


class TokensGrowAtTheSlowestRate(Task):
    def count_wait(self, now: int) -> None:
        slow = max(program.predicted for program in self.programs.values())
        self.token += self.priority * (now - self.token_since) / slow
        self.token_since = now


FAULTS: list[type] = [
    NobodyIsTold,
    TheEvictorIsToldToo,
    OneForgetsWhatHappensInASwitch,
    TheQuantumIsOwed,
    TheQuantumIsNotPutOff,
    TheLastNpuIsAskedFirst,
    ThereIsOnePass,
    AnIdleNpuNeverKeeps,
    AnIdleKeepIgnoresWhatTheOtherCanTake,
    BoundTasksEarnTokens,
    TheHorizonIsTheFastest,
    AnOnlyMoveIsAsked,
    DrainsAreUndone,
    ContextsTravel,
    ATaskIsChoosableFromItsCommit,
    KilledTasksStayOnTheirConfiguration,
    TokensGrowAtTheSlowestRate,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_noticed_within_400_random_cases(fault: type) -> None:
    noticed = next((number for number in range(400) if differences(number, 1, _faulty(fault), EXPECTED)[0]), None)
    assert noticed is not None


def _faulty(fault: type) -> Callable[[], ReferencePlayer]:
    """Return a maker of players whose machine, or whose tasks, are faulty."""

    class Faulty(ReferencePlayer):
        def start(self, trace: Sequence[Arrival], setup: Setup) -> None:
            super().start(trace, setup)
            tasks = tasks_of(trace, setup)
            if issubclass(fault, Task):
                self.machine = Machine(
                    setup.rules, [fault(task.index, task.arrival, task.priority, task.programs) for task in tasks]
                )
            else:
                self.machine = fault(setup.rules, tasks)

    return Faulty


def test_the_comparison_tells_where_two_snapshots_differ() -> None:
    one = {"clock_cycles": 5, "slots": [{"token": 1.0}, {"token": 2.0}]}
    compare("", one, {"clock_cycles": 5, "slots": [{"token": 1.0}, {"token": 2.0 + 1e-12}]})
    for other, place in (
        ({"clock_cycles": 6, "slots": one["slots"]}, "clock_cycles: 5 where 6"),
        ({"clock_cycles": 5, "slots": [{"token": 1.0}, {"token": 2.1}]}, r"slots\[1\].token: 2.0 where 2.1"),
        ({"clock_cycles": 5, "slots": [{"token": 1.0}]}, "slots: "),
        ({"clock_cycles": 5}, r"fields differ: \['slots'\]"),
    ):
        with pytest.raises(AssertionError, match=place):
            compare("", one, other)


# --- Like NPUs with tasks partitioned by hand are as many single NPUs -----------------------------------------------------------


def _rank(task: Task) -> tuple[int, int]:
    return task.predicted, task.arrival


def _play_partitioned(setup: Setup, trace: Sequence[Arrival], home: Mapping[int, int]) -> Machine:
    """Play shortest predicted first, preemptively, each task on its home NPU only."""
    machine = Machine(setup.rules, tasks_of(trace, setup))
    columns = len(setup.rules.action_columns)
    while not machine.over:
        question = machine.question
        assert question is not None
        own = [task for task in question.choosable if home[task.index] == question.npu.index]
        best, running = min(own, key=_rank, default=None), question.npu.running
        if best is None or (running is not None and _rank(running) <= _rank(best)):
            assert question.may_keep
            machine.step(0)
        else:
            assert best.slot is not None
            machine.step(1 + columns * best.slot)
    return machine


def _happenings(log: Sequence[Event], number_of: Mapping[int, int]) -> list[tuple[int, str, int]]:
    return [(event.cycle, event.event, number_of[event.task]) for event in log if event.event != "arrival"]


def test_like_npus_with_tasks_partitioned_by_hand_are_as_many_single_ones() -> None:
    compared = 0
    for number in range(150):
        case = draw(number)
        count = len(case.setup.rules.npus)
        rules = dataclasses.replace(
            case.setup.rules,
            quantum=10**9,
            latency=0,
            allow_idle=True,
            mechanisms=("CHECKPOINT",),
            npus=case.setup.rules.npus[:1] * count,
        )
        home = {index: index * 7 // 3 % count for index in range(len(case.trace))}
        whole = _play_partitioned(dataclasses.replace(case.setup, rules=rules), case.trace, home)
        for npu in range(count):
            own = [index for index in home if home[index] == npu]
            if not own:
                continue
            alone = dataclasses.replace(case.setup, rules=dataclasses.replace(rules, npus=rules.npus[:1]))
            single = _play_partitioned(alone, [case.trace[index] for index in own], dict.fromkeys(range(len(own)), 0))
            here = [event for event in whole.log if event.npu == npu]
            assert _happenings(here, {index: index for index in own}) == _happenings(single.log, dict(enumerate(own)))
            compared += count > 1 and len(own) > 1
    assert compared > 50
