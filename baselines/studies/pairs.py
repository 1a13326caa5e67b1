"""Two tasks: each network preempted by each other at a random time, under the three mechanisms, played on the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from baselines.policies.registry import make_policy
from baselines.report.isolated import isolated_times
from baselines.studies import style
from baselines.studies.study import Json, Measurement
from prema_gym.config import MODEL_NAMES, EnvConfig
from prema_gym.envs.vector_env import PremaVectorEnv

MECHANISMS = {"CHECKPOINT": "P-HPF", "KILL": "P-HPF-KILL", "DRAIN": "P-HPF-DRAIN"}
"""Each mechanism, with the policy that uses it whenever a higher priority arrives."""
BATCH = 4
TIMES = 40
"""Random times of the request per pair."""
SEED = 7


def play_pairs(mechanism: str, times: int = TIMES) -> np.ndarray:
    """Return (victims, preemptors, times, 4) float64: NTT of both, STP, and the preemptor's delay in cycles.

    The victim (priority 1) starts at 0; the preemptor (priority 9) arrives uniformly within the victim's isolated time.
    """
    isolated = {row.model: row.cycles for row in isolated_times(EnvConfig.coerce({"workload": {"batches": [BATCH]}}))}
    size = len(MODEL_NAMES)
    arrivals = np.random.default_rng(SEED).random((size, size, times))
    traces = []
    for (i, j, _), share in np.ndenumerate(arrivals):
        first = {"arrival_cycles": 0, "model": MODEL_NAMES[i], "batch": BATCH, "priority": 1}
        arrival = 1 + int(share * (isolated[MODEL_NAMES[i]] - 1))
        traces.append([first, {**first, "arrival_cycles": arrival, "model": MODEL_NAMES[j], "priority": 9}])
    metrics = _finish(traces, MECHANISMS[mechanism])
    # ANTT = (a + b) / 2 and weighted ANTT = (a + 9 b) / 10 give the NTT a of the victim and b of the preemptor.
    preempting = (5 * metrics["weighted_antt"] - metrics["antt"]) / 4
    preempted = 2 * metrics["antt"] - preempting
    alone = np.broadcast_to([[isolated[model]] for model in MODEL_NAMES], arrivals.shape).ravel()
    delay = np.rint((preempting - 1) * alone)
    table = np.column_stack([preempted, preempting, metrics["stp"], delay])
    return table.reshape(size, size, times, 4)


def _finish(traces: list[list[dict[str, Any]]], policy_name: str) -> dict[str, np.ndarray]:
    """Play one row per trace to its end; return the (rows,) metrics. Rows that are done go on with episodes that don't count."""
    rows = len(traces)
    environment = PremaVectorEnv(rows, workload={"num_tasks": 2})
    policy = make_policy(policy_name)
    environment.reset(seed=0, options={"trace": traces})
    found = {name: np.full(rows, np.nan) for name in ("antt", "weighted_antt", "stp")}
    while np.isnan(found["antt"]).any():
        *_, info = environment.step(policy.act(environment.view()))
        for name, values in found.items():
            if "metrics" in info:
                values[:] = np.where(np.isnan(values), info["metrics"][name], values)
    return found


def measure(report: Callable[[str], None]) -> Json:
    """Return means over random request times, per mechanism, victim and preemptor."""
    config = EnvConfig()
    us = 1e6 / config.npu.clock_hz
    found: Json = {"models": list(MODEL_NAMES), "batch": BATCH, "times": TIMES, "mechanisms": {}}
    for mechanism in MECHANISMS:
        report(f"pairs, {mechanism}")
        table = play_pairs(mechanism)
        means = table.mean(axis=2)
        delays = us * table[..., 3]
        found["mechanisms"][mechanism] = {
            "ntt_preempted": means[..., 0].tolist(),
            "ntt_preempting": means[..., 1].tolist(),
            "stp": means[..., 2].tolist(),
            "delay_us_by_victim": [
                {
                    "mean": float(row.mean()),
                    "median": float(np.median(row)),
                    "p95": float(np.quantile(row, 0.95)),
                    "max": float(row.max()),
                }
                for row in delays
            ],
            "overall": {
                "ntt_preempted": float(means[..., 0].mean()),
                "ntt_preempting": float(means[..., 1].mean()),
                "stp": float(means[..., 2].mean()),
                "delay_us": float(delays.mean()),
            },
        }
    return found


def draw(data: Json) -> Figure:
    """Return the waiting task's delay per victim, and NTT and STP of every pair as heat maps."""
    figure, panels = style.new_figure(4, 3, data["question"], width=4.6, height=3.7)
    models = data["models"]
    for column, (mechanism, colour) in enumerate(zip(data["mechanisms"], (style.SKY, style.RED, style.GREY), strict=True)):
        found = data["mechanisms"][mechanism]
        _draw_delay(panels[column], found["delay_us_by_victim"], models, mechanism, colour)
        for row, (key, label) in enumerate(
            (("ntt_preempted", "NTT of the preempted task"), ("ntt_preempting", "NTT of the preempting task"), ("stp", "STP")), 1
        ):
            _draw_map(figure, panels[3 * row + column], found[key], models, f"{mechanism}: {label}", key)
    return figure


def _draw_delay(axes: Any, rows: list[Json], models: list[str], mechanism: str, colour: str) -> None:
    for position, row in enumerate(rows):
        axes.bar(position, row["mean"], color=colour, zorder=2)
        axes.vlines(position, row["mean"], row["max"], color=style.BLACK, linewidth=0.9, zorder=3)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, 1e6)
    axes.set_xticks(range(len(models)), models, rotation=60, ha="right", fontsize=8)
    axes.set_title(f"{mechanism}: delay until the preempting task runs", fontsize=9)
    axes.set_ylabel("µs (mean; line: largest)", fontsize=9)
    axes.set_xlabel("preempted network", fontsize=8)
    axes.grid(axis="x", visible=False)
    if not any(row["max"] for row in rows):
        axes.annotate("none: 0 µs", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=10)


def _draw_map(figure: Figure, axes: Any, values: list[list[float]], models: list[str], title: str, key: str) -> None:
    from matplotlib.colors import LogNorm, Normalize

    norm = Normalize(0.5, 2.0) if key == "stp" else LogNorm(1.0, 100.0, clip=True)
    image = axes.imshow(values, cmap="viridis", norm=norm)
    axes.set_xticks(range(len(models)), models, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(models)), models, fontsize=7)
    for (i, j), value in np.ndenumerate(np.array(values)):
        light = norm(value) < 0.6
        axes.annotate(f"{value:.3g}", (j, i), ha="center", va="center", fontsize=5.5, color="white" if light else "black")
    axes.set_title(title, fontsize=9)
    axes.set_ylabel("preempted", fontsize=8)
    axes.set_xlabel("preempting", fontsize=8)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, shrink=0.7, pad=0.03).ax.tick_params(labelsize=7)


PAIRS = Measurement("pairs", f"Each network preempting each other at a random time (batch {BATCH})", measure, draw)
