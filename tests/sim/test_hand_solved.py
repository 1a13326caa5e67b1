"""Small instances whose every event was computed on paper; the whole event log is compared.

``long`` takes 1000 cycles, ``short`` 300; both have a preemption point every 100 cycles. Saving or restoring a context costs 110
cycles, refilling the pipeline 7.
"""

from __future__ import annotations

import pytest
from tools.hand_made import accounts, checkpoint, drain, kill, play, register_round_programs, task

KEEP = 0


@pytest.fixture(autouse=True)
def round_programs() -> None:
    register_round_programs()


def test_checkpoint_waits_for_the_commit_saves_and_restores_later() -> None:
    # At 130 the long task is at position 130: it commits at 200, saves until 310. The short one runs 310-610.
    # The long one restores (110) and refills (7), runs from 727 and has 800 cycles left.
    log, env = play([task(0, "long"), task(130, "short", 9)], [checkpoint(0), checkpoint(1)])
    assert log == [
        (0, "arrival", 0),
        (0, "dispatch", 0),
        (0, "run", 0),
        (130, "arrival", 1),
        (200, "commit", 0),
        (310, "saved", 0),
        (310, "dispatch", 1),
        (310, "run", 1),
        (610, "completion", 1),
        (610, "dispatch", 0),
        (727, "run", 0),
        (1527, "completion", 0),
    ]
    assert accounts(env) == {"useful": 1300, "wasted": 0, "overhead": 227, "idle": 0, "elapsed": 1527}


def test_kill_stops_at_once_and_restarts_from_nothing() -> None:
    log, env = play([task(0, "long"), task(130, "short", 9)], [checkpoint(0), kill(1)])
    assert log[4:] == [
        (130, "kill", 0),
        (130, "dispatch", 1),
        (130, "run", 1),
        (430, "completion", 1),
        (430, "dispatch", 0),
        (430, "run", 0),
        (1430, "completion", 0),
    ]
    assert accounts(env) == {"useful": 1300, "wasted": 130, "overhead": 0, "idle": 0, "elapsed": 1430}


def test_drain_commits_the_running_task_to_complete() -> None:
    # A third task arrives meanwhile: nothing is asked until the switch at 1000, and then the short one runs already.
    trace = [task(0, "long"), task(130, "short", 9), task(500, "short", 9)]
    log, env = play(trace, [checkpoint(0), drain(1), KEEP])
    assert log[4:] == [
        (130, "drain", 0),
        (500, "arrival", 2),
        (1000, "completion", 0),
        (1000, "dispatch", 1),
        (1000, "run", 1),
        (1300, "completion", 1),
        (1300, "dispatch", 2),
        (1300, "run", 2),
        (1600, "completion", 2),
    ]
    assert accounts(env) == {"useful": 1600, "wasted": 0, "overhead": 0, "idle": 0, "elapsed": 1600}


def test_a_task_that_completes_at_the_awaited_commit_saves_nothing() -> None:
    # At 930 the next point is 1000, which is the long task's end.
    log, env = play([task(0, "long"), task(930, "short", 9)], [checkpoint(0), checkpoint(1)])
    assert log[4:] == [(1000, "completion", 0), (1000, "dispatch", 1), (1000, "run", 1), (1300, "completion", 1)]
    assert accounts(env)["overhead"] == 0


def test_a_completion_precedes_an_arrival_of_the_same_cycle() -> None:
    # The slot is free when the arrival looks for one; one invocation follows both, with one move: nothing is asked.
    log, _ = play([task(0, "long"), task(1000, "short")], [checkpoint(0)])
    assert log[3:] == [
        (1000, "completion", 0),
        (1000, "arrival", 0),
        (1000, "dispatch", 0),
        (1000, "run", 0),
        (1300, "completion", 0),
    ]


def test_simultaneous_arrivals_are_one_invocation() -> None:
    log, _ = play([task(0, "long"), task(0, "short")], [checkpoint(1)])
    assert log == [
        (0, "arrival", 0),
        (0, "arrival", 1),
        (0, "dispatch", 1),
        (0, "run", 1),
        (300, "completion", 1),
        (300, "dispatch", 0),
        (300, "run", 0),
        (1300, "completion", 0),
    ]


def test_an_arrival_during_a_switch_is_asked_about_after_it() -> None:
    # The third task arrives at 250, while the long one's context is being saved; the decision about it comes at 310.
    trace = [task(0, "long"), task(130, "short", 9), task(250, "short", 3)]
    log, env = play(trace, [checkpoint(0), checkpoint(1), KEEP, checkpoint(2)])
    assert log[4:] == [
        (200, "commit", 0),
        (250, "arrival", 2),
        (310, "saved", 0),
        (310, "dispatch", 1),
        (310, "run", 1),
        (610, "completion", 1),
        (610, "dispatch", 2),
        (610, "run", 2),
        (910, "completion", 2),
        (910, "dispatch", 0),
        (1027, "run", 0),
        (1827, "completion", 0),
    ]
    assert accounts(env) == {"useful": 1600, "wasted": 0, "overhead": 227, "idle": 0, "elapsed": 1827}


def test_a_dispatched_task_commits_one_operation_before_it_can_be_checkpointed() -> None:
    # Asked again at 310, the moment the second task starts: evicting it waits for its first commit at 410.
    trace = [task(0, "long"), task(130, "short", 9), task(250, "short", 3)]
    log, _ = play(trace, [checkpoint(0), checkpoint(1), checkpoint(2), checkpoint(1)])
    assert log[7:] == [
        (310, "dispatch", 1),
        (310, "run", 1),
        (410, "commit", 1),
        (520, "saved", 1),
        (520, "dispatch", 2),
        (520, "run", 2),
        (820, "completion", 2),
        (820, "dispatch", 1),
        (937, "run", 1),
        (1137, "completion", 1),
        (1137, "dispatch", 0),
        (1254, "run", 0),
        (2054, "completion", 0),
    ]


def test_a_decision_at_the_very_commit_evicts_at_once() -> None:
    log, _ = play([task(0, "long"), task(200, "short", 9)], [checkpoint(0), checkpoint(1)])
    assert log[4:7] == [(200, "commit", 0), (310, "saved", 0), (310, "dispatch", 1)]


def test_the_quantum_asks_while_somebody_waits_and_counts_from_the_last_invocation() -> None:
    # Arrival at 130, so the quanta of 250 expire at 380, 630, 880; the completion at 1000 needs no answer, and nobody waits after.
    trace = [task(0, "long"), task(130, "short", 9)]
    log, _ = play(trace, [checkpoint(0), KEEP, KEEP, KEEP, KEEP], quantum_cycles=250)
    assert log[4:] == [
        (380, "quantum", 0),
        (630, "quantum", 0),
        (880, "quantum", 0),
        (1000, "completion", 0),
        (1000, "dispatch", 1),
        (1000, "run", 1),
        (1300, "completion", 1),
    ]


def test_decision_every_thins_the_quantum() -> None:
    trace = [task(0, "long"), task(130, "short", 9)]
    log, _ = play(trace, [checkpoint(0), KEEP, KEEP], quantum_cycles=250, decision_every=2)
    assert [event for event in log if event[1] == "quantum"] == [(630, "quantum", 0)]
    log, _ = play(trace, [checkpoint(0), KEEP], quantum_cycles=250, decision_every=None)
    assert not [event for event in log if event[1] == "quantum"]


def test_each_asked_decision_costs_scheduler_latency() -> None:
    # The first decision stalls the idle NPU until 50, the second the running task from 130 to 180: it is at 80 and commits at 200.
    trace = [task(0, "long"), task(130, "short", 9)]
    log, env = play(trace, [checkpoint(0), checkpoint(1)], scheduler_latency_cycles=50)
    assert log == [
        (0, "arrival", 0),
        (0, "stall", -1),
        (50, "dispatch", 0),
        (50, "run", 0),
        (130, "arrival", 1),
        (130, "stall", 0),
        (200, "commit", 0),
        (310, "saved", 0),
        (310, "dispatch", 1),
        (310, "run", 1),
        (610, "completion", 1),
        (610, "dispatch", 0),
        (727, "run", 0),
        (1627, "completion", 0),
    ]
    assert accounts(env) == {"useful": 1300, "wasted": 0, "overhead": 327, "idle": 0, "elapsed": 1627}


def test_time_before_the_first_arrival_and_between_tasks_is_idle() -> None:
    log, env = play([task(500, "short"), task(2000, "short")], [checkpoint(0)])
    assert log[0] == (500, "arrival", 0)
    assert accounts(env) == {"useful": 600, "wasted": 0, "overhead": 0, "idle": 1700, "elapsed": 2300}


def test_a_killer_in_a_loop_is_truncated_at_the_horizon() -> None:
    # Two long tasks kill each other every 100 cycles: nothing ever completes. Horizon: 0 + 20 * 2000.
    env_actions = [checkpoint(0)] + [kill(1), kill(0)] * 200
    log, env = play([task(0, "long"), task(0, "long")], env_actions[:400], quantum_cycles=100)
    assert env.unwrapped._core.simulator.state.status[0]["clock_cycles"] == 40_000  # type: ignore[attr-defined]
    assert not [event for event in log if event[1] == "completion"]
    total = accounts(env)
    assert total["useful"] + total["wasted"] + total["overhead"] + total["idle"] == total["elapsed"] == 40_000
