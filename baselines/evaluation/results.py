"""The outcome of an evaluation: means with intervals, factors, differences, and their way into JSON, CSV, LaTeX and pandas."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import prema_gym
from baselines.evaluation.bounds import antt_bound, weighted_antt_bound
from baselines.evaluation.episodes import Played
from baselines.evaluation.measures import (
    EPISODE_MEASURES,
    HEADLINES,
    MEASURES,
    SLA_MEASURES,
    episode_values,
    factor,
)
from baselines.evaluation.statistics import TAIL, interval, logarithms, pooled_tails, resamples
from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.errors import PolicyError, PremaError, unknown_name
from prema_gym.metrics import HIGH_PRIORITY, SLA_TARGETS

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of the JSON that :meth:`Results.to_json` writes; raised when a key changes its meaning or goes."""
REFERENCE = "NP-FCFS"
"""What factors are over, unless another policy is named."""
BOUNDS = ("weighted_antt", "antt")
FACTORS = ("antt", "weighted_antt", "stp", "fairness", "sla_violation", "hp_tail")
"""Measures that :meth:`Results.versus` gives factors of."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def to_dict(self, name: str = "mean") -> dict[str, Any]:
        """Return ``{"mean": .., "ci95": [low, high]}``; what is not finite becomes None."""
        return {name: _plain(self.mean), "ci95": [_plain(self.low), _plain(self.high)]}


@dataclass(frozen=True)
class Factor:
    """How many times better a policy is than another: above 1 is better, in every measure."""

    ratio: Estimate
    """Ratio of the means over episodes."""
    geometric: Estimate
    """Geometric mean of the ratios per episode; NaN where they don't exist."""
    wins: int
    """Episodes in which it is better; 0 where the measure has no value per episode."""
    ties: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        counts = {"wins": self.wins, "ties": self.ties, "losses": self.losses}
        return {**self.ratio.to_dict("factor"), "geometric_mean": self.geometric.to_dict("factor"), **counts}


@dataclass(frozen=True)
class Difference:
    """A policy against an opponent on the same episodes."""

    policy: float
    opponent: float
    difference: Estimate
    """policy - opponent, in the measure's own direction."""
    better: bool
    """Whether the interval excludes zero on the good side."""

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"policy": .., "opponent": .., "difference": .., "ci95": [..], "better": ..}``."""
        ends = {"policy": _plain(self.policy), "opponent": _plain(self.opponent)}
        return {**ends, **self.difference.to_dict("difference"), "better": self.better}


def _plain(value: float) -> float | None:
    """Return ``value`` as JSON can say it."""
    return float(value) if math.isfinite(value) else None


def _estimate(value: float, draws: np.ndarray) -> Estimate:
    return Estimate(float(value), *interval(draws))


@dataclass(frozen=True)
class Results:
    """What every policy did on the same episodes. Intervals are 95 % bootstrap intervals over episodes, computed on first use."""

    config: EnvConfig
    episodes: int
    seed: int
    split: str
    played: dict[str, Played]
    """By policy, in the order that was asked for; episode k is the same in all."""
    clairvoyant: tuple[str, ...] = ()
    """Policies that were told true times."""

    # --- Numbers ----------------------------------------------------------------------------------------------------------------

    @property
    def policies(self) -> list[str]:
        """Names, in the order that was asked for."""
        return list(self.played)

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
        return _estimate(self.mean(policy, measure), self.draws(policy, measure))

    def bound(self, measure: str = "weighted_antt") -> Estimate:
        """Return the clairvoyant lower bound on ``measure`` ("weighted_antt" or "antt"), averaged over the episodes."""
        if measure not in BOUNDS:
            raise PremaError(unknown_name("bound", measure, BOUNDS))
        column = BOUNDS.index(measure)
        return _estimate(float(self.bounds[:, column].mean()), self._draws[2][:, column])

    def factor(self, policy: str, measure: str, reference: str = REFERENCE) -> Factor:
        """Return how many times better ``policy`` is than ``reference``; above 1 is better."""
        ratio = factor(measure, np.array(self.mean(policy, measure)), np.array(self.mean(reference, measure)))
        draws = factor(measure, self.draws(policy, measure), self.draws(reference, measure))
        if measure not in EPISODE_MEASURES:
            missing = Estimate(math.nan, math.nan, math.nan)
            return Factor(_estimate(float(ratio), draws), missing, 0, 0, 0)
        ours, theirs = self.per_episode(policy, measure), self.per_episode(reference, measure)
        ahead = ours > theirs if MEASURES[measure].higher_is_better else ours < theirs
        ties = int((ours == theirs).sum())
        wins = int(ahead.sum())
        geometric = self._geometric(policy, reference, measure)
        return Factor(_estimate(float(ratio), draws), geometric, wins, ties, self.episodes - wins - ties)

    def difference(self, policy: str, opponent: str, measure: str) -> Difference:
        """Return ``policy`` minus ``opponent`` with its paired interval."""
        ours, theirs = self.mean(policy, measure), self.mean(opponent, measure)
        gap = _estimate(ours - theirs, self.draws(policy, measure) - self.draws(opponent, measure))
        direction = MEASURES[measure].higher_is_better
        better = direction is not None and (gap.low > 0 if direction else gap.high < 0)
        return Difference(ours, theirs, gap, better)

    def _geometric(self, policy: str, reference: str, measure: str) -> Estimate:
        """Return the geometric mean of the factors per episode: the exponential of a difference of mean logarithms."""
        sign = 1.0 if MEASURES[measure].higher_is_better else -1.0
        gap = logarithms(self.per_episode(policy, measure)) - logarithms(self.per_episode(reference, measure))
        column = len(EPISODE_MEASURES) + EPISODE_MEASURES.index(measure)
        draws = self._draws[0][policy][:, column] - self._draws[0][reference][:, column]
        return _estimate(float(np.exp(sign * gap.mean())), np.exp(sign * draws))

    def _check(self, policy: str, measure: str) -> None:
        if policy not in self.played:
            raise PolicyError(unknown_name("policy of these results", policy, self.played))
        if measure not in MEASURES:
            raise PremaError(unknown_name("measure", measure, MEASURES))

    # --- JSON ----------------------------------------------------------------------------------------------------------------

    @property
    def npu_name(self) -> str:
        """The preset that the NPU is, else "custom"."""
        return next((name for name in NPUConfig.PRESETS if NPUConfig.preset(name) == self.config.npu), "custom")

    def summary(self, policy: str) -> dict[str, Any]:
        """Return ``{measure: {"mean": .., "ci95": [..]}}``, the SLA violations per target in ``sla_violation_at``."""
        plain = {name: self.estimate(policy, name).to_dict() for name in MEASURES if name not in SLA_MEASURES}
        targets = zip(SLA_TARGETS, SLA_MEASURES, strict=True)
        return {**plain, "sla_violation_at": {str(n): self.estimate(policy, name).to_dict() for n, name in targets}}

    def versus(self, reference: str = REFERENCE) -> dict[str, Any]:
        """Return the factors of every other policy over ``reference``; empty if it was not played."""
        if reference not in self.played:
            return {}
        others = [name for name in self.played if name != reference]
        return {name: {measure: self.factor(name, measure, reference).to_dict() for measure in FACTORS} for name in others}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            "schema": SCHEMA,
            "version": prema_gym.__version__,
            "episodes": self.episodes,
            "seed": self.seed,
            "split": self.split,
            "window": self.config.workload.window,
            "npu": self.npu_name,
            "config": _json_types(self.config.to_dict()),
            "clairvoyant": list(self.clairvoyant),
            "policies": {name: self.summary(name) for name in self.played},
            "versus_np_fcfs": self.versus(),
            "bound": {name: self.bound(name).to_dict() for name in BOUNDS},
        }

    def to_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict` to ``path``."""
        _write(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    # --- Tables ----------------------------------------------------------------------------------------------------------------

    def rows(self, per: str = "policy") -> Iterator[dict[str, Any]]:
        """Yield table rows: ``per="policy"`` has means with ``_low`` and ``_high``, ``per="episode"`` a row for every episode."""
        if per not in ("policy", "episode"):
            raise PremaError(unknown_name("kind of row", per, ("policy", "episode")))
        yield from self._policy_rows() if per == "policy" else self._episode_rows()

    def _policy_rows(self) -> Iterator[dict[str, Any]]:
        for policy in self.played:
            row: dict[str, Any] = {"policy": policy, "episodes": self.episodes}
            for measure in MEASURES:
                estimate = self.estimate(policy, measure)
                row |= {measure: estimate.mean, f"{measure}_low": estimate.low, f"{measure}_high": estimate.high}
            yield row

    def _episode_rows(self) -> Iterator[dict[str, Any]]:
        for policy, values in self.values.items():
            seeds = self.played[policy].episodes["seed"].tolist()
            for episode, (seed, numbers) in enumerate(zip(seeds, values.tolist(), strict=True)):
                bounds = dict(zip((f"{name}_bound" for name in BOUNDS), self.bounds[episode].tolist(), strict=True))
                measured = dict(zip(EPISODE_MEASURES, numbers, strict=True))
                yield {"policy": policy, "episode": episode, "episode_seed": seed, **measured, **bounds}

    def to_csv(self, path: str | Path, per: str = "policy") -> None:
        """Write :meth:`rows` to ``path``."""
        rows = list(self.rows(per))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def to_pandas(self, per: str = "policy") -> pd.DataFrame:
        """Return :meth:`rows` as a data frame, indexed by policy (and episode); needs pandas (the ``notebooks`` extra)."""
        try:
            import pandas as pd
        except ImportError as error:
            raise PremaError('to_pandas() needs pandas: pip install pandas, or "prema-gym[notebooks]".') from error
        index = ["policy"] if per == "policy" else ["policy", "episode"]
        return pd.DataFrame(list(self.rows(per))).set_index(index)

    def latex(self, measures: tuple[str, ...] = HEADLINES) -> str:
        """Return a LaTeX table (booktabs): means, half-widths of the intervals, the best in bold."""
        from baselines.report.tables import latex_table

        return latex_table(self, measures)


def _json_types(value: Any) -> Any:
    """Return ``value`` with tuples as lists, as it comes back from JSON."""
    return json.loads(json.dumps(value))


def _write(path: str | Path, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")
