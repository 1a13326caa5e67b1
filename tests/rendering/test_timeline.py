"""Timelines: hand-made logs slice by slice, then conservation against the machine's own accounts."""

from __future__ import annotations

import itertools
import random
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from reference.player import Arrival
from tools.hand_made import CONTEXT_CYCLES, REFILL_CYCLES, SAVE_BYTES, checkpoint, kill, make_env, register_round_programs, task
from tools.kernel_player import KernelPlayer
from tools.several_cases import choose, draw
from tools.several_npus import KEEP, drain, give, setup
from tools.several_npus import kill as kill_for

from prema_gym.rendering import Kind, Recording, Timeline
from prema_gym.rendering.timeline import ACCOUNTS, Context, shares
from prema_gym.types import BARRED, BOUND, NONE, READY, SAVING

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


def stall(cycle: int, slot: int) -> dict[str, Any]:
    return {"cycle": cycle, "event": "stall", "npu": 0, "slot": slot, "task": NONE}


def test_latency_stalls_the_running_task_and_ends_without_an_event_before_a_commit():
    events = [
        *log((0, "arrival", 0)), stall(0, NONE),
        *log((10, "dispatch", 0), (10, "run", 0), (20, "arrival", 1)), stall(20, 0),
        *log((30, "run", 0)), stall(40, 0),
        *log((57, "commit", 0), (60, "saved", 0), (60, "dispatch", 1), (60, "run", 1)),
        stall(70, 1), *log((80, "kill", 1), (80, "dispatch", 0), (85, "run", 0)),
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
    timeline = recording.timeline
    for npu, engine in enumerate(core.simulator.state.engines[0]):
        assert timeline.accounts(npu) == {name: int(engine[f"{name}_cycles"]) for name in ACCOUNTS}
        assert sum(timeline.accounts(npu).values()) == recording.end_cycles
        check_track(timeline.npus[npu], 0, recording.end_cycles)
        assert all(part.npu == npu for part in timeline.npus[npu])
    for index, entry in enumerate(recording.tasks):
        done = entry["completion_cycles"]
        if timeline.tasks[index]:
            check_track(timeline.tasks[index], entry["arrival_cycles"], recording.end_cycles if done == NONE else done)
        if done != NONE and core.config.npus is None:
            assert timeline.cycles(EXECUTE, task=index) == entry["isolated_cycles"]
    for slot in core.simulator.state.table[0]:
        if slot["task"] != NONE:
            assert timeline.cycles(WAIT, SAVE, task=int(slot["task"])) == waited_cycles(slot, recording.end_cycles)


def waited_cycles(slot: np.void, now: int) -> int:
    """Return the wait of the task in a slot up to ``now``: the table counts it at invocations only."""
    waits = slot["state"] in (READY, BARRED, BOUND, SAVING)
    return int(slot["waited_cycles"] + (now - slot["accounted_cycles"] if waits else 0))


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


# --- Several NPUs --------------------------------------------------------------------------------------------------------------
#
# ``long`` takes 1000 cycles, ``short`` 300, with a point every 100 cycles; a context takes 100 cycles to save or restore, and the
# pipeline 5 to refill (tools/several_npus.py).


def lanes(trace: list[Arrival], actions: list[int], **rules: Any) -> tuple[list[Any], list[Any]]:
    """Play ``actions`` on two NPUs; return the lanes of the NPUs and of the tasks: (kind, task or NPU, first and last cycle)."""
    player = KernelPlayer()
    player.start(trace, setup(**rules))
    assert all(player.act(action) for action in actions)
    timeline = Recording.of(player._env).timeline
    npus = [[(part.kind, part.task, part.start_cycles, part.end_cycles) for part in lane] for lane in timeline.npus]
    tasks = [[(part.kind, part.npu, part.start_cycles, part.end_cycles) for part in lane] for lane in timeline.tasks]
    return npus, tasks


LONG, SHORT = Arrival(0, "long"), Arrival(0, "short")


def test_a_task_evicted_here_goes_on_there_while_this_npu_runs_another():
    npus, tasks = lanes([LONG, LONG, Arrival(130, "short", 9)], [give(0), give(2), KEEP, give(0), KEEP])
    assert npus == [
        [
            (EXECUTE, 0, 0, 200), (SAVE, 0, 200, 300), (EXECUTE, 2, 300, 600),
            (RESTORE, 1, 600, 700), (REFILL, 1, 700, 705), (EXECUTE, 1, 705, 1405),
        ],
        [
            (EXECUTE, 1, 0, 300), (SAVE, 1, 300, 400), (RESTORE, 0, 400, 500), (REFILL, 0, 500, 505),
            (EXECUTE, 0, 505, 1305), (IDLE, NONE, 1305, 1405),
        ],
    ]  # fmt: skip
    assert tasks == [
        [
            (EXECUTE, 0, 0, 200), (SAVE, 0, 200, 300), (WAIT, NONE, 300, 400),
            (RESTORE, 1, 400, 500), (REFILL, 1, 500, 505), (EXECUTE, 1, 505, 1305),
        ],
        [
            (EXECUTE, 1, 0, 300), (SAVE, 1, 300, 400), (WAIT, NONE, 400, 600),
            (RESTORE, 0, 600, 700), (REFILL, 0, 700, 705), (EXECUTE, 0, 705, 1405),
        ],
        [(WAIT, NONE, 130, 300), (EXECUTE, 0, 300, 600)],
    ]  # fmt: skip


def test_a_task_killed_here_and_started_there_in_one_cycle_does_not_wait():
    npus, tasks = lanes([LONG, LONG, Arrival(130, "short")], [give(0), kill_for(2), kill_for(0)])
    assert npus == [
        [(KILLED, 0, 0, 130), (EXECUTE, 2, 130, 430), (EXECUTE, 1, 430, 1430)],
        [(KILLED, 1, 0, 130), (EXECUTE, 0, 130, 1130), (IDLE, NONE, 1130, 1430)],
    ]
    assert tasks == [
        [(KILLED, 0, 0, 130), (EXECUTE, 1, 130, 1130)],
        [(KILLED, 1, 0, 130), (WAIT, NONE, 130, 430), (EXECUTE, 0, 430, 1430)],
        [(EXECUTE, 0, 130, 430)],
    ]


def test_latency_stalls_the_asked_npu_only_and_a_task_bound_by_a_drain_waits():
    # NPU 0 is asked at 0 and at 130, at 20 cycles each. The second task is NPU 1's only move: it starts at once.
    npus, tasks = lanes([LONG, SHORT, Arrival(130, "short", 9)], [give(0), drain(2)], latency=20)
    assert npus == [
        [
            (STALL, NONE, 0, 20), (EXECUTE, 0, 20, 130), (STALL, 0, 130, 150), (EXECUTE, 0, 150, 1040),
            (EXECUTE, 2, 1040, 1340),
        ],
        [(EXECUTE, 1, 0, 300), (IDLE, NONE, 300, 1340)],
    ]  # fmt: skip
    assert tasks[2] == [(WAIT, NONE, 130, 1040), (EXECUTE, 0, 1040, 1340)]


@pytest.mark.parametrize(
    ("arrives", "latency", "actions", "now"),
    [
        (250, 0, [give(0), give(2)], [(EXECUTE, 0, 0, 200), (SAVE, 0, 200, 250)]),
        (10, 20, [give(0)], [(STALL, NONE, 0, 10)]),
    ],
)
def test_an_npu_that_switches_while_another_is_asked_is_drawn_as_far_as_it_has_come(arrives, latency, actions, now):
    between = [Arrival(130, "short")] if len(actions) > 1 else []
    npus, _ = lanes([LONG, LONG, *between, Arrival(arrives, "short")], actions, latency=latency)
    assert npus[0] == now


@pytest.mark.parametrize("number", range(120))
def test_lanes_conserve_every_npus_accounts(number):
    """One to four NPUs, like and unlike, random legal and illegal actions; looked at now and then, and at the end."""
    case = draw(number)
    rng = random.Random(number)
    player = KernelPlayer()
    player.start(case.trace, case.setup)
    for _ in range(case.most_steps):
        if player.asked() is None:
            break
        player.act(choose(rng, player.mask(), case))
        if rng.random() < 0.1:
            check_conservation(player._env)
    check_conservation(player._env)
