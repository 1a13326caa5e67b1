"""The study's headline: PREMA over NP-FCFS, for each reading of what the paper leaves open.

The abstract gives three factors. Its hardware model can be read in three ways (how weights get into the array), its word "drain" in
two (PREMA asks again, PREMA-COMMIT lets the running task complete). All six are shown at the one default window, none is picked.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from baselines.evaluation.measures import HEADLINES
from baselines.evaluation.results import REFERENCE, Results
from baselines.studies import style
from baselines.studies.study import FACTOR_MEASURES, PAPER, PAPER_POLICY, Json, Point, Study, estimates, factors
from baselines.studies.sweeps import TOLERANCE
from prema_gym.config import WEIGHT_LOADINGS, NPUConfig

READINGS = ("PREMA", "PREMA-COMMIT")
"""Policies that read the paper's Algorithm 3 in different ways."""
DEFAULT = NPUConfig().weight_loading
MODES = (DEFAULT, *(mode for mode in reversed(WEIGHT_LOADINGS) if mode != DEFAULT))
"""Ways to load weights, the default first."""
_LABELS = {"antt": "ANTT", "stp": "STP", "sla": "SLA violations"}


def summarise_headline(points: Sequence[Point], results: Sequence[Results]) -> Json:
    """Return the three factors beside the abstract's, what they are made of, and the factors under every reading."""
    found = factors(results[0])
    for key, claimed in PAPER.items():
        found[key]["geometric_mean"] = results[0].factor(PAPER_POLICY, FACTOR_MEASURES[key]).geometric.to_dict("factor")
        relative = found[key]["factor"] / claimed
        found[key] |= {"paper": claimed, "within_25_percent": bool(1 - TOLERANCE <= relative <= 1 + TOLERANCE)}
    readings = {
        point.label: {policy: {key: factors(result, policy)[key] for key in PAPER} for policy in READINGS}
        for point, result in zip(points, results, strict=True)
    }
    return {"factors": found, "policies": estimates(results[0], HEADLINES), "readings": readings}


def draw_headline(data: Json) -> Figure:
    """Return the three factors under every reading, beside the abstract's."""
    figure, panels = style.new_figure(1, len(PAPER), data["question"], width=3.6, height=3.9)
    modes = list(data["readings"])
    for axes, (key, claimed) in zip(panels, PAPER.items(), strict=True):
        axes.axhline(claimed, color=style.BLUE, linestyle="--", linewidth=1.2, zorder=1, label="abstract")
        near = (claimed * (1 - TOLERANCE), claimed * (1 + TOLERANCE))
        axes.axhspan(*near, color=style.BLUE, alpha=0.10, linewidth=0, label="within 25 % of it")
        for shift, policy, colour in zip((-0.2, 0.2), READINGS, (style.RED, style.GREY), strict=True):
            for position, mode in enumerate(modes):
                style.draw_bar(axes, position + shift, data["readings"][mode][policy][key], colour, width=0.36)
            axes.bar(0, 0, color=colour, label=policy)
        axes.set_xticks(range(len(modes)), [mode.replace("_", " ") for mode in modes], fontsize=8)
        axes.set_ylabel("times better than NP-FCFS", fontsize=9)
        axes.set_title(_LABELS[key], fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
    style.legend_below(figure, panels[0])
    return figure


HEADLINE = Study(
    "headline",
    "PREMA over NP-FCFS at the default workload, by how weights are loaded and what draining means",
    tuple(Point(mode, (REFERENCE, *READINGS), {"npu": {"weight_loading": mode}}) for mode in MODES),
    summarise_headline,
    draw_headline,
)
