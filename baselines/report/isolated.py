"""Isolated times of the programs that episodes are made of."""

from __future__ import annotations

from typing import NamedTuple

from rich import box
from rich.markup import escape
from rich.table import Table

from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.hardware.listing import Roofline
from prema_gym.hardware.program import compile_model
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import registered_program
from prema_gym.workloads.sizes import Key
from prema_gym.workloads.trace import TraceTask


class Isolated(NamedTuple):
    """A program alone on the NPU."""

    model: str
    batch: int
    input_length: int | None
    output_length: int | None
    """Both None where the network has none."""
    cycles: int
    ms: float
    predicted_ms: float
    roofline: Roofline | None
    """Of a program that was compiled; None of one made of points."""

    def cells(self, npu: NPUConfig) -> tuple[str, ...]:
        """Return model, batch, lengths, and in ms isolated time, DRAM time, time at peak MACs and the larger of these two."""
        roofs = self.roofline
        least = [npu.ms(cycles) for cycles in (*roofs, roofs.roofline_cycles)] if roofs else []
        shown = [f"{ms:.3f}" for ms in (self.ms, *least)] + ["n/a"] * (3 - len(least))
        lengths = [str(length) for length in (self.input_length, self.output_length) if length is not None]
        return (self.model, str(self.batch), " -> ".join(lengths), *shown)


ISOLATED_HEADS = ("model", "batch", "input -> output length", "isolated", "DRAM", "peak MACs", "larger")
"""Heads of :meth:`Isolated.cells`."""


def isolated_times(config: EnvConfig) -> list[Isolated]:
    """Return the isolated time of every model at every batch: at its median input length and the output length predicted for it."""
    simulator = Simulator(config)
    times = []
    for model in config.workload.models:
        for batch in config.workload.batches:
            simulator.load_trace(0, [TraceTask(arrival_cycles=0, model=model, batch=batch, priority=1)])
            task = simulator.state.tasks[0, 0]
            key = simulator.programs.keys[task["program"]]
            totals = simulator.tables.programs[task["program"]]["totals"]
            cycles, predicted = int(task["isolated_cycles"]), int(task["predicted_cycles"])
            output = int(task["output_length"]) if totals > 1 else None
            ms, roofs = config.npu.ms, _roofline(key, output, config)
            times.append(Isolated(model, batch, key.input_length, output, cycles, ms(cycles), ms(predicted), roofs))
    return times


def _roofline(key: Key, output_length: int | None, config: EnvConfig) -> Roofline | None:
    """Return the roofs of a program; registered ones may have been made of points, which say nothing of work."""
    if key.model not in MODELS:
        program = registered_program(key.model, key.batch, config.npu)
        return None if program.source is None else program.roofline()
    network = MODELS[key.model].network(input_length=key.input_length, hoist_inputs=config.workload.hoist_inputs)
    return compile_model(network, key.batch, config.npu, output_length or 1).roofline()


def isolated_table(config: EnvConfig) -> Table:
    """Return the table of isolated times in ms, one row per model and batch, beside the times that no schedule could beat."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title="Isolated times in ms", title_justify="left")
    for head in ISOLATED_HEADS:
        table.add_column(head, justify="left" if head == "model" else "right", no_wrap=True)
    for row in isolated_times(config):
        table.add_row(*map(escape, row.cells(config.npu)))
    return table
