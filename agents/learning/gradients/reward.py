"""What is rewarded while gradients learn: a fixed term, or all headline measures with weights that follow the weakest of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from agents.learning.arguments import Arguments
from agents.learning.objective import DECAY, DOMINANCE, SCALES, headline_values, objective_weights
from agents.learning.run import Run
from baselines.commands.options import reward_of
from baselines.evaluation.measures import HEADLINES
from prema_gym.errors import PolicyError
from prema_gym.metrics import HP_EXCESS

REWARD_SIZE = 0.02
"""Scale of rewards: episodes return about 1 in each improvement's unit."""
_TERM = {"antt": "antt", "stp": "stp", "sla_violation": "sla", "fairness": "fairness_shaped", "hp_tail": "hp_excess"}
REWARD_TERM = {name: _TERM[name] for name in HEADLINES}
"""The reward term that stands for each measure; no sum over steps is a percentile, so ``hp_excess`` stands for ``hp_tail``."""
TAIL_SCALE = 0.2
"""Scale of ``hp_excess``, which moves about ten times as far as ``hp_tail``."""
LEAST_WEIGHT = 0.02
"""Smallest weight of an improvement, before weights are normalised."""
FIRST_TERM = "weighted_antt"
"""The reward where none is given and nothing is to be dominated, and before adaptive weights take its place."""
_SEED_STRIDE = 1_000_003
"""Seeds of one run's episodes lie this far apart from those of the next."""


def adapts(arguments: Arguments) -> bool:
    """Whether the reward of a run follows its weakest measure; raises :class:`PolicyError` where there is nothing to follow."""
    given, dominates = arguments.options.reward, arguments.chosen_by == DOMINANCE
    if given == DOMINANCE and not dominates:
        raise PolicyError(
            f"--reward {DOMINANCE}: follows what --select {DOMINANCE} finds, and this run chooses by {arguments.chosen_by}."
        )
    return dominates if given is None else given == DOMINANCE


def first_reward(arguments: Arguments) -> str | Mapping[str, float]:
    """Return the reward that the environment of a run is made with."""
    given = arguments.options.reward
    return FIRST_TERM if adapts(arguments) or given is None else reward_of(given)


def seed_of_rows(arguments: Arguments, done: int) -> int:
    """Return the seed of the first row of a run that has done so many steps."""
    return arguments.seed * _SEED_STRIDE + done


class AdaptiveReward:
    """Weights of the reward's terms that follow the gradient of the objective: most for the measure that is furthest behind.

    Where the run's reward is a fixed term it does nothing.
    """

    def __init__(self, run: Run, set_weights: Callable[[dict[str, float]], None]) -> None:
        """Take what hands weights by term to the environment."""
        self.run = run
        self.gains = np.array(run.state.get("gains", run.margins))
        """(H,) running mean of the lower bounds of the improvements on the episodes of selection."""
        self._set_weights = set_weights
        self._adapts = adapts(run.arguments)
        if self._adapts:
            played = run.selection.played_by(run.arguments.opponent)
            excess = max(float(played.metrics[:, HP_EXCESS].mean()), 1e-3)
            scales = np.array(list(SCALES.values())) * headline_values(played)
            scales[HEADLINES.index("hp_tail")] = TAIL_SCALE * excess
            self._per_weight = REWARD_SIZE / scales
            self._apply()

    @property
    def weights(self) -> np.ndarray:
        """(H,) weights of the improvements, largest for what is furthest below its margin; they sum to 1."""
        weights = np.maximum(objective_weights(self.gains - self.run.margins), LEAST_WEIGHT)
        return weights / weights.sum()

    def update(self, gains: np.ndarray) -> None:
        """Take account of the (H,) lower bounds of the latest evaluation."""
        if self._adapts:
            self.gains = DECAY * self.gains + (1 - DECAY) * gains
            self.run.state["gains"] = self.gains.tolist()
            self._apply()

    def _apply(self) -> None:
        """Hand the present weights to the environment."""
        self._set_weights(dict(zip(REWARD_TERM.values(), (self.weights * self._per_weight).tolist(), strict=True)))
