"""Timelines: hand-made logs slice by slice, then conservation against the machine's own accounts."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from tools.hand_made import CONTEXT_CYCLES, REFILL_CYCLES, SAVE_BYTES, checkpoint, kill, make_env, register_round_programs, task

from prema_gym.rendering import Kind, Recording, Timeline
from prema_gym.rendering.timeline import ACCOUNTS, Context, shares
from prema_gym.types import NONE

WAIT, EXECUTE, SAVE, RESTORE, REFILL = Kind.WAIT, Kind.EXECUTE, Kind.SAVE, Kind.RESTORE, Kind.REFILL
KILLED, STALL, IDLE = Kind.KILLED, Kind.STALL, Kind.IDLE


def log(*entries: tuple[int, str, int]) -> list[dict[str, Any]]:
    return [{"cycle": cycle, "event": event, "npu": 0, "slot": task, "task": task} for cycle, event, task in entries]


def spans(slices: tuple[Any, ...]) -> list[tuple[Kind, int, int]]:
    return [(part.kind, part.start_cycles, part.end_cycles) for part in slices]


CHECKPOINTED = log(
    (0, "arrival", 0), (0, "dispatch", 0), (0, "run", 0), (50, "arrival", 1),
    (60, "commit", 0), (80, "saved", 0), (80, "dispatch", 1), (80, "run", 1), (180, "completion", 1),
    (180, "dispatch", 0), (205, "run", 0), (300, "completion", 0),
)  # fmt: skip


def test_checkpoint_is_executed_saved_waited_restored_executed():
    timeline = Timeline.of(CHECKPOINTED, tasks=2, end_cycles=310)
    assert spans(timeline.tasks[0]) == [
        (EXECUTE, 0, 60), (SAVE, 60, 80), (WAIT, 80, 180), (RESTORE, 180, 205), (EXECUTE, 205, 300),
    ]  # fmt: skip
    assert spans(timeline.tasks[1]) == [(WAIT, 50, 80), (EXECUTE, 80, 180)]
    assert [(part.kind, part.task) for part in timeline.npu] == [
        (EXECUTE, 0), (SAVE, 0), (EXECUTE, 1), (RESTORE, 0), (EXECUTE, 0), (IDLE, NONE),
    ]  # fmt: skip
    assert timeline.accounts() == {"useful": 255, "wasted": 0, "overhead": 45, "idle": 10}


def test_a_lookup_tells_bytes_and_refill_from_the_position_of_the_commit():
    asked = []

    def lookup(task: int, executed_cycles: int, npu: int) -> Context:
        asked.append((task, executed_cycles, npu))
        return Context(save_bytes=7, restore_bytes=9, restore_cycles=20)

    slices = Timeline.of(CHECKPOINTED, tasks=2, end_cycles=310, lookup=lookup).tasks[0]
    assert asked == [(0, 60, 0)]
    assert [(part.kind, part.cycles, part.nbytes) for part in slices[1:4]] == [(SAVE, 20, 7), (WAIT, 100, 0), (RESTORE, 20, 9)]
    assert spans(slices[4:5]) == [(REFILL, 200, 205)]


def test_kill_turns_everything_since_the_last_start_into_killed_work():
    events = log(
        (0, "arrival", 0), (0, "dispatch", 0), (0, "run", 0), (10, "arrival", 1),
        (20, "commit", 0), (25, "saved", 0), (25, "dispatch", 1), (25, "run", 1), (35, "completion", 1),
        (35, "dispatch", 0), (40, "run", 0), (50, "arrival", 2), (60, "kill", 0), (60, "dispatch", 2), (60, "run", 2),
        (70, "completion", 2), (70, "dispatch", 0), (70, "run", 0), (90, "kill", 0), (90, "dispatch", 0), (90, "run", 0),
    )  # fmt: skip
    timeline = Timeline.of(events, tasks=3, end_cycles=100)
    assert spans(timeline.tasks[0]) == [
        (KILLED, 0, 20), (SAVE, 20, 25), (WAIT, 25, 35), (RESTORE, 35, 40), (KILLED, 40, 60), (WAIT, 60, 70),
        (KILLED, 70, 90), (EXECUTE, 90, 100),
    ]  # fmt: skip
    assert timeline.accounts() == {"useful": 30, "wasted": 60, "overhead": 10, "idle": 0}


def test_latency_stalls_the_running_task_and_ends_without_an_event_before_a_commit():
    events = [
        *log((0, "arrival", 0)), {"cycle": 0, "event": "stall", "npu": 0, "slot": NONE, "task": NONE},
        *log((10, "dispatch", 0), (10, "run", 0), (20, "arrival", 1)), {"cycle": 20, "event": "stall", "npu": 0, "slot": 0, "task": NONE},
        *log((30, "run", 0)), {"cycle": 40, "event": "stall", "npu": 0, "slot": 0, "task": NONE},
        *log((57, "commit", 0), (60, "saved", 0), (60, "dispatch", 1), (60, "run", 1)),
        {"cycle": 70, "event": "stall", "npu": 0, "slot": 1, "task": NONE}, *log((80, "kill", 1), (80, "dispatch", 0), (85, "run", 0)),
    ]  # fmt: skip
    timeline = Timeline.of(events, tasks=2, end_cycles=90, latency_cycles=10)
    assert spans(timeline.npu) == [
        (STALL, 0, 10), (EXECUTE, 10, 20), (STALL, 20, 30), (EXECUTE, 30, 40), (STALL, 40, 50), (EXECUTE, 50, 57),
        (SAVE, 57, 60), (KILLED, 60, 70), (STALL, 70, 80), (RESTORE, 80, 85), (EXECUTE, 85, 90),
    ]  # fmt: skip
    assert spans(timeline.tasks[1]) == [(WAIT, 20, 60), (KILLED, 60, 70), (STALL, 70, 80), (WAIT, 80, 90)]


def test_drain_and_unknown_events_change_nothing_and_unfinished_tasks_end_now():
    events = log(
        (0, "arrival", 0), (0, "dispatch", 0), (0, "run", 0), (5, "arrival", 1), (6, "drain", 0), (7, "quantum", 0), (8, "what", 0)
    )
    timeline = Timeline.of(events, tasks=3, end_cycles=9)
    assert [spans(lane) for lane in timeline.tasks] == [[(EXECUTE, 0, 9)], [(WAIT, 5, 9)], []]


def test_cells_show_what_fills_most_of_them():
    npu = Timeline.of(CHECKPOINTED, tasks=2, end_cycles=310).npu
    kinds = [part and (part.kind, part.task) for part in shares(npu, 0, 400, 8)]
    assert kinds == [(EXECUTE, 0), (SAVE, 0), (EXECUTE, 1), (EXECUTE, 1), (EXECUTE, 0), (EXECUTE, 0), (IDLE, NONE), None]


def test_hand_solved_episode_knows_its_bytes():
    register_round_programs()
    env = make_env()
    env.reset(options={"trace": [task(0, "long"), task(150, "short")]})
    for action in (checkpoint(0), checkpoint(1)):
        env.step(action)
    recording = Recording.of(env)
    save = CONTEXT_CYCLES
    assert [(part.kind, part.cycles, part.nbytes) for part in recording.timeline.npu] == [
        (EXECUTE, 200, 0), (SAVE, save, SAVE_BYTES), (EXECUTE, 300, 0),
        (RESTORE, save, SAVE_BYTES), (REFILL, REFILL_CYCLES, 0), (EXECUTE, 800, 0),
    ]  # fmt: skip
    assert recording.seed is None
    assert recording.metrics is not None


ARGUMENTS = st.fixed_dictionaries(
    {"scheduler_latency_cycles": st.sampled_from([0, 3, 40]), "quantum_cycles": st.sampled_from([70, 250]), "slots": st.just(6)}
)
TASKS = st.lists(
    st.tuples(st.integers(0, 2000), st.sampled_from(["long", "short"]), st.sampled_from([1, 3, 9])), min_size=1, max_size=6
)


@settings(max_examples=300, deadline=None)
@given(arguments=ARGUMENTS, tasks=TASKS, seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 200))
def test_slices_conserve_the_machines_accounts(arguments, tasks, seed, steps):
    """Random legal actions of every mechanism, at any moment of an episode."""
    register_round_programs()
    env = make_env(**arguments)
    _, info = env.reset(options={"trace": [task(*entry) for entry in tasks]})
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        *_, ended, cut, info = env.step(int(rng.choice(np.flatnonzero(info["action_mask"]))))
        if ended or cut:
            break
    check_conservation(env)


def check_conservation(env: Any) -> None:
    recording, core = Recording.of(env), env.unwrapped._core
    engine, timeline = core.simulator.state.engines[0, 0], recording.timeline
    assert timeline.accounts() == {name: int(engine[f"{name}_cycles"]) for name in ACCOUNTS}
    assert sum(timeline.accounts().values()) == recording.end_cycles
    check_track(timeline.npu, 0, recording.end_cycles)
    for index, entry in enumerate(recording.tasks):
        done = entry["completion_cycles"]
        if timeline.tasks[index]:
            check_track(timeline.tasks[index], entry["arrival_cycles"], recording.end_cycles if done == NONE else done)
        if done != NONE:
            assert timeline.cycles(EXECUTE, task=index) == entry["isolated_cycles"]
    for slot in core.simulator.state.table[0]:
        if slot["task"] != NONE:
            waited = (
                slot["waited_cycles"] + recording.end_cycles - slot["accounted_cycles"]
                if slot["state"] == 1
                else slot["waited_cycles"]
            )
            assert timeline.cycles(WAIT, SAVE, task=int(slot["task"])) == waited


def check_track(slices: tuple[Any, ...], begin: int, end: int) -> None:
    """Without gap or overlap from ``begin`` to ``end``."""
    if not slices:
        assert begin == end
        return
    assert slices[0].start_cycles == begin
    assert slices[-1].end_cycles == end
    assert all(left.end_cycles == right.start_cycles for left, right in itertools.pairwise(slices))
    assert all(part.cycles > 0 for part in slices)


@pytest.mark.parametrize("mechanism", [checkpoint, kill])
def test_a_recording_taken_midway_ends_at_the_clock(mechanism):
    register_round_programs()
    env = make_env()
    env.reset(options={"trace": [task(0, "long"), task(150, "short"), task(220, "short")]})
    env.step(checkpoint(0))
    env.step(mechanism(1))
    recording = Recording.of(env)
    assert recording.metrics is None
    assert recording.end_cycles == env.unwrapped.view().npu["clock_cycles"][0]
    check_conservation(env)
