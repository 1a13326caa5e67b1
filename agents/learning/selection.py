"""The episodes on which the best policy of a run is chosen, and what policies are worth there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.learning.objective import dominance, headline_values, improvements, lower_bounds
from baselines.evaluation.episodes import Played, play_policy
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy
from prema_gym.config import EnvConfig

SELECTION_SPLIT, SELECTION_SEED = "valid", 20_000
"""Policies are chosen on these episodes; training plays those of the split "train", reported figures are of "eval"."""
PREMA = "PREMA"


@dataclass(frozen=True)
class Outcome:
    """What a policy is worth on the episodes of selection; arrays have a value for each of HEADLINES."""

    values: np.ndarray
    """(H,) headline measures."""
    over_opponent: np.ndarray
    """(H,) improvements over the opponent."""
    over_prema: np.ndarray
    """(H,) improvements over PREMA."""
    bounds: np.ndarray
    """(H,) lower bounds of the improvements over the opponent."""
    score: float
    """The objective of the bounds less the required margins: the policy with the largest is the best."""


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

    def play(self, policy: Policy) -> Played:
        """Play the episodes under ``policy``."""
        return play_policy(policy, self.config, self.episodes, SELECTION_SEED, split=SELECTION_SPLIT, threads=self.threads)

    def played_by(self, name: str) -> Played:
        """Return what the registered policy ``name`` does in the episodes; it plays them once."""
        if name not in self._played:
            self._played[name] = self.play(make_policy(name))
        return self._played[name]

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
        )
