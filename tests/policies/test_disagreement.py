"""Where two policies part, and the smallest learner."""

from __future__ import annotations

import numpy as np
import pytest

from agents.learning.linear import NAMES, LinearScore, train_linear
from baselines import evaluate, make_policy
from baselines.evaluation.disagreement import disagreements
from prema_gym.errors import PolicyError, UsageError

SMALL = {"workload": {"models": ["CNN-AN", "CNN-MN"], "num_tasks": 4}}


def scorer(**weights: float) -> LinearScore:
    return LinearScore(np.array([weights.get(name, 0.0) for name in NAMES]))


def test_a_policy_agrees_with_itself_at_every_decision():
    found = disagreements("PREMA", "PREMA", episodes=3, **SMALL)
    assert found.decisions >= 3
    assert found.rows == []
    assert found.share == 0
    assert found.patterns() == {}
    with pytest.raises(UsageError, match="agree at all"):
        found.seed_of_most  # noqa: B018  # reading it is what raises


def test_the_shortest_first_prefers_shorter_tasks_of_lower_priority_where_it_parts_from_the_highest_first():
    found = disagreements("P-SJF", "P-HPF", episodes=20, seed=5)
    assert found.rows
    assert found.patterns()["shorter, lower priority"] == max(found.patterns().values())
    assert all(row["ours_predicted_ms"] <= row["theirs_predicted_ms"] for row in found.rows)
    assert all(row["ours_priority"] <= row["theirs_priority"] for row in found.rows)
    assert found.seed_of_most in range(5, 25)
    assert sum(found.patterns().values()) == len(found.situations) == len(found.to_pandas())


def test_a_pair_of_tasks_that_is_weighed_again_and_again_is_one_situation():
    found = disagreements("P-SJF", "P-HPF", episodes=20)
    pairs = [(row["seed"], row["ours_task"], row["theirs_task"]) for row in found.situations]
    assert len(set(pairs)) == len(pairs) < len(found.rows)
    assert sum(row["decisions"] for row in found.situations) == len(found.rows)


def test_how_a_task_is_evicted_is_no_disagreement():
    assert disagreements("P-SJF", "P-SJF-KILL", episodes=3, **SMALL).rows == []


def test_policies_that_know_true_times_are_refused():
    with pytest.raises(PolicyError, match="PREMA-ORACLE knows true times"):
        disagreements("PREMA", "PREMA-ORACLE", **SMALL)


def test_a_score_of_the_predicted_time_alone_is_shortest_job_first():
    linear = scorer(log_predicted=-1.0, running=1e-6)
    found = disagreements(linear, make_policy("P-SJF"), episodes=5)
    assert [row for row in found.rows if row["ours_predicted_ms"] != row["theirs_predicted_ms"]] == []


def test_weights_are_told_by_feature_largest_first():
    assert list(scorer(log_token=0.5, running=-2.0).to_dict())[:2] == ["running", "log_token"]


def test_training_lowers_what_it_is_asked_to_and_is_repeatable():
    told: list[float] = []
    arguments = {"generations": 4, "population": 12, "episodes": 24, **SMALL}
    learned = train_linear("antt", report=lambda generation, best: told.append(best), **arguments)
    again = train_linear("antt", **arguments)
    assert np.array_equal(learned.weights, again.weights)
    assert len(told) == 4
    results = evaluate(["NP-FCFS", learned], episodes=100, **SMALL)
    assert results.difference("LINEAR", "NP-FCFS", "antt").better
    assert results.mean("LINEAR", "illegal_actions") == 0
