"""Small instances on two NPUs whose every event was computed on paper; the whole event log is compared, and who was asked.

``long`` takes 1000 cycles, ``short`` 300; both have a preemption point every 100 cycles. Saving or restoring a context costs 110
cycles, refilling the pipeline 7. ``split`` takes 300 cycles on ``prema`` and 900 on ``edge``, with two points before its end and
contexts that cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tools.hand_made import checkpoint, drain, kill, make_env, register_round_programs, task

from prema_gym import Program, register_program
from prema_gym.types import BARRED, BOUND, ELSEWHERE, READY, RUNNING, SAVING

KEEP = 0
Log = list[tuple[int, str, int, int]]


@pytest.fixture(autouse=True)
def round_programs() -> None:
    register_round_programs()
    register_program(
        "split",
        {"prema": Program.from_points(300, [100, 200]), "edge": Program.from_points(900, [300, 600])},
    )


def play(trace: Sequence[dict[str, Any]], moves: Sequence[tuple[int, int]], **arguments: Any) -> tuple[Log, Any]:
    """Play ``moves``, (asked NPU, action) each, on two NPUs; the episode must end with the last. Return log and environment."""
    env: Any = make_env(**{"npus": ["prema", "prema"], **arguments})
    _, info = env.reset(options={"trace": list(trace)})
    ended = False
    for npu, action in moves:
        assert not ended, "the episode ended before its last action"
        assert info["npu"] == npu
        _, _, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
    assert ended, "the episode asks for more actions"
    return [(event["cycle"], event["event"], event["npu"], event["slot"]) for event in env.unwrapped.events()], env


def accounts(env: Any) -> list[tuple[int, ...]]:
    """Return (useful, wasted, overhead, idle) cycles of each NPU; together they are the time that has passed."""
    state = env.unwrapped._core.simulator.state
    names = ("useful_cycles", "wasted_cycles", "overhead_cycles", "idle_cycles")
    shares = [tuple(int(engine[name]) for name in names) for engine in state.engines[0]]
    assert [sum(share) for share in shares] == [state.status[0]["clock_cycles"]] * len(shares)
    return shares


BOTH_BUSY: Log = [
    (0, "arrival", -1, 0),
    (0, "arrival", -1, 1),
    (0, "dispatch", 0, 0),
    (0, "run", 0, 0),
    (0, "dispatch", 1, 1),
    (0, "run", 1, 1),
]
"""Two tasks at once: the first NPU is asked, the second has one move left."""


def test_a_task_evicted_here_is_taken_there_once_its_context_is_saved() -> None:
    # NPU 0 commits at 200 and saves until 310. NPU 1 completes at 300, finds nothing yet, and takes the evicted task at 310.
    trace = [task(0, "long"), task(0, "short"), task(130, "short", 9)]
    log, env = play(trace, [(0, checkpoint(0)), (0, checkpoint(2)), (0, KEEP)])
    assert log == [
        *BOTH_BUSY,
        (130, "arrival", -1, 2),
        (200, "commit", 0, 0),
        (300, "completion", 1, 1),
        (310, "saved", 0, 0),
        (310, "dispatch", 0, 2),
        (310, "run", 0, 2),
        (310, "dispatch", 1, 0),
        (427, "run", 1, 0),
        (610, "completion", 0, 2),
        (1227, "completion", 1, 0),
    ]
    assert accounts(env) == [(500, 0, 110, 617), (1100, 0, 117, 10)]


def test_an_arrival_during_a_switch_asks_the_other_npu_at_once_and_this_one_when_it_is_over() -> None:
    trace = [task(0, "long"), task(0, "long"), task(130, "short", 9), task(250, "short", 3)]
    moves = [
        (0, checkpoint(0)),
        (0, checkpoint(2)),  # at 130; NPU 1 has nothing to choose
        (1, KEEP),  # at 250, the arrival; NPU 0 is saving
        (0, checkpoint(3)),  # at 310: its switch is over
        (1, KEEP),  # the evicted task could be taken
        (0, KEEP),  # at 520: the next evicted task is ready
        (1, KEEP),
        (0, checkpoint(2)),  # at 820: two tasks wait
        (1, KEEP),
        (0, KEEP),  # at 1000: NPU 1 completes; it has one move and makes it unasked
    ]
    log, env = play(trace, moves)
    assert log == [
        *BOTH_BUSY,
        (130, "arrival", -1, 2),
        (200, "commit", 0, 0),
        (250, "arrival", -1, 3),
        (310, "saved", 0, 0),
        (310, "dispatch", 0, 2),
        (310, "run", 0, 2),
        (410, "commit", 0, 2),
        (520, "saved", 0, 2),
        (520, "dispatch", 0, 3),
        (520, "run", 0, 3),
        (820, "completion", 0, 3),
        (820, "dispatch", 0, 2),
        (937, "run", 0, 2),
        (1000, "completion", 1, 1),
        (1000, "dispatch", 1, 0),
        (1117, "run", 1, 0),
        (1137, "completion", 0, 2),
        (1917, "completion", 1, 0),
    ]
    assert accounts(env) == [(800, 0, 337, 780), (1800, 0, 117, 0)]


def test_an_idle_npu_may_leave_a_task_to_a_later_idle_one_which_then_must_take_it() -> None:
    env: Any = make_env(npus=["prema", "prema"])
    _, info = env.reset(options={"trace": [task(0, "long")]})
    assert (info["npu"], info["action_mask"][:4].tolist()) == (0, [1, 1, 0, 0])
    log, env = play([task(0, "long")], [(0, KEEP)])
    assert log == [(0, "arrival", -1, 0), (0, "dispatch", 1, 0), (0, "run", 1, 0), (1000, "completion", 1, 0)]
    assert accounts(env) == [(0, 0, 0, 1000), (1000, 0, 0, 0)]


def test_who_left_its_tasks_to_a_later_npu_is_asked_again_for_those_that_are_left_and_may_not_keep() -> None:
    trace = [task(0, "long"), task(0, "short"), task(0, "short")]
    env: Any = make_env(npus=["prema", "prema"])
    env.reset(options={"trace": trace})
    _, _, _, _, info = env.step(KEEP)
    assert (info["npu"], info["action_mask"][0]) == (1, 0)  # nobody idle comes after it
    _, _, _, _, info = env.step(checkpoint(1))
    assert (info["npu"], info["action_mask"].nonzero()[0].tolist()) == (0, [checkpoint(0), checkpoint(2)])
    log, _ = play(trace[:2], [(0, KEEP), (1, checkpoint(1))])  # one task left: unasked
    assert log == [
        *BOTH_BUSY[:2],
        (0, "dispatch", 1, 1),
        (0, "run", 1, 1),
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (300, "completion", 1, 1),
        (1000, "completion", 0, 0),
    ]


def test_a_task_killed_on_one_npu_may_be_taken_by_a_later_one_in_the_same_cycle() -> None:
    trace = [task(0, "long"), task(0, "long"), task(130, "short", 9)]
    log, env = play(trace, [(0, checkpoint(0)), (0, kill(2)), (1, kill(0))])
    assert log == [
        *BOTH_BUSY,
        (130, "arrival", -1, 2),
        (130, "kill", 0, 0),
        (130, "dispatch", 0, 2),
        (130, "run", 0, 2),
        (130, "kill", 1, 1),
        (130, "dispatch", 1, 0),
        (130, "run", 1, 0),
        (430, "completion", 0, 2),
        (430, "dispatch", 0, 1),
        (430, "run", 0, 1),
        (1130, "completion", 1, 0),
        (1430, "completion", 0, 1),
    ]
    assert accounts(env) == [(1300, 130, 0, 0), (1000, 130, 0, 300)]


def test_a_task_bound_by_drain_waits_though_another_npu_is_idle_and_earns_nothing() -> None:
    trace = [task(0, "long"), task(0, "short"), task(130, "short", 9), task(700, "long"), task(700, "long")]
    env: Any = make_env(npus=["prema", "prema"], slots=5)
    env.reset(options={"trace": trace})
    for action in (checkpoint(0), drain(2)):
        env.step(action)
    # Asked at 700: NPU 1 has been idle since 300, slot 1 is free again and takes the first of the two.
    view = env.unwrapped.view()
    bound = view.table[0, 2]
    assert (view.npu[0]["npu"], view.npu[0]["clock_cycles"]) == (1, 700)
    assert (bound["state"], bound["npu"], bound["waited_cycles"], bound["token"]) == (BOUND, 0, 570, 9.0)
    assert view.table[0, 0]["state"] == ELSEWHERE
    log, _ = play(trace, [(0, checkpoint(0)), (0, drain(2)), (1, checkpoint(1)), (0, KEEP), (1, KEEP)], slots=5)
    assert log[6:] == [
        (130, "arrival", -1, 2),
        (130, "drain", 0, 0),
        (300, "completion", 1, 1),
        (700, "arrival", -1, 1),
        (700, "arrival", -1, 3),
        (700, "dispatch", 1, 1),
        (700, "run", 1, 1),
        (1000, "completion", 0, 0),
        (1000, "dispatch", 0, 2),
        (1000, "run", 0, 2),
        (1300, "completion", 0, 2),
        (1300, "dispatch", 0, 3),
        (1300, "run", 0, 3),
        (1700, "completion", 1, 1),
        (2300, "completion", 0, 3),
    ]


def test_with_allow_idle_an_npu_may_stay_idle_while_another_is_busy() -> None:
    trace = [task(0, "long"), task(130, "short")]
    # At 130 NPU 1 keeps. At 1000 NPU 0 leaves the task to it, and then nobody is busy: it must take it.
    log, env = play(trace, [(0, checkpoint(0)), (0, KEEP), (1, KEEP), (0, KEEP)], allow_idle=True)
    assert log[3:] == [
        (130, "arrival", -1, 1),
        (1000, "completion", 0, 0),
        (1000, "dispatch", 1, 1),
        (1000, "run", 1, 1),
        (1300, "completion", 1, 1),
    ]
    assert accounts(env) == [(1000, 0, 0, 300), (300, 0, 0, 1000)]
    log, _ = play(trace, [(0, checkpoint(0)), (0, KEEP)])
    assert log[3:] == [
        (130, "arrival", -1, 1),
        (130, "dispatch", 1, 1),
        (130, "run", 1, 1),
        (430, "completion", 1, 1),
        (1000, "completion", 0, 0),
    ]


# --- Unlike NPUs --------------------------------------------------------------------------------------------------------------

UNLIKE = {"npus": ["prema", "edge"]}
THREE = [task(0, "split"), task(0, "split"), task(100, "split", 9)]


def test_a_task_stays_on_the_configuration_of_its_progress() -> None:
    # At 300 NPU 0 is idle and a task waits, evicted from the edge NPU: it has to wait for that one.
    log, env = play(THREE, [(0, checkpoint(0)), (0, KEEP), (1, checkpoint(2)), (1, KEEP)], **UNLIKE)
    assert log == [
        *BOTH_BUSY,
        (100, "arrival", -1, 2),
        (300, "completion", 0, 0),
        (300, "commit", 1, 1),
        (300, "saved", 1, 1),
        (300, "dispatch", 1, 2),
        (300, "run", 1, 2),
        (1200, "completion", 1, 2),
        (1200, "dispatch", 1, 1),
        (1200, "run", 1, 1),
        (1800, "completion", 1, 1),
    ]
    assert accounts(env) == [(300, 0, 0, 1500), (1800, 0, 0, 0)]


def test_a_killed_task_has_no_configuration_and_an_earlier_idle_npu_takes_it_in_the_second_pass() -> None:
    log, _ = play(THREE, [(0, checkpoint(0)), (0, KEEP), (1, checkpoint(2)), (1, kill(1))], **UNLIKE)
    assert log[10:] == [
        (300, "dispatch", 1, 2),
        (300, "run", 1, 2),
        (300, "kill", 1, 2),
        (300, "dispatch", 1, 1),
        (300, "run", 1, 1),
        (300, "dispatch", 0, 2),
        (300, "run", 0, 2),
        (600, "completion", 0, 2),
        (900, "completion", 1, 1),
    ]


def test_with_allow_idle_the_second_pass_is_about_freed_tasks_only() -> None:
    env: Any = make_env(**UNLIKE, allow_idle=True, slots=5)
    env.reset(options={"trace": [*THREE, task(300, "split")]})
    for action in (checkpoint(0), checkpoint(1), KEEP, checkpoint(2)):  # at 0, 0 (NPU 1 could have stayed idle), 100 and 100
        env.step(action)
    view = env.unwrapped.view()
    assert (view.npu[0]["npu"], view.npu[0]["clock_cycles"]) == (0, 300)
    assert view.table[0]["state"][:3].tolist() == [READY, BARRED, ELSEWHERE]  # the arrival took slot 0, freed at this cycle
    env.step(KEEP)
    _, _, _, _, info = env.step(kill(1))
    assert (info["npu"], info["action_mask"].nonzero()[0].tolist()) == (0, [KEEP, checkpoint(2)])


def test_times_are_those_of_the_npu_and_metrics_go_by_the_fastest() -> None:
    env: Any = make_env(**UNLIKE)
    env.reset(options={"trace": THREE[:2]})
    shown = [env.unwrapped.view().table[0]["predicted_cycles"][:2].tolist()]
    *_, terminated, _, info = env.step(KEEP)  # NPU 1 is asked about both
    shown.append(env.unwrapped.view().table[0]["predicted_cycles"][:2].tolist())
    assert shown == [[300, 300], [900, 900]]
    assert env.unwrapped.view().table[0]["fastest_predicted_cycles"][:2].tolist() == [300, 300]
    *_, terminated, _, info = env.step(checkpoint(0))
    assert terminated
    assert info["metrics"]["antt"] == (1.0 + 3.0) / 2
    assert [entry["isolated_cycles"] for entry in env.unwrapped.tasks()] == [300, 300]
    assert env.unwrapped._core.simulator.state.machine[0]["horizon_cycles"] == 20 * 2 * 900


def test_tokens_grow_by_the_prediction_of_the_fastest_npu() -> None:
    env: Any = make_env(**UNLIKE)
    env.reset(options={"trace": [*THREE, task(160, "split")]})
    for action in (checkpoint(0), KEEP, KEEP):
        env.step(action)
    assert env.unwrapped.view().table[0, 2]["token"] == 9 + 9 / 300 * 60


# --- Scheduler latency --------------------------------------------------------------------------------------------------------


def test_latency_stalls_the_asked_npu_only_and_an_unasked_move_costs_none() -> None:
    log, env = play([task(0, "long")], [(0, KEEP)], scheduler_latency_cycles=50)
    assert log == [
        (0, "arrival", -1, 0),
        (0, "stall", 0, -1),
        (0, "dispatch", 1, 0),
        (0, "run", 1, 0),
        (1000, "completion", 1, 0),
    ]
    assert accounts(env) == [(0, 0, 50, 950), (1000, 0, 0, 0)]


def test_an_npu_that_stalls_after_an_idle_keep_is_given_what_is_left_behind_its_stall() -> None:
    log, env = play([task(0, "long"), task(0, "short")], [(0, KEEP), (1, checkpoint(1))], scheduler_latency_cycles=50)
    assert log[2:] == [
        (0, "stall", 0, -1),
        (0, "stall", 1, -1),
        (50, "dispatch", 0, 0),
        (50, "run", 0, 0),
        (50, "dispatch", 1, 1),
        (50, "run", 1, 1),
        (350, "completion", 1, 1),
        (1050, "completion", 0, 0),
    ]
    assert accounts(env) == [(1000, 0, 50, 0), (300, 0, 50, 700)]


# --- Quantum and end ----------------------------------------------------------------------------------------------------------


def test_one_quantum_asks_every_npu_that_runs_and_has_a_choice() -> None:
    trace = [task(0, "long"), task(0, "long"), task(130, "short", 9)]
    moves = [
        (0, checkpoint(0)),
        *((0, KEEP), (1, KEEP)),  # at 130, the arrival
        *((0, KEEP), (1, checkpoint(2))),  # at 380, the quantum
        *((0, KEEP), (1, KEEP)),  # at 510: an evicted task is ready, and the quantum starts afresh
        *((0, KEEP), (1, KEEP)),  # at 760, the quantum
        (0, KEEP),  # at 810: NPU 1 completes and has one move
    ]
    log, _ = play(trace, moves, quantum_cycles=250)
    assert log[6:] == [
        (130, "arrival", -1, 2),
        (380, "quantum", 0, 0),
        (380, "quantum", 1, 1),
        (400, "commit", 1, 1),
        (510, "saved", 1, 1),
        (510, "dispatch", 1, 2),
        (510, "run", 1, 2),
        (760, "quantum", 0, 0),
        (760, "quantum", 1, 2),
        (810, "completion", 1, 2),
        (810, "dispatch", 1, 1),
        (927, "run", 1, 1),
        (1000, "completion", 0, 0),
        (1527, "completion", 1, 1),
    ]


def test_killers_on_two_npus_are_truncated_at_the_horizon() -> None:
    env: Any = make_env(npus=["prema", "prema"], quantum_cycles=100)
    _, info = env.reset(options={"trace": [task(0, "long")] * 3})
    truncated = False
    while not truncated:
        legal = info["action_mask"].nonzero()[0]
        *_, truncated, info = env.step(int(legal[-2] if len(legal) > 2 else legal[-1]))  # KILL where something runs
    assert [event["event"] for event in env.unwrapped.events()].count("completion") == 0
    assert env.unwrapped.view().npu[0]["clock_cycles"] == 20 * 3000
    assert all(useful + wasted == 60_000 for useful, wasted, _, _ in accounts(env))


def test_states_tell_the_asked_npu_where_each_task_is() -> None:
    env: Any = make_env(npus=["prema", "prema"])
    env.reset(options={"trace": [task(0, "long"), task(0, "long"), task(130, "short", 9), task(250, "short")]})
    for action in (checkpoint(0), checkpoint(2)):
        env.step(action)
    view = env.unwrapped.view()
    assert (view.npu[0]["npu"], view.npu[0]["clock_cycles"]) == (1, 250)
    assert view.table[0]["state"].tolist() == [SAVING, RUNNING, BOUND, READY]
    assert view.table[0]["npu"].tolist() == [0, 1, 0, -1]
    assert view.npus[0]["switching"].tolist() == [True, False]
    assert view.npus[0]["bound_slot"].tolist() == [2, -1]
