"""Algorithm 1 against the timing model: what the paper's scheduler relies on, and why it does not count MACs."""

from __future__ import annotations

import pytest

from baselines.studies.prediction import balanced, errors, mac_scale, predicted, samples
from prema_gym.config import EnvConfig


@pytest.fixture(scope="module")
def found():
    return list(samples(EnvConfig(), draws=60))


def test_given_the_true_length_every_network_and_batch_is_predicted_within_five_percent(found):
    rows = errors(found)
    assert len(rows) == 24
    assert max(row["true_length"] for row in rows) <= 0.05
    assert all(row["guessed_length"] == row["true_length"] for row in rows if row["model"] in ("CNN-AN", "CNN-VN", "RNN-SA"))


def test_the_profiled_length_costs_translation_more_than_the_timing_model_does(found):
    rows = {(row["model"], row["batch"]): row for row in errors(found)}
    for model in ("RNN-MT1", "RNN-MT2", "RNN-ASR"):
        assert rows[model, 4]["true_length"] < 0.02 < rows[model, 4]["guessed_length"] < 0.15


def test_counting_macs_predicts_badly_however_it_is_scaled(found):
    sample = balanced(found)
    scale = mac_scale(sample)
    error = [abs(predicted(one, "macs", scale) / one.actual - 1) for one in sample]
    assert sum(error) / len(error) > 1.0
