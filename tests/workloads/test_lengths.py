"""Input lengths, output lengths, and the profiled table a scheduler guesses output lengths from."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest

from prema_gym.errors import ModelError
from prema_gym.workloads.lengths import LengthSpec, clipped_lognormal, output_length_table, predicted_output_length
from prema_gym.workloads.models import MODELS

SPECS = {name: model.lengths for name, model in MODELS.items() if model.lengths is not None}
OUTPUTS = {name: spec for name, spec in SPECS.items() if spec.has_output}
SPEC = LengthSpec(min=5, max=50, median=20, sigma=0.5, ratio=0.8, output_sigma=0.2, max_output=30)


def test_the_library_has_the_ranges_and_ratios_of_the_design() -> None:
    assert {name: (spec.min, spec.max, spec.ratio, spec.output_sigma) for name, spec in SPECS.items()} == {
        "RNN-SA": (10, 80, None, 0.0),
        "RNN-MT1": (5, 50, 1.0, 0.15),
        "RNN-MT2": (5, 50, 0.8, 0.2),
        "RNN-ASR": (200, 800, 0.15, 0.15),
        "BERT-base": (8, 128, None, 0.0),
    }


def test_an_average_draw_is_the_median_and_extreme_ones_are_clipped() -> None:
    assert SPEC.input_lengths([0.0, -9.0, 9.0]).tolist() == [20, 5, 50]
    assert SPEC.output_lengths([20, 20, 50], [0.0, 1.0, 3.0]).tolist() == [16, round(16 * math.exp(0.2)), 30]
    assert SPEC.output_lengths([5], [-20.0]).tolist() == [1]


@pytest.mark.parametrize("name", SPECS)
def test_half_of_the_inputs_lie_on_either_side_of_the_median(name: str) -> None:
    spec = SPECS[name]
    lengths = spec.input_lengths(np.random.default_rng(0).standard_normal(20_000))
    assert lengths.min() >= spec.min
    assert lengths.max() <= spec.max
    assert np.mean(lengths < spec.median) < 0.51
    assert np.mean(lengths > spec.median) < 0.51


def test_compiled_code_draws_the_same_lengths() -> None:
    compiled = numba.njit(clipped_lognormal)
    for z in np.random.default_rng(1).standard_normal(200):
        assert compiled(20, 0.5, z, 5, 50) == clipped_lognormal(20, 0.5, z, 5, 50)


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_table_follows_the_ratio_of_output_to_input(name: str) -> None:
    spec = OUTPUTS[name]
    table = output_length_table(spec)
    assert table.shape == (spec.max - spec.min + 1,)
    assert table.dtype == np.float64
    inputs = np.arange(spec.min, spec.max + 1)
    assert np.mean(table / (spec.ratio * inputs)) == pytest.approx(1.0, abs=0.03)  # type: ignore[operator]
    assert table.min() >= 1
    assert table.max() <= spec.max_output


def test_the_table_is_the_geometric_mean_of_the_pairs_drawn() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    inputs = SPEC.input_lengths(rng.standard_normal(400))
    outputs = SPEC.output_lengths(inputs, rng.standard_normal(400))
    seen = outputs[inputs == 18]
    assert output_length_table(SPEC, draws=400, seed=3)[18 - 5] == pytest.approx(math.prod(seen.tolist()) ** (1 / len(seen)))


def test_lengths_never_drawn_are_interpolated_and_the_ends_held() -> None:
    spec = LengthSpec(min=1, max=1000, median=100, sigma=0.3, ratio=2.0, output_sigma=0.0, max_output=5000)
    seen = np.unique(spec.input_lengths(np.random.Generator(np.random.PCG64(5)).standard_normal(20)))
    table = output_length_table(spec, draws=20, seed=5)
    inside = slice(seen[0] - 1, seen[-1])
    np.testing.assert_allclose(table[inside], 2.0 * np.arange(seen[0], seen[-1] + 1))  # exact without output noise
    assert set(table[: seen[0]]) == {table[seen[0] - 1]}
    assert set(table[seen[-1] :]) == {table[seen[-1] - 1]}


def test_the_table_is_the_same_every_time_and_cannot_be_changed() -> None:
    table = output_length_table(SPEC)
    again = output_length_table.__wrapped__(SPEC)
    np.testing.assert_array_equal(table, again)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1.0


def test_a_prediction_is_the_table_rounded_and_at_least_one_step() -> None:
    table = output_length_table(SPEC)
    assert [predicted_output_length(SPEC, n) for n in range(5, 51)] == [max(1, round(entry)) for entry in table.tolist()]
    short = LengthSpec(min=1, max=2, median=1, sigma=0.1, ratio=0.01, max_output=5)
    assert predicted_output_length(short, 1) == 1


def test_predictions_of_the_library_are_pinned() -> None:
    assert [predicted_output_length(OUTPUTS["RNN-MT1"], n) for n in (5, 20, 50)] == [5, 21, 49]
    assert [predicted_output_length(OUTPUTS["RNN-MT2"], n) for n in (5, 20, 50)] == [4, 17, 39]
    assert [predicted_output_length(OUTPUTS["RNN-ASR"], n) for n in (200, 450, 800)] == [29, 65, 118]


def test_a_classifier_has_no_output_lengths() -> None:
    with pytest.raises(ModelError, match="generates no sequence"):
        predicted_output_length(SPECS["RNN-SA"], 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min": 0}, "LengthSpec.min = 0: must be at least 1"),
        ({"max": 4}, "LengthSpec.max = 4: must be at least min"),
        ({"median": 51}, "LengthSpec.median = 51: must be from min to max"),
        ({"sigma": -1.0}, "LengthSpec.sigma = -1.0"),
        ({"ratio": 0.0}, "LengthSpec.ratio = 0.0: must be None or above 0"),
        ({"output_sigma": -0.1}, "LengthSpec.output_sigma = -0.1"),
        ({"max_output": 0}, "LengthSpec.max_output = 0"),
    ],
)
def test_an_impossible_spec_names_the_field_and_the_rule(changes: dict[str, float], message: str) -> None:
    fields = {"min": 5, "max": 50, "median": 20, "sigma": 0.5, "ratio": 1.0}
    with pytest.raises(ModelError, match=message):
        LengthSpec(**(fields | changes))  # type: ignore[arg-type]
