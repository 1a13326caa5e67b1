"""What compiled code draws requests from: the classes of a workload and its arrivals as records."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.config.requests import ArrivalsConfig, DrawnClass
from prema_gym.errors import ConfigError
from prema_gym.types import CLASS, DRAW, LEVEL, MIX, NONE
from prema_gym.workloads.drawing import Draws
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.listing import Joined
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import ProgramTable


def draws_of(config: EnvConfig, programs: ProgramTable, listing: Joined) -> Draws:
    """Return what requests of ``config`` are drawn from; ``totals`` are those of the program table as it is now.

    ``listing`` are the requests of lists that rows play in place of drawn ones.
    """
    drawn = config.workload.classes
    classes = np.zeros(len(drawn), CLASS)
    classes["cumulative_weight"] = np.cumsum([entry.weight for entry in drawn])
    sizes, depths = [len(entry.batches) for entry in drawn], [len(entry.levels) for entry in drawn]
    classes["mixes"], classes["first_mix"] = sizes, np.cumsum(sizes) - sizes
    classes["levels"], classes["first_level"] = depths, np.cumsum(depths) - depths
    classes["sla_cycles"] = NONE
    for record, entry in zip(classes, drawn, strict=True):
        if isinstance(entry.sla, float):
            record["sla"] = entry.sla
        elif entry.sla is not None:
            record["sla_cycles"] = max(round(entry.sla["ms"] * config.npu.clock_hz / 1000), 1)
    levels = np.zeros(sum(depths), LEVEL)
    levels["priority"] = [level for entry in drawn for level, _ in entry.levels]
    levels["cumulative_weight"] = np.concatenate([np.cumsum([weight for _, weight in entry.levels]) for entry in drawn])
    mixes = mixes_of(drawn, programs)
    return Draws(_draw(config, programs), classes, mixes, levels, programs.arrays.totals, listing.listed, listing.kinds)


def mixes_of(drawn: tuple[DrawnClass, ...], programs: ProgramTable) -> np.ndarray:
    """Return MIX for each batch of each class, those of a class behind each other."""
    mixes = np.zeros(sum(len(entry.batches) for entry in drawn), MIX)
    pairs = [(index, entry, batch) for index, entry in enumerate(drawn) for batch in entry.batches]
    for mix, (index, entry, batch) in zip(mixes, pairs, strict=True):
        mix["first_program"] = programs.first_row(entry.model, batch)
        mix["max_output"] = 1
        spec = MODELS[entry.model].lengths if entry.model in MODELS else None
        shortest, longest = _input_lengths(index, entry, spec)
        if spec is None:
            continue
        mix["first_length"], mix["min_length"], mix["max_length"] = spec.min, shortest, longest
        mix["log_median"], mix["sigma"] = np.log(spec.median), spec.sigma
        if spec.ratio is not None:
            mix["ratio"], mix["output_sigma"], mix["max_output"] = spec.ratio, spec.output_sigma, spec.max_output
    return mixes


def _input_lengths(index: int, entry: DrawnClass, spec: LengthSpec | None) -> tuple[int, int]:
    """Return the shortest and the longest input of a class; raises :class:`ConfigError` where the network hasn't got them."""
    given = entry.input_lengths
    if spec is None:
        if given is not None:
            raise ConfigError(f"WorkloadConfig.mix[{index}].input_length = {given}: {entry.model} takes none; leave it out.")
        return 0, 0
    shortest, longest = (spec.min, spec.max) if given is None else given
    if shortest < spec.min or longest > spec.max:
        raise ConfigError(
            f"WorkloadConfig.mix[{index}].input_length = {given}: must be from {spec.min} to {spec.max} for {entry.model}."
        )
    return shortest, longest


# --- Arrivals -----------------------------------------------------------------------------------------------------------------


def _draw(config: EnvConfig, programs: ProgramTable) -> np.ndarray:
    workload = config.workload
    draw = np.zeros(1, DRAW)
    draw["predictor_error"] = workload.predictor_error
    draw["num_tasks"] = workload.num_tasks
    draw["program_stride"] = programs.stride
    draw["window"] = np.nan if workload.spread is None else workload.spread
    arrivals = workload.arrivals
    if arrivals is not None and arrivals.process in ("poisson", "bursty"):
        _fill_rate(draw[0], arrivals, mean_gap_cycles(config, programs))
    return draw


def _fill_rate(draw: np.void, arrivals: ArrivalsConfig, gap: float) -> None:
    """Fill the gaps and turns of ``draw`` (DRAW) for a mean time between arrivals of ``gap`` cycles."""
    draw["gap_cycles"] = gap
    if arrivals.process == "poisson":
        return
    share, factor = arrivals.burst_share, arrivals.burst_factor
    draw["gap_cycles"] = gap * (1 - share + share * factor)
    draw["burst_gap_cycles"] = draw["gap_cycles"] / factor
    draw["burst_cycles"] = arrivals.burst_requests * draw["burst_gap_cycles"]
    draw["calm_cycles"] = draw["burst_cycles"] * (1 - share) / share
    draw["burst_first"] = share * factor / (1 - share + share * factor)


def mean_gap_cycles(config: EnvConfig, programs: ProgramTable) -> float:
    """Return the mean time between arrivals: by the rate, or utilisation times the sum over NPUs of 1 / E[isolated time there]."""
    arrivals = config.workload.arrivals
    assert arrivals is not None
    if arrivals.requests_per_second is not None:
        return config.npu.clock_hz / arrivals.requests_per_second
    assert arrivals.utilisation is not None
    means = dict(zip(config.configurations, mean_isolated_cycles(config.workload.classes, programs), strict=True))
    return 1.0 / (arrivals.utilisation * sum(1.0 / means[npu] for npu in config.all_npus))


def mean_isolated_cycles(drawn: tuple[DrawnClass, ...], programs: ProgramTable) -> list[float]:
    """Return the expected isolated cycles of a request on each configuration, exact over weights, batches and lengths."""
    key = repr(drawn)
    if key not in programs.means:
        mixes = iter(mixes_of(drawn, programs))
        shares = [entry.weight / len(entry.batches) for entry in drawn for _ in entry.batches]
        parts = [share * _mean_of(mix, programs) for share, mix in zip(shares, mixes, strict=True)]
        programs.means[key] = (np.sum(parts, axis=0) / sum(shares)).tolist()
    return programs.means[key]


def _mean_of(mix: np.void, programs: ProgramTable) -> np.ndarray:
    """Return the (C,) expected isolated cycles of one model at one batch."""
    library = programs.arrays
    expected = np.zeros(len(programs.configurations))
    lengths = np.arange(mix["min_length"], mix["max_length"] + 1)
    inputs = _chances(float(mix["log_median"]), float(mix["sigma"]), int(lengths[0]), int(lengths[-1])) if lengths[0] else [1.0]
    for length, chance in zip(lengths.tolist(), inputs, strict=True):
        outputs = np.ones(1)
        if mix["max_output"] > 1:
            centre = math.log(float(mix["ratio"]) * length)
            outputs = np.array(_chances(centre, float(mix["output_sigma"]), 1, int(mix["max_output"])))
        row = int(mix["first_program"]) + length - int(mix["first_length"])
        for c in range(len(expected)):
            record = library.programs[programs.row_on(row, c)]
            totals = library.totals[record["first_total"] : record["first_total"] + record["totals"]]
            taken = totals[: len(outputs)] if len(totals) > 1 else totals[0]
            expected[c] += chance * float(np.sum(outputs * taken))
    return expected


@functools.cache
def _chances(log_centre: float, sigma: float, low: int, high: int) -> list[float]:
    """Return P(clip(round(exp(log_centre + sigma * z)), low, high) = k) for k from ``low`` to ``high``."""

    def below(bound: float) -> float:
        if sigma == 0.0:
            return float(log_centre < math.log(bound))
        return 0.5 * math.erfc((log_centre - math.log(bound)) / (sigma * math.sqrt(2.0)))

    ends = [0.0, *(below(k + 0.5) for k in range(low, high)), 1.0]
    return [after - before for before, after in itertools.pairwise(ends)]
