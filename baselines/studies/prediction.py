"""Algorithm 1 against the timing model, with the true output length and with the guessed one, and against counting MACs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from baselines.studies import style
from baselines.studies.study import Json, Measurement
from prema_gym.config import EnvConfig
from prema_gym.hardware.layers import Network
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.models import MODELS, Model
from prema_gym.workloads.models.counting import network_macs
from prema_gym.workloads.predictor import predict_cycles
from prema_gym.workloads.sizes import Key

DRAWS = 200
"""Pairs of lengths per network and batch; a network without lengths has one program."""
SEED = 5
KINDS = {
    "true_length": "Algorithm 1, true output length",
    "guessed_length": "Algorithm 1, profiled output length",
    "macs": "count of MACs, scaled to fit",
}


@dataclasses.dataclass(frozen=True)
class Sample:
    """One task alone on the NPU. Times in cycles."""

    model: str
    batch: int
    actual: int
    true_length: int
    """Algorithm 1's answer if it knew the output length."""
    guessed_length: int
    """Algorithm 1's answer as schedulers get it."""
    macs: int


def samples(config: EnvConfig, draws: int = DRAWS) -> Iterator[Sample]:
    """Yield ``draws`` tasks of every network and batch, lengths drawn as episodes draw them."""
    simulator = Simulator(config)
    rows = {key: row for row, key in enumerate(simulator.programs.keys)}
    for name in config.workload.models:
        model = MODELS[name]
        pairs = _lengths(model, draws)
        for batch in config.workload.batches:
            predictions: dict[int | None, tuple[int, int]] = {}
            for length, output in pairs:
                if length not in predictions:
                    predictions[length] = _affine(model.network(length), batch, config)
                record = simulator.tables.programs[rows[Key(name, batch, length)]]
                actual = simulator.draws.totals[record["first_total"] + min(output, int(record["totals"])) - 1]
                base, step = predictions[length]
                macs = batch * network_macs(model.network(length), output)
                yield Sample(name, batch, int(actual), base + step * output, int(record["predicted_cycles"]), macs)


def _lengths(model: Model, draws: int) -> list[tuple[int | None, int]]:
    """Return pairs of input and output length; (None, 1) where there are none."""
    spec = model.lengths
    if spec is None:
        return [(None, 1)]
    rng = np.random.default_rng(SEED)
    inputs = spec.input_lengths(rng.standard_normal(draws))
    outputs = spec.output_lengths(inputs, rng.standard_normal(draws)) if spec.has_output else np.ones(draws, np.int64)
    return list(zip(inputs.tolist(), outputs.tolist(), strict=True))


def _affine(network: Network, batch: int, config: EnvConfig) -> tuple[int, int]:
    """Return (cycles apart from the output loop, cycles per output step) of Algorithm 1."""
    once, twice = (predict_cycles(network, batch, config.npu, output_length=steps) for steps in (1, 2))
    return 2 * once - twice, twice - once


def mac_scale(found: list[Sample]) -> float:
    """Return the cycles per MAC with the smallest squared error of the logarithm: the best that counting MACs can do."""
    return float(np.exp(np.mean([np.log(sample.actual / sample.macs) for sample in found])))


def errors(found: list[Sample]) -> list[Json]:
    """Return per network and batch the mean absolute relative error of every predictor."""
    scale = mac_scale(balanced(found))
    rows = []
    for model, batch in dict.fromkeys((sample.model, sample.batch) for sample in found):
        group = [sample for sample in found if (sample.model, sample.batch) == (model, batch)]
        row: Json = {"model": model, "batch": batch, "samples": len(group)}
        for kind in KINDS:
            row[kind] = float(np.mean([abs(predicted(sample, kind, scale) / sample.actual - 1) for sample in group]))
        rows.append(row)
    return rows


def predicted(sample: Sample, kind: str, scale: float) -> float:
    """Return the cycles that predictor ``kind`` says."""
    return scale * sample.macs if kind == "macs" else float(getattr(sample, kind))


def measure(report: Callable[[str], None]) -> Json:
    """Return errors, rank correlations and the points of the scatter."""
    report("predictor")
    config = EnvConfig()
    found = list(samples(config))
    weights = balanced(found)
    scale = mac_scale(weights)
    actual = np.array([sample.actual for sample in weights])
    correlations = {}
    scatter: dict[str, Any] = {"models": [s.model for s in weights], "actual_ms": [config.npu.ms(s.actual) for s in weights]}
    for kind in KINDS:
        values = np.array([predicted(sample, kind, scale) for sample in weights])
        correlations[kind] = {
            "spearman": float(spearmanr(actual, values).statistic),
            "mean_absolute_error": float(np.mean(np.abs(values / actual - 1))),
            "worst_error": float(np.max(np.abs(values / actual - 1))),
        }
        scatter[f"{kind}_ms"] = [config.npu.ms(value) for value in values.tolist()]
    return {"errors": errors(found), "pooled": correlations, "scatter": scatter}


def balanced(found: list[Sample]) -> list[Sample]:
    """Return as many samples of every network and batch: those without lengths repeat."""
    groups: dict[tuple[str, int], list[Sample]] = {}
    for sample in found:
        groups.setdefault((sample.model, sample.batch), []).append(sample)
    return [sample for group in groups.values() for sample in (group * DRAWS)[:60]]


def draw(data: Json) -> Figure:
    """Return predicted against actual time, a panel per predictor."""
    figure, panels = style.new_figure(1, 3, data["question"], width=4.4, height=4.2)
    scatter = data["scatter"]
    models = list(dict.fromkeys(scatter["models"]))
    for axes, kind in zip(panels, KINDS, strict=True):
        for index, model in enumerate(models):
            chosen = [i for i, name in enumerate(scatter["models"]) if name == model]
            xs, ys = ([scatter[key][i] for i in chosen] for key in ("actual_ms", f"{kind}_ms"))
            axes.scatter(xs, ys, s=14, marker=style.MARKERS[index], color=style.CYCLE[index], alpha=0.6, linewidth=0, label=model)
        ends = [min(scatter["actual_ms"]) / 2, max(scatter["actual_ms"]) * 2]
        axes.plot(ends, ends, color=style.BLACK, linewidth=0.8)
        for axis in (axes.xaxis, axes.yaxis):
            style.log_ticks(axis, (0.1, 1, 10, 100, 1000))
        pooled = data["pooled"][kind]
        error = f"mean error {100 * pooled['mean_absolute_error']:.1f} %, rank correlation {pooled['spearman']:.4f}"
        axes.set_title(f"{KINDS[kind]}\n{error}", fontsize=10)
        axes.set_xlabel("isolated time, timing model (ms)", fontsize=9)
        axes.set_ylabel("predicted (ms)", fontsize=9)
    style.legend_below(figure, panels[0], 8)
    return figure


PREDICTION = Measurement("prediction", "How well is the isolated time predicted?", measure, draw)
