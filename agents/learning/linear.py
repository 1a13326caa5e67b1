"""The smallest learner: a linear score per task, trained by the cross-entropy method. NumPy only, seconds, and open to reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines import evaluate
from prema_gym.envs.actions import KEEP
from prema_gym.envs.observation import BASE_FLAGS, BASE_LOGS, F
from prema_gym.envs.view import View

INITIAL_SPREAD, LEAST_SPREAD = 1.0, 0.05
"""Standard deviations of the weights that are tried: at first, and always at least."""


NAMES = tuple(feature.name for block in (BASE_FLAGS, BASE_LOGS) for feature in block.features)
"""The features of a slot in the group "base"."""


@dataclass(frozen=True)
class LinearScore:
    """Runs the task whose features have the largest weighted sum; evicts by CHECKPOINT, which the mask must allow."""

    weights: np.ndarray
    """(F,) float64, in the order of NAMES."""
    name: str = "LINEAR"
    clairvoyant: bool = False

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions."""
        slots = view.config.num_slots
        features = view.observation[:, : slots * F].reshape(view.rows, F, slots)
        best = np.where(view.present, np.einsum("nft,f->nt", features, self.weights), -np.inf).argmax(axis=1)
        return np.where(best == view.npu["running_slot"], KEEP, view.give(best))

    def to_dict(self) -> dict[str, float]:
        """Return the weights by feature, largest size first."""
        order = np.argsort(-np.abs(self.weights))
        return {NAMES[i]: float(self.weights[i]) for i in order}


def train_linear(
    measure: str = "weighted_antt",
    *,
    generations: int = 8,
    population: int = 24,
    episodes: int = 64,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda generation, best: None,
    **arguments: Any,
) -> LinearScore:
    """Return the scorer that the cross-entropy method arrives at (Rubinstein 1999).

    Every generation tries ``population`` weights around a mean on new episodes of the split "train", and moves mean and spread to
    the best quarter.

    Parameters
    ----------
    measure: what to minimise, by its name in an evaluation.
    generations, population, episodes, seed: how much to try; the same arguments give the same scorer.
    report: called as ``report(generation, lowest measure)``.
    arguments: the environment's.

    """
    rng = np.random.default_rng(seed)
    mean, spread = np.zeros(F), np.full(F, INITIAL_SPREAD)
    for generation in range(generations):
        tried = mean + spread * rng.normal(size=(population, F))
        scorers = [LinearScore(weights, str(k)) for k, weights in enumerate(tried)]
        results = evaluate(scorers, episodes, seed * generations + generation, split="train", **arguments)
        costs = np.array([results.mean(scorer.name, measure) for scorer in scorers])
        best = tried[np.argsort(costs)[: max(population // 4, 1)]]
        mean, spread = best.mean(axis=0), best.std(axis=0) + LEAST_SPREAD
        report(generation, float(costs.min()))
    return LinearScore(mean)
