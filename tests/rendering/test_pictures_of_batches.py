"""Recordings, charts, traces and live views of batches: an episode worked out on paper, then conservation and every export."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console
from tools.hand_made import BATCH_BYTES, BATCHES, KEEP, checkpoint, kill, register_sized_programs, task

from prema_gym.rendering import Kind, Recording, Timeline, gantt, gantt_compare, record, save_page, save_trace
from prema_gym.rendering.episode import batch_name, batch_names
from prema_gym.rendering.export.episode_page import queue_stretches, slice_columns
from prema_gym.rendering.export.perfetto import trace_events
from prema_gym.rendering.live.terminal import live_table, summary_line
from prema_gym.rendering.queues import backlog_steps, table_steps
from prema_gym.rendering.style import JOINED_LABEL, SHADES
from prema_gym.rendering.summary import batch_samples, summary_metrics
from prema_gym.rendering.timeline import Slice
from prema_gym.types import NONE

WAIT, EXECUTE, KILLED, JOINED = Kind.WAIT, Kind.EXECUTE, Kind.KILLED, Kind.JOINED
SAVE, RESTORE, REFILL = Kind.SAVE, Kind.RESTORE, Kind.REFILL

REQUESTS = [task(0, "echo"), task(0, "echo", 3), task(130, "lone", 9), task(500, "echo"), task(1500, "echo", 9)]
DECISIONS = (
    (0, checkpoint(0)),  # request 1 joins: they take 400 cycles
    (130, checkpoint(2)),  # commit at 200, saved at 320, until 1320
    (500, KEEP),
    (1320, checkpoint(0)),  # restored until 1440, refilled until 1447
    (1500, kill(3)),  # request 4 joins 3: until 1900; requests 0 and 1 are by themselves again
    (1900, checkpoint(1)),  # now request 0 joins 1: until 2300
)
"""When which action is played. A batch of two echoes takes 400 cycles, its context 120 to save or to restore, a refill 7."""


class Random:
    """Any legal action, one after another."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, view: Any) -> np.ndarray:
        return np.array([self._rng.choice(np.flatnonzero(view.mask[0]))])


def make_env(**arguments: Any) -> Any:
    register_sized_programs()
    workload = {"models": ["echo"], "batches": [1], "num_tasks": 1}
    given = {"batching": 4, "slots": 5, "quantum_cycles": 10**9, "strict": True, "workload": workload, **arguments}
    return gym.make("prema_gym:Prema-v0", disable_env_checker=True, **given).unwrapped


def play(env: Any, until: int = 10**9) -> Any:
    """Play the decisions up to a cycle; return the environment, at the decision that follows."""
    env.reset(options={"trace": REQUESTS})
    for cycle, action in DECISIONS:
        assert int(env.view().npu["clock_cycles"][0]) == cycle
        if cycle >= until:
            break
        env.step(action)
    return env


@pytest.fixture(scope="module")
def by_hand() -> Recording:
    return play(make_env()).recording("by hand")


@pytest.fixture(scope="module", params=[None, ["prema", "prema", "edge"]], ids=["one NPU", "three NPUs"])
def crowd(request: pytest.FixtureRequest) -> Recording:
    register_sized_programs()
    return record(Random(3), seed=2, name="random", **{**BATCHES, "npus": request.param})


def spans(slices: tuple[Slice, ...]) -> list[tuple[Any, ...]]:
    return [(part.kind, part.start_cycles, part.end_cycles, *part.members) for part in slices]


# --- Timelines ----------------------------------------------------------------------------------------------------------------


def test_the_slices_are_those_worked_out_on_paper(by_hand: Recording) -> None:
    timeline = by_hand.timeline
    first = [(KILLED, 0, 200, 1), (SAVE, 200, 320, 1)]
    again = [(RESTORE, 1320, 1440, 1), (REFILL, 1440, 1447, 1), (KILLED, 1447, 1500, 1)]
    assert [spans(lane) for lane in timeline.tasks] == [
        [*first, (WAIT, 320, 1320), *again, (WAIT, 1500, 1900), (JOINED, 1900, 2300)],
        [(JOINED, 0, 200), (WAIT, 200, 1320), (JOINED, 1320, 1500), (WAIT, 1500, 1900), (EXECUTE, 1900, 2300, 0)],
        [(WAIT, 130, 320), (EXECUTE, 320, 1320)],
        [(WAIT, 500, 1500), (EXECUTE, 1500, 1900, 4)],
        [(JOINED, 1500, 1900)],
    ]
    alone, pair, last = (EXECUTE, 320, 1320), (EXECUTE, 1500, 1900, 4), (EXECUTE, 1900, 2300, 0)
    assert spans(timeline.npu) == [*first, alone, *again, pair, last]
    assert [part.leader for part in timeline.tasks[1]] == [0, NONE, 0, NONE, NONE]
    assert {part.npu for lane in timeline.tasks for part in lane if part.kind is JOINED} == {0}


def test_accounts_count_a_batch_once(by_hand: Recording) -> None:
    assert by_hand.timeline.accounts() == {"useful": 1800, "wasted": 253, "overhead": 247, "idle": 0}
    assert by_hand.end_cycles == 2300


def test_the_context_is_that_of_the_batch(by_hand: Recording) -> None:
    moved = [(part.kind, part.nbytes) for part in by_hand.timeline.npu if part.kind in (SAVE, RESTORE)]
    assert moved == [(SAVE, BATCH_BYTES), (RESTORE, BATCH_BYTES)]


def test_members_wait_with_their_leader_in_the_counter_too(by_hand: Recording) -> None:
    steps = [(0, 0), (130, 1), (200, 3), (320, 2), (500, 3), (1320, 1), (1500, 2), (1900, 0)]
    assert table_steps(by_hand) == steps
    counted = [event for event in trace_events(by_hand) if event["name"] == "waiting tasks"]
    last = {event["ts"]: event["args"]["tasks"] for event in counted}
    assert list(last.values()) == [length for _, length in steps]
    assert all(event["args"]["tasks"] >= 0 for event in counted)


def test_a_midway_timeline_ends_at_the_clock() -> None:
    lanes = play(make_env(), until=1500).recording().timeline.tasks
    assert spans(lanes[1][-1:]) == [(JOINED, 1320, 1500)]
    assert spans(lanes[0][-1:]) == [(EXECUTE, 1447, 1500, 1)]


def test_a_member_whose_leader_is_unknown_waits() -> None:
    events = [{"cycle": at, "event": what, "npu": 0, "slot": 0, "task": 0} for at, what in ((0, "arrival"), (5, "join"))]
    assert spans(Timeline.of(events, tasks=1, end_cycles=9).tasks[0]) == [(WAIT, 0, 9)]


def test_a_stream_of_batches_conserves_every_cycle(crowd: Recording) -> None:
    joined = [part for lane in crowd.timeline.tasks for part in lane if part.kind is JOINED]
    assert len(joined) > 5
    assert any(event["event"] == "kill" for event in crowd.events)
    for npu, lane in enumerate(crowd.timeline.npus):
        assert sum(crowd.timeline.accounts(npu).values()) == crowd.end_cycles
        assert all(one.end_cycles == other.start_cycles for one, other in itertools.pairwise(lane))
        assert all(part.kind not in (JOINED, WAIT) for part in lane)
    for entry, lane in zip(crowd.tasks, crowd.timeline.tasks, strict=True):
        ends = [entry["arrival_cycles"], *(part.end_cycles for part in lane)]
        assert [part.start_cycles for part in lane] == ends[:-1]
        assert ends[-1] == (crowd.end_cycles if entry["completion_cycles"] == NONE else entry["completion_cycles"])
    for part in joined:  # its leader's slices name it, as long as it lasts, on the same NPU
        lane = crowd.timeline.tasks[part.leader]
        led = [other for other in lane if part.task in other.members and other.kind is not SAVE and other.npu == part.npu]
        common = [min(part.end_cycles, other.end_cycles) - max(part.start_cycles, other.start_cycles) for other in led]
        assert sum(cycles for cycles in common if cycles > 0) == part.cycles


def test_a_stream_of_batches_agrees_with_what_the_machine_counted(crowd: Recording) -> None:
    assert crowd.metrics is not None
    assert batch_samples(crowd) == pytest.approx(crowd.metrics["batch_samples"])
    assert batch_samples(crowd) > 1.1
    for npu, share in enumerate(crowd.metrics["utilisation_per_npu"]):
        assert crowd.utilisation(npu) == pytest.approx(share)
    for account in ("useful", "wasted", "overhead"):
        cycles = crowd.timeline.accounts()[account]
        assert cycles / crowd.end_cycles / len(crowd.timeline.npus) == pytest.approx(crowd.metrics[f"{account}_share"])
    waited = 0
    for steps in (table_steps(crowd), backlog_steps(crowd)):
        ends = [cycle for cycle, _ in steps[1:]] + [crowd.end_cycles]
        waited += sum(length * (end - cycle) for (cycle, length), end in zip(steps, ends, strict=True))
    assert waited / crowd.end_cycles == pytest.approx(crowd.metrics["queue_length"])


# --- Tables -------------------------------------------------------------------------------------------------------------------


def test_tables_tell_who_ran_with_whom(by_hand: Recording) -> None:
    rows = by_hand.rows("tasks")
    assert [row["joined_cycles"] for row in rows] == [400, 380, 0, 0, 400]
    parts = ("wait_cycles", "execute_cycles", "killed_cycles", "overhead_cycles", "joined_cycles")
    assert all(sum(row[part] for part in parts) == row["completion_cycles"] - row["arrival_cycles"] for row in rows)
    assert [row["preemptions"] for row in rows] == [2, 0, 0, 0, 0]
    slices = by_hand.rows("slices")
    assert {row["members"] for row in slices if row["track"] == "npu"} == {(), (0,), (1,), (4,)}
    assert {row["leader"] for row in slices if row["kind"] == "joined"} == {0, 1, 3}
    assert summary_metrics(by_hand)["batch_samples"] == pytest.approx(5 / 3)
    assert by_hand.rows("npus")[0]["completions"] == 5


# --- Charts -------------------------------------------------------------------------------------------------------------------


def test_names_of_batches_are_as_long_as_there_is_room() -> None:
    assert batch_names(5, ()) == ("#5",)
    assert batch_names(5, (6, 9)) == ("#5+6+9", "#5 ×3")
    assert (batch_name(5, (6, 9)), batch_name(5, tuple(range(10, 20)))) == ("#5+6+9", "#5 ×11")


def test_the_chart_of_one_npu_has_a_lane_of_batches_above_the_tasks(by_hand: Recording) -> None:
    ax = gantt(by_hand)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "NPU   100% busy"
    assert [label.split()[0] for label in labels[1:]] == ["#0", "#1", "#2", "#3", "#4"]
    written = [text.get_text() for text in ax.texts if text.get_position()[1] == 0 and "#" in text.get_text()]
    assert written == ["#0+1", "#2", "#3+4", "#1+0"]  # 53 cycles have room for nothing
    legend = ax.get_legend()
    assert legend is not None
    assert JOINED_LABEL in [text.get_text() for text in legend.get_texts()]


def test_bars_of_members_are_thinner_in_the_colour_of_their_own_priority(by_hand: Recording) -> None:
    ax = gantt(by_hand, targets=())
    lane = dict(zip([label.get_text().split()[0] for label in ax.get_yticklabels()], ax.get_yticks(), strict=True))["#4"]
    bars = [area for area in ax.collections if abs(area.get_datalim(ax.transData).y0 + 0.17 - lane) < 1e-6]
    heights = {round(float(bar.get_datalim(ax.transData).height), 3) for bar in bars}
    assert heights == {0.34}
    assert SHADES[2].color == "#0072B2"
    assert np.allclose(bars[0].get_facecolor()[0][:3], [0, 0x72 / 255, 0xB2 / 255])  # type: ignore[index]


def test_without_batches_nothing_of_them_is_drawn() -> None:
    env = make_env(batching=1)
    env.reset(options={"trace": [task(0, "echo")]})
    env.step(checkpoint(0))
    ax = gantt(env)
    legend = ax.get_legend()
    assert legend is not None
    assert JOINED_LABEL not in [text.get_text() for text in legend.get_texts()]
    assert "joined_cycles" not in env.recording().rows("tasks")[0]
    assert "NPU" not in [label.get_text().split()[0] for label in ax.get_yticklabels()]


# --- Exports ------------------------------------------------------------------------------------------------------------------


def test_the_trace_names_members_and_samples(by_hand: Recording) -> None:
    slices = [event for event in trace_events(by_hand) if event["ph"] == "X"]
    first = next(event for event in slices if event["tid"] == 0)
    assert first["name"] == "killed #0+1 echo b1 p1"
    assert (first["args"]["members"], first["args"]["samples"]) == ([1], 2)
    member = [event for event in slices if event["tid"] == 5]
    assert [(event["name"], event["args"]["leader"]) for event in member] == [("joined #3", 3)]
    alone = next(event for event in slices if event["tid"] == 0 and event["args"]["task"] == 2)
    assert "members" not in alone["args"]


def test_the_page_says_who_ran_with_whom_and_who_waited(by_hand: Recording) -> None:
    columns = slice_columns(by_hand, list(enumerate(by_hand.timeline.tasks)))
    assert "runs in the batch that #3 leads" in columns["what"]
    assert "killed work, in a batch with #1" in columns["what"]
    assert (200, 320, (1, 2)) in queue_stretches(by_hand)


def test_every_export_runs_on_a_stream_of_the_scenario(tmp_path: Path) -> None:
    played = record(Random(1), seed=5, scenario="PremaBatch-v0", horizon_requests=60, name="random")
    assert any(event["event"] == "join" for event in played.events)
    gantt_compare([played, played], path=tmp_path / "two.png")
    save_trace(tmp_path / "two.json", [played])
    save_page(tmp_path / "two.html", [played])
    assert (tmp_path / "two.png").stat().st_size > 10_000
    assert any("samples" in event["args"] for event in json.loads((tmp_path / "two.json").read_text())["traceEvents"])
    assert "samples a batch" in (tmp_path / "two.html").read_text()
    assert "NPU" in played._repr_html_()
    for table in ("tasks", "npus", "decisions", "events", "slices"):
        assert len(played.to_pandas(table)) > 0


# --- Live ---------------------------------------------------------------------------------------------------------------------


def test_a_member_shows_whom_it_has_joined_and_the_progress_of_the_batch() -> None:
    env = play(make_env(render_mode="ansi"), until=500)
    text = env.render()
    rows = {row.task: row for row in env._screen.scene().rows}
    assert [rows[number].where for number in range(4)] == ["saved", "joined #0", "runs", "waits"]
    assert rows[1].where_in_short == "in #0"
    assert [rows[number].progress for number in (0, 1)] == [0.5, 0.5]
    assert [rows[number].waits for number in range(4)] == [True, True, False, True]
    assert "waiting 3 " in text
    assert "joined #0" in text


def test_a_running_batch_is_named_and_its_members_do_not_wait() -> None:
    env = play(make_env(render_mode="rgb_array"), until=130)
    assert env.render().ndim == 3
    scene = env._screen.scene()
    assert scene.npus[0].doing == "runs #0+1"
    assert (scene.waiting, [row.where for row in scene.rows]) == (1, ["runs", "joined #0", "waits"])
    assert "#0+1 runs" in summary_line(scene)
    assert "waiting: #2 " in summary_line(scene)
    console = Console(width=200, record=True)
    console.print(live_table(scene))
    assert "▬" in console.export_text()


@pytest.mark.parametrize("mode", ["human", "rgb_array", "ansi"])
@pytest.mark.parametrize("npus", [None, ["prema", "edge"]], ids=["one NPU", "two NPUs"])
def test_every_mode_shows_a_stream_of_batches_to_its_end(mode: str, npus: list[str] | None) -> None:
    register_sized_programs()
    arguments = {**BATCHES, "npus": npus, "render_mode": mode}
    env: Any = gym.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments).unwrapped
    env.reset(seed=3)
    policy, states, over = Random(4), set(), False
    while not over:
        *_, over, _ = env.step(int(policy.act(env.view())[0]))
        env.render()
        states |= {row.state for row in env._screen.scene().rows}
    assert "joined" in states
    env.close()


def test_the_recent_past_of_a_stream_of_batches_is_the_end_of_what_happened() -> None:
    register_sized_programs()
    env: Any = gym.make("prema_gym:Prema-v0", render_mode="ansi", disable_env_checker=True, **BATCHES).unwrapped
    env.reset(seed=3)
    policy, compared, over = Random(4), 0, False
    while not over:
        *_, over, _ = env.step(int(policy.act(env.view())[0]))
        env.render()
        scene = env._screen.scene()
        whole = Timeline.of(env.events(), tasks=len(env.requests()), end_cycles=scene.now_cycles)
        shown, since = [lane for lane in scene.timeline.tasks if lane], scene.since_cycles
        assert [spans(lane) for lane in shown] == [_since(since, whole.tasks[lane[0].task]) for lane in shown]
        assert spans(scene.timeline.npu) == _since(since, whole.npu)
        compared += since > 0
    assert compared > 10


def _since(cycles: int, lane: tuple[Slice, ...]) -> list[tuple[Any, ...]]:
    """Return what of a lane lies behind ``cycles``."""
    later = (part for part in lane if part.end_cycles > cycles)
    return spans(tuple(part._replace(start_cycles=max(part.start_cycles, cycles)) for part in later))
