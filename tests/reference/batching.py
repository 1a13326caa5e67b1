"""Batches: requests of one model that run together as one program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reference.npu import NPU
from reference.parts import JOINED, Program, Task

if TYPE_CHECKING:
    from reference.machine import Machine

ProgramOf = Callable[[str, str, int, int | None, int], Program | None]
"""(model, configuration, size, input length, true output length) -> the program of a batch with its prediction, None where there is
none of that size. Output lengths beyond what the program has are its longest."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Two or more tasks that are one on an NPU."""

    leader: Task
    others: tuple[Task, ...]
    """In order of arrival."""
    programs: Mapping[str, Program]
    """By configuration."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (self.leader, *self.others)

    @property
    def samples(self) -> int:
        return sum(task.samples for task in self.tasks)


def unknown(model: str, configuration: str, size: int, input_length: int | None, output_length: int) -> Program | None:
    """Know no program of any batch."""
    return None


def size_of(samples: int) -> int:
    """Return the size that ``samples`` are padded to: a power of two."""
    size = 1
    while size < samples:
        size *= 2
    return size


def companions(machine: Machine, npu: NPU, leader: Task) -> list[Task]:
    """Return the tasks that would join ``leader`` on ``npu`` now, in order of arrival."""
    if leader.position > 0:
        return []
    able = [t for t in machine.choosable(npu) if t is not leader and t.model == leader.model and t.position == 0]
    joined, samples = list[Task](), leader.samples
    for task in able:
        samples += task.samples
        if samples > machine.rules.batching:
            break
        if machine.program_of(leader.model, npu.hardware.configuration, size_of(samples), leader.input_length, 1) is None:
            break
        joined.append(task)
    return joined


def assemble(machine: Machine, leader: Task, others: Sequence[Task]) -> Batch:
    """Return the batch of ``leader`` and ``others``: one program per configuration, at its size and at its longest lengths.

    On a configuration without a program of the size the leader's own stands for it: the batch isn't formed there.
    """
    in_order = sorted((leader, *others), key=lambda task: task.index)
    longest = max(in_order, key=lambda task: task.input_length or 0)
    size, output = size_of(sum(task.samples for task in in_order)), max(task.output_length for task in in_order)
    programs = {}
    for name, own in leader.programs.items():
        program = machine.program_of(leader.model, name, size, longest.input_length, output)
        programs[name] = own if program is None else replace(program.misjudged(longest.factor), estimated=own.estimated)
    return Batch(leader, tuple(others), programs)


def form(machine: Machine, npu: NPU, leader: Task) -> None:
    """Let join ``leader``, to which ``npu`` is being given, who may."""
    others = companions(machine, npu, leader)
    if not others:
        return
    batch = assemble(machine, leader, others)
    for task in batch.tasks:
        task.batch = batch
    for task in others:
        task.state = JOINED


def dissolve(leader: Task, now: int) -> tuple[Task, ...]:
    """Let a killed task, and those that it led, wait each for itself; return all of them."""
    freed = (leader, *leader.others)
    for task in freed:
        task.batch = None
    for task in freed[1:]:
        task.wait(now)
    return freed


# --- What shows -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WouldBe:
    """What would run if the asked NPU were given to a task now."""

    members: int
    samples: int
    predicted: int
    """Of the whole program, on the asked NPU."""
    weight: float
    """Priorities over own predictions on the fastest NPU."""
    oldest: int
    """When the first of its tasks arrived."""


def would_be(machine: Machine, npu: NPU, task: Task) -> WouldBe:
    """Return what would run if ``npu`` were given to ``task``."""
    batch = task.batch
    if others := companions(machine, npu, task):
        batch = assemble(machine, task, others)
    members, programs = ((task,), task.programs) if batch is None else (batch.tasks, batch.programs)
    return WouldBe(
        members=len(members),
        samples=sum(member.samples for member in members),
        predicted=programs[npu.hardware.configuration].predicted,
        weight=sum(member.priority / member.predicted for member in members),
        oldest=min(member.arrival for member in members),
    )


def shown(machine: Machine, task: Task | None) -> dict[str, int | float]:
    """Return what shows of the batch in a slot, and of the one that could be dispatched now."""
    batch = None if task is None else task.batch
    would = None
    if task is not None and machine.question is not None and task in machine.question.choosable:
        would = would_be(machine, machine.question.npu, task)
    leader = -1 if batch is None or batch.leader.slot is None else batch.leader.slot
    own = 0 if task is None else task.samples
    return {
        "leader": leader,
        "members": 0 if batch is None else len(batch.tasks),
        "samples": own if batch is None else batch.samples,
        "would_members": 0 if would is None else would.members,
        "would_samples": 0 if would is None else would.samples,
        "would_predicted_cycles": 0 if would is None else would.predicted,
        "would_weight": 0.0 if would is None else would.weight,
        "would_oldest_cycles": -1 if would is None else would.oldest,
    }
