"""Recordings: what they hold, their tables, and the same episode under several policies."""

from __future__ import annotations

import builtins
import pickle
from html.parser import HTMLParser
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tools.hand_made import THREE, checkpoint, kill, make_env, play_three, register_round_programs, task

from baselines.evaluation.recording import record as record_by_name
from prema_gym.errors import ConfigError, MissingPackage, PolicyError, PremaError, UsageError
from prema_gym.rendering import Kind, RecordDecisions, Recording, record

SMALL = {"workload": {"num_tasks": 4, "models": ["CNN-AN", "CNN-MN"], "batches": [1]}}
ROUND = {"workload": {"models": ["long"], "batches": [1], "num_tasks": 2}}
NAMES = ("NP-FCFS", "PREMA", "P-RRB")


@pytest.fixture(scope="module")
def recordings() -> dict[str, Recording]:
    return {name: record_by_name(name, seed=5, **SMALL) for name in NAMES}


class KeepsFirst:
    """Plays the first legal action."""

    def act(self, view: Any) -> np.ndarray:
        return view.mask.argmax(axis=1)


def test_policies_play_the_same_tasks(recordings):
    def given(recording: Recording) -> list[dict[str, Any]]:
        return [{key: value for key, value in entry.items() if key != "completion_cycles"} for entry in recording.tasks]

    first, *others = recordings.values()
    assert all(given(other) == given(first) for other in others)
    assert {recording.seed for recording in recordings.values()} == {5}
    assert [recording.policy for recording in recordings.values()] == list(NAMES)


def test_the_recorded_episode_is_the_environments(recordings):
    env = gym.make("Prema-v0", **SMALL)
    env.reset(seed=5)
    assert [entry["arrival_cycles"] for entry in env.unwrapped.tasks()] == [
        entry["arrival_cycles"] for entry in recordings["PREMA"].tasks
    ]


def test_ntt_agrees_with_the_metrics(recordings):
    for recording in recordings.values():
        assert np.mean([recording.ntt(index) for index in range(4)]) == pytest.approx(recording.metrics["antt"], rel=1e-12)


def test_a_recording_pickles_and_keeps_nothing_of_the_environment(recordings):
    copy = pickle.loads(pickle.dumps(recordings["PREMA"]))
    assert copy == recordings["PREMA"]
    env = make_small_env()
    recording = Recording.of(env)
    before = pickle.dumps(recording)
    env.reset(seed=8)
    assert pickle.dumps(recording) == before


def make_small_env() -> gym.Env[Any, Any]:
    env = gym.make("Prema-v0", **SMALL)
    env.reset(seed=1)
    return env


def test_decisions_say_who_ran_who_waited_and_what_was_chosen():
    register_round_programs()
    env = RecordDecisions(make_env())
    env.reset(options={"trace": [task(0, "long"), task(150, "short", 9)]})
    env.step(checkpoint(0))
    env.step(checkpoint(1))
    first, second = Recording.of(env).rows("decisions")
    assert (first["move"], first["running"], first["waiting"], first["chosen"], first["cycle"]) == ("DISPATCH", -1, (0,), 0, 0)
    assert (second["move"], second["running"], second["waiting"], second["chosen"], second["cycle"]) == (
        "CHECKPOINT",
        0,
        (1,),
        1,
        150,
    )
    assert second["cause"] == "arrival"
    assert second["tokens"] == {0: 1.0, 1: 9.0}
    env.reset(options={"trace": [task(0, "long")]})
    assert Recording.of(env).decisions == ()


def test_every_asked_decision_is_recorded(recordings):
    quanta = sum(event["event"] == "quantum" for event in recordings["P-RRB"].events)
    assert len(recordings["P-RRB"].decisions) > quanta > 0
    moves = [entry["move"] for entry in recordings["P-RRB"].decisions]
    assert moves.count("CHECKPOINT") >= sum(event["event"] == "commit" for event in recordings["P-RRB"].events)


def test_any_object_that_acts_can_be_recorded():
    recording = record(KeepsFirst(), seed=2, name="first legal", **SMALL)
    assert recording.policy == "first legal"
    assert record(KeepsFirst(), seed=2, **SMALL).policy == "KeepsFirst"
    with pytest.raises(PolicyError, match="act"):
        record("PREMA")  # type: ignore[arg-type]


def test_clairvoyant_policies_are_told_the_truth():
    assert record_by_name("SRPT", seed=5, **SMALL).metrics["antt"] >= 1.0


def test_an_injected_trace_is_recorded():
    register_round_programs()
    recording = record(KeepsFirst(), trace=[task(0, "long"), task(10, "short")], **ROUND)
    assert recording.seed is None
    assert recording.title().startswith("KeepsFirst (own trace)")
    assert recording.timeline.cycles(Kind.EXECUTE) == 1300


@pytest.mark.parametrize("table", ["tasks", "npus", "decisions", "events", "slices"])
def test_tables_become_data_frames(recordings, table):
    recording = recordings["P-RRB"]
    frame = recording.to_pandas(table)
    assert len(frame) == len(recording.rows(table)) > 0
    assert not any(frame[name].isna().all() for name in frame.columns if name != "input_length")


def test_the_table_of_tasks_adds_up(recordings):
    frame = recordings["P-RRB"].to_pandas()
    spent = frame[["wait_cycles", "execute_cycles", "killed_cycles", "overhead_cycles"]].sum(axis=1)
    assert (spent == frame["completion_cycles"] - frame["arrival_cycles"]).all()
    assert (frame["ntt"] == (frame["completion_cycles"] - frame["arrival_cycles"]) / frame["isolated_cycles"]).all()
    assert frame["preemptions"].sum() == recordings["P-RRB"].metrics["preemptions"]


def test_wrong_requests_are_named(recordings):
    with pytest.raises(ConfigError, match=r"'takss'.*tasks"):
        recordings["PREMA"].to_pandas("takss")
    with pytest.raises(UsageError, match="RecordDecisions"):
        Recording.of(make_small_env()).to_pandas("decisions")
    with pytest.raises(UsageError, match="Prema-v0"):
        Recording.of(object())  # type: ignore[arg-type]


def test_without_pandas_one_error_says_what_to_install(recordings, monkeypatch):
    found = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackage, match="pip install pandas") as caught:
        recordings["PREMA"].to_pandas()
    assert isinstance(caught.value, PremaError)


class Balanced(HTMLParser):
    """Counts elements and complains about one that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_notebooks_get_a_table_with_a_strip_per_task(recordings):
    parser = Balanced()
    parser.feed(recordings["P-RRB"]._repr_html_())
    assert parser.open == []
    assert parser.seen.count("svg") == 4
    assert parser.seen.count("rect") > 8
    assert "so far" in Recording.of(make_small_env())._repr_html_()


# --- Several NPUs --------------------------------------------------------------------------------------------------------------


def recording_of_three() -> Recording:
    register_round_programs()
    return Recording.of(play_three(RecordDecisions(make_env(**THREE))))


def test_tables_say_where_a_task_was_and_for_how_long():
    # At 130 NPU 0 kills the first long task for the short one, and NPU 1 the second for the first.
    register_round_programs()
    env = make_env(npus=["prema", "prema"])
    env.reset(options={"trace": [task(0, "long"), task(0, "long"), task(130, "short")]})
    for action in (checkpoint(0), kill(2), kill(0)):
        env.step(action)
    recording = Recording.of(env)
    where = [(row["npus"], row["npu0_cycles"], row["npu1_cycles"]) for row in recording.rows("tasks")]
    assert where == [((0, 1), 130, 1000), ((1, 0), 1000, 130), ((0,), 300, 0)]
    first, second = recording.rows("npus")
    names = ("configuration", "useful_cycles", "wasted_cycles", "overhead_cycles", "idle_cycles", "completions", "utilisation")
    assert [first[name] for name in names] == ["prema", 1300, 130, 0, 0, 2, 1.0]
    assert [second[name] for name in names] == ["prema", 1000, 130, 0, 300, 1, 1130 / 1430]


def test_one_npu_has_a_row_and_its_tasks_say_nothing_of_it(recordings):
    (row,) = recordings["PREMA"].rows("npus")
    assert row["configuration"] == "prema"
    assert not any(name.startswith("npu") for name in recordings["PREMA"].rows("tasks")[0])


def test_decisions_name_the_asked_npu_and_what_it_may_take():
    recording = recording_of_three()
    first, second, *_ = recording.rows("decisions")
    assert (first["npu"], second["npu"]) == (0, 1)
    assert first["cycle"] == second["cycle"] == 0
    assert first["waiting"] == (0, 1, 2)
    assert {row["npu"] for row in recording.rows("decisions")} == {0, 1, 2}


def test_notebooks_get_a_strip_per_npu_too():
    parser = Balanced()
    html = recording_of_three()._repr_html_()
    parser.feed(html)
    assert parser.open == []
    assert parser.seen.count("svg") == 3 + 6
    assert "NPU 2 edge" in html


def test_a_recording_of_three_npus_pickles():
    recording = recording_of_three()
    assert pickle.loads(pickle.dumps(recording)) == recording
