"""Render modes: Gymnasium's conventions, and what each shows."""

from __future__ import annotations

import io
import itertools
import pickle
import sys
import types
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo, RenderCollection
from tools.hand_made import THREE, checkpoint, kill, make_env, play_three, register_round_programs, task

from prema_gym.rendering.live.frames import FOOTER, HEADER, LANE, WIDTH, span_of
from prema_gym.rendering.live.scene import MAX_ROWS, sla_slack
from prema_gym.types import ELSEWHERE, RUNNING

SMALL = {"workload": {"num_tasks": 4, "models": ["CNN-AN", "CNN-MN"], "batches": [1]}}
MODES = ("human", "rgb_array", "ansi")


def playing(mode: str, **arguments: Any) -> gym.Env[Any, Any]:
    """Return an environment after a switch: task 0 saved, task 1 running, task 2 waiting."""
    register_round_programs()
    env = make_env(render_mode=mode, **arguments)
    env.reset(options={"trace": [task(0, "long"), task(150, "short", 9), task(250, "short", 3)]})
    env.step(checkpoint(0))
    env.step(checkpoint(1))
    return env


@pytest.mark.parametrize("mode", [None, *MODES])
def test_gymnasiums_checker_accepts_every_mode(mode, capsys):
    check_env(gym.make("Prema-v0", render_mode=mode, **SMALL).unwrapped)


def test_modes_are_declared():
    metadata = gym.make("Prema-v0", **SMALL).unwrapped.metadata
    assert set(metadata["render_modes"]) == set(MODES)
    assert metadata["render_fps"] > 0


def test_render_without_a_mode_warns_and_returns_nothing():
    env = gym.make("Prema-v0", **SMALL).unwrapped
    env.reset(seed=1)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


@pytest.mark.parametrize("mode", MODES)
def test_rendering_changes_nothing_of_the_episode(mode, capsys):
    quiet, shown = gym.make("Prema-v0", **SMALL), gym.make("Prema-v0", render_mode=mode, **SMALL)
    _, info = quiet.reset(seed=4)
    shown.reset(seed=4)
    ended = False
    while not ended:
        action = int(np.flatnonzero(info["action_mask"])[-1])
        *_, reward, ended, cut, info = quiet.step(action)
        shown.render()
        assert shown.step(action)[1:4] == (reward, ended, cut)
        ended = ended or cut
    assert shown.unwrapped.events() == quiet.unwrapped.events()


@pytest.mark.parametrize("mode", MODES)
def test_an_environment_that_has_rendered_pickles(mode, capsys):
    env = playing(mode).unwrapped
    env.render()
    assert pickle.loads(pickle.dumps(env)).render_mode == mode


# --- ansi ----------------------------------------------------------------------------------------------------------------------


def test_text_shows_who_runs_who_is_saved_and_who_waits():
    text = playing("ansi").render()
    head, npu, columns, *lines = text.splitlines()
    assert "runs #1" in head
    assert "waiting 2" in head
    assert set(npu.removeprefix("NPU |").removesuffix("|")) == {"0", "!"}  # up to the decision at the end of the switch
    assert columns.split()[:4] == ["task", "model", "batch", "prio"]
    assert [line.split()[4] for line in lines] == ["saved", "runs", "waits"]
    assert "5 KiB" in lines[0]
    assert "9.00" in lines[1]


def test_text_of_a_finished_episode():
    env = playing("ansi")
    env.step(checkpoint(2))
    ended = False
    while not ended:
        *_, ended, _, info = env.step(int(np.flatnonzero(env.unwrapped.action_masks())[0]))
    head, _, _, *lines = env.render().splitlines()
    assert "(end)" in head
    assert "NPU idle" in head
    assert all("done" in line for line in lines)
    antt = np.mean([float(line.split("100%")[1].split()[0]) for line in lines])
    assert antt == pytest.approx(info["metrics"]["antt"], abs=0.005)


def test_a_new_episode_forgets_the_old_picture():
    env = playing("ansi")
    env.render()
    env.reset(options={"trace": [task(0, "short")]})
    assert len(env.render().splitlines()) == 4


def test_crowds_are_cut_and_counted():
    register_round_programs()
    env = make_env(render_mode="ansi", slots=30)
    env.reset(options={"trace": [task(i, "long") for i in range(30)]})
    env.step(checkpoint(0))
    while env.unwrapped.view().npu["ready"][0] < 29:
        env.step(0)
    lines = env.render().splitlines()
    assert len(lines) == 3 + MAX_ROWS + 1
    assert lines[-1].strip() == f"and {30 - MAX_ROWS} tasks more"


@pytest.mark.parametrize(
    ("age", "target", "left"), [(0, 2, 200), (200, 2, 0), (201, 3, 99), (1999, 20, 1), (2000, 20, 0), (2500, 20, -500)]
)
def test_slack_is_the_time_to_the_next_target_that_can_be_missed(age, target, left):
    assert sla_slack(age, 100) == (target, left)


# --- rgb_array -----------------------------------------------------------------------------------------------------------------


def test_frames_have_one_shape_and_change():
    register_round_programs()
    env = RenderCollection(make_env(render_mode="rgb_array"), pop_frames=False)
    env.reset(options={"trace": [task(0, "long"), task(150, "short"), task(250, "short")]})
    for action in (checkpoint(0), kill(1), checkpoint(0)):
        env.step(action)
    frames = env.render()
    assert len(frames) == 4
    assert {frame.shape for frame in frames} == {(frames[0].shape[0], WIDTH, 3)}
    assert frames[0].shape[0] % 2 == 0
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert not any(np.array_equal(left, right) for left, right in itertools.pairwise(frames))


def test_a_frame_shows_a_save_that_is_thinner_than_a_pixel():
    env = playing("rgb_array")
    frame = env.render()
    strip = frame[60:70, 214:754]
    assert (strip == 0).all(axis=2).any()


def test_large_tables_make_no_larger_frames_than_the_lanes_shown():
    heights = {slots: make_env_frame(slots).shape[0] for slots in (MAX_ROWS, 40)}
    assert len(set(heights.values())) == 1


def make_env_frame(slots: int) -> np.ndarray:
    register_round_programs()
    env = make_env(render_mode="rgb_array", slots=slots)
    env.reset(options={"trace": [task(0, "long")]})
    return env.render()


@pytest.mark.parametrize(
    ("now", "span"), [(0, 0.001), (0.0015, 0.002), (1, 1), (1.1, 2), (3, 5), (5.5, 10), (170, 200), (45_000, 50_000)]
)
def test_the_time_axis_grows_in_round_steps(now, span):
    assert span_of(now) == pytest.approx(span, rel=1e-12)


def test_gymnasiums_recorder_takes_the_frames(tmp_path, monkeypatch):
    """RecordVideo hands its frames to moviepy, which need not be installed for this: a stand-in notes them."""
    written: list[tuple[int, float]] = []

    class Clip:
        def __init__(self, frames: list[np.ndarray], fps: float) -> None:
            written.append((len(frames), fps))

        def write_videofile(self, path: str, logger: Any = None) -> None:
            assert path.endswith(".mp4")

    editor = types.ModuleType("moviepy.video.io.ImageSequenceClip")
    editor.ImageSequenceClip = Clip  # type: ignore[attr-defined]
    for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, editor.__name__, editor)
    env = RecordVideo(
        gym.make("Prema-v0", render_mode="rgb_array", **SMALL), str(tmp_path / "videos"), episode_trigger=lambda _: True
    )
    _, info = env.reset(seed=1)
    steps, ended = 0, False
    while not ended:
        *_, ended, _, info = env.step(int(np.flatnonzero(info["action_mask"])[0]))
        steps += 1
    env.close()
    assert written == [(steps + 1, 10)]


# --- human ---------------------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_a_line_per_moment_at_once(capsys):
    env = playing("human")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "#1 runs" in lines[-1]
    assert "waiting: #0, #2" in lines[-1]
    assert env.render() is None


def test_a_terminal_gets_a_live_table(monkeypatch):
    from rich.console import Console

    import prema_gym.rendering.live.terminal as live

    screen = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda: Console(file=screen, force_terminal=True, width=160))
    monkeypatch.setattr(live.time, "sleep", lambda seconds: None)
    env = playing("human")
    env.close()
    env.close()
    text = screen.getvalue()
    assert "runs #1" in text
    assert "saved" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back


# --- Several NPUs --------------------------------------------------------------------------------------------------------------


def three(mode: str | None, steps: int = 4, **arguments: Any) -> gym.Env[Any, Any]:
    """Return an environment of three NPUs in the middle of an episode."""
    register_round_programs()
    return play_three(make_env(render_mode=mode, **{**THREE, **arguments}), steps)


def test_text_has_a_line_per_npu_and_marks_the_asked_one():
    env = three("ansi")
    asked = int(env.unwrapped.view().npu["npu"][0])
    head, *lines = env.render().splitlines()
    npus = lines[:3]
    assert [line[2:14].strip() for line in npus] == ["NPU 0 prema", "NPU 1 prema", "NPU 2 edge"]
    assert [line[0] for line in npus] == [">" if npu == asked else " " for npu in range(3)]
    assert f"{npus[asked][2:14].strip()} is asked" in head
    assert "of 3 NPUs busy" in head
    assert len({line.index("|") for line in npus}) == 1
    table, states = env.unwrapped.view().table[0], env.unwrapped.view().npus[0]
    for line, npu in zip(npus, states, strict=True):
        slot, doing = (npu["running_slot"], "runs") if npu["bound_slot"] < 0 else (npu["bound_slot"], "switches to")
        assert line.endswith(f"| {doing} #{table[slot]['task']}" if slot >= 0 else "| idle")


def test_text_says_of_every_task_where_it_is():
    env = three("ansi")
    lines = [line.split() for line in env.render().splitlines()[5:]]
    table = env.unwrapped.view().table[0]
    for line, slot in zip(lines, table[np.argsort(table["task"])][-len(lines) :], strict=True):
        if slot["state"] in (RUNNING, ELSEWHERE):
            assert line[4:6] == ["runs", str(slot["npu"])]
        else:
            assert line[4] in ("waits", "saved", "next", "saves")


def test_tasks_of_an_npu_that_switches_are_shown_as_saving_and_next():
    # From 150 on NPU 0 evicts its long task for the first short one: it saves from 200 on. At 250 NPU 1 is asked.
    register_round_programs()
    env = make_env(render_mode="ansi", npus=["prema", "prema"])
    env.reset(options={"trace": [task(0, "long"), task(0, "long"), task(150, "short", 9), task(250, "short")]})
    env.step(checkpoint(0))
    env.step(checkpoint(2))
    head, first, second, _, *lines = env.render().splitlines()
    assert "waiting 3" in head
    assert first == f"  NPU 0 prema |{'0' * 64}{'!' * 16}| switches to #2"  # a fifth of the time went into the save so far
    assert second == f"> NPU 1 prema |{'1' * 80}| runs #1"
    assert [" ".join(line.split()[4:6]) for line in lines] == ["saves 0", "runs 1", "next 0", "waits [............]"]


def test_frames_have_a_lane_per_npu_and_the_asked_one_is_lit():
    env = three("rgb_array")
    frame = env.render()
    one = three("rgb_array", npus=["prema"]).render()
    assert frame.shape == (one.shape[0] + 2 * LANE, WIDTH, 3)
    lit = [tuple(frame[HEADER + LANE * lane + 1, 2]) != (255, 255, 255) for lane in range(3)]
    assert lit == [npu == env.unwrapped.view().npu["npu"][0] for npu in range(3)]


def test_the_live_table_has_a_row_per_npu_and_a_pipe_names_all_that_run(capsys):
    from rich.console import Console

    from prema_gym.rendering.live.terminal import live_table

    three("human")
    line = capsys.readouterr().out.splitlines()[-1]
    screen = three("ansi").unwrapped
    screen.render()
    scene = screen._screen.scene()
    running = ", ".join(f"#{npu.task}" for npu in scene.npus if npu.task >= 0)
    assert f"{running} runs" in line
    out = io.StringIO()
    Console(file=out, width=170).print(live_table(scene))
    rows = [row.split() for row in out.getvalue().splitlines() if row.startswith("NPU ")]
    assert [row[1:3] for row in rows] == [["0", "prema"], ["1", "prema"], ["2", "edge"]]
    assert ["asked" in row for row in rows] == [npu.is_asked for npu in scene.npus]


@pytest.mark.parametrize("mode", MODES)
def test_rendering_three_npus_changes_nothing_of_the_episode(mode, capsys):
    quiet = three(None, steps=100)
    register_round_programs()
    shown = make_env(render_mode=mode, **THREE)
    for steps in (3, 100):
        play_three(shown, steps)
        shown.render()
    assert shown.unwrapped.events() == quiet.unwrapped.events()


def test_gymnasiums_own_vector_environment_renders_three_npus_row_by_row():
    register_round_programs()
    arguments = {**THREE, "workload": {"models": ["long"], "batches": [1], "num_tasks": 3}}
    envs = gym.make_vec("Prema-v0", 2, vectorization_mode="sync", render_mode="rgb_array", **arguments)
    envs.reset(seed=1)
    frames = envs.render()
    assert len(frames) == 2
    assert {frame.shape for frame in frames} == {(HEADER + LANE * 9 + FOOTER, WIDTH, 3)}
    envs.close()
