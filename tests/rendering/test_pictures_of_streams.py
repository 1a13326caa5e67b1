"""Recordings, charts, traces and live views of streams: queues and missed deadlines worked out on paper, and what is recent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from tools.hand_made import register_round_programs

from baselines import make_policy
from baselines.evaluation.recording import record as record_by_name
from prema_gym.cli.simulate import main as simulate
from prema_gym.errors import ConfigError
from prema_gym.rendering import Kind, Recording, Timeline, gantt, gantt_compare
from prema_gym.rendering.export.perfetto import trace_events
from prema_gym.rendering.live.past import RECENT_ARRIVALS
from prema_gym.rendering.live.terminal import live_table
from prema_gym.rendering.queues import backlog_steps, table_steps
from prema_gym.rendering.style import BACKLOG_COLOR

ONE: dict[str, Any] = {
    "slots": 2,
    "horizon_requests": 60,
    "quantum_cycles": 10**9,
    "workload": {
        "models": ["long", "short"], "batches": [1], "sla": 2.0, "arrivals": {"process": "poisson", "utilisation": 1.4},
    },
}  # fmt: skip
THREE = {**ONE, "npus": ["prema", "prema", "edge"], "slots": 5}
BY_HAND = [{"arrival_cycles": at, "model": "short", "deadline_cycles": at + 400} for at in (0, 10, 20, 30, 2000)]
"""Two slots, first come, first served: they complete at 300, 600, 900 and 1200; the last arrives at 2000, and all is over."""


def make(**arguments: Any) -> Any:
    register_round_programs()
    return gym.make("prema_gym:Prema-v0", disable_env_checker=True, **{**ONE, **arguments}).unwrapped


def play(env: Any, policy: str = "NP-FCFS", steps: int = 10**6) -> Any:
    """Play at most ``steps`` decisions of the stream just begun; return the environment."""
    scheduler = make_policy(policy)
    for _ in range(steps):
        *_, truncated, _ = env.step(int(scheduler.act(env.view())[0]))
        if truncated:
            break
    return env


@pytest.fixture(scope="module")
def by_hand() -> Recording:
    env = make()
    env.reset(options={"trace": BY_HAND})
    return play(env).recording("NP-FCFS")


@pytest.fixture(scope="module")
def crowd() -> Recording:
    register_round_programs()
    return record_by_name("P-SJF", seed=2, **THREE)


# --- Recordings ---------------------------------------------------------------------------------------------------------------


def test_the_queues_are_those_worked_out_on_paper(by_hand: Recording) -> None:
    assert backlog_steps(by_hand) == [(0, 0), (20, 1), (30, 2), (300, 1), (600, 0)]
    assert table_steps(by_hand) == [(0, 0), (10, 1), (900, 0), (2000, 1)]


def test_a_request_waits_from_its_arrival_though_the_table_was_full(by_hand: Recording) -> None:
    assert [part[:3] for part in by_hand.timeline.tasks[2]] == [(Kind.WAIT, 20, 600), (Kind.EXECUTE, 600, 900)]
    row = by_hand.rows("tasks")[2]
    assert (row["backlog_cycles"], row["wait_cycles"], row["completion_cycles"]) == (280, 580, 900)
    assert [row["deadline_missed"] for row in by_hand.rows("tasks")] == [False, True, True, True, False]


def test_a_recording_holds_all_that_arrived_and_agrees_with_the_metrics(crowd: Recording) -> None:
    assert len(crowd.tasks) == 60
    cohort = range(6, 48)
    assert crowd.metrics is not None
    assert np.mean([crowd.ntt(task) for task in cohort]) == pytest.approx(crowd.metrics["antt"])
    assert np.mean([crowd.misses(task) for task in cohort]) == pytest.approx(crowd.metrics["deadline_misses"])
    for npu, share in enumerate(crowd.metrics["utilisation_per_npu"]):
        assert crowd.utilisation(npu) == pytest.approx(share)
    waited = sum(crowd.timeline.cycles(Kind.WAIT, task=task) for task in range(60))
    queued = sum(
        step * (later - cycle)
        for steps in (table_steps(crowd), backlog_steps(crowd))
        for (cycle, step), later in _spans(steps, crowd)
    )
    saved = sum(part.cycles for lane in crowd.timeline.tasks for part in lane if part.kind is Kind.SAVE)
    assert queued == waited + saved  # a task that is being saved counts as waiting in the table


def _spans(steps: list[tuple[int, int]], recording: Recording) -> list[tuple[tuple[int, int], int]]:
    """Return each step with the cycle at which it ends."""
    ends = [cycle for cycle, _ in steps[1:]] + [recording.end_cycles]
    return list(zip(steps, ends, strict=True))


def test_a_recording_can_stop_after_some_requests() -> None:
    register_round_programs()
    part = record_by_name("NP-FCFS", seed=2, requests=12, **ONE)
    assert 12 <= len(part.tasks) < 60
    assert part.metrics is None
    assert "ms played" in part.title()
    with pytest.raises(ConfigError, match="requests = 0"):
        record_by_name("NP-FCFS", seed=2, requests=0, **ONE)


def test_an_exported_recording_plays_again(crowd: Recording, tmp_path: Path) -> None:
    crowd.save_requests(tmp_path / "crowd.jsonl")
    again = record_by_name("P-SJF", trace=str(tmp_path / "crowd.jsonl"), **THREE)
    assert again.events == crowd.events
    assert again.seed is None


def test_policies_that_know_the_truth_are_recorded_too() -> None:
    register_round_programs()
    found = record_by_name("SRPT", seed=2, **THREE)
    assert found.metrics is not None
    assert "a small timeline" not in found._repr_html_()
    assert "and 28 tasks more" in found._repr_html_()


# --- Charts -------------------------------------------------------------------------------------------------------------------


def test_the_chart_counts_the_deadlines_marks_late_completions_and_draws_the_backlog(by_hand: Recording) -> None:
    ax = gantt(by_hand)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "deadlines missed: 3 of 4" in labels  # the last one's lies beyond the end
    assert "3 waiting" in labels
    assert sum(line.get_marker() == "v" for line in ax.get_lines()) == 3
    colors = [tuple(area.get_facecolor()[0]) for area in ax.collections if len(area.get_facecolor())]
    assert to_rgba(BACKLOG_COLOR) in colors


def test_a_chart_shows_the_first_requests_those_in_between_or_a_window(crowd: Recording, tmp_path: Path) -> None:
    arrivals = [crowd.ms(entry["arrival_cycles"]) for entry in crowd.tasks]
    assert gantt(crowd).get_xlim() == pytest.approx((0.0, arrivals[40]))
    assert gantt(crowd, requests=(10, 20)).get_xlim() == pytest.approx((arrivals[10], arrivals[20]))
    assert gantt(crowd, requests=1000).get_xlim() == pytest.approx((0.0, crowd.ms(crowd.end_cycles)))
    assert gantt(crowd, window_ms=(0.001, 0.002)).get_xlim() == (0.001, 0.002)
    with pytest.raises(ConfigError, match="give one of them"):
        gantt(crowd, requests=3, window_ms=(0, 1))
    for wrong in (0, (5, 5), (-1, 3)):
        with pytest.raises(ConfigError, match="requests = "):
            gantt(crowd, requests=wrong)
    gantt_compare([crowd, crowd], path=tmp_path / "two.png")
    assert (tmp_path / "two.png").stat().st_size > 10_000


def test_where_nobody_waits_the_chart_says_so() -> None:
    env = make()
    env.reset(options={"trace": [{"arrival_cycles": at, "model": "short"} for at in (0, 500, 1000, 2000)]})
    recording = play(env).recording()
    assert "none waiting" in [label.get_text() for label in gantt(recording).get_yticklabels()]
    assert "own trace" in recording.title()


def test_a_stream_without_deadlines_says_so() -> None:
    register_round_programs()
    workload = {**ONE["workload"], "sla": None}
    ax = gantt(record_by_name("NP-FCFS", seed=1, **{**ONE, "workload": workload}))
    assert "no deadlines" in [label.get_text() for label in ax.get_yticklabels()]


# --- Perfetto -----------------------------------------------------------------------------------------------------------------


def test_the_trace_has_the_backlog_the_arrivals_and_the_missed_deadlines(by_hand: Recording) -> None:
    events = trace_events(by_hand)
    backlog = [event["args"]["requests"] for event in events if event["name"] == "backlog"]
    assert backlog == [0, 1, 2, 1, 0]
    cycles = {
        name: [event["args"]["cycle"] for event in events if event["name"] == name]
        for name in ("arrival", "enters the table", "deadline missed")
    }
    assert cycles["arrival"] == [0, 10, 20, 30, 2000]
    assert cycles["enters the table"] == [0, 10, 300, 600, 2000]
    assert cycles["deadline missed"] == [410, 420, 430]


# --- Live ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["human", "rgb_array", "ansi"])
@pytest.mark.parametrize("place", [ONE, THREE], ids=["one NPU", "three NPUs"])
def test_every_mode_shows_a_stream_to_its_end(mode: str, place: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    env = make(render_mode=mode, **place)
    env.reset(seed=3)
    scheduler, shapes, over = make_policy("NP-FCFS"), set(), False
    while not over:
        *_, over, _ = env.step(int(scheduler.act(env.view())[0]))
        shown = env.render()
        if mode == "rgb_array":
            shapes.add(shown.shape)
        elif mode == "ansi":
            assert "in the backlog" in shown
    assert len(shapes) == (mode == "rgb_array")
    if mode == "human":
        assert "backlog: " in capsys.readouterr().out
    env.close()


def test_what_is_recent_is_the_end_of_what_happened() -> None:
    env = make(render_mode="ansi", **THREE)
    env.reset(seed=4)
    play(env, "P-SJF", 100)
    text = env.render()
    scene = env._screen.scene()
    assert scene.since_cycles > 0
    assert f"since {scene.since_ms:.3f} ms" in text
    entered = [event["cycle"] for event in env.events() if event["event"] == "arrival"]
    assert scene.since_cycles == entered[-RECENT_ARRIVALS]
    whole = Timeline.of(env.events(), tasks=60, end_cycles=scene.now_cycles, npus=3)
    for lane, recent in zip(whole.npus, scene.timeline.npus, strict=True):
        cut = [part for part in lane if part.end_cycles > scene.since_cycles]
        assert [part[:4] for part in recent[1:]] == [part[:4] for part in cut[1:]]
        assert recent[0].start_cycles == scene.since_cycles
    present = sorted(int(slot["task"]) for slot in env.view().table[0] if slot["task"] >= 0)
    assert [row.task for row in scene.rows] == present
    assert all(part.task in scene.priorities for lane in scene.timeline.npus for part in lane if part.task >= 0)
    assert live_table(scene).row_count == 3 + len(present)


def test_looking_seldom_shows_what_looking_always_does() -> None:
    often, seldom = make(render_mode="ansi", **THREE), make(render_mode="ansi", **THREE)
    scheduler = make_policy("P-SJF")
    for env in (often, seldom):
        env.reset(seed=4)
    for _ in range(110):
        for env in (often, seldom):
            env.step(int(scheduler.act(env.view())[0]))
        often.render()
    assert seldom.render() == often.render()


def test_requests_with_deadlines_are_shown_with_the_time_that_is_left() -> None:
    env = make(render_mode="ansi")
    env.reset(options={"trace": BY_HAND})
    assert f"due {env.config.npu.ms(400):+.2f} ms" in env.render()


# --- The command line ---------------------------------------------------------------------------------------------------------


def test_simulate_draws_lists_exports_and_plays_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = ["simulate", "--scenario", "PremaStream-v0", "--models", "CNN-AN", "CNN-MN", "--batches", "1"][1:]
    picture, exported = tmp_path / "stream.png", tmp_path / "stream.jsonl"
    assert simulate([*stream, "--policy", "EDF", "--requests", "5", "--gantt", str(picture), "--export", str(exported)]) == 0
    printed = capsys.readouterr().out
    assert "Stream of seed 0: 512 requests" in printed
    assert "the first 5 of 512 requests" in printed
    assert picture.stat().st_size > 10_000
    assert len(exported.read_text().splitlines()) == 512
    found = []
    for source in ([], ["--arrivals", str(exported)]):
        assert simulate([*stream, *source, "--policy", "EDF", "--json"]) == 0
        metrics = json.loads(capsys.readouterr().out)["policies"]["EDF"]["metrics"]
        found.append({name: value for name, value in metrics.items() if name not in ("weighted_antt_all", "return")})
    assert found[0] == found[1]
    assert simulate([*stream, "--requests", "0"]) == 2
