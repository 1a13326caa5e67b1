"""Head room: how much better than the best rule a scheduler could be, world by world. Without any there is nothing to learn.

In every world two gates are tuned first, each the best of a grid on the split "train". They and the rules then play "valid". The
best of all in the world's main measure plays the split "eval", and so do two lookaheads over it, on the same episodes: one that
samples futures, and one that knows the true one. The first says what a scheduler can still gain; the second, told what none can
know, is an outer mark. A world is a *track* where the first one's gain is at least a tenth of the best rule's value at the lower
end of its 95 % interval, and by misses only where that rule misses at least five in a hundred.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from baselines.evaluation.estimates import Estimate, estimate_of
from baselines.evaluation.evaluate import evaluate
from baselines.evaluation.results import Results
from baselines.policies.heuristic import Heuristic
from baselines.policies.lookahead import CLAIRVOYANT, LOOKAHEAD, lookahead
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy

Json = dict[str, Any]
Report = Callable[[str, int], None]

RULES = (
    "PREMA", "WSRPT", "INDEX", "EDF-FEASIBLE", "WMRL", "DEADLINE-RESIDUAL", "GATE", "GATE/INDEX", "GATE/WMRL",
    "GATE/DEADLINE-RESIDUAL", "GATE-DEADLINE", "GATE-EDF-FEASIBLE", "GATE-TARDINESS",
)  # fmt: skip
"""Who may be the best rule."""
MEASURES = ("deadline_misses", "tardiness", "weighted_antt", "ntt_p99")
"""What is reported beside the main measure, where the world has it."""
_GATES = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
GRIDS: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "GATE-TUNED": (
        "GATE",
        tuple({"gate": gate, "slack_weight": weight} for gate in _GATES for weight in (0.0, 1.0, 5.0, 25.0)),
    ),
    "GATE-TUNED-EDF-FEASIBLE": ("GATE/EDF-FEASIBLE", tuple({"gate": gate, "advantage_power": 0.0} for gate in _GATES)),
}
"""Rules that are tuned in every world: the selection rule, and the parameters that are tried."""
LEAST_GAIN = 0.1
"""Share of the best rule's value that a track leaves to be gained."""
LEAST_MISSES = 0.05
"""Share of deadlines that the best rule of a track by misses misses."""


@dataclasses.dataclass(frozen=True)
class World:
    """Where head room is measured."""

    name: str
    arguments: Mapping[str, Any]
    """Of the environment."""
    measure: str = "deadline_misses"
    """The main measure, smaller is better; a lookahead makes the reward term of this name large."""
    requests: int = 16
    """That still come in a sampled future."""

    def shortened(self, requests: int | None) -> World:
        """Return the same world with episodes of so many requests; with None itself."""
        if requests is None:
            return self
        return dataclasses.replace(self, arguments={**self.arguments, "horizon_requests": requests})


def _cluster(name: str, measure: str = "deadline_misses", **workload: Any) -> World:
    return World(name, {"scenario": "PremaCluster-v0", "workload": workload}, measure)


_WORLDS = (
    World("PremaStream-v0", {"scenario": "PremaStream-v0"}),
    World("PremaCluster-v0", {"scenario": "PremaCluster-v0"}),
    World("PremaCluster-v0, tardiness", {"scenario": "PremaCluster-v0"}, "tardiness"),
    _cluster("PremaCluster-v0, load 1.0", arrivals={"utilisation": 1.0}),
    _cluster("PremaCluster-v0, bursts", arrivals={"process": "bursty", "utilisation": 0.8}),
    _cluster("PremaCluster-v0, unknown lengths", models=["RNN-SA", "RNN-MT1", "RNN-MT2", "RNN-ASR"]),
    _cluster("PremaCluster-v0, tight deadlines", sla=2.0),
    _cluster("PremaCluster-v0, tight deadlines, tardiness", "tardiness", sla=2.0),
)
WORLDS = {world.name: world for world in _WORLDS}
"""By name."""


def _measured(results: Results, name: str) -> Json:
    return {measure: results.estimate(name, measure).to_dict() for measure in MEASURES if measure in results.measures}


def gain(results: Results, policy: str, rule: str, measure: str) -> Estimate:
    """Return by which share of ``rule``'s mean ``policy`` is better, with its paired interval; NaN where that mean is 0."""
    ours, theirs = (np.append(results.draws(name, measure), results.mean(name, measure)) for name in (policy, rule))
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = np.where(theirs > 0, 1 - ours / theirs, np.nan)
    return estimate_of(gains[-1], gains[:-1])


def is_track(best: float, gained: Estimate, measure: str) -> bool:
    """Return whether a world is one, ``best`` being the best rule's mean."""
    often_enough = measure != "deadline_misses" or best >= LEAST_MISSES
    return often_enough and gained.has_interval and gained.low >= LEAST_GAIN


def tuned(world: World, name: str, episodes: int, seed: int, report: Report) -> Heuristic:
    """Return the rule called ``name``, of :data:`GRIDS`, with the parameters that are best on the split "train"."""
    selection, grid = GRIDS[name]
    tried = [Heuristic(f"{name}-{k}", selection, "CHECKPOINT", **parameters) for k, parameters in enumerate(grid)]
    results = evaluate(tried, episodes, seed, split="train", progress=report, **world.arguments)
    best = min(tried, key=lambda rule: results.mean(rule.name, world.measure))
    found: dict[str, Any] = dict(best.parameters)
    return Heuristic(name, selection, "CHECKPOINT", **found)


def best_rule(world: World, rules: Sequence[Policy], episodes: int, seed: int, report: Report) -> tuple[Policy, dict[str, float]]:
    """Return the best of ``rules`` on the split "valid", and the mean of each."""
    results = evaluate(rules, episodes, seed, split="valid", progress=report, **world.arguments)
    means = {name: results.mean(name, world.measure) for name in results.policies}
    return min(rules, key=lambda rule: means[rule.name]), means


def measure(
    world: World, rules: Sequence[str] = RULES, *, episodes: int = 200, seed: int = 0, tuning: int = 32,
    report: Report = lambda name, count: None, **search: Any,
) -> Json:  # fmt: skip
    """Return the head room of ``world`` as plain JSON; ``search`` has fields of :class:`baselines.policies.lookahead.Search`.

    ``tuning`` are the episodes that every entry of a grid plays; with 0 nothing is tuned.
    """
    begin = time.perf_counter()
    gates = [tuned(world, name, tuning, seed, report) for name in GRIDS if tuning > 0]
    chosen, means = best_rule(world, [*map(make_policy, rules), *gates], episodes, seed, report)
    best = chosen.name
    given = {"objective": world.measure, "requests": world.requests, **search}
    made = [lookahead(first, chosen, **given) for first in (LOOKAHEAD, CLAIRVOYANT)]
    results = evaluate([chosen, *made], episodes, seed, progress=report, **world.arguments)
    gains = {policy.name: gain(results, policy.name, best, world.measure) for policy in made}
    open_minded, clairvoyant = (policy.name for policy in made)
    return {
        "arguments": dict(world.arguments),
        "requests": results.config.horizon,
        "measure": world.measure,
        "episodes": episodes,
        "seed": seed,
        "search": dataclasses.asdict(made[0].search),
        "tuned": {rule.name: dict(rule.parameters) for rule in gates},
        "valid": means,
        "best": best,
        "lookahead": open_minded,
        "clairvoyant": clairvoyant,
        "policies": {name: _measured(results, name) for name in results.policies},
        "differences": {
            name: {
                each: results.difference(name, best, each).to_dict() for each in MEASURES if each in results.measures
            }
            for name in gains
        },
        "gains": {name: gained.to_dict("gain") for name, gained in gains.items()},
        "decisions": results.mean(open_minded, "decisions"),
        "track": is_track(results.mean(best, world.measure), gains[open_minded], world.measure),
        "seconds": round(time.perf_counter() - begin),
    }  # fmt: skip
