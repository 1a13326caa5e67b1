"""The simulator owns the arrays of N rows: program tables, hidden state, visible state. The kernel's functions work on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prema_gym.config import EnvConfig, mechanism_bits
from prema_gym.errors import TraceError
from prema_gym.sim.book import Draws, write_book
from prema_gym.sim.kernel import State, Tables
from prema_gym.types import DRAW, EVENT, MACHINE, NONE, RULES, SLOT, STATUS, TASK, TERMINATED
from prema_gym.workloads.programs import ProgramTable
from prema_gym.workloads.trace import TraceTask


def rules_record(config: EnvConfig) -> np.ndarray:
    """Return the (1,) RULES that an NPU of ``config`` plays by."""
    rules = np.zeros(1, RULES)
    rules["quantum_cycles"] = config.quantum_cycles
    rules["scheduler_latency_cycles"] = config.scheduler_latency_cycles
    rules["decision_every"] = config.decision_every or 0
    rules["clock_hz"] = config.npu.clock_hz
    rules["dram_bytes_per_second"] = config.npu.dram_bytes_per_second
    rules["dram_latency_cycles"] = config.npu.dram_latency_cycles
    rules["mechanisms"] = mechanism_bits(config.mechanisms)
    return rules


def _state(rows: int, slots: int, tasks: int, log_entries: int) -> State:
    state = State(
        machine=np.zeros(rows, MACHINE),
        tasks=np.zeros((rows, tasks), TASK),
        status=np.zeros(rows, STATUS),
        slots=np.zeros((rows, slots), SLOT),
        log=np.zeros((rows, log_entries), EVENT),
    )
    state.machine["outcome"] = TERMINATED
    state.status["running_slot"] = NONE
    return state


class Simulator:
    """N rows, each an NPU with T slots playing episodes of one workload. ``words`` is what compiled entry points take."""

    def __init__(self, config: EnvConfig, rows: int = 1, log_entries: int = 0) -> None:
        self.config = config
        self.rows = rows
        self.slots = config.num_slots
        self.programs = ProgramTable.of(config.npu, config.workload)
        self.state = _state(rows, self.slots, self.slots, log_entries)
        self._rules = rules_record(config)
        self._draw = np.zeros(1, DRAW)
        self._draw["window"] = config.workload.window
        self._draw["predictor_error"] = config.workload.predictor_error
        self._draw["num_tasks"] = config.workload.num_tasks
        self._priorities = np.array(config.workload.priorities, np.int64)
        self._bind()

    def _bind(self) -> None:
        """Point the book at the arrays; called again whenever the program table has grown."""
        arrays = self.programs.arrays
        self.tables = Tables(arrays.runs, arrays.blocks, arrays.segments, arrays.programs, self._rules)
        self.draws = Draws(self._draw, self.programs.mixes, self._priorities, arrays.totals)
        self.words = write_book(self.tables, self.draws, self.state)

    def seed(self, row: int, seed: int) -> None:
        """Make the next drawn episode of ``row`` the first of ``seed``."""
        self.state.machine[row]["seed"] = seed % (1 << 64)
        self.state.machine[row]["episode"] = 0

    def load_trace(self, row: int, trace: Sequence[TraceTask]) -> None:
        """Write a checked trace into the tasks of ``row``; compiles programs that are not in the table yet."""
        if len(trace) > self.slots:
            raise TraceError(
                f"trace has {len(trace)} tasks, the table {self.slots} slots: make the environment with slots={len(trace)}."
            )
        chosen = [self.programs.choose(index, task) for index, task in enumerate(trace)]
        if self.tables.programs is not self.programs.arrays.programs:
            self._bind()
        tasks = self.state.tasks[row]
        tasks[:] = np.zeros((), TASK)
        for index, (task, (program, output_length)) in enumerate(zip(trace, chosen, strict=True)):
            record = self.tables.programs[program]
            tasks[index]["arrival_cycles"] = task.arrival_cycles
            tasks[index]["completion_cycles"] = NONE
            tasks[index]["isolated_cycles"] = self.draws.totals[record["first_total"] + output_length - 1]
            tasks[index]["predicted_cycles"] = record["predicted_cycles"]
            tasks[index]["program"] = program
            tasks[index]["output_length"] = output_length
            tasks[index]["priority"] = task.priority
            tasks[index]["length_estimated"] = record["length_estimated"]

    def describe_tasks(self, row: int) -> list[dict[str, Any]]:
        """Return the tasks of ``row`` in order of arrival as plain dicts, model, batch and input length by name, truth included."""
        described = []
        for task in self.state.tasks[row, : self.state.machine[row]["tasks"]]:
            key = self.programs.keys[task["program"]]
            numbers = {name: task[name].item() for name in TASK.names or () if name != "program"}
            described.append({"model": key.model, "batch": key.batch, "input_length": key.input_length, **numbers})
        return described

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("words", "tables", "draws")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()
