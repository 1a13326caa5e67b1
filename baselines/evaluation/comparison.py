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
from baselines.evaluation.measures import CLASS_FAIRNESS, EPISODE_MEASURES, HEADLINES, MEASURES, Measure, episode_values, factor
from baselines.evaluation.pooled import Pool, pooled_measures, priorities_of, quantile_name
from baselines.evaluation.statistics import logarithms, resamples, weighted_sums
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError, PremaError, unknown_name

REFERENCE = "NP-FCFS"
"""What factors are over, unless another policy is named."""
BOUNDS = ("weighted_antt", "antt")
"""Measures that no schedule can bring below a known bound."""


@dataclass(frozen=True)
class Comparison:
    """What every policy did on the same episodes. Intervals are 95 % bootstrap intervals over episodes, computed on first use.

    One episode has none.
    """

    config: EnvConfig
    episodes: int
    seed: int
    split: str
    played: dict[str, Played]
    """By policy, in the order that was asked for; episode k is the same in all."""
    clairvoyant: tuple[str, ...] = ()
    """Policies that were told true times."""
    trained_elsewhere: tuple[str, ...] = ()
    """Learned policies that were trained on another NPU configuration than they play here."""
    asked_every: Mapping[str, int | None] = field(default_factory=dict)
    """By policy: the quanta between decisions asked by the quantum; None where arrivals and completions alone asked."""

    @property
    def policies(self) -> list[str]:
        """Names, in the order that was asked for."""
        return list(self.played)

    @property
    def npu_names(self) -> tuple[str, ...]:
        """By NPU: the preset that it is, else "custom"."""
        return tuple(npu.preset_name or "custom" for npu in self.config.all_npus)

    @property
    def npu_name(self) -> str:
        """The preset that the NPU is, else "custom"; of several all, with commas."""
        return ", ".join(self.npu_names)

    @property
    def has_bounds(self) -> bool:
        """Whether it is known what no schedule can beat: on one NPU only."""
        return len(self.config.all_npus) == 1

    @property
    def headlines(self) -> tuple[str, ...]:
        """The measures that tables and pictures show."""
        return HEADLINES

    @property
    def title(self) -> str:
        """What was played, in words."""
        workload = self.config.workload
        npus = f"NPU{'s' if len(self.npu_names) > 1 else ''} {self.npu_name}"
        arrivals = workload.arrivals
        load = f"window {workload.window:g}" if arrivals is None else f"{arrivals.process} arrivals"
        return f"{self.episodes} episodes of {workload.num_tasks} tasks, {load}, {npus}"

    @cached_property
    def priorities(self) -> tuple[int, ...]:
        """Priorities of the tasks that were played, rising; each is a class."""
        return priorities_of(self.played)

    @cached_property
    def pooled_measures(self) -> dict[str, Measure]:
        """Measures that have no value per episode, by name: pooled over the tasks of all episodes."""
        return pooled_measures(self.priorities)

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """Everything that is reported, by name."""
        return {**MEASURES, **self.pooled_measures}

    @property
    def episode_measures(self) -> tuple[str, ...]:
        """Names of what has a value per episode, in the order of the columns of :attr:`values`."""
        return EPISODE_MEASURES

    @property
    def fairness_measures(self) -> tuple[str, ...]:
        """What a claim of "fairer" needs, all of it."""
        tails = (quantile_name(0.99, priority) for priority in self.priorities)
        return ("fairness", CLASS_FAIRNESS.name, "jain", "worst_ntt", *tails)

    @property
    def illegal(self) -> tuple[str, ...]:
        """Policies that played illegal actions, which the environment replaced."""
        return tuple(name for name in self.played if self.mean(name, "illegal_actions") > 0)

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Per policy the (E, len(episode_measures)) float64 values of every episode."""
        return {name: episode_values(played) for name, played in self.played.items()}

    @cached_property
    def bounds(self) -> np.ndarray:
        """(E, 2) float64: what no schedule of the episode can beat on each of BOUNDS; NaN on several NPUs."""
        if not self.has_bounds:
            return np.full((self.episodes, len(BOUNDS)), np.nan)
        tasks = next(iter(self.played.values())).tasks
        arrival, isolated = tasks["arrival_cycles"], tasks["isolated_cycles"]
        return np.column_stack([weighted_antt_bound(arrival, isolated, tasks["priority"]), antt_bound(arrival, isolated)])

    @cached_property
    def _pools(self) -> dict[str, Pool]:
        return {name: Pool(played, self.priorities, self.config.workload.levels) for name, played in self.played.items()}

    @cached_property
    def _pooled(self) -> dict[str, np.ndarray]:
        """Per policy the (P,) pooled measures of the episodes themselves."""
        once = np.ones((1, self.episodes), np.int64)
        return {name: pool.values(once, once / self.episodes)[0] for name, pool in self._pools.items()}

    @cached_property
    def _draws(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
        """Per policy (B, 2 M) resampled means of values and of their logs, (B, P) pooled measures; (B, 2) means of the bounds."""
        columns = {name: np.hstack([values, logarithms(values)]) for name, values in self.values.items()}
        means: dict[str, list[np.ndarray]] = {name: [] for name in self.played}
        pooled: dict[str, list[np.ndarray]] = {name: [] for name in self.played}
        bounds = []
        for counts in resamples(self.episodes):
            shares = counts / self.episodes
            bounds.append(weighted_sums(shares, self.bounds))
            for name in self.played:
                means[name].append(weighted_sums(shares, columns[name]))
                pooled[name].append(self._pools[name].values(counts, shares))
        return (
            {name: self._together(parts) for name, parts in means.items()},
            {name: self._together(parts) for name, parts in pooled.items()},
            self._together(bounds),
        )

    def _together(self, parts: list[np.ndarray]) -> np.ndarray:
        """Return resampled values as one array: NaN where there is one episode, which says nothing about others."""
        drawn = np.concatenate(parts)
        return drawn if self.episodes > 1 else np.full_like(drawn, np.nan)

    def per_episode(self, policy: str, measure: str) -> np.ndarray:
        """Return the (E,) float64 values of ``measure``; :class:`PremaError` for one of :attr:`pooled_measures`."""
        self._check(policy, measure)
        if measure in self.pooled_measures:
            raise PremaError(f"measure {measure!r} has no value per episode: it is pooled over all of them.")
        return self.values[policy][:, self.episode_measures.index(measure)]

    def mean(self, policy: str, measure: str) -> float:
        """Return the mean of ``measure`` over episodes; of one of :attr:`pooled_measures`, its value over all tasks."""
        self._check(policy, measure)
        if measure in self.pooled_measures:
            return float(self._pooled[policy][self._column(measure)])
        return float(self.per_episode(policy, measure).mean())

    def draws(self, policy: str, measure: str) -> np.ndarray:
        """Return the (B,) resampled values of :meth:`mean`; resample b is the same episodes for every policy and measure.

        They are NaN where there is one episode.
        """
        self._check(policy, measure)
        means, pooled, _ = self._draws
        return (pooled if measure in self.pooled_measures else means)[policy][:, self._column(measure)]

    def estimate(self, policy: str, measure: str) -> Estimate:
        """Return :meth:`mean` with its interval."""
        return estimate_of(self.mean(policy, measure), self.draws(policy, measure))

    def bound(self, measure: str = "weighted_antt") -> Estimate:
        """Return the clairvoyant lower bound on ``measure`` ("weighted_antt" or "antt"), averaged over the episodes.

        NaN on several NPUs: the bound is about one.
        """
        if measure not in BOUNDS:
            raise PremaError(unknown_name("bound", measure, BOUNDS))
        column = BOUNDS.index(measure)
        return estimate_of(float(self.bounds[:, column].mean()), self._draws[2][:, column])

    @cached_property
    def _utilisation_draws(self) -> dict[str, np.ndarray]:
        """Per policy the (B, M) resampled means of utilisation."""
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in self.played}
        for counts in resamples(self.episodes):
            for name, played in self.played.items():
                drawn[name].append(weighted_sums(counts / self.episodes, played.utilisation))
        return {name: self._together(parts) for name, parts in drawn.items()}

    def utilisation(self, policy: str) -> list[Estimate]:
        """Return for each NPU the share of time in which it was not idle, averaged over the episodes; overhead counts as use."""
        self._check(policy, EPISODE_MEASURES[0])
        means, draws = self.played[policy].utilisation.mean(axis=0), self._utilisation_draws[policy]
        return [estimate_of(mean, draws[:, n]) for n, mean in enumerate(means.tolist())]

    def factor(self, policy: str, measure: str, reference: str = REFERENCE) -> Factor:
        """Return how many times better ``policy`` is than ``reference``; above 1 is better."""
        ratio = factor(self.measures[measure], np.array(self.mean(policy, measure)), np.array(self.mean(reference, measure)))
        draws = factor(self.measures[measure], self.draws(policy, measure), self.draws(reference, measure))
        if measure in self.pooled_measures:
            missing = Estimate(math.nan, math.nan, math.nan)
            return Factor(estimate_of(float(ratio), draws), missing, 0, 0, 0)
        ours, theirs = self.per_episode(policy, measure), self.per_episode(reference, measure)
        ahead = ours > theirs if self.measures[measure].higher_is_better else ours < theirs
        ties = int((ours == theirs).sum())
        wins = int(ahead.sum())
        geometric = self._geometric(policy, reference, measure)
        return Factor(estimate_of(float(ratio), draws), geometric, wins, ties, self.episodes - wins - ties)

    def difference(self, policy: str, opponent: str, measure: str) -> Difference:
        """Return ``policy`` minus ``opponent`` with its paired interval."""
        ours, theirs = self.mean(policy, measure), self.mean(opponent, measure)
        gap = estimate_of(ours - theirs, self.draws(policy, measure) - self.draws(opponent, measure))
        direction = self.measures[measure].higher_is_better
        better = direction is not None and (gap.low > 0 if direction else gap.high < 0)
        return Difference(ours, theirs, gap, better)

    def _geometric(self, policy: str, reference: str, measure: str) -> Estimate:
        """Return the geometric mean of the factors per episode: the exponential of a difference of mean logarithms."""
        sign = 1.0 if self.measures[measure].higher_is_better else -1.0
        gap = logarithms(self.per_episode(policy, measure)) - logarithms(self.per_episode(reference, measure))
        column = len(self.episode_measures) + self.episode_measures.index(measure)
        draws = self._draws[0][policy][:, column] - self._draws[0][reference][:, column]
        return estimate_of(float(np.exp(sign * gap.mean())), np.exp(sign * draws))

    def _column(self, measure: str) -> int:
        """Return where ``measure`` stands among those of its kind."""
        return (list(self.pooled_measures) if measure in self.pooled_measures else list(self.episode_measures)).index(measure)

    def _check(self, policy: str, measure: str) -> None:
        if policy not in self.played:
            raise PolicyError(unknown_name("policy of these results", policy, self.played))
        if measure not in self.measures:
            raise PremaError(unknown_name("measure", measure, self.measures))
