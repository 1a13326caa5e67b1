"""What episodes have only together: progress and NTT of each priority class, pooled over the tasks of all episodes.

The progress of a class is the mean of 1/NTT over its tasks. Class fairness is the smallest over the largest progress per priority,

    min_c (progress_c / c) / max_c (progress_c / c),

over the priorities c: the paper's PP (section III), of classes instead of single tasks. In an episode's smallest over largest PP
only two tasks count: once one small task has set the maximum, every other may run free up to it, and nothing is seen. Here each
task moves its class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from baselines.evaluation.episodes import Played
from baselines.evaluation.measures import CLASS_FAIRNESS, HP_TAIL, Measure, visible_ntt
from baselines.evaluation.statistics import TAIL, pooled_quantiles, ranked, weighted_sums

QUANTILES = (0.5, TAIL, 0.99)
"""Of a class's NTT."""
LEAST_TASKS = 20
"""Tasks of a class below which its quantiles have no value."""


def progress_name(priority: int) -> str:
    """Return the name of the measure: progress of the class of ``priority``."""
    return f"progress_priority_{priority}"


def quantile_name(quantile: float, priority: int) -> str:
    """Return the name of the measure: ``quantile`` of the NTT of the class of ``priority``."""
    return f"ntt_p{100 * quantile:g}_priority_{priority}"


def priorities_of(played: Mapping[str, Played]) -> tuple[int, ...]:
    """Return the priorities of the tasks that were played, rising; every policy plays the same tasks."""
    first = next(iter(played.values()), None)
    return () if first is None else tuple(np.unique(first.priority).tolist())


def quantile_measure(quantile: float, priority: int) -> Measure:
    """Return the measure: ``quantile`` of the NTT of the class of ``priority``."""
    percent = f"{100 * quantile:g}"
    meaning = f"{percent}th percentile of the NTT of priority-{priority} tasks, pooled over all episodes"
    return Measure(quantile_name(quantile, priority), f"p{percent} NTT, priority {priority}", meaning, False)


def pooled_measures(priorities: Sequence[int]) -> dict[str, Measure]:
    """Return the pooled measures of episodes whose tasks have ``priorities``, by name, in the order of :meth:`Pool.values`."""
    progress = [
        Measure(progress_name(p), f"progress, priority {p}", f"mean of 1/NTT of priority-{p} tasks, pooled over all episodes", True)
        for p in priorities
    ]
    quantiles = [quantile_measure(quantile, p) for quantile in QUANTILES for p in priorities]
    return {measure.name: measure for measure in (HP_TAIL, CLASS_FAIRNESS, *progress, *quantiles)}


class Pool:
    """The tasks of one policy, by class, ordered once so that any resample of the episodes is measured quickly."""

    def __init__(self, played: Played, priorities: Sequence[int], levels: Sequence[int] = ()) -> None:
        """Take E episodes with tasks of ``priorities``; ``levels`` are those that the mix could have drawn."""
        self._high = max((*priorities, *levels), default=0)
        self._priorities = np.array(priorities)
        self._names = list(pooled_measures(priorities))
        members = played.priority[:, :, None] == self._priorities
        progress = 1.0 / visible_ntt(played)
        sums = (progress[:, :, None] * members).sum(axis=1), members.sum(axis=1)
        self._sums = np.hstack(sums)  # (E, 2 C): progress, then tasks
        self._ranked = [ranked(played.ntt, members[:, :, c]) for c in range(len(priorities))]
        self._few = members.sum(axis=(0, 1)) < LEAST_TASKS

    def values(self, counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return the (B, M) float64 :func:`pooled_measures` under ``counts`` (B, E); NaN where a class has too few tasks.

        ``shares`` (B, E) float64 are the counts over E: all policies use them, and making them takes longer than all else here.
        """
        progress, tasks = np.hsplit(weighted_sums(shares, self._sums), 2)
        with np.errstate(invalid="ignore"):
            progress /= tasks
        per_priority = progress / self._priorities
        nothing = np.full(len(counts), np.nan)
        columns = {HP_TAIL.name: nothing, CLASS_FAIRNESS.name: per_priority.min(axis=1) / per_priority.max(axis=1)}
        for c, priority in enumerate(self._priorities.tolist()):
            columns[progress_name(priority)] = progress[:, c]
            quantiles = pooled_quantiles(self._ranked[c], counts, QUANTILES)
            if priority == self._high:
                columns[HP_TAIL.name] = quantiles[:, QUANTILES.index(TAIL)]
            for k, quantile in enumerate(QUANTILES):
                columns[quantile_name(quantile, priority)] = nothing if self._few[c] else quantiles[:, k]
        return np.column_stack([columns[name] for name in self._names])
