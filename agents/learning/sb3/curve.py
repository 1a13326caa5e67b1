"""A learning curve beside the rules that one has to beat: a callback that measures a model while it learns, and the picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from stable_baselines3.common.callbacks import BaseCallback

from agents.policies.sb3 import SB3Policy, policy_from_sb3
from baselines import evaluate
from baselines.evaluation.measures import MEASURES
from prema_gym.errors import ConfigError
from prema_gym.files import save_figure
from prema_gym.rendering.style import learned_look

RIVALS = ("PREMA", "WSRPT")
"""The paper's scheduler, and the simple rule that is best in weighted ANTT."""
_DPI = 150


class LearningCurve(BaseCallback):
    """Plays the model as it learns, on the same episodes as its rivals: ``model.learn(..., callback=LearningCurve())``.

    Parameters
    ----------
    every: steps of training between measurements, the first before any training.
    episodes, split: which episodes; those of "valid" by default, so that figures on "eval" stay unseen.
    measures: of :data:`baselines.evaluation.measures.MEASURES`.
    rivals: policies drawn as level lines; each is asked as often as it needs.
    arguments: the environment's other arguments, if the model is not trained on the default workload.

    """

    def __init__(
        self,
        every: int = 25_000,
        episodes: int = 200,
        *,
        split: str = "valid",
        measures: Sequence[str] = ("weighted_antt", "antt"),
        rivals: Sequence[str] = RIVALS,
        **arguments: Any,
    ) -> None:
        super().__init__()
        for measure in measures:
            if measure not in MEASURES:
                raise ConfigError(f"LearningCurve(measures={measure!r}): must be among {', '.join(MEASURES)}.")
        self.every, self.episodes, self.split = every, episodes, split
        self.measures, self.arguments = tuple(measures), arguments
        rules = evaluate(list(rivals), episodes, split=split, **arguments)
        self.rivals = {rival: {measure: rules.mean(rival, measure) for measure in measures} for rival in rivals}
        """What each rival does, by measure."""
        self.points: list[dict[str, float]] = []
        """One entry for each measurement: ``steps``, ``seconds`` of training, and the measures."""
        self._seconds, self._resumed = 0.0, 0.0

    def _on_training_start(self) -> None:
        self._resumed = time.monotonic()
        if not self.points:
            self.measure()

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.points[-1]["steps"] + self.every:
            self.measure()
        return True

    def _on_training_end(self) -> None:
        if self.num_timesteps > self.points[-1]["steps"]:
            self.measure()

    def measure(self) -> Mapping[str, float]:
        """Play the model as it is now, and append and return the entry; its time is not counted as training."""
        self._seconds += time.monotonic() - self._resumed
        policy: SB3Policy = policy_from_sb3(self.model)
        played = evaluate([policy], self.episodes, split=self.split, **self.arguments)
        values = {measure: float(played.mean(policy.name, measure)) for measure in self.measures}
        self.points.append({"steps": self.num_timesteps, "seconds": round(self._seconds, 1), **values})
        self._resumed = time.monotonic()
        return self.points[-1]


def plot_curves(curves: Mapping[str, LearningCurve], path: str | Path | None = None) -> Figure:
    """Draw one panel for each measure with a line for each curve and the rivals as level lines; save it if ``path`` is given."""
    first = next(iter(curves.values()))
    figure = Figure(figsize=(4.6 * len(first.measures), 3.4), layout="constrained")
    panels = figure.subplots(1, len(first.measures), squeeze=False)[0]
    for axes, measure in zip(panels, first.measures, strict=True):
        for number, (label, curve) in enumerate(curves.items()):
            colour, line = learned_look(number)
            steps = [point["steps"] / 1000 for point in curve.points]
            axes.plot(steps, [point[measure] for point in curve.points], line, color=colour, linewidth=1.4, label=label)
        for (rival, values), style in zip(first.rivals.items(), ("--", ":", "-.") * len(first.rivals), strict=False):
            axes.axhline(values[measure], color="black", linewidth=1, linestyle=style, label=rival)
        axes.set_yscale("log")
        axes.set_yticks([1, 1.5, 2, 3, 5, 10, 20], ["1", "1.5", "2", "3", "5", "10", "20"])
        axes.minorticks_off()
        axes.set_xlabel("thousand steps")
        axes.set_title(MEASURES[measure].label, fontsize=10)
        axes.grid(alpha=0.3)
    panels[-1].legend(frameon=False, fontsize=8)
    if path is not None:
        save_figure(figure, path, dpi=_DPI)
    return figure
