"""Isolated times of the programs that episodes are made of."""

from __future__ import annotations

from typing import NamedTuple

from rich import box
from rich.markup import escape
from rich.table import Table

from prema_gym.config import EnvConfig
from prema_gym.sim.simulator import Simulator
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
            ms = config.npu.ms
            times.append(Isolated(model, batch, key.input_length, output, cycles, ms(cycles), ms(predicted)))
    return times


def isolated_table(config: EnvConfig) -> Table:
    """Return the table of isolated times in ms, one row per model."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title="Isolated times in ms", title_justify="left")
    table.add_column("model", no_wrap=True)
    for batch in config.workload.batches:
        table.add_column(f"batch {batch}", justify="right")
    table.add_column("input -> output length")
    times = isolated_times(config)
    for model in config.workload.models:
        rows = [row for row in times if row.model == model]
        first = rows[0]
        lengths = "" if first.input_length is None else f"{first.input_length}"
        lengths += "" if first.output_length is None else f" -> {first.output_length}"
        table.add_row(escape(model), *(f"{row.ms:.3f}" for row in rows), lengths)
    return table
