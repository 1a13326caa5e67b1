"""The largest episode: what is refused because its times would not be counted in 64 bits, or its quanta would never end.

An episode's programs, and what is predicted of them, take at most 2^57 cycles together, and its last request arrives by cycle 2^60.
Both are looked at where an environment is made, for the worst that can be drawn, and again where a trace is loaded.
"""

from __future__ import annotations

import math

import numpy as np

from prema_gym.checks import LATEST_CYCLES, MOST_CYCLES
from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, TraceError
from prema_gym.workloads.drawing import Draws
from prema_gym.workloads.listing import Listing
from prema_gym.workloads.programs import ProgramTable

MOST_QUANTA = 100_000_000
"""Quanta of an episode's work: the machine looks at every one of them."""
_LARGEST_NORMAL, _LARGEST_EXPONENTIAL = 8.6, 37.0
"""No draw from 53 random bits is larger."""


def check_drawn(config: EnvConfig, programs: ProgramTable, draws: Draws) -> None:
    """Raise :class:`ConfigError` where an episode that is drawn could be larger than is supported."""
    workload = config.workload
    longest, predicted = _longest(programs)
    predicted *= math.exp(workload.predictor_error * _LARGEST_NORMAL)
    count = config.num_slots if config.stream else workload.num_tasks
    most = max(longest, predicted)
    if count * most > MOST_CYCLES:
        raise ConfigError(
            f"an episode of {count} tasks whose programs take, or are predicted to, up to {most:.3g} cycles: together must "
            f"take at most 2^57 cycles; draw fewer or shorter ones, or with a smaller predictor_error."
        )
    _check_quanta(config, longest if config.stream else count * longest, ConfigError)
    _check_arrivals(config, draws.draw[0], count * longest)
    _check_deadlines(draws.classes, predicted)


def _longest(programs: ProgramTable) -> tuple[int, float]:
    """Return (longest program, largest prediction) of what is drawn, in cycles."""
    library = programs.arrays
    drawn = library.programs[: programs.stride * len(programs.configurations)]
    end = int(drawn[-1]["first_total"] + drawn[-1]["totals"])
    return int(library.totals[:end].max()), float(drawn["predicted_cycles"].max())


def _check_quanta(config: EnvConfig, work_cycles: int, error: type[ConfigError] | type[TraceError]) -> None:
    least = -(-work_cycles // MOST_QUANTA)
    if config.quantum_cycles < least:
        raise error(
            f"EnvConfig.quantum_cycles = {config.quantum_cycles}: must be at least {least} here, where {work_cycles} cycles of work"
            f" are to be cut into at most {MOST_QUANTA} quanta."
        )


def _check_arrivals(config: EnvConfig, draw: np.void, work_cycles: int) -> None:
    """Refuse arrivals that could come too late: by the window, the gaps between requests, or the clients' thinking."""
    arrivals, count = config.workload.arrivals, config.horizon or config.workload.num_tasks
    if not np.isnan(draw["window"]) and draw["window"] * work_cycles > LATEST_CYCLES:
        most = LATEST_CYCLES / work_cycles
        raise ConfigError(f"window = {draw['window']:g}: must be at most {most:.3g} here, so that requests arrive by cycle 2^60.")
    if arrivals is None or arrivals.process == "window":
        return
    apart = float(draw["gap_cycles"] + draw["calm_cycles"] + draw["burst_cycles"])
    if arrivals.process == "closed":
        apart = arrivals.think_ms * config.npu.clock_hz / 1000 + work_cycles / _LARGEST_EXPONENTIAL
    if not count * apart * _LARGEST_EXPONENTIAL <= LATEST_CYCLES:
        raise ConfigError(
            f"ArrivalsConfig: {count} requests {apart:.3g} cycles apart in the mean: may arrive after cycle 2^60, the last that is "
            "supported; let them come sooner, or fewer of them."
        )


def _check_deadlines(classes: np.ndarray, predicted: float) -> None:
    latest = max(float(classes["sla_cycles"].max()), float(classes["sla"].max()) * predicted)
    if latest > LATEST_CYCLES:
        raise ConfigError(f"sla: a deadline {latest:.3g} cycles after the arrival: must be at most 2^60.")


def check_listing(config: EnvConfig, programs: ProgramTable, listing: Listing, kinds: np.ndarray) -> None:
    """Raise :class:`TraceError` where requests of a list, which are of ``kinds`` (K,) KIND, could be larger than is supported."""
    library, where = programs.arrays, listing.path or "the trace"
    rows = kinds["program"][:, None] + kinds["stride"][:, None] * np.arange(len(programs.configurations))
    records = library.programs[rows]
    outputs = np.minimum(kinds["output_length"][:, None], records["totals"])
    longest = int(library.totals[records["first_total"] + outputs - 1].max())
    predicted = float(records["predicted_cycles"].max()) * max(float(listing.requests["prediction_factor"].max()), 1.0)
    most = max(longest, predicted)
    if config.num_slots * most > MOST_CYCLES:
        raise TraceError(
            f"{where}: {config.num_slots} requests that take, or are predicted to take, up to {most:.3g} cycles: "
            "must take at most 2^57 cycles together."
        )
    _check_quanta(config, longest, TraceError)
    if float(listing.requests["sla"].max()) * predicted > LATEST_CYCLES:
        raise TraceError(f"{where}: a deadline more than 2^60 cycles after the arrival: is later than is supported.")


def check_deadline(index: int, deadline_cycles: int) -> int:
    """Return the deadline of entry ``index`` of a trace; raises :class:`TraceError` where it is later than is supported."""
    if deadline_cycles > 2 * LATEST_CYCLES:
        raise TraceError(f"trace[{index}]: its deadline, cycle {deadline_cycles}, must be at most 2^61.")
    return deadline_cycles


def check_prediction(index: int, predicted_cycles: float) -> None:
    """Raise :class:`TraceError` where what is predicted of entry ``index`` of a trace is longer than is supported."""
    if predicted_cycles > MOST_CYCLES:
        raise TraceError(f"trace[{index}]: is predicted to take {predicted_cycles:.3g} cycles: must be at most 2^57.")


def check_trace(config: EnvConfig, slowest_cycles: int) -> None:
    """Raise :class:`TraceError` where the programs of a trace, on their slowest NPU, take or are predicted to take too long."""
    if slowest_cycles > MOST_CYCLES:
        raise TraceError(f"the tasks of the trace take, or are predicted to take, {slowest_cycles} cycles: must be at most 2^57.")
    _check_quanta(config, slowest_cycles, TraceError)
