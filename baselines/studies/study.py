"""What a study is: points to play, a summary of them as plain JSON, and a figure drawn from that summary alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from baselines.evaluation.episodes import Played, play_policy
from baselines.evaluation.measures import PAPER_FACTORS
from baselines.evaluation.results import REFERENCE, Results
from baselines.policies.needs import config_for
from baselines.policies.registry import make_policy
from prema_gym.config import EnvConfig
from prema_gym.files import save_figure
from prema_gym.sim.simulator import Simulator

PAPER_POLICY = "PREMA"
FACTOR_MEASURES = {"antt": "antt", "stp": "stp", "sla": "sla_violation", "fairness": "fairness"}
"""Keys of the JSON's factors, with the measure behind each."""
PAPER = {key: PAPER_FACTORS[measure] for key, measure in FACTOR_MEASURES.items() if measure in PAPER_FACTORS}
"""The paper's factors by those keys."""
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Point:
    """One configuration and who plays it."""

    label: str
    policies: tuple[str, ...] = (REFERENCE, PAPER_POLICY)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of the environment, as ``gym.make("Prema-v0")`` takes them."""
    x: float | None = None
    """Where the point lies on the study's axis; None where that is a list of names."""
    split: str = "eval"

    @property
    def config(self) -> EnvConfig:
        """The environment's configuration."""
        return EnvConfig.coerce(self.arguments)


class Player:
    """Plays points; what two points share is played once."""

    def __init__(self, episodes: int, seed: int, threads: int, report: Callable[[str, int], None]) -> None:
        self.episodes, self.seed, self.threads, self.report = episodes, seed, threads, report
        self._played: dict[tuple[str, str, str], Played] = {}

    @staticmethod
    def keys(points: Iterable[Point]) -> set[tuple[str, str, str]]:
        """Return what has to be played for ``points``: (configuration, split, policy)."""
        return {
            (repr(config_for(make_policy(name), point.config, point.arguments)), point.split, name)
            for point in points
            for name in point.policies
        }

    def results(self, point: Point) -> Results:
        """Return the results of ``point``."""
        config = point.config
        policies = [make_policy(name) for name in point.policies]
        played = {policy.name: self._play(policy.name, config, point) for policy in policies}
        clairvoyant = tuple(policy.name for policy in policies if policy.clairvoyant)
        return Results(config, self.episodes, self.seed, point.split, played, clairvoyant)

    def _play(self, name: str, config: EnvConfig, point: Point) -> Played:
        policy = make_policy(name)
        config = config_for(policy, config, point.arguments)
        key = (repr(config), point.split, name)
        if key not in self._played:
            self.report(f"compiling programs for {point.label}", 0)
            Simulator(config)
            self._played[key] = play_policy(
                policy, config, self.episodes, self.seed, split=point.split, threads=self.threads,
                progress=lambda count: self.report(f"{name}, {point.label}", count),
            )  # fmt: skip
        return self._played[key]


Summary = Callable[[Sequence[Point], Sequence[Results]], Json]


@dataclasses.dataclass(frozen=True)
class Study:
    """A question put to the simulator: episodes under several policies at several points."""

    name: str
    """Key in the JSON, and stem of the figure's file."""
    question: str
    points: tuple[Point, ...]
    summarise: Summary
    draw: Callable[[Json], Figure]

    def run(self, player: Player) -> Json:
        """Play all points and return the study's data."""
        results = [player.results(point) for point in self.points]
        return {"question": self.question, **self.summarise(self.points, results)}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A question put to the hardware model: no episodes are drawn."""

    name: str
    question: str
    measure: Callable[[Callable[[str], None]], Json]
    """Takes a function to call with what it is at."""
    draw: Callable[[Json], Figure]
    points: tuple[Point, ...] = ()

    def run(self, player: Player) -> Json:
        """Return the measurement's data."""
        return {"question": self.question, **self.measure(lambda text: player.report(text, 0))}


def factors(results: Results, policy: str = PAPER_POLICY, reference: str = REFERENCE) -> Json:
    """Return ``{"antt": {"factor": .., "ci95": [..]}, ..}``: how many times better ``policy`` is than ``reference``."""
    return {key: results.factor(policy, measure, reference).ratio.to_dict("factor") for key, measure in FACTOR_MEASURES.items()}


def estimates(results: Results, measures: Sequence[str]) -> Json:
    """Return ``{policy: {measure: {"mean": .., "ci95": [..]}}}``."""
    return {name: {measure: results.estimate(name, measure).to_dict() for measure in measures} for name in results.policies}


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``."""
    save_figure(figure, path, dpi=110)
