"""One small interface to every implementation of the machine, and the reference behind it.

Whatever implements :class:`Player` can be held against the reference: the hand-solved instances of several NPUs, the random ones
and their comparison know nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reference import stream_worth, worth
from reference.machine import Machine
from reference.observation import observation
from reference.parts import Program, Rules, Task
from reference.snapshot import snapshot


@dataclass(frozen=True)
class Setup:
    """A machine to play on, and the programs of its models."""

    rules: Rules
    programs: Mapping[str, Mapping[str, Program]]
    """By model, then by configuration: what a request runs by itself, unless ``sizes`` has a program of its samples."""
    sizes: Mapping[str, Mapping[str, Mapping[int, Program]]] = field(default_factory=dict)
    """By model, configuration and samples: a request's own program of so many, and that of a batch of such a size. Nobody joins
    where a batch of the size that is needed has none."""
    samples: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By model: what the samples of a request may be; 1 where a model isn't named."""

    def program_of(self, model: str, configuration: str, size: int, input_length: int | None, output_length: int) -> Program | None:
        """Return the program of a batch; None where there is none of its size. Input lengths change nothing here."""
        program = self.sizes.get(model, {}).get(configuration, {}).get(size)
        return None if program is None else program.at(output_length)

    def own_program(self, entry: Arrival, configuration: str) -> Program:
        """Return what a request runs by itself."""
        sizes = self.sizes.get(entry.model, {}).get(configuration, {})
        program = sizes.get(entry.samples, self.programs[entry.model][configuration])
        return program.at(entry.output_length).misjudged(entry.factor)


@dataclass(frozen=True)
class Arrival:
    """A task of a trace."""

    cycle: int
    model: str
    priority: int = 1
    samples: int = 1
    output_length: int = 1
    factor: float = 1.0
    """What its predictions are off by."""


class Player(Protocol):
    """What an implementation must offer."""

    def start(self, trace: Sequence[Arrival], setup: Setup) -> None:
        """Begin an episode and play to its first decision. ``trace`` is in order of arrival, its length at most the slots."""

    def asked(self) -> tuple[int, int] | None:
        """Return (NPU, pass) of the decision that is asked, None once the episode is over."""

    def mask(self) -> list[int]:
        """Return 1 for each legal action. 0 keeps, 1 + columns * slot + column gives the asked NPU to the slot."""

    def act(self, action: int) -> bool:
        """Carry out an action, or what replaces it, and play on. Return whether it was legal."""

    def snapshot(self) -> dict[str, Any]:
        """Return what :func:`reference.snapshot.snapshot` does, and what the last action brought.

        ``observation``: every feature by name, None once the episode is over. ``elapsed_cycles``; ``reward_terms`` by name;
        ``events``: (cycle, event, slot, task, npu) since the last action began, at
        first those of the start; ``metrics`` by name once the episode is over, None before.
        """


def tasks_of(trace: Sequence[Arrival], setup: Setup) -> list[Task]:
    """Return the reference's tasks of ``trace``, with their programs for the configurations that the machine has."""
    configurations = dict.fromkeys(hardware.configuration for hardware in setup.rules.npus)
    return [
        Task(
            index,
            entry.cycle,
            entry.priority,
            {name: setup.own_program(entry, name) for name in configurations},
            model=entry.model,
            samples=entry.samples,
            output_length=entry.output_length,
            factor=entry.factor,
        )
        for index, entry in enumerate(trace)
    ]


class ReferencePlayer:
    """The reference machine as a player."""

    deadlines = False
    """Whether the workload has deadlines, which the observation then tells of."""

    def start(self, trace: Sequence[Arrival], setup: Setup) -> None:
        self.begin(Machine(setup.rules, tasks_of(trace, setup), setup.program_of))

    def begin(self, machine: Machine) -> None:
        """Begin with a machine at its first decision."""
        self.machine = machine
        self.began = self.machine.clock
        self.logged = 0
        self.first = True

    def asked(self) -> tuple[int, int] | None:
        question = self.machine.question
        return None if question is None else (question.npu.index, question.asking_pass)

    def mask(self) -> list[int]:
        return self.machine.mask()

    def act(self, action: int) -> bool:
        self.began, self.logged = self.machine.clock, len(self.machine.log)
        self.first = self.machine.decisions == 1
        return self.machine.step(action)

    def snapshot(self) -> dict[str, Any]:
        machine = self.machine
        value = worth if machine.rules.horizon_requests is None else stream_worth
        events = [(event.cycle, event.event, event.slot, event.task, event.npu) for event in machine.log[self.logged :]]
        return {
            **snapshot(machine),
            "observation": None if machine.over else observation(machine, deadlines=self.deadlines),
            "elapsed_cycles": machine.clock - self.began,
            "reward_terms": value.reward_terms(machine, self.began, first=self.first),
            "events": events,
            "metrics": value.metrics(machine) if machine.over else None,
        }
