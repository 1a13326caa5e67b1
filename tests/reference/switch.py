"""Switches as phases. Each function is a generator: it yields a phase and its cycles, and is resumed at the phase's end.

What stands between two yields happens at one cycle. A phase of no cycles is passed through at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference import batching
from reference.npu import COMMIT, DRAIN_PHASE, LATENCY, NPU, RESTORE, SAVE, Phases
from reference.parts import CHECKPOINT, DRAIN, KILL, Task

if TYPE_CHECKING:
    from reference.machine import Machine


def keep(machine: Machine, npu: NPU) -> Phases:
    """Go on as before once the decision's latency is over."""
    yield from _stall(machine, npu)
    if npu.running is not None and machine.rules.latency > 0:
        machine.note("run", npu.running, npu)


@dataclass(frozen=True)
class Move:
    """A decision to give an NPU to a task."""

    cycle: int
    chosen: Task
    mechanism: str
    asked: bool
    """Whether the scheduler chose it, at its latency; the only legal move is made without."""


def hand_over(machine: Machine, npu: NPU, move: Move) -> Phases:
    """Give the NPU to the chosen task, evicting its running one."""
    chosen, dispatch = move.chosen, move.cycle
    if move.asked:
        yield from _stall(machine, npu)
    if npu.running is not None:
        yield from EVICTIONS[move.mechanism](machine, npu)
        if move.mechanism == DRAIN:
            dispatch = machine.clock
    npu.running, npu.bound = chosen, None
    chosen.take(npu.index, npu.hardware.configuration, machine.clock)
    npu.dispatch_cycle, npu.last_slot = dispatch, chosen.slot
    for task in (chosen, *chosen.others):
        task.last_dispatch = dispatch
    machine.note("dispatch", chosen, npu)
    if chosen.position == 0:
        for task in chosen.others:
            machine.note("join", task, npu)
    point, chosen.context = chosen.context, None
    if point is not None:
        yield RESTORE, npu.hardware.transfer(chosen.program.restores[point]) + chosen.program.refills[point]
    chosen.dispatch_position = chosen.position
    npu.last_switch = machine.clock
    machine.note("run", chosen, npu)


def _stall(machine: Machine, npu: NPU) -> Phases:
    """Let the asked decision cost its latency: the running task stands still."""
    if machine.rules.latency == 0:
        return
    machine.note_npu("stall", npu)
    yield LATENCY, machine.rules.latency


def _checkpoint(machine: Machine, npu: NPU) -> Phases:
    """Let the running operation commit and save the context, or the task complete where it does so first."""
    task = npu.running
    assert task is not None
    point = task.program.next_point(task.position, task.dispatch_position)
    if point is None:
        yield COMMIT, task.remaining
        machine.complete(npu)
        return
    yield COMMIT, task.program.commits[point] - task.position
    machine.note("commit", task, npu)
    task.context = point
    machine.evict(npu)
    task.saving = True
    yield SAVE, npu.hardware.transfer(task.program.saves[point])
    task.saving = False
    machine.note("saved", task, npu)
    machine.freed_by(npu, task)


def _kill(machine: Machine, npu: NPU) -> Phases:
    """Drop the running task's progress and context; its token stays. A batch is no more: its tasks wait each for itself."""
    task = npu.running
    assert task is not None
    machine.note("kill", task, npu)
    machine.write_off(task)
    task.forget()
    machine.evict(npu)
    for freed in batching.dissolve(task, machine.clock):
        machine.freed_by(npu, freed)
    yield from ()


def _drain(machine: Machine, npu: NPU) -> Phases:
    """Let the running task complete."""
    task = npu.running
    assert task is not None
    machine.note("drain", task, npu)
    yield DRAIN_PHASE, task.remaining
    machine.complete(npu)


EVICTIONS = {CHECKPOINT: _checkpoint, KILL: _kill, DRAIN: _drain}
