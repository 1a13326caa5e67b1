"""The episodes on which the best policy of a run is chosen, and what policies are worth there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.learning.objective import DOMINANCE, dominance, headline_values, improvements, lower_bounds
from baselines.evaluation.episodes import Played, play_policy
from baselines.evaluation.measures import EPISODE_MEASURES, HEADLINES, MEASURES, Measure, episode_values
from baselines.evaluation.streams import STREAM_HEADLINES, STREAM_MEASURES, stream_values
from baselines.policies.needs import config_for
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError, unknown_name

SELECTION_SPLIT, SELECTION_SEED = "valid", 20_000
"""Policies are chosen on these episodes; training plays those of the split "train", reported figures are of "eval"."""
PREMA = "PREMA"
STANDARD_ERRORS = 2.0
"""Standard errors that are taken off the improvement in one measure, for its lower bound."""
_PER_EPISODE: dict[str, Measure] = {name: MEASURES[name] for name in EPISODE_MEASURES}


def measures_of(*, stream: bool) -> dict[str, Measure]:
    """Return what has a value for every episode, or for every stream, by name."""
    return STREAM_MEASURES if stream else _PER_EPISODE


def check_measure(name: str, *, stream: bool) -> None:
    """Raise :class:`PolicyError` where nothing can be chosen by the measure ``name``."""
    known = measures_of(stream=stream)
    directed = [DOMINANCE] * (not stream) + [each for each, measure in known.items() if measure.higher_is_better is not None]
    if name not in directed:
        raise PolicyError(f"--select: {unknown_name('measure', name, directed)}")


@dataclass(frozen=True)
class Outcome:
    """What a policy is worth on the episodes of selection; arrays have a value for each of ``measures``."""

    values: np.ndarray
    """(H,) measures."""
    over_opponent: np.ndarray
    """(H,) improvements over the opponent."""
    over_prema: np.ndarray
    """(H,) improvements over PREMA."""
    bounds: np.ndarray
    """(H,) lower bounds of the improvements over the opponent."""
    score: float
    """The objective of the bounds less the required margins, or the measure that counts: the largest is the best."""
    measures: Mapping[str, Measure]
    """What was measured, by name."""

    def named(self, group: str) -> dict[str, float]:
        """Return one of the arrays by measure."""
        return dict(zip(self.measures, getattr(self, group).tolist(), strict=True))


class Selection:
    """Plays the same episodes under every policy and compares it with the opponent and with PREMA."""

    def __init__(self, config: EnvConfig, episodes: int, threads: int, opponent: str, margins: np.ndarray) -> None:
        self.config = config
        self.episodes = episodes
        self.threads = threads
        self.opponent = opponent
        self.margins = margins
        """(H,) improvements over the opponent that are required."""
        self._played: dict[str, Played] = {}

    def play(self, policy: Policy, config: EnvConfig | None = None) -> Played:
        """Play the episodes under ``policy``, by default as the run's configuration asks."""
        chosen = config or self.config
        return play_policy(policy, chosen, self.episodes, SELECTION_SEED, split=SELECTION_SPLIT, threads=self.threads)

    def played_by(self, name: str) -> Played:
        """Return what the registered policy ``name`` does in the episodes; it plays them once."""
        if name not in self._played:
            self._played[name] = self._play_rule(make_policy(name))
        return self._played[name]

    def _play_rule(self, rule: Policy) -> Played:
        return self.play(rule)

    def judge(self, policy: Policy) -> Outcome:
        """Play the episodes under ``policy`` and return what it is worth."""
        played = self.play(policy)
        values = headline_values(played)
        bounds = lower_bounds(played, self.played_by(self.opponent))
        return Outcome(
            values,
            over_opponent=improvements(values, headline_values(self.played_by(self.opponent))),
            over_prema=improvements(values, headline_values(self.played_by(PREMA))),
            bounds=bounds,
            score=dominance(bounds - self.margins),
            measures={name: MEASURES[name] for name in HEADLINES},
        )


class MeasureSelection(Selection):
    """Chooses by one measure. Improvements are differences in the good direction, and every rule is asked as often as it needs."""

    def __init__(self, measure: str, config: EnvConfig, episodes: int, threads: int, opponent: str, margins: np.ndarray) -> None:
        super().__init__(config, episodes, threads, opponent, margins)
        known = measures_of(stream=config.stream)
        others = [name for name in (STREAM_HEADLINES if config.stream else HEADLINES) if name in known and name != measure]
        self.measures = {name: known[name] for name in (measure, *others)}
        """What is shown: first the one that counts."""
        self._columns = [list(known).index(name) for name in self.measures]
        self._signs = np.array([1.0 if each.higher_is_better else -1.0 for each in self.measures.values()])

    def _play_rule(self, rule: Policy) -> Played:
        return self.play(rule, config_for(rule, self.config, {}))

    def _table(self, played: Played) -> np.ndarray:
        """Return the (E, H) measures of every episode."""
        values = stream_values(played) if self.config.stream else episode_values(played)
        return values[:, self._columns]

    def judge(self, policy: Policy) -> Outcome:
        """Play the episodes under ``policy`` and return what it is worth."""
        ours = self._table(self.play(policy))
        gains = [self._signs * (ours - self._table(self.played_by(name))) for name in (self.opponent, PREMA)]
        errors = gains[0].std(axis=0, ddof=1) / np.sqrt(len(ours)) if len(ours) > 1 else np.zeros(len(self.measures))
        return Outcome(
            ours.mean(axis=0),
            over_opponent=gains[0].mean(axis=0),
            over_prema=gains[1].mean(axis=0),
            bounds=gains[0].mean(axis=0) - STANDARD_ERRORS * errors,
            score=float(self._signs[0] * ours[:, 0].mean()),
            measures=self.measures,
        )


def make_selection(measure: str, *given: Any) -> Selection:
    """Return the selection by ``measure``, which may be DOMINANCE; ``given`` are the other arguments of :class:`Selection`."""
    return Selection(*given) if measure == DOMINANCE else MeasureSelection(measure, *given)
