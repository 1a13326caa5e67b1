"""Implementations that form batches agree on random cases, and the comparison notices what may be wrong with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from batching.instances import BATCH_PLAYERS
from reference import batching
from reference.batching import Batch
from reference.machine import Machine, Question
from reference.npu import NPU
from reference.parts import QUANTUM, WAITING, Event, Task
from reference.player import Arrival, ReferencePlayer, Setup, tasks_of
from tools.duel import differences
from tools.several_cases import draw_batching

EXPECTED = BATCH_PLAYERS["twin"]
MOST = 600
"""Cases within which a fault is noticed."""


@pytest.mark.parametrize("name", BATCH_PLAYERS)
def test_implementations_play_random_cases_with_batching_as_the_twin_does(name: str) -> None:
    # The twin itself is among them: it plays a case twice alike.
    found, decisions = differences(0, 60, BATCH_PLAYERS[name], EXPECTED, draw_batching)
    assert found == []
    assert decisions > 500


# --- Faults in who joins, and in what a batch is --------------------------------------------------------------------------------

_form, _assemble, _dissolve = batching.form, batching.assemble, batching.dissolve


def _able(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    """Return those that may join a leader without progress, in order of arrival."""
    able = [task for task in machine.choosable(npu) if task is not leader and task.position == 0]
    return [task for task in able if task.model == leader.model and leader.position == 0]


def _may(machine: Machine, npu: NPU, leader: Task, others: Sequence[Task]) -> bool:
    """Return whether ``others`` fit, and a program of the size that is needed then is known."""
    samples = leader.samples + sum(task.samples for task in others)
    program = machine.program_of(leader.model, npu.hardware.configuration, batching.size_of(samples), None, 1)
    return samples <= machine.rules.batching and program is not None


def _prefix(machine: Machine, npu: NPU, leader: Task, able: Sequence[Task]) -> list[Task]:
    """Return those of ``able`` that may join, up to the first that may not."""
    fit = list[Task]()
    for task in able:
        if not _may(machine, npu, leader, [*fit, task]):
            break
        fit.append(task)
    return fit


def a_smaller_one_overtakes(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    able = _able(machine, npu, leader)
    fit = _prefix(machine, npu, leader, able)
    for task in able[len(fit) + 1 :]:
        fit = _prefix(machine, npu, leader, [*fit, task])
    return fit


def the_newest_join(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    return sorted(_prefix(machine, npu, leader, _able(machine, npu, leader)[::-1]), key=lambda task: task.index)


def only_later_ones_join(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    return _prefix(machine, npu, leader, [task for task in _able(machine, npu, leader) if task.index > leader.index])


def only_offered_ones_join(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    offered = machine.question.choosable if machine.question is not None else ()
    return _prefix(machine, npu, leader, [task for task in _able(machine, npu, leader) if task in offered])


def any_model_joins(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    able = [task for task in machine.choosable(npu) if task is not leader and task.position == 0]
    return _prefix(machine, npu, leader, able if leader.position == 0 else [])


def all_sizes_must_be_known(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    most, name = batching.size_of(machine.rules.batching), npu.hardware.configuration
    if machine.program_of(leader.model, name, most, None, 1) is None:
        return []
    return _prefix(machine, npu, leader, _able(machine, npu, leader))


def unknown_sizes_are_passed_over(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    able = _able(machine, npu, leader)
    fits = [able[:count] for count in range(1, len(able) + 1) if _may(machine, npu, leader, able[:count])]
    return max(fits, key=len, default=[])


def the_factor_is_the_leaders(machine: Machine, leader: Task, others: Sequence[Task]) -> Batch:
    factors = [(task, task.factor) for task in others]
    for task in others:
        task.factor = leader.factor
    batch = _assemble(machine, leader, others)
    for task, factor in factors:
        task.factor = factor
    return batch


def a_batch_runs_its_leaders_program(machine: Machine, leader: Task, others: Sequence[Task]) -> Batch:
    return Batch(leader, tuple(others), leader.programs)


def completions_come_in_order_of_arrival(machine: Machine, leader: Task, others: Sequence[Task]) -> Batch:
    return _assemble(machine, leader, tuple(others)[::-1])


def members_of_a_killed_batch_are_not_freed(leader: Task, now: int) -> tuple[Task, ...]:
    return _dissolve(leader, now)[:1]


def a_killed_batch_keeps_together(leader: Task, now: int) -> tuple[Task, ...]:
    return (leader,)


def members_go_on_with_their_old_wait(leader: Task, now: int) -> tuple[Task, ...]:
    freed = _dissolve(leader, now)
    for task in freed[1:]:
        task.waiting_since = task.token_since = task.arrival
    return freed


def joining_is_at_the_dispatch_and_earns_till_then(machine: Machine, npu: NPU, leader: Task) -> None:
    _form(machine, npu, leader)
    for task in leader.others:
        task.state = WAITING


IN_BATCHES = [
    ("companions", a_smaller_one_overtakes),
    ("companions", the_newest_join),
    ("companions", only_later_ones_join),
    ("companions", only_offered_ones_join),
    ("companions", any_model_joins),
    ("companions", all_sizes_must_be_known),
    ("companions", unknown_sizes_are_passed_over),
    ("assemble", the_factor_is_the_leaders),
    ("assemble", a_batch_runs_its_leaders_program),
    ("assemble", completions_come_in_order_of_arrival),
    ("dissolve", members_of_a_killed_batch_are_not_freed),
    ("dissolve", a_killed_batch_keeps_together),
    ("dissolve", members_go_on_with_their_old_wait),
    ("form", joining_is_at_the_dispatch_and_earns_till_then),
]


@pytest.mark.parametrize(("name", "fault"), IN_BATCHES, ids=[fault.__name__ for _, fault in IN_BATCHES])
def test_a_fault_in_batches_is_noticed(name: str, fault: Any) -> None:
    @contextmanager
    def faulty() -> Iterator[None]:
        with mock.patch.object(batching, name, fault):
            yield

    class Faulty(ReferencePlayer):
        """The twin, faulty wherever it plays or shows."""

        def start(self, trace: Sequence[Arrival], setup: Setup) -> None:
            with faulty():
                super().start(trace, setup)

        def act(self, action: int) -> bool:
            with faulty():
                return super().act(action)

        def snapshot(self) -> dict[str, Any]:
            with faulty():
                return super().snapshot()

    assert _noticed(Faulty) is not None


# --- Faults in asking, waiting and the rest of the machine ----------------------------------------------------------------------


class NobodyAsksWhoWaits(Machine):
    def _in_wait(self, present: list[NPU]) -> list[NPU]:
        return []


class EveryoneIsAskedWhereOneWaits(Machine):
    def _in_wait(self, present: list[NPU]) -> list[NPU]:
        return present if super()._in_wait(present) else []


class WhoWaitsStartsTheCountAnew(Machine):
    def _in_wait(self, present: list[NPU]) -> list[NPU]:
        asked = super()._in_wait(present)
        self.expired = 0 if asked else self.expired
        return asked


class TheQuantumIsForRunningNpus(Machine):
    def _quantum_live_on(self) -> list[NPU]:
        return [npu for npu in super()._quantum_live_on() if npu.running is not None]


class NoQuantumWhereItsNpuCompletes(Machine):
    def _quantum_live_on(self) -> list[NPU]:
        live = super()._quantum_live_on()
        due = [npu for npu in live if npu.running is None or self.clock + npu.running.remaining > self.quantum_due]
        return due if self.quantum_due > self.clock else live


class PassTwoOffersAll(Machine):
    def _question(self, npu: NPU, asking_pass: int) -> Question:
        question = super()._question(npu, 1)
        return Question(npu, asking_pass, question.choosable, question.may_keep, question.columns)


class NobodyKeepsInPassTwo(Machine):
    def _may_keep(self, npu: NPU, choosable: list[Task], asking_pass: int) -> bool:
        return asking_pass == 1 and super()._may_keep(npu, choosable, asking_pass)


class IdleNpusLogNoQuantum(Machine):
    def note_npu(self, event: str, npu: NPU) -> None:
        if event != QUANTUM or npu.running is not None:
            super().note_npu(event, npu)


class JoinsAreLoggedAtEveryDispatch(Machine):
    def note(self, event: str, task: Task, npu: NPU | None) -> None:
        super().note(event, task, npu)
        if event == "dispatch" and task.position > 0:
            for other in task.others:
                super().note("join", other, npu)


class MembersAreNotDispatched(Machine):
    def note(self, event: str, task: Task, npu: NPU | None) -> None:
        super().note(event, task, npu)
        if event == "join":
            task.last_dispatch = None


class MembersEarnNothing(Machine):
    def _invoke(self) -> Any:
        before = [(t, t.token, t.token_whole_wait) for task in self.waiting for t in task.others]
        invocation = super()._invoke()
        for number, question in enumerate(invocation):
            if number == 0:
                for task, token, whole in before:
                    task.token, task.token_whole_wait = token, whole
            yield question


class MembersArePreemptedToo(Machine):
    def evict(self, npu: NPU) -> None:
        for task in npu.running.others if npu.running is not None else ():
            task.preemptions += 1
        super().evict(npu)


class TheLastMemberCompletesAlone(Machine):
    def complete(self, npu: NPU) -> None:
        super().complete(npu)
        last = self.log[-1]
        self.log[-1] = Event(last.cycle, last.event, last.slot, last.task, -1) if self.log[-2].event == "completion" else last


IN_THE_MACHINE: list[type[Machine]] = [
    NobodyAsksWhoWaits,
    EveryoneIsAskedWhereOneWaits,
    WhoWaitsStartsTheCountAnew,
    TheQuantumIsForRunningNpus,
    NoQuantumWhereItsNpuCompletes,
    PassTwoOffersAll,
    NobodyKeepsInPassTwo,
    IdleNpusLogNoQuantum,
    JoinsAreLoggedAtEveryDispatch,
    MembersAreNotDispatched,
    MembersEarnNothing,
    MembersArePreemptedToo,
    TheLastMemberCompletesAlone,
]


@pytest.mark.parametrize("fault", IN_THE_MACHINE, ids=lambda fault: fault.__name__)
def test_a_fault_in_the_machine_is_noticed(fault: type[Machine]) -> None:
    class Faulty(ReferencePlayer):
        def start(self, trace: Sequence[Arrival], setup: Setup) -> None:
            self.begin(fault(setup.rules, tasks_of(trace, setup), setup.program_of))

    assert _noticed(Faulty) is not None


def _noticed(faulty: type[ReferencePlayer]) -> int | None:
    """Return the first case that a faulty player plays otherwise than the twin."""
    return next((number for number in range(MOST) if differences(number, 1, faulty, EXPECTED, draw_batching)[0]), None)
