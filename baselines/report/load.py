"""Measures against load: what papers on serving print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from baselines.policies.registry import is_built_in
from prema_gym.files import save_figure
from prema_gym.rendering.style import LEARNED_MARKER, learned_look

LOAD_MEASURES: Mapping[str, str] = {
    "ntt_p99": "99th percentile of NTT",
    "deadline_misses": "missed deadlines",
}
"""What is drawn against load."""
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKERS = "osD^vPhX"
_LINES = ("-", "--", ":")
_DPI = 130


class Look(NamedTuple):
    """How a policy's line is drawn."""

    color: str
    marker: str
    line: str


def looks(policies: Sequence[str]) -> dict[str, Look]:
    """Return how each of ``policies`` is drawn, all told apart; learned ones and the user's own in colours of their own."""
    built_in, learned = count(), count()
    found: dict[str, Look] = {}
    for policy in policies:
        if is_built_in(policy):
            number = next(built_in)
            line = _LINES[number // len(_COLORS) % len(_LINES)]
            found[policy] = Look(_COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)], line)
        else:
            color, line = learned_look(next(learned))
            found[policy] = Look(color, LEARNED_MARKER, line)
    return found


def draw_loads(
    cells: Sequence[Mapping[str, Any]], path: str | Path, scenario: str, measures: Mapping[str, str] = LOAD_MEASURES
) -> None:
    """Draw a panel for each of ``measures`` with a line for each policy, its 95 % interval shaded."""
    figure = Figure(figsize=(5 * len(measures), 3.8), layout="constrained")
    panels = figure.subplots(1, len(measures), squeeze=False)[0]
    policies = list(dict.fromkeys(cell["policy"] for cell in cells))
    for axes, (measure, label) in zip(panels, measures.items(), strict=True):
        for policy, look in looks(policies).items():
            own = sorted((cell for cell in cells if cell["policy"] == policy), key=lambda cell: float(cell["load"]))
            loads = [cell["load"] for cell in own]
            found = [cell["measures"][measure] for cell in own]
            means = np.array([one["mean"] for one in found], float)
            low, high = np.array([one["ci95"] for one in found], float).T  # None, where too few streams give none, becomes NaN
            axes.plot(loads, means, look.line, color=look.color, marker=look.marker, markersize=4, linewidth=1.3, label=policy)
            axes.fill_between(loads, low, high, color=look.color, alpha=0.15, linewidth=0)
        axes.set_xlabel("utilisation offered")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    if np.isfinite(panels[0].dataLim.get_points()).all():  # too few requests have no quantiles, and a logarithm needs some
        panels[0].set_yscale("log")
    panels[1].set_ylim(bottom=0)
    panels[-1].legend(frameon=False, fontsize=8)
    figure.suptitle(scenario, fontsize=10)
    save_figure(figure, path, dpi=_DPI)
