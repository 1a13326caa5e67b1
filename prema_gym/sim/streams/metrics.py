"""What a stream was worth: metrics of its cohort, of the machine, and of all its requests.

The cohort are the requests from 0.1 H to 0.8 H in order of arrival, H being ``horizon_requests``. Those of them that are unfinished
at the end count with their NTT so far, and their share is shown: leaving them out would reward starvation. The sums over all
requests are what the rewards of a stream add up to.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_apart, jit_borrowing
from prema_gym.sim.streams.cohort import BINS_PER_OCTAVE, HISTOGRAM_BINS
from prema_gym.sim.streams.records import ALL_SUMS, COHORT_SUMS, WINDOW
from prema_gym.sim.worth import HIGHEST_TARGET, LOWEST_TARGET

STREAM_METRICS = (
    "antt",
    "weighted_antt",
    "wait_ms",
    "sla_violation",
    "hp_excess",
    "deadline_misses",
    "tardiness",
    "capped_tardiness",
    "impossible_deadlines",
    "goodput",
    "requests_per_second",
    "samples_per_second",
    "batch_samples",
    "ntt_p50",
    "ntt_p95",
    "ntt_p99",
    "unfinished_share",
    "fairness_8",
    "jain_8",
    "utilisation",
    "queue_length",
    "preemptions",
    "useful_share",
    "wasted_share",
    "overhead_share",
    "antt_all",
    "weighted_antt_all",
    "sla_violation_all",
    "stp_all",
    "hp_excess_all",
    "deadline_misses_all",
    "tardiness_all",
    "goodput_all",
)
"""Columns of a stream's metrics array; the utilisation of each of the first NPUs follows them."""
SHOWN_NPUS = 16
"""NPUs whose utilisation is shown one by one; a row may have more."""
NUM_STREAM_METRICS = len(STREAM_METRICS) + SHOWN_NPUS
QUANTILES = (0.5, 0.95, 0.99)
LEAST_REQUESTS = 20
"""Requests below which quantiles have no value."""

(
    _ANTT, _WEIGHTED_ANTT, _WAIT_MS, _SLA_VIOLATION, _HP_EXCESS, _DEADLINE_MISSES, _TARDINESS, _CAPPED, _IMPOSSIBLE_DEADLINES,
    _GOODPUT, _RATE, _SAMPLE_RATE, _BATCH_SAMPLES, _P50, _P95, _P99, _UNFINISHED, _FAIRNESS_8, _JAIN_8, _UTILISATION, _QUEUE,
    _PREEMPTIONS, _USEFUL, _WASTED, _OVERHEAD, _ANTT_ALL, _WEIGHTED_ANTT_ALL, _SLA_VIOLATION_ALL, _STP_ALL, _HP_EXCESS_ALL,
    _DEADLINE_MISSES_ALL, _TARDINESS_ALL, _GOODPUT_ALL,
) = range(len(STREAM_METRICS))  # fmt: skip
_FIRST_NPU = len(STREAM_METRICS)
_TARGETS = HIGHEST_TARGET - LOWEST_TARGET + 1
_P50_SHARE, _P95_SHARE, _P99_SHARE = QUANTILES


@jit_borrowing
def _quantile(histogram, requests, share):
    """Return the NTT that ``share`` of the requests in ``histogram`` (levels, bins) don't exceed: the middle of its bin."""
    if requests < LEAST_REQUESTS:
        return np.nan
    wanted, counted, k = share * requests, 0, -1
    while counted < wanted:
        k += 1
        for level in range(histogram.shape[0]):
            counted += histogram[level, k]
    return 2.0 ** ((k + 0.5) / BINS_PER_OCTAVE)


@jit_borrowing
def _fill_cohort(row, clock_hz, out):
    cohort = row.stream.sums[COHORT_SUMS]
    n = cohort.requests
    out[_ANTT] = cohort.ntt / n
    out[_WEIGHTED_ANTT] = cohort.weighted_ntt / cohort.priority
    out[_WAIT_MS] = 1e3 * (cohort.turnaround_cycles - cohort.isolated_cycles) / n / clock_hz
    out[_SLA_VIOLATION] = cohort.targets / (n * _TARGETS)
    out[_HP_EXCESS] = cohort.excess / n
    if cohort.deadlines > 0:
        out[_DEADLINE_MISSES] = cohort.missed / cohort.deadlines
        out[_TARDINESS] = cohort.tardiness / cohort.deadlines
        out[_CAPPED] = cohort.capped_tardiness / cohort.due_priority
        out[_IMPOSSIBLE_DEADLINES] = cohort.impossible / cohort.deadlines
    out[_GOODPUT] = cohort.in_time / n
    out[_P50] = _quantile(row.stream.histogram, n, _P50_SHARE)
    out[_P95] = _quantile(row.stream.histogram, n, _P95_SHARE)
    out[_P99] = _quantile(row.stream.histogram, n, _P99_SHARE)
    out[_UNFINISHED] = cohort.unfinished / n
    windows = row.stream.memory.completions - (WINDOW - 1)
    if windows > 0:
        out[_FAIRNESS_8] = row.stream.memory.window_fairness / windows
        out[_JAIN_8] = row.stream.memory.window_jain / windows


@jit_borrowing
def _fill_machine(row, clock_hz, out):
    now, count = max(row.status.clock_cycles, 1), row.npus.shape[0]
    useful, wasted, overhead, idle = 0, 0, 0, 0
    for n in range(count):
        engine = row.engines[n]
        useful += engine.useful_cycles
        wasted += engine.wasted_cycles
        overhead += engine.overhead_cycles
        idle += engine.idle_cycles
        if n < SHOWN_NPUS:
            out[_FIRST_NPU + n] = 1.0 - engine.idle_cycles / now
    out[_UTILISATION] = 1.0 - idle / (now * count)
    out[_RATE] = row.status.finished * clock_hz / now
    memory = row.stream.memory
    out[_SAMPLE_RATE] = memory.samples * clock_hz / now
    if memory.batches > 0:
        out[_BATCH_SAMPLES] = memory.samples / memory.batches
    out[_QUEUE] = memory.waited_cycles / now
    out[_PREEMPTIONS] = row.machine.preemptions
    out[_USEFUL] = useful / (now * count)
    out[_WASTED] = wasted / (now * count)
    out[_OVERHEAD] = overhead / (now * count)


@jit_apart
def fill_stream_metrics(row, clock_hz, out):
    """Fill ``out`` (NUM_STREAM_METRICS,) float64 with the metrics of a stream that has ended; NaN for NPUs that the row hasn't."""
    everything = row.stream.sums[ALL_SUMS]
    out[:] = np.nan
    _fill_cohort(row, clock_hz, out)
    _fill_machine(row, clock_hz, out)
    out[_ANTT_ALL] = everything.ntt
    out[_WEIGHTED_ANTT_ALL] = everything.weighted_ntt / row.machine.priority_sum
    out[_SLA_VIOLATION_ALL] = everything.targets / _TARGETS
    out[_STP_ALL] = everything.requests - everything.lost_progress
    out[_HP_EXCESS_ALL] = everything.excess
    out[_DEADLINE_MISSES_ALL] = everything.missed
    out[_TARDINESS_ALL] = everything.tardiness
    out[_GOODPUT_ALL] = everything.in_time


def stream_metrics_dict(values: np.ndarray, npus: int) -> dict[str, object]:
    """Return one row of a stream's metrics as plain numbers by name; ``utilisation_per_npu`` is a list."""
    plain: dict[str, object] = dict(zip(STREAM_METRICS, values[:_FIRST_NPU].tolist(), strict=True))
    plain["preemptions"] = int(values[_PREEMPTIONS])
    plain["utilisation_per_npu"] = values[_FIRST_NPU:][:npus].tolist()
    return plain


def stream_metrics_columns(metrics: np.ndarray, npus: int) -> dict[str, np.ndarray]:
    """Return (n, NUM_STREAM_METRICS) metrics by name: (n,) float64 arrays, and (n, npus) for ``utilisation_per_npu``."""
    named = {name: metrics[:, index] for index, name in enumerate(STREAM_METRICS)}
    return {**named, "utilisation_per_npu": metrics[:, _FIRST_NPU:][:, :npus]}


def histogram_quantiles(histogram: np.ndarray, quantiles: tuple[float, ...] = QUANTILES) -> np.ndarray:
    """Return the quantiles (..., Q) of NTT of ``histogram`` (..., HISTOGRAM_BINS) counts; NaN below 20 requests."""
    cumulative = np.cumsum(histogram, axis=-1, dtype=np.float64)
    total = cumulative[..., -1:]
    columns = []
    for quantile in quantiles:
        reached = (cumulative >= quantile * total).argmax(axis=-1)
        columns.append(np.where(total[..., 0] < LEAST_REQUESTS, np.nan, 2.0 ** ((reached + 0.5) / BINS_PER_OCTAVE)))
    return np.stack(columns, axis=-1)


assert HISTOGRAM_BINS % BINS_PER_OCTAVE == 0
