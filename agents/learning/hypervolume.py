"""Hypervolume of families of policies in (ln ANTT, ln fairness), with an interval over episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import SUFFIX
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.results import Estimate
from baselines.evaluation.statistics import interval, resamples
from baselines.policies.policy import Policy
from baselines.policies.registry import POLICIES, make_policy
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError
from prema_gym.metrics import ANTT, FAIRNESS

REFERENCE_POINT = (4.0, 0.05)
"""ANTT and fairness that are worse than any member's."""
LEARNED_FRONT, INDEX_FRONT, PREMA = "LEARNED-FRONT", "INDEX-FRONT", "PREMA"
"""Names of the families: learned policies, index rules, and PREMA alone."""


def hypervolume(antt: np.ndarray, fairness: np.ndarray) -> float:
    """Return the area that points (K,) dominate within REFERENCE_POINT, in units of ln ANTT times ln fairness."""
    x, y = np.log(REFERENCE_POINT[0] / np.asarray(antt)), np.log(np.asarray(fairness) / REFERENCE_POINT[1])
    area, height = 0.0, 0.0
    for i in np.lexsort((-y, -x)):  # from the lowest ANTT on: each point adds what rises above those before it
        if x[i] > 0 and y[i] > height:
            area += x[i] * (y[i] - height)
            height = y[i]
    return float(area)


@dataclass(frozen=True)
class FrontComparison:
    """The families of learned policies and of index rules on the same episodes."""

    episodes: int
    seed: int
    means: dict[str, np.ndarray]
    """By family: (K, 2) mean ANTT and fairness of its K members."""
    learned: Estimate
    """Hypervolume of LEARNED-FRONT."""
    index: Estimate
    """Hypervolume of INDEX-FRONT."""
    difference: Estimate
    """The former less the latter."""

    @property
    def text(self) -> str:
        """The outcome in words."""
        antt, fairness = REFERENCE_POINT
        lines = [f"{self.episodes} episodes of 'eval', seed {self.seed}; hypervolume within ANTT {antt}, fairness {fairness}:"]
        rows = ((LEARNED_FRONT, self.learned), (INDEX_FRONT, self.index), ("difference", self.difference))
        lines += [f"  {name:13}  {value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]" for name, value in rows]
        beaten = dominated(self.means[INDEX_FRONT], self.means[LEARNED_FRONT])
        return "\n".join([*lines, f"  {beaten} of {len(self.means[INDEX_FRONT])} index rules are dominated by a learned policy"])


def dominated(points: np.ndarray, by: np.ndarray) -> int:
    """Return how many of ``points`` (K, 2) have a row in ``by`` (J, 2) that is better in ANTT and in fairness."""
    return int(sum(bool(((by[:, 0] < antt) & (by[:, 1] > fairness)).any()) for antt, fairness in points))


def members(folder: Path) -> list[LearnedPolicy]:
    """Return the policies in ``folder``; raises :class:`PolicyError` where there are none."""
    found = [LearnedPolicy.load(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not found:
        raise PolicyError(f"{folder}: holds no policies (*{SUFFIX}); train them with python -m agents.front.")
    return found


def compare_fronts(folder: Path, episodes: int, seed: int, *, threads: int = 1) -> FrontComparison:
    """Play both families and PREMA on ``episodes`` of the split "eval" and compare their hypervolumes."""
    rules = [make_policy(name) for name in POLICIES if name.startswith(f"{INDEX_FRONT}-")]
    families: dict[str, Sequence[Policy]] = {LEARNED_FRONT: members(folder), INDEX_FRONT: rules, PREMA: [make_policy(PREMA)]}
    values = {
        name: np.array(
            [_antt_and_fairness(play_policy(policy, EnvConfig(), episodes, seed, threads=threads).metrics) for policy in family]
        )
        for name, family in families.items()
    }
    draws: dict[str, list[float]] = {LEARNED_FRONT: [], INDEX_FRONT: []}
    for counts in resamples(episodes):
        for name, into in draws.items():
            means = counts @ values[name].transpose(2, 0, 1).reshape(-1, episodes).T / episodes
            into += [hypervolume(*row.reshape(2, -1)) for row in means]
    means = {name: value.mean(axis=1) for name, value in values.items()}
    learned, index = (hypervolume(*means[name].T) for name in draws)
    ends = {name: interval(np.array(drawn)) for name, drawn in draws.items()}
    gap = interval(np.array(draws[LEARNED_FRONT]) - np.array(draws[INDEX_FRONT]))
    return FrontComparison(
        episodes,
        seed,
        means,
        Estimate(learned, *ends[LEARNED_FRONT]),
        Estimate(index, *ends[INDEX_FRONT]),
        Estimate(learned - index, *gap),
    )


def _antt_and_fairness(metrics: np.ndarray) -> np.ndarray:
    """Return (E, 2) ANTT and fairness of (E, NUM_METRICS)."""
    return metrics[:, [ANTT, FAIRNESS]]
