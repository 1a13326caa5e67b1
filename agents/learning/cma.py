"""CMA-ES over the weights of a small network: the floor that gradients must beat. Needs no torch.

Candidates play the same fresh episodes of the split "train" in every generation (common random numbers), INDEX plays them too. A
candidate is worth its five improvements over INDEX, weighted towards those that have lagged behind. The search is over part of the
network's B (see :mod:`agents.network.slotnet`), its prior and its cap, 106 numbers: with nothing hidden the way up is felt from the
first generation on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.learning.objective import five, improvements
from agents.learning.rollouts import Rollouts
from agents.network.slotnet import CONTEXT_NAMES, INPUT_NAMES, Shape
from baselines.evaluation.episodes import play_policy
from baselines.policies.heuristic import Heuristic
from baselines.policies.registry import make_policy
from prema_gym.errors import PolicyError

SLOT_INPUTS = {
    **dict.fromkeys(("running", "priority_medium", "priority_high", "log_elapsed", "log_predicted", "log_remaining"), 0.07),
    **dict.fromkeys(("log_projected_ntt", "lagging"), 0.07),
    "above_cap": 0.7,
    "held": 0.3,
    "held_log_remaining": 0.3,
}
"""Rows of B that are searched, and the initial standard deviation of their entry for the constant."""
CONTEXT_INPUTS = (
    "ready_share",
    "log_backlog",
    "min_log_pp",
    "max_log_pp",
    "mean_priority_low",
    "mean_priority_high",
    "mean_held",
    "mean_lagging",
)
"""Columns of B that are searched, beside the constant's."""
STEPS = {"prior": (0.14, 0.14, 0.2), "hold": (0.3, 0.2, 0.15), "keep_bias": (0.02,)}
"""Initial standard deviations outside of B."""
CONTEXT_STEP = 0.07
"""Initial standard deviation of B's entries in other columns than the constant's."""
SOFTNESS = 0.5
"""Improvements this much above the weakest count e times less."""
MEMORY = 0.7
"""Share of the past in the running mean of improvements."""
_SEED_STRIDE = 1_000_003
"""Generations of one seed lie this far apart from those of the next."""


def searched(shape: Shape) -> np.ndarray:
    """Return the (size,) initial step of every weight, 0 where it is held."""
    tensors = {name: np.zeros(dims) for name, dims in shape.tensors.items()}
    for name, steps in STEPS.items():
        tensors[name][:] = steps
    columns = [CONTEXT_NAMES.index(name) for name in CONTEXT_INPUTS]
    for name, step in SLOT_INPUTS.items():
        row = tensors["bilinear"][INPUT_NAMES.index(name)]
        row[columns], row[0] = CONTEXT_STEP, step
    return shape.pack(tensors)


def index_prior(opponent: Heuristic) -> np.ndarray:
    """Return (a, c, log d) of an index rule."""
    known = opponent.parameters
    return np.array([known["priority_power"], known["length_power"], np.log(known["wait_weight"])])


@dataclass
class Search:
    """The state of a search: picklable, so that it can be resumed."""

    shape: Shape
    start: np.ndarray
    """(size,) weights at the origin of the search."""
    step: np.ndarray
    """(size,) unit of the search; 0 holds a weight fixed."""
    optimizer: Any
    seed: int
    generation: int = 0
    gains: np.ndarray = field(default_factory=lambda: np.zeros(5))
    """(5,) running mean of the improvements of recent generations."""
    bias: np.ndarray = field(default_factory=lambda: np.zeros(5))
    """(5,) by how much improvements at selection (every quantum, "valid") exceed those of training."""
    aims: np.ndarray = field(default_factory=lambda: np.zeros(5))
    """(5,) improvements that count as none yet."""
    preference: np.ndarray | None = None
    """(5,) fixed weights of the improvements; None moves them towards what lags behind."""
    center: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(size,) weights at the centre of the distribution: what is evaluated and published."""

    @classmethod
    def begin(cls, shape: Shape, opponent: Heuristic, seed: int, population: int, *, cap: bool = True) -> Search:
        """Return a search that starts by playing ``opponent``, but for tasks that it holds back (see HELD)."""
        from cmaes import CMA

        start, step = shape.initial(index_prior(opponent), seed, held=True, cap=cap), searched(shape)
        free = int((step > 0).sum())
        optimizer = CMA(mean=np.zeros(free), sigma=1.0, seed=seed, population_size=population)
        return cls(shape, start, step, optimizer, seed, center=start.copy())

    def __getstate__(self) -> dict[str, Any]:
        # The optimizer's own way to be pickled rounds its covariance; a resumed search is to be the same to the bit.
        return {**self.__dict__, "optimizer": self.optimizer.__dict__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from cmaes import CMA

        self.__dict__.update(state)
        self.optimizer = CMA.__new__(CMA)
        self.optimizer.__dict__.update(state["optimizer"])

    def start_from(self, shape: Shape, flat: np.ndarray) -> None:
        """Move the origin of the search to the flat weights of another network of the same shape."""
        if shape != self.shape:
            raise PolicyError(f"a network of {shape}: the search goes on from {self.shape} only.")
        self.start = self.center = flat.copy()

    def weights(self, point: np.ndarray) -> np.ndarray:
        """Return the (size,) weights at ``point`` of the search space."""
        weights = self.start.copy()
        weights[self.step > 0] += self.step[self.step > 0] * point
        return weights

    def advance(self, rollouts: Rollouts, opponent: Heuristic, episodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Play one generation; return the (population,) scores and the (5,) mean improvements."""
        optimizer = self.optimizer
        seed = self.seed * _SEED_STRIDE + self.generation
        points = [optimizer.ask() for _ in range(optimizer.population_size)]
        theirs = five(play_policy(opponent, rollouts.config, episodes, seed, split=rollouts.split), smooth=True)
        played = rollouts.play_all([self.weights(point) for point in points], episodes, seed)
        gains = np.array([improvements(five(one, smooth=True), theirs) for one in played])
        self.gains = gains.mean(axis=0) if self.generation == 0 else MEMORY * self.gains + (1 - MEMORY) * gains.mean(axis=0)
        weights = emphasis(self.gains + self.bias - self.aims) if self.preference is None else self.preference
        scores = gains @ weights
        optimizer.tell([(point, -score) for point, score in zip(points, scores, strict=True)])
        self.generation += 1
        self.center = self.weights(optimizer.mean)
        return scores, gains.mean(axis=0)

    def correct(self, gains: np.ndarray) -> None:
        """Take account of the (5,) improvements found at selection: emphasis goes by what counts there."""
        self.bias = MEMORY * self.bias + (1 - MEMORY) * (gains - self.gains)


def opponent_of(name: str) -> Heuristic:
    """Return the heuristic ``name``, an index rule."""
    policy = make_policy(name)
    if not isinstance(policy, Heuristic) or policy.selection != "INDEX":
        raise PolicyError(f"opponent {name!r} is no index rule: learning starts from one.")
    return policy


def emphasis(gains: np.ndarray) -> np.ndarray:
    """Return the (5,) weights of improvements, most on the weakest: the gradient of their soft minimum.

    A minimum of five noisy numbers mostly tells which was unlucky; a sum weighted by what has lagged behind for some generations
    has the same optimum and far less noise.
    """
    weights = np.exp(-(gains - gains.min()) / SOFTNESS)
    return weights / weights.sum()
