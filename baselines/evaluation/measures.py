"""What is reported of an episode: the metrics of the paper and a few diagnostics, with their direction, in one table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from baselines.evaluation.episodes import Played
from prema_gym.metrics import METRICS, SLA_TARGETS


@dataclass(frozen=True)
class Measure:
    """One reported quantity."""

    name: str
    label: str
    """Short, for column heads and axes."""
    meaning: str
    higher_is_better: bool | None
    """None where neither is."""


_TARGET_PREFIX = "sla_violation_at_"
_MEASURES = (
    Measure("antt", "ANTT", "average normalised turnaround time: mean NTT", False),
    Measure("weighted_antt", "weighted ANTT", "mean NTT weighted by priority", False),
    Measure("stp", "STP", "system throughput: sum of 1/NTT", True),
    Measure("fairness", "fairness", "smallest over largest priority-weighted progress", True),
    Measure("sla_violation", "SLA violations", "share of tasks with NTT > N, averaged over N = 2..20", False),
    Measure("hp_excess", "high-priority excess", "time of tasks of the highest priority beyond NTT 2.3, per task", False),
    Measure("preemptions", "preemptions", "evictions per episode", None),
    Measure("useful_share", "useful", "share of elapsed time: progress that was kept", None),
    Measure("wasted_share", "wasted", "share of elapsed time: executed, then killed", False),
    Measure("overhead_share", "overhead", "share of elapsed time: save, restore, refill, scheduler latency", False),
    Measure("unfinished", "unfinished", "tasks cut off by the horizon", False),
    Measure("deadline_misses", "deadline misses", "share of the tasks with a deadline that have passed it", False),
    Measure("tardiness", "tardiness", "time beyond the deadline over isolated time, per task with a deadline", False),
    Measure("goodput", "goodput", "share of tasks completed, by their deadline if they have one", True),
    Measure("impossible_deadlines", "impossible deadlines", "share of deadlines that no schedule could have met", None),
    *(Measure(f"{_TARGET_PREFIX}{n}", f"SLA violations at {n}", f"share of tasks with NTT > {n}", False) for n in SLA_TARGETS),
    Measure("jain", "Jain's index", "(sum x)^2 / (n sum x^2) of x = 1/NTT (Jain, Chiu & Hawe, DEC-TR-301, 1984)", True),
    Measure("ntt_ratio", "min/max NTT", "smallest over largest NTT, priorities ignored", True),
    Measure("worst_ntt", "worst NTT", "largest NTT of an episode", False),
    Measure("decisions", "decisions", "decisions asked per episode", None),
    Measure("illegal_actions", "illegal actions", "actions that the environment replaced", False),
)
"""What has a value per episode, in the order of the columns of :func:`episode_values`."""

HP_TAIL = Measure(
    "hp_tail", "high-priority tail", "95th percentile of the NTT of tasks of the highest priority, pooled over all episodes", False
)
CLASS_FAIRNESS = Measure(
    "class_fairness", "class fairness", "smallest over largest progress per priority of a class, pooled over all episodes", True
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in (*_MEASURES, HP_TAIL, CLASS_FAIRNESS)}
"""What is reported of any episodes, by name. Each priority class adds its own: ``Comparison.measures`` has all."""
EPISODE_MEASURES = tuple(measure.name for measure in _MEASURES)
"""Names of what has a value per episode."""
SLA_MEASURES = tuple(f"{_TARGET_PREFIX}{n}" for n in SLA_TARGETS)
HEADLINES = ("antt", "stp", "sla_violation", "fairness", "hp_tail")
"""The five that a table shows and that claims of dominance are about."""

PAPER_FACTORS = {"antt": 7.8, "stp": 1.4, "sla_violation": 4.8}
"""Factors of PREMA over NP-FCFS in the abstract of Choi & Rhu, HPCA 2020."""


def jain(values: np.ndarray) -> np.ndarray:
    """Return Jain's index of each row of ``values`` (E, n): 1 where all are equal, 1/n where one has everything."""
    return np.square(values.sum(axis=1)) / (values.shape[1] * np.square(values).sum(axis=1))


def visible_ntt(played: Played) -> np.ndarray:
    """Return the (E, n) NTT of tasks; one that was cut off sooner than its isolated time counts as not slowed down."""
    return np.maximum(played.ntt, 1.0)


def episode_values(played: Played) -> np.ndarray:
    """Return the (E, len(EPISODE_MEASURES)) float64 table of an evaluation."""
    ntt = visible_ntt(played)
    columns = {
        "jain": jain(1.0 / ntt),
        "ntt_ratio": ntt.min(axis=1) / ntt.max(axis=1),
        "worst_ntt": ntt.max(axis=1),
        "decisions": played.episodes["decisions"],
        "illegal_actions": played.episodes["illegal_actions"],
    }
    return np.column_stack([played.metrics, *columns.values()])


def factor(measure: Measure, policy: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return how many times better ``policy`` is than ``reference``: above 1 is better, whatever the direction of the measure.

    0 against 0 is 1 and anything against 0 is infinite, where less is better; NaN where there is nothing to divide.
    """
    above, below = (policy, reference) if measure.higher_is_better else (reference, policy)
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above == 0) & (below == 0), 1.0, above / below)


assert EPISODE_MEASURES[: len(METRICS)] == METRICS  # the columns of the metrics array come first
