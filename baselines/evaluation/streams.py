"""What policies did on the same streams: measures of the cohort, and quantiles of NTT per priority, pooled over all streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from baselines.evaluation.comparison import BOUNDS, REFERENCE
from baselines.evaluation.episodes import Played
from baselines.evaluation.measures import CLASS_FAIRNESS, MEASURES, Measure
from baselines.evaluation.pooled import QUANTILES, quantile_measure, quantile_name
from baselines.evaluation.results import Results
from baselines.evaluation.statistics import weighted_sums
from prema_gym.sim.streams.cohort import BINS_PER_OCTAVE, HISTOGRAM_BINS
from prema_gym.sim.streams.metrics import STREAM_METRICS, histogram_quantiles

_MEANINGS: dict[str, tuple[str, str, bool | None]] = {
    "antt": ("ANTT", "mean NTT of the cohort; an unfinished request counts with its NTT so far", False),
    "weighted_antt": ("weighted ANTT", "the same weighted by priority", False),
    "wait_ms": ("wait, ms", "mean turnaround less isolated time on the fastest NPU", False),
    "sla_violation": ("SLA violations", "share of the cohort with NTT > N, averaged over N = 2..20", False),
    "hp_excess": ("high-priority excess", "NTT beyond 2.3 of requests of the highest priority, per request", False),
    "deadline_misses": ("deadline misses", "share of deadlines that were missed, or are overdue", False),
    "tardiness": ("tardiness", "mean time beyond the deadline over isolated time", False),
    "capped_tardiness": ("capped tardiness", "tardiness of a request counts at most 10, weighted by priority", False),
    "impossible_deadlines": ("impossible deadlines", "share of deadlines that no schedule could have met", None),
    "goodput": ("goodput", "share of requests completed, by their deadline if they have one", True),
    "requests_per_second": ("requests/s", "requests completed per second", True),
    "samples_per_second": ("samples/s", "samples of the requests completed per second", True),
    "batch_samples": ("samples a batch", "mean samples that ran together", None),
    "ntt_p50": ("p50 NTT", "median NTT of an episode's cohort", False),
    "ntt_p95": ("p95 NTT", "95th percentile of NTT of an episode's cohort", False),
    "ntt_p99": ("p99 NTT", "99th percentile of NTT of an episode's cohort", False),
    "unfinished_share": ("unfinished", "share of the cohort that was unfinished at the end", False),
    "fairness_8": ("fairness of 8", "smallest over largest progress per priority of 8 completions in a row, averaged", True),
    "jain_8": ("Jain of 8", "Jain's index of 1/NTT of 8 completions in a row, averaged; priorities ignored", True),
    "utilisation": ("utilisation", "share of the NPUs' time that they weren't idle", None),
    "queue_length": ("queue", "mean number of requests that wait, in the table and the backlog", False),
    "preemptions": ("preemptions", "evictions per episode", None),
    "useful_share": ("useful", "share of elapsed time: progress that was kept", None),
    "wasted_share": ("wasted", "share of elapsed time: executed, then killed", False),
    "overhead_share": ("overhead", "share of elapsed time: save, restore, refill, scheduler latency", False),
}
_REPORTED = tuple(name for name in STREAM_METRICS if name in _MEANINGS)
_COLUMNS = [STREAM_METRICS.index(name) for name in _REPORTED]
STREAM_MEASURES: dict[str, Measure] = {
    **{name: Measure(name, *_MEANINGS[name]) for name in _REPORTED},
    "decisions": Measure("decisions", "decisions", "decisions asked per episode", None),
    "illegal_actions": Measure("illegal_actions", "illegal actions", "actions that the environment replaced", False),
}
"""What has a value per stream, by name."""
STREAM_HEADLINES = ("antt", "weighted_antt", "ntt_p99", "deadline_misses", "tardiness", "goodput")
"""What a table of streams shows first."""


def measure_named(name: str) -> Measure:
    """Return the measure called ``name``, of closed episodes or of streams."""
    return MEASURES.get(name) or STREAM_MEASURES[name]


_PROGRESS = 2.0 ** (-(np.arange(HISTOGRAM_BINS) + 0.5) / BINS_PER_OCTAVE)
"""1/NTT in the middle of each bin; at most 1.1 % off."""


class StreamPool:
    """The cohorts of one policy, as histograms by priority."""

    def __init__(self, played: Played, priorities: Sequence[int]) -> None:
        episodes, self._levels, _ = played.histograms.shape
        self._priorities = np.array(priorities, np.float64)
        self._counts = played.histograms.reshape(episodes, -1).astype(np.float64)

    def values(self, counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return (B, Q * levels + 1) quantiles and class fairness under ``counts`` (B, E).

        Quantiles are NaN where a priority has below 20 requests; classes without a request don't count.
        """
        # Whole numbers: exact in whatever order a matrix product adds them up.
        pooled = (counts @ self._counts).reshape(len(counts), self._levels, HISTOGRAM_BINS)
        quantiles = np.swapaxes(histogram_quantiles(pooled, QUANTILES), 1, 2).reshape(len(counts), -1)
        return np.column_stack([quantiles, self._class_fairness(pooled)])

    def _class_fairness(self, pooled: np.ndarray) -> np.ndarray:
        """Return the (B,) smallest over largest progress per priority of a class, of ``pooled`` (B, levels, HISTOGRAM_BINS)."""
        requests = pooled.sum(axis=2)
        with np.errstate(invalid="ignore"):
            sums = weighted_sums(pooled.reshape(-1, HISTOGRAM_BINS), _PROGRESS[:, None]).reshape(requests.shape)
            progress = sums / requests / self._priorities
        there = requests > 0
        least = np.where(there, progress, np.inf).min(axis=1)
        most = np.where(there, progress, -np.inf).max(axis=1)
        return np.where(there.any(axis=1), least / most, np.nan)


@dataclass(frozen=True, repr=False)
class StreamResults(Results):
    """A comparison on streams, with its ways out of Python."""

    @cached_property
    def priorities(self) -> tuple[int, ...]:
        """Priorities of the mix, rising; each is a class."""
        return self.config.workload.levels

    @property
    def episode_measures(self) -> tuple[str, ...]:
        """Names of what has a value per stream, in the order of the columns of :attr:`values`."""
        return tuple(STREAM_MEASURES)

    @cached_property
    def pooled_measures(self) -> dict[str, Measure]:
        """Quantiles of NTT by priority and class fairness, pooled over the cohorts of all streams."""
        quantiles = {quantile_name(q, p): quantile_measure(q, p) for q in QUANTILES for p in self.priorities}
        return {**quantiles, CLASS_FAIRNESS.name: CLASS_FAIRNESS}

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """Everything that is reported, by name."""
        return {**STREAM_MEASURES, **self.pooled_measures}

    @property
    def fairness_measures(self) -> tuple[str, ...]:
        """What a claim of "fairer" needs, all of it: windows of completions, the classes, and the tail of every priority."""
        tails = (quantile_name(0.99, priority) for priority in self.priorities)
        return ("fairness_8", CLASS_FAIRNESS.name, "jain_8", *tails)

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Per policy the (E, len(episode_measures)) float64 values of every stream."""
        return {name: stream_values(played) for name, played in self.played.items()}

    @property
    def headlines(self) -> tuple[str, ...]:
        """The measures that tables and pictures show."""
        return STREAM_HEADLINES

    @property
    def title(self) -> str:
        """What was played, in words."""
        arrivals = self.config.workload.arrivals
        assert arrivals is not None  # the configuration sees to it
        rate = {"utilisation": arrivals.utilisation, "requests a second": arrivals.requests_per_second}
        load = ", ".join(f"{name} {value:g}" for name, value in rate.items() if value is not None)
        npus = f"NPU{'s' if len(self.npu_names) > 1 else ''} {self.npu_name}"
        streams = f"{self.episodes} stream{'s' if self.episodes > 1 else ''} of {self.config.horizon} requests"
        how = "as a file lists them" if arrivals.process == "trace" else f"{arrivals.process} arrivals, {load or 'clients'}"
        return f"{streams}, {how}, {npus}"

    @property
    def has_bounds(self) -> bool:
        """Whether it is known what no schedule can beat: never, on a stream."""
        return False

    @cached_property
    def bounds(self) -> np.ndarray:
        """(E, 2) float64 NaN: nobody knows what no schedule of a stream can beat."""
        return np.full((self.episodes, len(BOUNDS)), np.nan)

    @cached_property
    def _pools(self) -> dict[str, StreamPool]:  # type: ignore[override]
        return {name: StreamPool(played, self.priorities) for name, played in self.played.items()}

    def summary(self, policy: str) -> dict[str, Any]:
        """Return ``{measure: {"mean": .., "ci95": [..]}}``; ``utilisation_per_npu`` is a list of such entries."""
        plain = {name: self.estimate(policy, name).to_dict() for name in self.measures}
        return {**plain, "utilisation_per_npu": [share.to_dict() for share in self.utilisation(policy)]}

    def versus(self, reference: str = REFERENCE) -> dict[str, Any]:
        """Return the factors of every other policy over ``reference``; empty if it was not played."""
        if reference not in self.played:
            return {}
        others = [name for name in self.played if name != reference]
        shown = ("antt", "weighted_antt", "wait_ms", "ntt_p99", "sla_violation")
        return {name: {measure: self.factor(name, measure, reference).to_dict() for measure in shown} for name in others}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {"horizon_requests": self.config.horizon, **super().to_dict()}

    def latex(self, measures: Sequence[str] = STREAM_HEADLINES) -> str:
        """Return a LaTeX table (booktabs): means, half-widths of the intervals, the best in bold."""
        return super().latex(tuple(measures))


def stream_values(played: Played) -> np.ndarray:
    """Return the (E, len(STREAM_MEASURES)) float64 table of an evaluation."""
    extra = [played.episodes["decisions"], played.episodes["illegal_actions"]]
    return np.column_stack([played.metrics[:, _COLUMNS], *extra])
