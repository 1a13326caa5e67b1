"""The tuned index rules: frozen in a file, found by the objective that learned policies have, no worse than the untuned one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agents.commands import tune_batching, tune_gate, tune_index
from agents.learning.objective import SCALES, dominance, headline_values, improvements
from baselines.evaluation.episodes import play_policy
from baselines.policies.batch_index import BatchIndex
from baselines.policies.heuristic import Heuristic
from baselines.policies.registry import POLICIES, TUNED_FILE, make_policy
from prema_gym.config import EnvConfig

TUNED = json.loads(TUNED_FILE.read_text(encoding="utf-8"))
INDEX = TUNED["INDEX"]


def test_improvements_count_in_units_of_each_scale_and_in_the_good_direction() -> None:
    theirs = np.array([2.0, 5.0, 0.1, 0.2, 2.0])
    ours = theirs * np.exp([-0.10, 0.01, -0.20, 0.02, -0.02])
    np.testing.assert_allclose(improvements(ours, theirs), np.ones(5))
    assert dominance(np.array([3.0, 1.0, 1.0, 1.0, -1.0])) == pytest.approx(-1.0 + 0.05 * 1.0)


def test_the_front_keeps_what_nothing_else_beats() -> None:
    costs = np.array([[1.0, 3.0], [2.0, 2.0], [2.5, 2.5], [3.0, 1.0], [1.0, 3.5]])
    assert tune_index.nondominated(costs).tolist() == [0, 1, 3]


def test_points_are_spaced_along_the_whole_front() -> None:
    costs = np.column_stack([np.linspace(0.0, 1.0, 101), np.linspace(1.0, 0.0, 101)])
    assert tune_index.spaced(costs, 5).tolist() == [0, 25, 50, 75, 100]


def test_the_file_names_its_command_and_its_split() -> None:
    assert list(TUNED) == [*tune_index.PARTS, "GATE", "GATE-DEADLINE", "GATE-EDF-FEASIBLE", "GATE-TARDINESS", "BATCHING"]
    for part in (TUNED[name] for name in tune_index.PARTS):
        assert part["split"] == "valid"
        assert part["command"].startswith("python -m agents.tune_index")
        assert part["scales"] == SCALES


def test_the_gate_is_tuned_on_train_for_the_npus_that_the_file_names() -> None:
    part = TUNED["GATE"]
    assert part["command"].startswith("python -m agents.tune_gate")
    assert (part["split"], part["npus"]) == ("train", "prema,prema,edge,edge")
    # What the file does not name is neutral: the gate was tuned where nothing has a deadline.
    neutral = {"doomed_penalty": 0.0, "slack_weight": 0.0}
    assert make_policy("GATE").parameters == {**neutral, **part["rules"]["GATE"]["parameters"]}  # type: ignore[attr-defined]
    assert part["rules"]["GATE"]["results"]["weighted_antt"] < part["opponents"]["WSRPT"]["weighted_antt"]


@pytest.mark.parametrize(
    ("name", "opponent", "measure"),
    [
        ("GATE-DEADLINE", "GATE", "deadline_misses"),
        ("GATE-EDF-FEASIBLE", "EDF-FEASIBLE", "deadline_misses"),
        ("GATE-TARDINESS", "GATE", "tardiness"),
    ],
)
def test_gates_for_deadlines_are_tuned_on_train_in_the_scenario_that_the_file_names(name: str, opponent: str, measure: str) -> None:
    part = TUNED[name]
    assert part["command"].startswith("python -m agents.tune_gate --scenario PremaCluster-v0")
    assert (part["split"], part["scenario"]) == ("train", "PremaCluster-v0")
    assert make_policy(name).parameters == part["rules"][name]["parameters"]  # type: ignore[attr-defined]
    assert part["rules"][name]["results"][measure] < part["opponents"][opponent][measure]


def test_without_deadlines_the_gate_for_them_plays_as_one_without_its_terms() -> None:
    parameters = TUNED["GATE-DEADLINE"]["rules"]["GATE-DEADLINE"]["parameters"]
    assert parameters["slack_weight"] > 0
    plain = Heuristic("PLAIN", "GATE", "CHECKPOINT", gate=parameters["gate"], advantage_power=parameters["advantage_power"])
    config = EnvConfig.coerce({"npus": "prema,edge", "decision_every": 1, "allow_idle": True})
    one, other = (play_policy(policy, config, 10, 3, split="valid") for policy in (make_policy("GATE-DEADLINE"), plain))
    np.testing.assert_array_equal(one.tasks, other.tasks)


def test_a_scenario_tunes_the_terms_about_deadlines_and_leaves_the_rest_of_the_file(tmp_path) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(json.dumps(TUNED), encoding="utf-8")
    few = ["--scenario", "PremaCluster-v0", "--episodes", "1", "--threads", "1", "--output", str(file)]
    assert tune_gate.main([*few, "--evaluations", "10"]) == 0
    assert tune_gate.main([*few, "--evaluations", "3", "--base", "EDF-FEASIBLE"]) == 0
    after = json.loads(file.read_text(encoding="utf-8"))
    changed = {name for name, part in after.items() if part != TUNED[name]}
    assert changed == {"GATE-DEADLINE", "GATE-EDF-FEASIBLE"}
    assert set(after["GATE-DEADLINE"]["rules"]["GATE-DEADLINE"]["parameters"]) == {
        "advantage_power", "gate", "doomed_penalty", "slack_weight",
    }  # fmt: skip
    for wrong in (["--base", "NONE"], ["--measure", "goodput"]):
        with pytest.raises(SystemExit):
            tune_gate.main([*few, *wrong])


def test_index_and_its_front_of_sixteen_are_registered() -> None:
    assert "INDEX" in POLICIES
    assert [name for name in POLICIES if name.startswith("INDEX-FRONT-")] == [f"INDEX-FRONT-{k:02}" for k in range(16)]
    assert make_policy("INDEX").parameters["priority_power"] == INDEX["rules"]["INDEX"]["parameters"]["priority_power"]  # type: ignore[attr-defined]


def test_index_improves_on_prema_in_all_five_and_is_no_worse_than_the_untuned_rule() -> None:
    assert min(INDEX["improvements_over_PREMA"].values()) > 0
    assert max(INDEX["objective_by_mechanism"].values()) >= INDEX["objective_of_simple"]


def test_the_cap_makes_the_tuned_index_better_by_the_objective_that_both_have() -> None:
    capped = TUNED["CAP-INDEX"]
    assert max(capped["objective_by_mechanism"].values()) > max(INDEX["objective_by_mechanism"].values())
    assert make_policy("CAP-INDEX").parameters == capped["rules"]["CAP-INDEX"]["parameters"]  # type: ignore[attr-defined]


def test_the_results_in_the_file_are_those_of_the_rule() -> None:
    config = EnvConfig.coerce({"workload": {"window": INDEX["window"]}, "decision_every": 1})
    values = headline_values(play_policy(make_policy("INDEX"), config, 200, INDEX["seed"], split="valid"))
    again = headline_values(play_policy(make_policy("INDEX"), config, 200, INDEX["seed"], split="valid"))
    assert (values == again).all()
    assert values[0] == pytest.approx(INDEX["rules"]["INDEX"]["results"]["antt"], rel=0.1)


def test_tuning_writes_the_same_file_again(tmp_path) -> None:
    command = ["--episodes", "20", "--generations", "2", "--cap-generations", "2", "--front", "8", "--threads", "1"]
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        assert tune_index.main([*command, "--mechanisms", "CHECKPOINT", "--output", str(file)]) == 0
    first, second = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert list(first) == list(tune_index.PARTS)
    for part in tune_index.PARTS:
        assert first[part]["rules"] == second[part]["rules"]


def test_what_is_not_tuned_stays_as_it_is_in_the_file(tmp_path) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(json.dumps(TUNED), encoding="utf-8")
    command = ["--only", "CAP-INDEX", "--episodes", "10", "--cap-generations", "1", "--threads", "1", "--output", str(file)]
    assert tune_index.main(command) == 0
    after = json.loads(file.read_text(encoding="utf-8"))
    assert {name: part == TUNED[name] for name, part in after.items()} == {
        "INDEX": True,
        "INDEX-FRONT": True,
        "CAP-INDEX": False,
        "GATE": True,
        "GATE-DEADLINE": True,
        "GATE-EDF-FEASIBLE": True,
        "GATE-TARDINESS": True,
        "BATCHING": True,
    }


def test_rules_for_batches_are_tuned_on_train_and_no_worse_than_never_waiting() -> None:
    part = TUNED["BATCHING"]
    assert part["command"].startswith("python -m agents.tune_batching")
    assert (part["split"], part["scenario"], part["loads"]) == ("train", "PremaBatch-v0", [0.8, 1.5, 2.5])
    results = {name: rule["results"]["weighted_antt"] for name, rule in part["rules"].items()}
    for prefix, preemptive in (("NP-", ""), ("", "P-")):
        never = part["opponents"][f"{prefix}DENSITY"]["weighted_antt"]
        assert results[f"{prefix}BATCH-INDEX"] <= never
        assert results[f"{preemptive}TIMEOUT"] <= never
    tuned = make_policy("BATCH-INDEX")
    assert isinstance(tuned, BatchIndex)
    assert tuned.parameters == part["rules"]["BATCH-INDEX"]["parameters"]
    assert {name: list(wait) for name, wait in tuned.networks.items()} == part["rules"]["BATCH-INDEX"]["networks"]


def test_tuning_batches_freezes_all_four_rules_and_leaves_the_rest_of_the_file(tmp_path) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(json.dumps(TUNED), encoding="utf-8")
    few = ["--episodes", "1", "--loads", "1.5", "--evaluations", "4", "--threads", "1", "--output", str(file)]
    assert tune_batching.main(few) == 0
    after = json.loads(file.read_text(encoding="utf-8"))
    assert {name for name, part in after.items() if part != TUNED[name]} == {"BATCHING"}
    assert set(after["BATCHING"]["rules"]) == {"TIMEOUT", "P-TIMEOUT", "NP-BATCH-INDEX", "BATCH-INDEX"}
    assert after["BATCHING"]["rules"]["BATCH-INDEX"]["results"]["weighted_antt"] > 1.0
    for wrong in (["--measure", "goodput"], ["--loads", "much"]):
        with pytest.raises(SystemExit):
            tune_batching.main([*few, *wrong])


@pytest.mark.parametrize("space", [tune_index.INDEX, tune_index.CAP_INDEX])
def test_a_search_starts_within_its_bounds_at_a_rule_that_exists(space) -> None:
    assert (space.low <= space.start).all()
    assert (space.start <= space.high).all()
    parameters = space.rule("start", space.start, "CHECKPOINT").parameters
    assert parameters["wait_weight"] == pytest.approx(1.0)
    assert set(parameters) == {name.removeprefix("log_") for name in space.names}
