"""Intervals, pooled tails, factors and differences: against SciPy, against NumPy, and by hand."""

from __future__ import annotations

import builtins
import csv
import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.stats

from baselines.evaluation.bounds import weighted_antt_bound
from baselines.evaluation.episodes import Played
from baselines.evaluation.estimates import Estimate
from baselines.evaluation.measures import EPISODE_MEASURES, HEADLINES, MEASURES, episode_values, factor, jain
from baselines.evaluation.results import Results
from baselines.evaluation.statistics import TAIL, interval, logarithms, pooled_quantiles, ranked, resamples, weighted_sums
from baselines.report.plots import front, group_of
from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.errors import PolicyError, PremaError
from prema_gym.metrics import METRICS, SLA_TARGETS

RNG = np.random.default_rng(7)


# --- Resamples -------------------------------------------------------------------------------------------------------------------


def all_counts(episodes: int, number: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(resamples(episodes, number, seed)))


def test_a_resample_draws_as_many_episodes_as_there_are():
    counts = all_counts(50, 300)
    assert counts.shape == (300, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert counts.min() == 0
    assert abs(counts.var() - 0.98) < 0.05  # binomial: 50 draws of probability 1/50


def test_resamples_are_the_same_each_time_and_come_in_bounded_pieces():
    np.testing.assert_array_equal(all_counts(30, 40), all_counts(30, 40))
    assert (all_counts(30, 40, seed=1) != all_counts(30, 40)).any()
    assert [len(counts) for counts in resamples(1_000_000, 5)] == [2, 2, 1]


def test_the_interval_of_a_mean_is_scipys():
    values = RNG.gamma(2.0, 1.5, 400)
    draws = np.concatenate([counts @ values for counts in resamples(400, 6000)]) / 400
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=6000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = reference.high - reference.low
    assert interval(draws) == pytest.approx((reference.low, reference.high), abs=0.05 * width)


def test_about_95_of_100_intervals_cover_the_truth():
    covered = 0
    for _ in range(400):
        values = RNG.exponential(1.0, 200)
        low, high = interval(np.concatenate([counts @ values for counts in resamples(200, 400)]) / 200)
        covered += low <= 1.0 <= high
    assert 0.90 <= covered / 400 <= 0.98


def test_an_interval_leaves_out_what_has_no_value_and_knows_infinity():
    assert interval(np.array([1.0, np.nan, 1.0])) == (1.0, 1.0)
    assert all(math.isnan(end) for end in interval(np.array([np.nan])))
    assert interval(np.array([1.0] * 50 + [np.inf] * 50)) == (1.0, np.inf)


# --- Tails -----------------------------------------------------------------------------------------------------------------------


def test_a_pooled_tail_is_the_percentile_of_the_resampled_tasks():
    ntt = RNG.exponential(3.0, (40, 5)) + 1
    chosen = RNG.random((40, 5)) < 0.4
    counts = all_counts(40, 200)
    expected = []
    for row in counts:
        tasks = np.concatenate([np.repeat(ntt[k][chosen[k]], row[k]) for k in range(40)])
        expected.append(np.percentile(tasks, 95))
    np.testing.assert_allclose(pooled_quantiles(ranked(ntt, chosen), counts, [0.95])[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("quantile", [0.0, 0.5, 1.0])
def test_any_quantile_of_any_few_tasks_is_numpys(quantile):
    for count in range(1, 8):
        ntt = RNG.random((count, 1))
        tasks = ranked(ntt, np.ones((count, 1), bool))
        found = pooled_quantiles(tasks, np.ones((1, count), np.int64), [quantile])
        assert found[0, 0] == pytest.approx(np.quantile(ntt, quantile), abs=1e-15)


def test_there_is_no_tail_of_nothing():
    tasks = ranked(np.ones((3, 2)), np.zeros((3, 2), bool))
    assert np.isnan(pooled_quantiles(tasks, np.ones((1, 3), np.int64), [TAIL])).all()


def test_many_quantiles_at_once_are_each_numpys_in_the_order_asked_for():
    quantiles = [0.5, 0.0, 0.99, 0.95, 1.0, 0.97]
    for count in (1, 2, 3, 7, 40):
        ntt = RNG.random((count, 1))
        found = pooled_quantiles(ranked(ntt, np.ones((count, 1), bool)), np.ones((1, count), np.int64), quantiles)
        np.testing.assert_allclose(found[0], np.quantile(ntt, quantiles), rtol=1e-12)


@pytest.mark.parametrize(("episodes", "columns"), [(1, 1), (31, 3), (32, 1), (1000, 61)])
def test_weighted_sums_are_added_up_in_the_order_of_episodes_to_the_bit(episodes, columns):
    weights, values = RNG.integers(0, 4, (20, episodes)) / episodes, RNG.normal(size=(episodes, columns))
    expected = np.zeros((20, columns))
    for episode in range(episodes):
        expected += weights[:, episode, None] * values[episode]
    found = weighted_sums(weights, values)
    assert found.tobytes() == expected.tobytes()
    np.testing.assert_allclose(found, weights @ values, rtol=0, atol=1e-12)


def test_what_is_no_number_is_none_in_every_sum():
    assert np.isnan(weighted_sums(np.array([[0.0, 1.0]]), np.array([[np.nan], [1.0]]))).all()


# --- Small formulas ---------------------------------------------------------------------------------------------------------------


def test_jains_index_by_hand():
    assert jain(np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])) == pytest.approx([1.0, 0.25])
    assert jain(np.array([[1.0, 0.5]])) == pytest.approx([2.25 / 2.5])


def test_factors_above_one_are_better_in_every_direction():
    assert factor(MEASURES["antt"], np.array(2.0), np.array(20.0)) == 10
    assert factor(MEASURES["stp"], np.array(6.0), np.array(3.0)) == 2
    assert factor(MEASURES["fairness"], np.array(0.2), np.array(0.4)) == 0.5
    assert factor(MEASURES["sla_violation"], np.array(0.1), np.array(0.4)) == pytest.approx(4)
    assert factor(MEASURES["sla_violation"], np.array([0.0, 0.0]), np.array([0.4, 0.0])).tolist() == [np.inf, 1.0]


def test_a_mean_of_logarithms_needs_positive_numbers():
    assert np.exp(logarithms(np.array([2.0, 8.0])).mean()) == pytest.approx(4.0)
    assert math.isnan(logarithms(np.array([2.0, 0.0])).mean())


def test_the_front_is_what_nothing_dominates():
    points = [(3.0, 0.3), (1.0, 0.1), (2.0, 0.2), (2.5, 0.15), (1.0, 0.05), (4.0, 0.3)]
    assert front(points) == [1, 2, 0]


# --- Results by hand --------------------------------------------------------------------------------------------------------------


def played(ntt, priority) -> Played:
    """Return three fields of episodes filled in by hand: ANTT, STP and SLA violation follow from ``ntt`` (E, n)."""
    ntt = np.array(ntt, float)
    made = Played.empty(*ntt.shape)
    made.tasks["ntt"], made.tasks["priority"] = ntt, priority
    made.tasks["isolated_cycles"] = 100
    made.episodes["metrics"][:, METRICS.index("antt")] = ntt.mean(axis=1)
    made.episodes["metrics"][:, METRICS.index("stp")] = (1 / ntt).sum(axis=1)
    made.episodes["metrics"][:, METRICS.index("sla_violation")] = np.mean([ntt > n for n in SLA_TARGETS], axis=(0, 2))
    made.episodes["seed"] = np.arange(len(ntt))
    return made


SLOW = [[4.0, 8.0], [2.0, 6.0], [1.0, 1.0], [10.0, 30.0]]
FAST = [[1.0, 2.0], [2.0, 6.0], [1.0, 3.0], [1.0, 1.0]]
PRIORITY = [[9, 1], [1, 9], [9, 9], [3, 1]]


@pytest.fixture(scope="module")
def results() -> Results:
    config = EnvConfig(workload={"num_tasks": 2})
    both = {"NP-FCFS": played(SLOW, PRIORITY), "FAST_1": played(FAST, PRIORITY)}
    return Results(config=config, episodes=4, seed=11, split="eval", played=both, clairvoyant=("FAST_1",))


def test_means_by_hand(results):
    assert results.policies == ["NP-FCFS", "FAST_1"]
    assert results.mean("NP-FCFS", "antt") == pytest.approx((6 + 4 + 1 + 20) / 4)
    assert results.mean("FAST_1", "antt") == pytest.approx((1.5 + 4 + 2 + 1) / 4)
    assert results.mean("FAST_1", "stp") == pytest.approx((1.5 + 2 / 3 + 4 / 3 + 2) / 4)
    # Of 2..20: NTT 2 exceeds none, 6 exceeds 2..5, 3 exceeds 2.
    assert results.mean("FAST_1", "sla_violation") == pytest.approx((4 + 1) / (4 * 2 * 19))
    assert results.mean("FAST_1", "ntt_ratio") == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1) / 4)
    # Priority 9, pooled: 1, 6, 1, 3. The 95th percentile lies .85 of the way from 3 to 6.
    assert results.mean("FAST_1", "hp_tail") == pytest.approx(3 + 0.85 * 3)


def test_factors_wins_and_geometric_means_by_hand(results):
    gained = results.factor("FAST_1", "antt")
    assert gained.ratio.mean == pytest.approx(31 / 8.5)
    assert gained.geometric.mean == pytest.approx((4 * 1 * 0.5 * 20) ** 0.25)
    assert gained.geometric.low < gained.geometric.mean < gained.geometric.high
    assert results.factor("FAST_1", "stp").geometric.mean == pytest.approx(((1.5 / 0.375) * 1 * (2 / 3) * (2 / (4 / 30))) ** 0.25)
    assert math.isnan(results.factor("FAST_1", "sla_violation").geometric.mean)  # some episodes violate nothing
    assert (gained.wins, gained.ties, gained.losses) == (2, 1, 1)
    assert gained.ratio.low < gained.ratio.mean < gained.ratio.high
    lost = results.factor("NP-FCFS", "antt", reference="FAST_1")
    assert lost.ratio.mean == pytest.approx(8.5 / 31)
    assert (lost.wins, lost.ties, lost.losses) == (1, 1, 2)
    pooled = results.factor("FAST_1", "hp_tail")
    assert math.isnan(pooled.geometric.mean)
    assert pooled.wins == pooled.ties == pooled.losses == 0


def test_a_policy_against_itself_is_exactly_even(results):
    assert results.factor("FAST_1", "antt", "FAST_1").ratio.to_dict("factor") == {"factor": 1.0, "ci95": [1.0, 1.0]}
    even = results.difference("FAST_1", "FAST_1", "antt")
    assert (even.difference.mean, even.difference.low, even.difference.high, even.better) == (0.0, 0.0, 0.0, False)


def test_a_difference_is_paired_and_knows_the_good_side():
    slow = RNG.uniform(2, 50, (300, 2))
    made = {"slow": played(slow, [[9, 1]] * 300), "fast": played(slow - 0.1 - 0.01 * RNG.random((300, 2)), [[9, 1]] * 300)}
    results = Results(config=EnvConfig(workload={"num_tasks": 2}), episodes=300, seed=0, split="eval", played=made)
    apart = results.estimate("slow", "antt")
    gap = results.difference("fast", "slow", "antt")
    assert gap.difference.half_width < 0.01 * apart.half_width  # unpaired it would drown
    assert gap.better
    assert not results.difference("slow", "fast", "antt").better
    assert results.difference("fast", "slow", "stp").better
    assert not results.difference("fast", "slow", "preemptions").better
    assert gap.to_dict() == {
        "policy": results.mean("fast", "antt"),
        "opponent": results.mean("slow", "antt"),
        "difference": gap.difference.mean,
        "ci95": [gap.difference.low, gap.difference.high],
        "better": True,
    }


def test_all_policies_share_their_resamples(results):
    values = results.per_episode("FAST_1", "antt")
    counts = all_counts(4, 2000)
    np.testing.assert_allclose(results.draws("FAST_1", "antt"), counts @ values / 4, rtol=1e-12)
    np.testing.assert_allclose(results.draws("NP-FCFS", "stp"), counts @ results.per_episode("NP-FCFS", "stp") / 4, rtol=1e-12)


def test_the_bound_is_averaged_over_the_episodes(results):
    tasks = results.played["FAST_1"].tasks
    expected = weighted_antt_bound(tasks["arrival_cycles"], tasks["isolated_cycles"], tasks["priority"])
    assert results.bound().mean == pytest.approx(expected.mean())
    assert results.bound("antt").mean == pytest.approx(1.5)  # two tasks of one length at once: relaxed, 1/2 + 1/2 and 3/2 + 1/2
    with pytest.raises(PremaError, match="unknown bound 'stp'"):
        results.bound("stp")


def test_columns_have_the_names_they_are_looked_up_by(results):
    values = episode_values(results.played["FAST_1"])
    assert values.shape == (4, len(EPISODE_MEASURES))
    assert set(HEADLINES) <= set(MEASURES)
    assert set(MEASURES) == {*EPISODE_MEASURES, "hp_tail", "class_fairness"}
    assert set(results.measures) == {*EPISODE_MEASURES, *results.pooled_measures}


def test_unknown_names_are_clear_errors(results):
    with pytest.raises(PolicyError, match="unknown policy of these results 'PREMA'"):
        results.mean("PREMA", "antt")
    with pytest.raises(PremaError, match=r"unknown measure 'ant'\. Did you mean 'antt'"):
        results.mean("FAST_1", "ant")
    with pytest.raises(PremaError, match="pooled"):
        results.per_episode("FAST_1", "hp_tail")
    with pytest.raises(PremaError, match="unknown kind of row"):
        list(results.rows(per="task"))


# --- What is printed -------------------------------------------------------------------------------------------------------------


def test_an_estimate_prints_as_mean_and_interval():
    assert str(Estimate(2.194, 2.141, 2.239)) == "2.19 [2.14, 2.24]"
    assert str([Estimate(123.4, 99.6, 150.2)]) == "[123 [100, 150]]"
    assert str(Estimate(math.nan, math.nan, math.nan)) == "- [-, -]"


def test_results_print_as_their_table(results):
    text = str(results)
    assert text == repr(results) == results.table()
    assert [line.split()[0] for line in text.splitlines()[2:4]] == ["NP-FCFS", "FAST_1"]
    assert "illegal" not in text
    assert len(text) < 2000
    assert results._repr_html_().startswith("<pre")
    assert "NP-FCFS" in results._repr_html_()


def test_the_picture_names_every_policy_and_shows_ones_own_apart(results, tmp_path):
    figure = results.plot(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 0
    assert {"NP-FCFS", "FAST_1"} <= {text.get_text() for text in figure.axes[5].texts}
    assert group_of(dataclasses.replace(results, clairvoyant=()), "FAST_1") == "learned, or your own"
    assert group_of(results, "LEAST-LOADED/NP-FCFS") != "learned, or your own"


# --- Ways out ---------------------------------------------------------------------------------------------------------------------


def test_the_json_says_what_it_is_and_is_strict(results, tmp_path):
    results.to_json(tmp_path / "new" / "out.json")
    read = json.loads((tmp_path / "new" / "out.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert read == results.to_dict()
    assert {key: read[key] for key in ("schema", "episodes", "seed", "split", "window", "npu")} == {
        "schema": 1, "episodes": 4, "seed": 11, "split": "eval", "window": 0.5, "npu": "prema",
    }  # fmt: skip
    assert read["config"]["workload"]["num_tasks"] == 2
    assert set(read["policies"]["FAST_1"]["antt"]) == {"mean", "ci95"}
    assert list(read["policies"]["FAST_1"]["sla_violation_at"]) == [str(n) for n in SLA_TARGETS]
    assert list(read["versus_np_fcfs"]) == ["FAST_1"]
    assert read["versus_np_fcfs"]["FAST_1"]["antt"]["factor"] == pytest.approx(31 / 8.5)
    assert read["bound"]["weighted_antt"]["mean"] == results.bound().mean


def test_what_has_no_value_is_null():
    low = {"A": played([[1.0]], [[1]]), "NP-FCFS": played([[30.0]], [[1]])}
    results = Results(config=EnvConfig(workload={"num_tasks": 1}), episodes=1, seed=0, split="eval", played=low)
    plain = results.to_dict()
    assert plain["policies"]["A"]["hp_tail"] == {"mean": None, "ci95": [None, None]}
    assert plain["versus_np_fcfs"]["A"]["sla_violation"]["factor"] is None  # infinitely better


def test_an_npu_that_is_no_preset_is_custom():
    config = EnvConfig(npu=NPUConfig(array_rows=64))
    assert Results(config=config, episodes=1, seed=0, split="eval", played={}).npu_name == "custom"


def test_csv_has_a_row_per_policy_or_per_episode(results, tmp_path):
    results.to_csv(tmp_path / "a.csv")
    results.to_csv(tmp_path / "b.csv", per="episode")
    with (tmp_path / "a.csv").open() as file:
        policies = list(csv.DictReader(file))
    with (tmp_path / "b.csv").open() as file:
        episodes = list(csv.DictReader(file))
    assert [row["policy"] for row in policies] == ["NP-FCFS", "FAST_1"]
    assert float(policies[0]["antt"]) == results.mean("NP-FCFS", "antt")
    assert float(policies[0]["antt_low"]) == results.estimate("NP-FCFS", "antt").low
    assert len(episodes) == 8
    assert float(episodes[5]["antt"]) == 4.0
    assert episodes[5]["episode_seed"] == "1"
    assert float(episodes[0]["weighted_antt_bound"]) == results.bounds[0, 0]


def test_data_frames_are_indexed_by_policy_and_episode(results):
    pytest.importorskip("pandas")
    assert results.to_pandas().loc["FAST_1", "antt"] == results.mean("FAST_1", "antt")
    frame = results.to_pandas(per="episode")
    assert frame.loc[("NP-FCFS", 3), "antt"] == 20.0
    assert frame.groupby("policy")["stp"].mean()["FAST_1"] == pytest.approx(results.mean("FAST_1", "stp"))


def test_without_pandas_a_data_frame_is_one_clear_error(results, monkeypatch):
    original = builtins.__import__

    def refuse(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PremaError, match=r"pip install pandas, or \"prema-gym\[notebooks\]\""):
        results.to_pandas()


def test_the_latex_table_is_escaped_and_marks_the_clairvoyant(results):
    table = results.latex()
    assert r"FAST\_1$^\dagger$" in table
    assert r"SLA violations (\%)" in table
    assert table.count(r"\\") == 3
    assert table.startswith(r"\begin{tabular}{lrrrrr}")
