"""Instances for two NPUs whose every event was computed on paper; the whole event log is compared.

On a fast NPU ``long`` takes 1000 cycles, ``short`` 300, both with a preemption point every 100 cycles, ``whole`` 250 with none
before its end. Saving or restoring a context costs 100 cycles there, refilling the pipeline 5. On a slow NPU programs take twice
as long, a context 190. A log entry is (cycle, event, slot, NPU).
"""

from __future__ import annotations

import pytest
from reference.player import Arrival, Player
from tools.several_npus import KEEP, PLAYERS, Decision, drain, give, kill, play, setup


@pytest.fixture(params=PLAYERS)
def player(request: pytest.FixtureRequest) -> Player:
    return PLAYERS[request.param]()


LONG, SHORT = Arrival(0, "long"), Arrival(0, "short")


# --- Asking idle NPUs -----------------------------------------------------------------------------------------------------------


def test_two_idle_npus_are_asked_in_turn_and_the_last_task_goes_unasked(player: Player) -> None:
    # NPU 0 may choose either task, or leave both to NPU 1. It takes the short one; what is left is NPU 1's only move.
    played = play(player, setup(), [LONG, SHORT], [Decision(0, 0, give(1), "arrival")])
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "arrival", 1, -1),
        (0, "dispatch", 1, 0),
        (0, "run", 1, 0),
        (0, "dispatch", 0, 1),
        (0, "run", 0, 1),
        (300, "completion", 1, 0),
        (1000, "completion", 0, 1),
    ]
    assert played.end["terminated"]
    assert played.end["account"] == {"useful": 1300, "wasted": 0, "overhead": 0, "idle": 700}


def test_an_idle_npu_may_keep_where_a_later_idle_one_could_take_its_task(player: Player) -> None:
    # NPU 0 keeps, so NPU 1 must take the long task. At 500 NPU 1 runs: NPU 0 may no longer leave the short one to it.
    played = play(player, setup(), [LONG, Arrival(500, "short")], [Decision(0, 0, KEEP, "arrival")])
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "dispatch", 0, 1),
        (0, "run", 0, 1),
        (500, "arrival", 1, -1),
        (500, "dispatch", 1, 0),
        (500, "run", 1, 0),
        (800, "completion", 1, 0),
        (1000, "completion", 0, 1),
    ]


def test_tasks_that_are_left_after_all_were_asked_go_to_the_idle_npus_of_the_second_pass(player: Player) -> None:
    # Three tasks. NPU 0 keeps, NPU 1 can't; then NPU 0 is asked again, with two tasks left and no way to keep.
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        Decision(0, 1, give(0), "arrival", may_keep=False),
        Decision(0, 0, give(2), "arrival", asking_pass=2, may_keep=False),
        # At 300 the second short task is NPU 0's only move.
    ]
    played = play(player, setup(), [LONG, SHORT, SHORT], decisions)
    assert played.log[3:] == [
        (0, "dispatch", 0, 1),
        (0, "run", 0, 1),
        (0, "dispatch", 2, 0),
        (0, "run", 2, 0),
        (300, "completion", 2, 0),
        (300, "dispatch", 1, 0),
        (300, "run", 1, 0),
        (600, "completion", 1, 0),
        (1000, "completion", 0, 1),
    ]
    assert [shown["elapsed_cycles"] for shown in played.shown] == [0, 0, 0, 1000]


# --- Switches while the other NPU goes on ---------------------------------------------------------------------------------------


def test_a_switch_on_one_npu_while_the_other_completes(player: Player) -> None:
    # At 130 NPU 0 begins to evict the long task: commit at 200, saved at 300. NPU 1 completes at 250 and finds nothing: the long
    # task's context is still on its way. At 300 it is choosable; NPU 0, in whose switch the completion fell, is asked first and
    # keeps, and NPU 1 takes it: restored and refilled by 405, with 800 cycles left.
    trace = [LONG, Arrival(0, "whole"), Arrival(130, "short", 9)]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(300, 0, KEEP, "completion+ready"),
    ]
    played = play(player, setup(), trace, decisions)
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "arrival", 1, -1),
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (0, "dispatch", 1, 1),
        (0, "run", 1, 1),
        (130, "arrival", 2, -1),
        (200, "commit", 0, 0),
        (250, "completion", 1, 1),
        (300, "saved", 0, 0),
        (300, "dispatch", 2, 0),
        (300, "run", 2, 0),
        (300, "dispatch", 0, 1),
        (405, "run", 0, 1),
        (600, "completion", 2, 0),
        (1205, "completion", 0, 1),
    ]
    # NPU 0 idles from 600 to 1205, NPU 1 from 250 to 300; overhead is one save on NPU 0, one restore with refill on NPU 1.
    assert played.end["account"] == {"useful": 1550, "wasted": 0, "overhead": 205, "idle": 655}


def test_arrivals_within_a_switch_are_asked_at_once_elsewhere_and_at_its_end_here(player: Player) -> None:
    # At 250, while NPU 0 saves, a fourth task arrives: NPU 1 is asked at once. At 300 NPU 0 is asked about it too, and the long
    # task is choosable for NPU 1. NPU 1 kills its own long task for the short one. At 600 both complete; NPU 0 takes the killed
    # task, which starts anew, and NPU 1 the saved one.
    trace = [LONG, LONG, Arrival(130, "short"), Arrival(250, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(250, 1, KEEP, "arrival"),
        Decision(300, 0, KEEP, "arrival+ready"),
        Decision(300, 1, kill(3), "arrival+ready"),
        Decision(600, 0, give(1), "completion"),
    ]
    played = play(player, setup(), trace, decisions)
    assert played.log[6:] == [
        (130, "arrival", 2, -1),
        (200, "commit", 0, 0),
        (250, "arrival", 3, -1),
        (300, "saved", 0, 0),
        (300, "dispatch", 2, 0),
        (300, "run", 2, 0),
        (300, "kill", 1, 1),
        (300, "dispatch", 3, 1),
        (300, "run", 3, 1),
        (600, "completion", 2, 0),
        (600, "completion", 3, 1),
        (600, "dispatch", 1, 0),
        (600, "run", 1, 0),
        (600, "dispatch", 0, 1),
        (705, "run", 0, 1),
        (1505, "completion", 0, 1),
        (1600, "completion", 1, 0),
    ]
    assert played.end["account"] == {"useful": 2600, "wasted": 300, "overhead": 205, "idle": 95}


def test_a_task_evicted_here_is_taken_there_with_its_progress(player: Player) -> None:
    # Both NPUs run when the long task of NPU 0 has been saved at 300: NPU 1 is asked, as a task has become choosable, and evicts
    # its own long task (at 300, a point) for it. Nothing else has happened since NPU 0 began to switch.
    trace = [LONG, LONG, Arrival(130, "short", 9)]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(300, 0, KEEP, "ready"),
        Decision(300, 1, give(0), "ready"),
        # NPU 1 saves until 400, restores and refills until 505. At 400 the other long task is choosable for NPU 0.
        Decision(400, 0, KEEP, "ready"),
        # NPU 1's switch ends at 505. Only its own eviction fell into it: nobody is asked.
    ]
    played = play(player, setup(), trace, decisions)
    assert played.log[6:] == [
        (130, "arrival", 2, -1),
        (200, "commit", 0, 0),
        (300, "saved", 0, 0),
        (300, "dispatch", 2, 0),
        (300, "run", 2, 0),
        (300, "commit", 1, 1),
        (400, "saved", 1, 1),
        (400, "dispatch", 0, 1),
        (505, "run", 0, 1),
        (600, "completion", 2, 0),
        (600, "dispatch", 1, 0),
        (705, "run", 1, 0),
        (1305, "completion", 0, 1),
        (1405, "completion", 1, 0),
    ]
    assert [slot["preemptions"] for slot in played.shown[4]["slots"][:3]] == [1, 1, 0]


# --- Killing and draining -------------------------------------------------------------------------------------------------------


def test_a_killed_task_is_taken_by_a_later_npu_in_the_same_cycle(player: Player) -> None:
    # At 130 NPU 0 kills the first long task for the short one; NPU 1 kills the second for the first: no time passes between.
    trace = [LONG, LONG, Arrival(130, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, kill(2), "arrival"),
        Decision(130, 1, kill(0), "arrival"),
    ]
    played = play(player, setup(), trace, decisions)
    assert played.log[6:] == [
        (130, "arrival", 2, -1),
        (130, "kill", 0, 0),
        (130, "dispatch", 2, 0),
        (130, "run", 2, 0),
        (130, "kill", 1, 1),
        (130, "dispatch", 0, 1),
        (130, "run", 0, 1),
        (430, "completion", 2, 0),
        (430, "dispatch", 1, 0),
        (430, "run", 1, 0),
        (1130, "completion", 0, 1),
        (1430, "completion", 1, 0),
    ]
    assert played.shown[2]["elapsed_cycles"] == 0
    assert played.end["account"] == {"useful": 2300, "wasted": 260, "overhead": 0, "idle": 300}


def test_an_earlier_idle_npu_gets_a_killed_task_in_the_second_pass(player: Player) -> None:
    # allow_idle: NPU 0 keeps twice. At 130 NPU 1 kills the long task for the short one, and NPU 0 is asked about it in pass 2.
    trace = [LONG, Arrival(130, "short")]
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        Decision(130, 0, KEEP, "arrival"),
        Decision(130, 1, kill(1), "arrival"),
        Decision(130, 0, give(0), "arrival", asking_pass=2),
    ]
    played = play(player, setup(allow_idle=True), trace, decisions)
    assert played.log[1:] == [
        (0, "dispatch", 0, 1),
        (0, "run", 0, 1),
        (130, "arrival", 1, -1),
        (130, "kill", 0, 1),
        (130, "dispatch", 1, 1),
        (130, "run", 1, 1),
        (130, "dispatch", 0, 0),
        (130, "run", 0, 0),
        (430, "completion", 1, 1),
        (1130, "completion", 0, 0),
    ]


def test_a_task_bound_by_a_drain_is_nobody_elses_and_earns_no_tokens(player: Player) -> None:
    # From 130 NPU 0 drains for the third task. NPU 1 idles from 300, although that one waits. At 500 two more arrive; NPU 1 takes
    # one and at 800 the other.
    trace = [LONG, SHORT, Arrival(130, "short", 9), Arrival(500, "short"), Arrival(500, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, drain(2), "arrival"),
        Decision(500, 1, give(3), "arrival", may_keep=False),
    ]
    played = play(player, setup(), trace, decisions)
    assert played.log[6:] == [
        (130, "arrival", 2, -1),
        (130, "drain", 0, 0),
        (300, "completion", 1, 1),
        (500, "arrival", 1, -1),
        (500, "arrival", 3, -1),
        (500, "dispatch", 3, 1),
        (500, "run", 3, 1),
        (800, "completion", 3, 1),
        (800, "dispatch", 1, 1),
        (800, "run", 1, 1),
        (1000, "completion", 0, 0),
        (1000, "dispatch", 2, 0),
        (1000, "run", 2, 0),
        (1100, "completion", 1, 1),
        (1300, "completion", 2, 0),
    ]
    bound = played.shown[2]["slots"][2]
    assert (bound["state"], bound["npu"], bound["waited_cycles"], bound["token"]) == ("bound", 0, 370, 9.0)
    assert played.shown[2]["npus"][0]["phase"] == "drain"
