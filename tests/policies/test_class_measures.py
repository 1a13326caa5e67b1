"""Measures of fairness and of tails: by hand, then what holds for any episodes."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from rich.console import Console

from baselines.evaluation.episodes import Played
from baselines.evaluation.pooled import LEAST_TASKS, Pool, pooled_measures
from baselines.evaluation.results import Results
from baselines.evaluation.statistics import resamples
from baselines.report.tables import fairness_table, notes, summary_table
from prema_gym.config import EnvConfig
from prema_gym.errors import PremaError
from prema_gym.metrics import METRICS


def played(ntt, priority) -> Played:
    """Return episodes filled in by hand: ``ntt`` and ``priority`` are (E, n)."""
    ntt = np.array(ntt, float)
    made = Played.empty(*ntt.shape)
    made.tasks["ntt"], made.tasks["priority"] = ntt, priority
    made.tasks["isolated_cycles"] = 100
    per_priority = 1 / ntt / made.priority
    made.episodes["metrics"][:, METRICS.index("fairness")] = per_priority.min(axis=1) / per_priority.max(axis=1)
    return made


def compared(**policies: Played) -> Results:
    episodes, tasks = next(iter(policies.values())).ntt.shape
    config = EnvConfig(workload={"num_tasks": tasks})
    return Results(config=config, episodes=episodes, seed=0, split="eval", played=policies)


def drawn(episodes: int, tasks: int = 8, levels: tuple[int, ...] = (1, 3, 9), seed: int = 0) -> Played:
    rng = np.random.default_rng(seed)
    return played(1 + rng.exponential(3.0, (episodes, tasks)), rng.choice(levels, (episodes, tasks)))


def ntts(made: Played, level: int) -> np.ndarray:
    return made.ntt[made.priority == level]


def pooled(made: Played, priorities: tuple[int, ...], counts: np.ndarray) -> np.ndarray:
    return Pool(made, priorities).values(counts, counts / len(made))


# --- By hand ----------------------------------------------------------------------------------------------------------------------


def test_the_progress_of_a_class_is_the_mean_of_1_over_ntt_over_its_tasks_in_all_episodes():
    results = compared(ONE=played([[1, 2, 4], [5, 1.25, 10]], [[1, 1, 9], [9, 9, 1]]))
    assert results.mean("ONE", "progress_priority_1") == pytest.approx((1 + 1 / 2 + 1 / 10) / 3)
    assert results.mean("ONE", "progress_priority_9") == pytest.approx((1 / 4 + 1 / 5 + 4 / 5) / 3)


def test_class_fairness_is_the_smallest_over_the_largest_progress_per_priority():
    results = compared(ONE=played([[1, 2, 4], [5, 1.25, 10]], [[1, 1, 9], [9, 9, 1]]))
    assert results.mean("ONE", "class_fairness") == pytest.approx((1.25 / 3 / 9) / (1.6 / 3))
    three = compared(ONE=played([[10, 4, 1]], [[1, 3, 9]]))  # 1/10, 1/12 and 1/9
    assert three.mean("ONE", "class_fairness") == pytest.approx(9 / 12)


def test_class_fairness_sees_what_the_smallest_and_the_largest_task_hide():
    priority = [[1, 1, 9]]
    held, free = played([[1, 9, 2]], priority), played([[1, 1, 2]], priority)
    results = compared(HELD=held, FREE=free)
    assert results.mean("HELD", "fairness") == results.mean("FREE", "fairness") == pytest.approx(1 / 18)
    assert results.mean("HELD", "class_fairness") == pytest.approx((1 / 18) / (5 / 9))
    assert results.mean("FREE", "class_fairness") == pytest.approx(1 / 18)


def test_a_task_that_was_cut_off_early_counts_as_not_slowed_down():
    results = compared(ONE=played([[0.25, 2.0]], [[1, 1]]))
    assert results.mean("ONE", "progress_priority_1") == 0.75
    assert results.mean("ONE", "worst_ntt") == 2.0


def test_the_worst_ntt_is_an_episodes_largest_averaged_over_episodes():
    results = compared(ONE=played([[1, 2, 4], [5, 1.25, 10]], [[1, 1, 9], [9, 9, 1]]))
    assert results.per_episode("ONE", "worst_ntt").tolist() == [4.0, 10.0]
    assert results.mean("ONE", "worst_ntt") == 7.0


def test_tails_are_percentiles_over_the_tasks_of_one_priority():
    ntt = np.arange(1, 22, dtype=float).reshape(3, 7)  # 1 .. 21: the median is 11, the 95th percentile 20, the 99th 20.8
    results = compared(ONE=played(np.hstack([ntt, np.full((3, 1), 50.0)]), [[1] * 7 + [9]] * 3))
    found = [results.mean("ONE", f"ntt_p{percent}_priority_1") for percent in (50, 95, 99)]
    assert found == pytest.approx([11, 20, 20.8])


def test_a_tail_of_fewer_than_20_tasks_has_no_value():
    results = compared(ONE=played([[2.0, 3.0]] * 20, [[1, 3]] * 19 + [[1, 1]]))
    assert LEAST_TASKS == 20
    assert results.mean("ONE", "ntt_p99_priority_1") == pytest.approx(np.quantile([2.0] * 20 + [3.0], 0.99))
    for measure in ("ntt_p50_priority_3", "ntt_p95_priority_3", "ntt_p99_priority_3"):
        assert math.isnan(results.mean("ONE", measure))
        assert math.isnan(results.estimate("ONE", measure).low)
    assert results.mean("ONE", "progress_priority_3") == pytest.approx(1 / 3)  # a mean has no such limit


# --- What always holds ------------------------------------------------------------------------------------------------------------


def test_one_class_alone_is_even_with_itself():
    results = compared(ONE=drawn(30, levels=(3,)))
    estimate = results.estimate("ONE", "class_fairness")
    assert (estimate.mean, estimate.low, estimate.high) == (1.0, 1.0, 1.0)


def test_the_order_of_episodes_and_of_tasks_changes_nothing():
    made = drawn(40)
    rng = np.random.default_rng(1)
    order = rng.permutation(40)
    shuffled = Played(made.episodes[order], rng.permuted(made.tasks[order], axis=1))
    results = compared(ONE=made, OTHER=shuffled)
    for measure in (*results.pooled_measures, "worst_ntt"):
        assert results.mean("ONE", measure) == pytest.approx(results.mean("OTHER", measure), rel=1e-12)


@pytest.mark.parametrize("percent", [50, 95, 99])
def test_tails_are_numpys_quantiles(percent):
    made = drawn(50)
    results = compared(ONE=made)
    for level in (1, 3, 9):
        expected = np.quantile(ntts(made, level), percent / 100)
        assert results.mean("ONE", f"ntt_p{percent}_priority_{level}") == pytest.approx(expected, rel=1e-12)


def test_the_95th_percentile_of_priority_9_is_the_high_priority_tail():
    results = compared(ONE=drawn(50))
    np.testing.assert_array_equal(results.draws("ONE", "hp_tail"), results.draws("ONE", "ntt_p95_priority_9"))


def test_every_resample_is_measured_as_if_its_episodes_had_been_played():
    made = drawn(30)
    counts = next(resamples(30, 25))
    values = pooled(made, (1, 3, 9), counts)
    for row, measured in zip(counts, values, strict=True):
        again = np.repeat(np.arange(30), row)
        alone = pooled(Played(made.episodes[again], made.tasks[again]), (1, 3, 9), np.ones((1, 30), np.int64))[0]
        np.testing.assert_allclose(measured, alone, rtol=1e-12)


def test_intervals_use_the_resamples_that_all_measures_share():
    made = drawn(30)
    results = compared(ONE=made)
    counts = np.concatenate(list(resamples(30)))
    rows = [made.ntt[np.repeat(np.arange(30), row)].max(axis=1).mean() for row in counts[:50]]
    np.testing.assert_allclose(results.draws("ONE", "worst_ntt")[:50], rows, rtol=1e-12)
    column = list(results.pooled_measures).index("class_fairness")
    np.testing.assert_allclose(results.draws("ONE", "class_fairness"), pooled(made, (1, 3, 9), counts)[:, column], rtol=1e-12)


def test_a_resample_without_a_class_says_nothing_of_it():
    values = pooled(played([[1.0], [2.0]], [[1], [9]]), (1, 9), np.array([[2, 0], [1, 1]]))
    columns = list(pooled_measures((1, 9)))
    assert math.isnan(values[0, columns.index("class_fairness")])
    assert math.isnan(values[0, columns.index("progress_priority_9")])
    assert values[1, columns.index("class_fairness")] == pytest.approx((1 / 18) / 1)


def test_classes_are_the_priorities_that_were_played():
    results = compared(ONE=drawn(30, levels=(2, 5)))
    assert results.priorities == (2, 5)
    assert "ntt_p99_priority_5" in results.measures
    assert math.isnan(results.mean("ONE", "hp_tail"))
    with pytest.raises(PremaError, match=r"unknown measure 'ntt_p99_priority_9'\. Did you mean 'ntt_p99_priority_"):
        results.mean("ONE", "ntt_p99_priority_9")


def test_pooled_measures_have_factors_and_differences_but_no_value_per_episode():
    results = compared(ONE=drawn(60), TWICE=drawn(60))
    results.played["TWICE"].tasks["ntt"] *= 2
    factor = results.factor("ONE", "ntt_p99_priority_9", "TWICE")
    assert factor.ratio.mean == factor.ratio.low == factor.ratio.high == pytest.approx(2)
    assert results.factor("ONE", "progress_priority_1", "TWICE").ratio.mean == pytest.approx(2)
    assert results.factor("ONE", "class_fairness", "TWICE").ratio.mean == pytest.approx(1)
    assert results.difference("ONE", "TWICE", "ntt_p99_priority_9").better
    with pytest.raises(PremaError, match="pooled"):
        results.per_episode("ONE", "class_fairness")


# --- Ways out ---------------------------------------------------------------------------------------------------------------------


def test_json_and_csv_hold_them_under_the_same_names(tmp_path):
    results = compared(**{"NP-FCFS": drawn(30), "ONE": drawn(30, seed=1)})
    written = results.to_dict()
    assert written["schema"] == 1
    assert written["priorities"] == [1, 3, 9]
    results.to_csv(tmp_path / "a.csv")
    results.to_csv(tmp_path / "b.csv", per="episode")
    with (tmp_path / "a.csv").open() as file:
        row = list(csv.DictReader(file))[1]
    for measure in results.fairness_measures:
        estimate = results.estimate("ONE", measure)
        assert written["policies"]["ONE"][measure] == {"mean": estimate.mean, "ci95": [estimate.low, estimate.high]}
        assert float(row[measure]) == estimate.mean
    with (tmp_path / "b.csv").open() as file:
        assert float(next(csv.DictReader(file))["worst_ntt"]) == results.per_episode("NP-FCFS", "worst_ntt")[0]
    assert "class_fairness" in written["versus_np_fcfs"]["ONE"]


def test_what_a_claim_of_fairer_needs_is_named_in_one_place():
    results = compared(ONE=drawn(30))
    tails = tuple(f"ntt_p99_priority_{level}" for level in (1, 3, 9))
    assert results.fairness_measures == ("fairness", "class_fairness", "jain", "worst_ntt", *tails)
    assert results.latex(results.fairness_measures).count("p99") == 3


def test_the_table_of_fairness_fits_the_terminal_it_is_for():
    results = compared(**{"NP-FCFS": drawn(30), "PREMA-WHOLE-WAIT": drawn(30, seed=1)})
    for width in (80, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(fairness_table(results, console))
        text = console.file.getvalue()
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        assert text.count("p99 NTT") == 3
        assert ("±" in text) == (width == 120)


def test_a_policy_that_played_illegal_actions_is_marked_and_named():
    wrong = drawn(4)
    wrong.episodes["illegal_actions"] = [3, 0, 0, 2]
    results = compared(RIGHT=drawn(4), WRONG=wrong)
    assert results.illegal == ("WRONG",)
    assert "‡ played illegal actions, which the environment replaced (per episode): WRONG 1.25." in notes(results, reference=None)
    console = Console(file=io.StringIO(), width=200)
    console.print(summary_table(results))
    assert "WRONG ‡" in console.file.getvalue()
    assert "RIGHT ‡" not in console.file.getvalue()
    assert r"WRONG$^\ddagger$" in results.latex()


def test_nothing_is_said_of_illegal_actions_where_there_are_none():
    results = compared(ONE=drawn(4))
    assert not any("illegal" in line for line in notes(results, reference=None))
