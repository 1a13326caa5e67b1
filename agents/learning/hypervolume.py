"""Hypervolume of families of policies in (ln ANTT, ln fairness), with an interval over episodes, and their fronts as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from agents.commands.pictures import saved
from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import SUFFIX
from baselines.evaluation.episodes import play_policy
from baselines.evaluation.results import Estimate
from baselines.evaluation.statistics import interval, resamples
from baselines.policies.policy import Policy
from baselines.policies.registry import POLICIES, make_policy
from baselines.report.plots import front, use_log_axis
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError
from prema_gym.metrics import ANTT, FAIRNESS

WORST = (4.0, 0.05)
"""Reference point: ANTT and fairness that are worse than any member's."""
_PREMA = "PREMA"


def hypervolume(antt: np.ndarray, fairness: np.ndarray) -> float:
    """Return the area that points (K,) dominate within WORST, in units of ln ANTT times ln fairness."""
    x, y = np.log(WORST[0] / np.asarray(antt)), np.log(np.asarray(fairness) / WORST[1])
    area, height = 0.0, 0.0
    for i in np.lexsort((-y, -x)):  # from the lowest ANTT on: each point adds what rises above those before it
        if x[i] > 0 and y[i] > height:
            area += x[i] * (y[i] - height)
            height = y[i]
    return float(area)


@dataclass(frozen=True)
class Measured:
    """Two families on the same episodes."""

    episodes: int
    seed: int
    means: dict[str, np.ndarray]
    """By family ("LEARNED-FRONT", "INDEX-FRONT", "PREMA"): (K, 2) mean ANTT and fairness."""
    learned: Estimate
    index: Estimate
    difference: Estimate

    @property
    def text(self) -> str:
        """The outcome in words."""
        lines = [f"{self.episodes} episodes of 'eval', seed {self.seed}; hypervolume within ANTT {WORST[0]}, fairness {WORST[1]}:"]
        rows = (("LEARNED-FRONT", self.learned), ("INDEX-FRONT", self.index), ("difference", self.difference))
        lines += [f"  {name:13}  {value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]" for name, value in rows]
        beaten = dominated(self.means["INDEX-FRONT"], self.means["LEARNED-FRONT"])
        return "\n".join([*lines, f"  {beaten} of {len(self.means['INDEX-FRONT'])} index rules are dominated by a learned policy"])


def dominated(points: np.ndarray, by: np.ndarray) -> int:
    """Return how many of ``points`` (K, 2) have a row in ``by`` (J, 2) that is better in ANTT and in fairness."""
    return int(sum(bool(((by[:, 0] < antt) & (by[:, 1] > fairness)).any()) for antt, fairness in points))


def members(folder: Path) -> list[LearnedPolicy]:
    """Return the policies in ``folder``; raises :class:`PolicyError` where there are none."""
    found = [LearnedPolicy.load(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not found:
        raise PolicyError(f"{folder}: holds no policies (*{SUFFIX}); train them with python -m agents.front.")
    return found


def measure(folder: Path, episodes: int, seed: int, *, threads: int = 1) -> Measured:
    """Play both families and PREMA on ``episodes`` of "eval"."""
    rules = [make_policy(name) for name in POLICIES if name.startswith("INDEX-FRONT-")]
    families: dict[str, Sequence[Policy]] = {"LEARNED-FRONT": members(folder), "INDEX-FRONT": rules, _PREMA: [make_policy(_PREMA)]}
    values = {
        name: np.array([_two(play_policy(policy, EnvConfig(), episodes, seed, threads=threads).metrics) for policy in family])
        for name, family in families.items()
    }
    draws: dict[str, list[float]] = {"LEARNED-FRONT": [], "INDEX-FRONT": []}
    for counts in resamples(episodes):
        for name, into in draws.items():
            means = counts @ values[name].transpose(2, 0, 1).reshape(-1, episodes).T / episodes
            into += [hypervolume(*row.reshape(2, -1)) for row in means]
    means = {name: value.mean(axis=1) for name, value in values.items()}
    learned, index = (hypervolume(*means[name].T) for name in draws)
    ends = {name: interval(np.array(drawn)) for name, drawn in draws.items()}
    gap = interval(np.array(draws["LEARNED-FRONT"]) - np.array(draws["INDEX-FRONT"]))
    return Measured(
        episodes,
        seed,
        means,
        Estimate(learned, *ends["LEARNED-FRONT"]),
        Estimate(index, *ends["INDEX-FRONT"]),
        Estimate(learned - index, *gap),
    )


def _two(metrics: np.ndarray) -> np.ndarray:
    """Return (E, 2) ANTT and fairness of (E, NUM_METRICS)."""
    return metrics[:, [ANTT, FAIRNESS]]


def picture(measured: Measured, path: Path) -> Path:
    """Draw both fronts and PREMA."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = (("INDEX-FRONT", "#56B4E9", "s"), ("LEARNED-FRONT", "#D55E00", "o"))
    for name, color, marker in styles:
        points = measured.means[name]
        kept = points[front([(float(antt), float(fairness)) for antt, fairness in points])]
        axes.plot(*kept.T, color=color, marker=marker, markersize=5, label=name)
    axes.plot(*measured.means[_PREMA][0], color="black", marker="*", markersize=12, linestyle="", label=_PREMA)
    axes.set_xlabel("ANTT (multiples of isolated time, log scale)")
    axes.set_ylabel("fairness")
    axes.set_title(f"Better is up and to the left ({measured.episodes} episodes, {'eval'!r})", loc="left", fontsize=10)
    use_log_axis(axes)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return saved(figure, path)
