"""CMA-ES over the weights of a small network: the floor that gradients must beat. Needs no torch.

All candidates of a generation play the same fresh episodes of the split "train" (common random numbers), and so does the opponent.
A candidate's score is a weighted sum of its improvements over the opponent; the weights follow the running mean of the improvements
and are largest for the smallest. The search is over part of the network's B (see :mod:`agents.network.slots.layout`), its prior and
its cap, 106 numbers: none of them lies behind a hidden layer, so each changes decisions from the first generation on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.learning.checkpoint import load_arrays, save_arrays
from agents.learning.index_rule import index_prior, index_rule
from agents.learning.objective import DECAY, headline_values, improvements, objective_weights
from agents.learning.options import option
from agents.learning.run import Run
from agents.network.form import Form
from agents.network.slots.layout import CONTEXT_NAMES, INPUT_NAMES, Shape
from agents.network.slots.rollouts import Rollouts
from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import load_weights
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.measures import HEADLINES
from baselines.policies.heuristic import Heuristic
from prema_gym.errors import PolicyError


@dataclass(frozen=True)
class Options:
    """Options of CMA-ES."""

    network: ClassVar[str] = "slots"
    """The network that is searched; it is the only one."""
    population: int = option(16, "Candidates of each generation.")
    episodes: int = option(512, "Episodes of the split 'train' that each candidate plays.")
    init: Path | None = option(None, "Published weights to start from, in place of the index rule.")
    no_cap: bool = option(False, "Leave out the inputs that tell which task would cost fairness (an ablation).")


# --- What is searched -------------------------------------------------------------------------------------------------------------

SLOT_INPUTS = {
    **dict.fromkeys(("running", "priority_medium", "priority_high", "log_elapsed", "log_predicted", "log_remaining"), 0.07),
    **dict.fromkeys(("log_projected_ntt", "lagging"), 0.07),
    "above_cap": 0.7,
    "held": 0.3,
    "held_log_remaining": 0.3,
}
"""Rows of B that are searched, and the initial standard deviation of their entry in the column of the constant."""
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
"""Columns of B that are searched, beside that of the constant."""
CONTEXT_DEVIATION = 0.07
"""Initial standard deviation of B's entries in these columns."""
OTHER_DEVIATIONS = {"prior": (0.14, 0.14, 0.2), "hold": (0.3, 0.2, 0.15), "keep_bias": (0.02,)}
"""Initial standard deviations outside of B."""
_SEED_STRIDE = 1_000_003
"""Seeds of one run's generations lie this far apart from those of the next."""


def initial_deviations(shape: Shape) -> np.ndarray:
    """Return the (size,) initial standard deviation of every weight, 0 where it is not searched."""
    tensors = {name: np.zeros(dims) for name, dims in shape.tensors.items()}
    for name, deviations in OTHER_DEVIATIONS.items():
        tensors[name][:] = deviations
    columns = [CONTEXT_NAMES.index(name) for name in CONTEXT_INPUTS]
    for name, deviation in SLOT_INPUTS.items():
        row = tensors["bilinear"][INPUT_NAMES.index(name)]
        row[columns], row[0] = CONTEXT_DEVIATION, deviation
    return shape.pack(tensors)


# --- The search -----------------------------------------------------------------------------------------------------------------


def _zeros() -> np.ndarray:
    return np.zeros(len(HEADLINES))


@dataclass
class Search:
    """The state of a search. A search that is loaded from its checkpoint goes on as if nothing had happened.

    Arrays of shape (H,) have a value for each of HEADLINES.
    """

    shape: Shape
    origin: np.ndarray
    """(size,) weights at the origin of the search space."""
    deviations: np.ndarray
    """(size,) length in weights of a unit of the search space; 0 where a weight is not searched."""
    optimizer: Any
    seed: int
    generation: int = 0
    gains: np.ndarray = field(default_factory=_zeros)
    """(H,) running mean of the improvements of recent generations."""
    selection_bias: np.ndarray = field(default_factory=_zeros)
    """(H,) by how much improvements at selection (a decision at every quantum, split "valid") exceed those of training."""
    margins: np.ndarray = field(default_factory=_zeros)
    """(H,) improvements that are required: only what exceeds them counts."""
    fixed_weights: np.ndarray | None = None
    """(H,) fixed weights of the improvements; None adapts them to the smallest."""
    mean_weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(size,) weights at the mean of the search distribution: what is evaluated and published."""

    @classmethod
    def begin(cls, shape: Shape, opponent: Heuristic, seed: int, population: int, *, cap: bool = True) -> Search:
        """Return a search that starts by playing ``opponent``, except for tasks that it holds back (see ``layout.HELD``)."""
        from cmaes import CMA

        origin, deviations = shape.initial(index_prior(opponent), seed, held=True, cap=cap), initial_deviations(shape)
        searched = int((deviations > 0).sum())
        optimizer = CMA(mean=np.zeros(searched), sigma=1.0, seed=seed, population_size=population)
        return cls(shape, origin, deviations, optimizer, seed, mean_weights=origin.copy())

    def start_from(self, shape: Form, flat: np.ndarray) -> None:
        """Start from the flat weights of another network in place of the index rule; its shape must be that of the search."""
        if shape != self.shape:
            raise PolicyError(f"a network of {shape}: the search goes on from {self.shape} only.")
        self.origin = self.mean_weights = flat.copy()

    def weights_at(self, point: np.ndarray) -> np.ndarray:
        """Return the (size,) weights at ``point`` of the search space."""
        weights = self.origin.copy()
        searched = self.deviations > 0
        weights[searched] += self.deviations[searched] * point
        return weights

    def advance(self, rollouts: Rollouts, opponent: Heuristic, episodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Play one generation; return the (population,) scores and the (H,) mean improvements."""
        optimizer = self.optimizer
        seed = self.seed * _SEED_STRIDE + self.generation
        points = [optimizer.ask() for _ in range(optimizer.population_size)]
        theirs = headline_values(play_policy(opponent, rollouts.config, episodes, seed, split=rollouts.split), smooth=True)
        played = rollouts.play_all([self.weights_at(point) for point in points], episodes, seed)
        gains = np.array([improvements(headline_values(candidate, smooth=True), theirs) for candidate in played])
        mean_gains = gains.mean(axis=0)
        self.gains = mean_gains if self.generation == 0 else DECAY * self.gains + (1 - DECAY) * mean_gains
        scores = gains @ self._objective_weights()
        optimizer.tell([(point, -score) for point, score in zip(points, scores, strict=True)])
        self.generation += 1
        self.mean_weights = self.weights_at(optimizer.mean)
        return scores, mean_gains

    def _objective_weights(self) -> np.ndarray:
        """Return the (H,) weights of the improvements in a candidate's score."""
        if self.fixed_weights is not None:
            return self.fixed_weights
        return objective_weights(self.gains + self.selection_bias - self.margins)

    def update_selection_bias(self, bounds: np.ndarray) -> None:
        """Take account of the (H,) lower bounds found at selection: the weights follow what counts there."""
        self.selection_bias = DECAY * self.selection_bias + (1 - DECAY) * (bounds - self.gains)

    def save(self, path: Path) -> None:
        """Write a checkpoint: arrays and JSON."""
        arrays, numbers = _parted(self.optimizer.__dict__, "optimizer.")
        for name, value in self.__dict__.items():
            if isinstance(value, np.ndarray):
                arrays[name] = value
        sizes = {"encoder": self.shape.encoder, "decoder": self.shape.decoder, "mechanisms": self.shape.mechanisms}
        save_arrays(path, arrays, {"optimizer": numbers, "shape": sizes, "seed": self.seed, "generation": self.generation})

    @classmethod
    def load(cls, path: Path) -> Search:
        """Return the search of a checkpoint; raises :class:`PolicyError` for a damaged one."""
        from cmaes import CMA

        arrays, text = load_arrays(path)
        try:
            optimizer = CMA.__new__(CMA)
            optimizer.__dict__.update(_joined(arrays, text["optimizer"], "optimizer."))
            own = {name: value for name, value in arrays.items() if not name.startswith("optimizer.")}
            return cls(Shape(**text["shape"]), optimizer=optimizer, seed=text["seed"], generation=text["generation"], **own)
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"{path}: is no checkpoint of a search of this version ({error!r}).") from None


def _parted(fields: dict[str, Any], prefix: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, JSON) that the fields of an optimizer are kept as; numbers of NumPy are arrays, a generator is its state."""
    arrays: dict[str, np.ndarray] = {}
    numbers: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, np.random.RandomState):
            _, keys, *rest = value.get_state(legacy=True)
            arrays[prefix + name], numbers[name] = np.asarray(keys), {"generator": rest}
        elif isinstance(value, (np.ndarray, np.generic)):
            arrays[prefix + name] = np.asarray(value)
        else:
            numbers[name] = value
    return arrays, numbers


def _joined(arrays: dict[str, np.ndarray], numbers: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the fields that :func:`_parted` took apart."""
    fields: dict[str, Any] = {name.removeprefix(prefix): value[()] for name, value in arrays.items() if name.startswith(prefix)}
    for name, value in numbers.items():
        if not isinstance(value, dict):
            fields[name] = value
            continue
        generator = np.random.RandomState()
        generator.set_state(("MT19937", fields[name], *value["generator"]))
        fields[name] = generator
    return fields


# --- The run --------------------------------------------------------------------------------------------------------------------


def _fresh(run: Run, options: Options, opponent: Heuristic) -> Search:
    """Return a search that has played no generation yet."""
    arguments = run.arguments
    shape = Shape(1, 1, arguments.mechanisms)
    search = Search.begin(shape, opponent, arguments.seed, options.population, cap=not options.no_cap)
    search.margins = run.margins
    if options.init is not None:
        weights = load_weights(options.init)
        search.start_from(weights.shape, weights.flat)
    return search


def train(run: Run, options: Options) -> None:
    """Play generations until the run is finished."""
    opponent = index_rule(run.arguments.opponent)
    search = _fresh(run, options, opponent) if run.last_checkpoint is None else Search.load(run.last_checkpoint)
    rollouts = Rollouts(search.shape, run.arguments.training_config, "train", run.arguments.threads)
    run.start_clock()
    started, first = time.monotonic(), search.generation
    while not run.finished:
        search.advance(rollouts, opponent, options.episodes)
        run.checkpoint(search.generation, search.save)
        if run.evaluation_due:
            played = (search.generation - first) * options.population * options.episodes
            note = f"generation {search.generation}, {played / (time.monotonic() - started):,.0f} episodes/s"
            bounds = run.evaluate(LearnedPolicy("learner", search.shape, search.mean_weights), note)
            search.update_selection_bias(bounds)
            run.checkpoint(search.generation, search.save)
