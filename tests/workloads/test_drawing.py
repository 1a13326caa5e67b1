"""Drawing, twice: the compiled draws against plain Python, against golden traces, and against what they should be spread like."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import drawing
from scipy import stats

from prema_gym import Program, register_model, register_program
from prema_gym.config import EnvConfig
from prema_gym.hardware.layers import Gemm, Loop, Network
from prema_gym.sim.simulator import Simulator
from prema_gym.types import NONE
from prema_gym.workloads.drawing import draw_trace
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.mixes import mean_gap_cycles, mean_isolated_cycles
from prema_gym.workloads.models import MODELS, Model
from prema_gym.workloads.seeding import SPLITS, episode_seeds, hash64

GOLDEN = Path(__file__).parents[1] / "golden" / "traces.json"
LEAST_P = 1e-6
"""A test of a distribution fails below this; its seeds are fixed, so it either always passes or never does."""
SPEC = LengthSpec(min=3, max=12, median=6, sigma=0.4, ratio=1.3, output_sigma=0.3, max_output=20)
SINGLE = LengthSpec(min=1, max=1, median=1, sigma=0.5, ratio=2.0, output_sigma=0.6, max_output=3)
"""Of a network whose input has one length."""


@pytest.fixture(scope="module", autouse=True)
def models():
    """Register three programs without lengths, and a small network that generates a sequence."""
    for name, cycles in (("one", 100), ("two", 2000), ("three", 30_000)):
        register_program(name, Program.from_points(cycles, [cycles]))

    def network(input_length: int, hoist_inputs: bool) -> Network:
        encoder, decoder = (Gemm(1, 8, 8, name="read"),), (Gemm(1, 8, 8, name="write"),)
        return Network("drawn", 8, (Loop("encoder", input_length, encoder), Loop("decoder", None, decoder)))

    register_model(Model("drawn", network, lengths=SPEC))
    register_model(Model("single", network, lengths=SINGLE))
    yield
    for name in ("drawn", "single"):
        MODELS.pop(name)


MIX = [
    {"model": "one", "batch": [1, 2, 4], "weight": 2.0, "priority": {"1": 0.5, "9": 0.25, "64": 0.25}},
    {"model": "two", "batch": [1, 2, 4], "weight": 1.0, "priority": {"2": 1.0, "3": 2.0, "5": 1.0}},
    {"model": "three", "batch": [1, 2, 4], "weight": 0.5, "priority": {"7": 1.0, "8": 1.0, "9": 1.0}, "sla": {"ms": 0.01}},
    {"model": "drawn", "batch": [1, 2, 4], "weight": 1.5, "priority": {"1": 1.0, "3": 1.0, "9": 1.0}, "sla": 2.5},
]


def simulator(tasks: int, **workload: Any) -> Simulator:
    """Return a simulator of episodes of ``tasks``."""
    return Simulator(EnvConfig.coerce({"workload": {"num_tasks": tasks, **workload}}))


def episode(machine: Simulator, seed: int) -> np.ndarray:
    """Return the TASK records of the episode of ``seed``."""
    state = machine.state
    cursor = state.arrivals.view(np.recarray)[0]
    draw_trace(state.tasks[0], state.times[0], cursor, machine.draws, machine.tables.programs, np.uint64(seed))
    state.machine["tasks"] = len(state.tasks[0])
    return state.tasks[0]


def twin_classes(classes: Any) -> list[dict[str, Any]]:
    """Return the classes of a workload as the reference takes them."""
    return [{"model": c.model, "batch": c.batches, "weight": c.weight, "priority": c.levels} for c in classes]


def twin_lengths(spec: LengthSpec) -> drawing.Lengths:
    """Return the lengths of a network as the reference takes them."""
    return drawing.Lengths(spec.min, spec.max, spec.median, spec.sigma, spec.ratio, spec.output_sigma, spec.max_output)


LENGTHS = {"drawn": twin_lengths(SPEC), "single": twin_lengths(SINGLE)}


def check_against_the_twin(machine: Simulator, seed: int, error: float = 0.0) -> list[dict[str, Any]]:
    """Draw an episode on both sides and compare it but for its arrivals; return its tasks."""
    records = episode(machine, seed).copy()
    tasks = machine.describe_tasks(0)
    classes = twin_classes(machine.config.workload.classes)
    for index, (task, record) in enumerate(zip(tasks, records, strict=True)):
        expected = vars(drawing.draw(classes, LENGTHS, seed, index, error))
        got = {**task, "request_class": record["request_class"]}
        for name, value in expected.items():
            assert got[name] == (pytest.approx(value, rel=1e-12) if name == "prediction_factor" else value), (index, name)
    return tasks


# --- The same, by another hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_episode_seeds_are_those_of_plain_python(split):
    for seed, first in ((0, 0), (5, 3), (2**64 - 1, 10**6), (-1, 0)):
        expected = [drawing.episode_seed(split, seed % 2**64, 2, first + k) for k in range(20)]
        assert episode_seeds(split, seed, 20, row=2, first=first).tolist() == expected
    assert episode_seeds(split, 5, 3).tolist() == [drawing.episode_seed(split, 5, 0, k) for k in range(3)]


@pytest.mark.parametrize(
    "workload", [{"mix": MIX}, {"models": ["one", "single", "drawn"], "priorities": [9, 1, 9]}], ids=["mix", "short"]
)
def test_requests_are_those_of_plain_python(workload):
    for error in (0.0, 0.4):
        machine = simulator(40, predictor_error=error, **workload)
        for seed in episode_seeds("env", 11, 10).tolist():
            check_against_the_twin(machine, seed, error)


@pytest.mark.parametrize("error", [0.0, 0.4, 2.8])
def test_predictions_are_those_of_plain_python(error):
    """Programs of 100, 2000 and 30 000 cycles are predicted to take that long, times the error; never less than a cycle."""
    cycles = {"one": 100, "two": 2000, "three": 30_000}
    machine = simulator(40, mix=MIX[:3], predictor_error=error)
    least = math.inf
    for seed in episode_seeds("env", 16, 10).tolist():
        for task in check_against_the_twin(machine, seed, error):
            own = cycles[task["model"]]
            expected = max(round(own * task["prediction_factor"]), 1)
            assert (task["isolated_cycles"], task["predicted_cycles"]) == (own, expected)
            least = min(least, own * task["prediction_factor"])
    assert (least < 0.5) == (error > 1)


def test_a_drawn_request_takes_as_long_as_its_own_output():
    machine = simulator(40, mix=MIX[3:])
    tables = machine.tables
    for task in episode(machine, 16):
        program = tables.programs[task["program"]]
        assert task["isolated_cycles"] == tables.totals[program["first_total"] + task["output_length"] - 1]
        assert task["output_length"] <= program["totals"]
    assert len(set(machine.state.tasks[0]["isolated_cycles"].tolist())) > 10


def test_arrivals_over_a_window_are_those_of_plain_python():
    machine = simulator(30, mix=MIX, window=0.7)
    for seed in episode_seeds("env", 12, 10).tolist():
        tasks = episode(machine, seed)
        expected = drawing.window_arrivals(seed, 0.7, tasks["isolated_cycles"].tolist())
        assert tasks["arrival_cycles"].tolist() == expected


def test_arrivals_at_a_rate_are_those_of_plain_python():
    machine = simulator(200, mix=MIX, arrivals={"process": "poisson", "requests_per_second": 7e6})
    for seed in episode_seeds("env", 13, 5).tolist():
        assert episode(machine, seed)["arrival_cycles"].tolist() == drawing.rated_arrivals(seed, 200, 100.0)


def test_arrivals_in_bursts_are_those_of_plain_python():
    bursts = {"burst_factor": 6.0, "burst_share": 0.25, "burst_requests": 8.0}
    machine = simulator(200, mix=MIX, arrivals={"process": "bursty", "requests_per_second": 7e6, **bursts})
    for seed in episode_seeds("env", 14, 5).tolist():
        expected = drawing.rated_arrivals(seed, 200, 100.0, factor=6.0, share=0.25, burst_requests=8.0)
        assert episode(machine, seed)["arrival_cycles"].tolist() == expected


def test_deadlines_count_from_the_arrival_by_the_class():
    tasks = episode(simulator(200, mix=MIX, predictor_error=0.3), 5)
    allowed = tasks["deadline_cycles"] - tasks["arrival_cycles"]
    assert (tasks["deadline_cycles"][tasks["request_class"] < 2] == NONE).all()
    assert (allowed[tasks["request_class"] == 2] == 7000).all()
    drawn = tasks["request_class"] == 3
    np.testing.assert_array_equal(allowed[drawn], np.rint(2.5 * tasks["predicted_cycles"][drawn]))


# --- The same as ever ---------------------------------------------------------------------------------------------------------


def golden_traces() -> dict[str, Any]:
    """Return what is drawn of a few seeds: no number of it depends on the hardware."""
    workloads = {
        "short form": {"models": ["one", "two", "drawn"]},
        "mix": {"mix": MIX, "predictor_error": 0.5},
        "bursty": {"mix": MIX, "arrivals": {"process": "bursty", "requests_per_second": 7e6}},
    }
    names = ("model", "batch", "priority", "input_length", "output_length")
    traces: dict[str, Any] = {}
    for title, workload in workloads.items():
        machine = simulator(6, **workload)
        for seed in (0, 1):
            records = episode(machine, int(episode_seeds("eval", seed, 2)[1]))
            lines = [[task[name] for name in names] for task in machine.describe_tasks(0)]
            arrivals = records["arrival_cycles"].tolist() if title == "bursty" else []
            traces[f"{title}, seed {seed}"] = {"requests": lines, "arrivals": arrivals}
    return traces


def test_a_seed_draws_what_it_drew_when_the_golden_traces_were_reviewed():
    assert golden_traces() == json.loads(GOLDEN.read_text(encoding="utf-8"))


# --- Seeds are distinct -------------------------------------------------------------------------------------------------------


def test_no_two_of_split_seed_row_and_episode_share_a_seed():
    places = list(itertools.product(range(len(SPLITS)), range(12), range(6), range(40)))
    seeds = {int(hash64(split, np.uint64(seed), row, number)) for split, seed, row, number in places}
    assert len(seeds) == len(places)


def test_the_rows_of_a_vector_environment_share_no_episode():
    rows = [set(episode_seeds("env", 100 + row, 50).tolist()) for row in range(20)]
    assert len(set.union(*rows)) == 20 * 50


# --- Distributions ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    """Return 24 576 requests: TASK records, and batch, input length and model by request."""
    machine = simulator(4096, mix=MIX, predictor_error=0.5, arrivals={"process": "poisson", "requests_per_second": 7e5})
    records, keys, gaps = [], [], []
    for seed in episode_seeds("env", 99, 6).tolist():
        records.append(episode(machine, seed).copy())
        keys += [machine.programs.keys[row] for row in records[-1]["program"].tolist()]
        gaps.append(np.diff(records[-1]["arrival_cycles"]))
    return np.concatenate(records), keys, np.concatenate(gaps)


def fits(values: Any, chances: dict[Any, float]) -> None:
    """Assert by chi-square that ``values`` have the ``chances``; what is rarer than five is put together."""
    counts = dict.fromkeys(chances, 0)
    for value in values:
        counts[value] += 1
    total = len(values)
    rare = [value for value, chance in chances.items() if chance * total < 5]
    common = [value for value in chances if value not in rare]
    observed = [counts[value] for value in common] + ([sum(counts[value] for value in rare)] if rare else [])
    expected = [chances[value] * total for value in common] + ([sum(chances[value] for value in rare) * total] if rare else [])
    if rare and expected[-1] < 1:
        observed, expected = [*observed[:-2], sum(observed[-2:])], [*expected[:-2], sum(expected[-2:])]
    assert stats.chisquare(observed, np.array(expected) * sum(observed) / sum(expected)).pvalue > LEAST_P


def independent(first: Any, second: Any) -> None:
    """Assert by chi-square that two columns have nothing to do with each other."""
    table = stats.contingency.crosstab(first, second).count
    assert stats.chi2_contingency(table).pvalue > LEAST_P


def clipped_lognormal(median: float, sigma: float, low: int, high: int) -> dict[int, float]:
    """Return the chance of every length: round(median * exp(sigma * z)), clipped."""
    ends = [-np.inf, *((math.log(k + 0.5) - math.log(median)) / sigma for k in range(low, high)), np.inf]
    return dict(zip(range(low, high + 1), np.diff(stats.norm.cdf(ends)).tolist(), strict=True))


def test_classes_are_drawn_by_weight(many):
    fits(many[0]["request_class"].tolist(), {0: 0.4, 1: 0.2, 2: 0.1, 3: 0.3})


def test_every_batch_of_a_class_is_as_likely(many):
    fits([key.batch for key in many[1]], dict.fromkeys((1, 2, 4), 1 / 3))


@pytest.mark.parametrize("number", range(len(MIX)))
def test_priorities_are_drawn_by_the_weights_of_the_class(many, number):
    weights: Any = MIX[number]["priority"]
    chances = {int(level): weight / sum(weights.values()) for level, weight in weights.items()}
    fits(many[0]["priority"][many[0]["request_class"] == number].tolist(), chances)


def test_input_lengths_are_clipped_log_normals(many):
    lengths = [key.input_length for key in many[1] if key.model == "drawn"]
    fits(lengths, clipped_lognormal(SPEC.median, SPEC.sigma, SPEC.min, SPEC.max))


@pytest.mark.parametrize("length", [4, 6, 9])
def test_output_lengths_are_clipped_log_normals_around_the_input(many, length):
    records, keys, _ = many
    chosen = [int(record["output_length"]) for record, key in zip(records, keys, strict=True) if key.input_length == length]
    fits(chosen, clipped_lognormal(1.3 * length, SPEC.output_sigma, 1, SPEC.max_output))


def test_errors_of_predictions_are_log_normal(many):
    assert stats.kstest(np.log(many[0]["prediction_factor"]) / 0.5, "norm").pvalue > LEAST_P


def test_gaps_of_a_poisson_process_are_exponential(many):
    gaps = many[2]
    assert stats.kstest(gaps + np.random.default_rng(0).uniform(-0.5, 0.5, len(gaps)), "expon", (0, 1000)).pvalue > LEAST_P


def test_arrivals_over_a_window_are_uniform():
    machine = simulator(64, mix=MIX, window=1.0)
    # Against the first and the last arrival, the others are uniform in between.
    seen: list[float] = []
    for seed in episode_seeds("env", 15, 60).tolist():
        arrivals = episode(machine, seed)["arrival_cycles"]
        seen += (arrivals[1:-1] / arrivals[-1]).tolist()
    assert stats.kstest(seen, "uniform").pvalue > LEAST_P


def test_the_draws_of_a_request_have_nothing_to_do_with_each_other(many):
    records, keys, gaps = many
    batch = np.array([key.batch for key in keys])
    first = records["request_class"] == 0
    independent(records["request_class"], batch)
    independent(batch[first], records["priority"][first])
    independent(batch, records["prediction_factor"] > 1)
    independent(records["request_class"], records["prediction_factor"] > 1)
    drawn = records["request_class"] == 3
    lengths = np.array([key.input_length or 0 for key in keys])[drawn]
    independent(lengths > 6, records["priority"][drawn])
    independent(lengths > 6, batch[drawn])
    independent(lengths > 6, records["prediction_factor"][drawn] > 1)
    independent(gaps[:4095] > 700, records["request_class"][1:4096])


def test_a_request_has_nothing_to_do_with_the_next_nor_with_the_next_episode(many):
    records, _, _ = many
    kinds = records["request_class"]
    independent(kinds[:-1], kinds[1:])
    independent(kinds[:-4096], kinds[4096:])
    independent(records["priority"][:-1] > 3, records["priority"][1:] > 3)


def test_bursts_keep_the_rate_and_crowd_the_arrivals():
    bursts = {"burst_factor": 8.0, "burst_share": 0.2, "burst_requests": 20.0}
    machine = simulator(4096, mix=MIX, arrivals={"process": "bursty", "requests_per_second": 7e5, **bursts})
    spans, counts = [], []
    for seed in episode_seeds("env", 16, 12).tolist():
        arrivals = episode(machine, seed)["arrival_cycles"].copy()
        spans.append(arrivals[-1] / (len(arrivals) - 1))
        counts += np.bincount(arrivals // 20_000).tolist()[:-1]
    assert np.mean(spans) == pytest.approx(1000, rel=0.08)
    assert np.var(counts) / np.mean(counts) > 3  # of a Poisson process it is 1


# --- The mean that utilisation goes by ----------------------------------------------------------------------------------------


def test_the_expected_isolated_time_is_the_mean_of_what_is_drawn(many):
    machine = simulator(8, mix=MIX)
    (expected,) = mean_isolated_cycles(machine.config.workload.classes, machine.programs)
    isolated = many[0]["isolated_cycles"]
    assert abs(isolated.mean() - expected) < 5 * isolated.std() / math.sqrt(len(isolated))


def test_utilisation_is_the_work_that_arrives_over_what_the_npus_can_do():
    config = EnvConfig.coerce(
        {"npus": ["prema", "prema"], "workload": {"models": ["one"], "arrivals": {"process": "poisson", "utilisation": 0.8}}}
    )
    assert mean_gap_cycles(config, Simulator(config).programs) == pytest.approx(100 / 2 / 0.8)
