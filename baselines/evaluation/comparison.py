"""What every policy did on the same episodes, in numbers: means with intervals, factors, differences, bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from baselines.evaluation.bounds import antt_bound, weighted_antt_bound
from baselines.evaluation.episodes import Played
from baselines.evaluation.estimates import Difference, Estimate, Factor, estimate_of
from baselines.evaluation.measures import EPISODE_MEASURES, MEASURES, episode_values, factor
from baselines.evaluation.statistics import TAIL, logarithms, pooled_tails, resamples
from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.errors import PolicyError, PremaError, unknown_name
from prema_gym.metrics import HIGH_PRIORITY

REFERENCE = "NP-FCFS"
"""What factors are over, unless another policy is named."""
BOUNDS = ("weighted_antt", "antt")
"""Measures that no schedule can bring below a known bound."""


@dataclass(frozen=True)
class Comparison:
    """What every policy did on the same episodes. Intervals are 95 % bootstrap intervals over episodes, computed on first use."""

    config: EnvConfig
    episodes: int
    seed: int
    split: str
    played: dict[str, Played]
    """By policy, in the order that was asked for; episode k is the same in all."""
    clairvoyant: tuple[str, ...] = ()
    """Policies that were told true times."""
    asked_every: Mapping[str, int | None] = field(default_factory=dict)
    """By policy: the quanta between decisions asked by the quantum; None where arrivals and completions alone asked."""

    @property
    def policies(self) -> list[str]:
        """Names, in the order that was asked for."""
        return list(self.played)

    @property
    def npu_name(self) -> str:
        """The preset that the NPU is, else "custom"."""
        return next((name for name in NPUConfig.PRESETS if NPUConfig.preset(name) == self.config.npu), "custom")

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Per policy the (E, len(EPISODE_MEASURES)) float64 values of every episode."""
        return {name: episode_values(played) for name, played in self.played.items()}

    @cached_property
    def bounds(self) -> np.ndarray:
        """(E, 2) float64: what no schedule of the episode can beat on each of BOUNDS."""
        tasks = next(iter(self.played.values())).tasks
        arrival, isolated = tasks["arrival_cycles"], tasks["isolated_cycles"]
        return np.column_stack([weighted_antt_bound(arrival, isolated, tasks["priority"]), antt_bound(arrival, isolated)])

    @cached_property
    def _draws(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Per policy (B, 2 M) resampled means of values and of their logs, (B,) resampled tails; (B, 2) means of the bounds."""
        columns = {name: np.hstack([values, logarithms(values)]) for name, values in self.values.items()}
        means: dict[str, list[np.ndarray]] = {name: [] for name in self.played}
        tails: dict[str, list[np.ndarray]] = {name: [] for name in self.played}
        bounds = []
        for counts in resamples(self.episodes):
            shares = counts / self.episodes
            bounds.append(shares @ self.bounds)
            for name, played in self.played.items():
                means[name].append(shares @ columns[name])
                tails[name].append(pooled_tails(played.ntt, played.priority == HIGH_PRIORITY, counts))
        return (
            {name: np.concatenate(parts) for name, parts in means.items()},
            {name: np.concatenate(parts) for name, parts in tails.items()},
            np.concatenate(bounds),
        )

    def per_episode(self, policy: str, measure: str) -> np.ndarray:
        """Return the (E,) float64 values of ``measure``; :class:`PremaError` for ``hp_tail``, which is pooled."""
        self._check(policy, measure)
        if measure not in EPISODE_MEASURES:
            raise PremaError(f"measure {measure!r} has no value per episode: it is pooled over all of them.")
        return self.values[policy][:, EPISODE_MEASURES.index(measure)]

    def mean(self, policy: str, measure: str) -> float:
        """Return the mean of ``measure`` over episodes (``hp_tail``: the pooled percentile)."""
        self._check(policy, measure)
        if measure in EPISODE_MEASURES:
            return float(self.per_episode(policy, measure).mean())
        played = self.played[policy]
        once = np.ones((1, self.episodes), np.int64)
        return float(pooled_tails(played.ntt, played.priority == HIGH_PRIORITY, once, TAIL)[0])

    def draws(self, policy: str, measure: str) -> np.ndarray:
        """Return the (B,) resampled values of :meth:`mean`; resample b is the same episodes for every policy and measure."""
        self._check(policy, measure)
        means, tails, _ = self._draws
        return means[policy][:, EPISODE_MEASURES.index(measure)] if measure in EPISODE_MEASURES else tails[policy]

    def estimate(self, policy: str, measure: str) -> Estimate:
        """Return :meth:`mean` with its interval."""
        return estimate_of(self.mean(policy, measure), self.draws(policy, measure))

    def bound(self, measure: str = "weighted_antt") -> Estimate:
        """Return the clairvoyant lower bound on ``measure`` ("weighted_antt" or "antt"), averaged over the episodes."""
        if measure not in BOUNDS:
            raise PremaError(unknown_name("bound", measure, BOUNDS))
        column = BOUNDS.index(measure)
        return estimate_of(float(self.bounds[:, column].mean()), self._draws[2][:, column])

    def factor(self, policy: str, measure: str, reference: str = REFERENCE) -> Factor:
        """Return how many times better ``policy`` is than ``reference``; above 1 is better."""
        ratio = factor(measure, np.array(self.mean(policy, measure)), np.array(self.mean(reference, measure)))
        draws = factor(measure, self.draws(policy, measure), self.draws(reference, measure))
        if measure not in EPISODE_MEASURES:
            missing = Estimate(math.nan, math.nan, math.nan)
            return Factor(estimate_of(float(ratio), draws), missing, 0, 0, 0)
        ours, theirs = self.per_episode(policy, measure), self.per_episode(reference, measure)
        ahead = ours > theirs if MEASURES[measure].higher_is_better else ours < theirs
        ties = int((ours == theirs).sum())
        wins = int(ahead.sum())
        geometric = self._geometric(policy, reference, measure)
        return Factor(estimate_of(float(ratio), draws), geometric, wins, ties, self.episodes - wins - ties)

    def difference(self, policy: str, opponent: str, measure: str) -> Difference:
        """Return ``policy`` minus ``opponent`` with its paired interval."""
        ours, theirs = self.mean(policy, measure), self.mean(opponent, measure)
        gap = estimate_of(ours - theirs, self.draws(policy, measure) - self.draws(opponent, measure))
        direction = MEASURES[measure].higher_is_better
        better = direction is not None and (gap.low > 0 if direction else gap.high < 0)
        return Difference(ours, theirs, gap, better)

    def _geometric(self, policy: str, reference: str, measure: str) -> Estimate:
        """Return the geometric mean of the factors per episode: the exponential of a difference of mean logarithms."""
        sign = 1.0 if MEASURES[measure].higher_is_better else -1.0
        gap = logarithms(self.per_episode(policy, measure)) - logarithms(self.per_episode(reference, measure))
        column = len(EPISODE_MEASURES) + EPISODE_MEASURES.index(measure)
        draws = self._draws[0][policy][:, column] - self._draws[0][reference][:, column]
        return estimate_of(float(np.exp(sign * gap.mean())), np.exp(sign * draws))

    def _check(self, policy: str, measure: str) -> None:
        if policy not in self.played:
            raise PolicyError(unknown_name("policy of these results", policy, self.played))
        if measure not in MEASURES:
            raise PremaError(unknown_name("measure", measure, MEASURES))
