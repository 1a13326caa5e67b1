"""Instances for unlike NPUs and for idling on purpose, worked out on paper.

On a fast NPU ``long`` takes 1000 cycles, ``short`` 300, both with a preemption point every 100 cycles, ``whole`` 250 with none
before its end. Saving or restoring a context costs 100 cycles there, refilling the pipeline 5. On a slow NPU programs take twice
as long, with points twice as far apart, and a context costs 190. A log entry is (cycle, event, slot, NPU).
"""

from __future__ import annotations

import pytest
from reference.player import Arrival, Player
from tools.several_npus import FAST, KEEP, PLAYERS, SLOW, Decision, give, kill, play, setup


@pytest.fixture(params=PLAYERS)
def player(request: pytest.FixtureRequest) -> Player:
    return PLAYERS[request.param]()


LONG, SHORT = Arrival(0, "long"), Arrival(0, "short")


# --- Unlike NPUs ----------------------------------------------------------------------------------------------------------------


def test_progress_stays_on_its_configuration(player: Player) -> None:
    # At 400 the slow NPU, at a point, evicts its long task for the short one: saved at 590, when nobody is asked, as the fast NPU
    # can't take it. At 1000 the fast NPU finds nothing and the slow one is asked. At 1190 it goes on with what it has saved:
    # restored and refilled (195) by 1385, with 1600 of its 2000 cycles left.
    trace = [LONG, LONG, Arrival(400, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(400, 0, KEEP, "arrival"),
        Decision(400, 1, give(2), "arrival"),
        Decision(1000, 1, KEEP, "completion"),
    ]
    played = play(player, setup(FAST, SLOW), trace, decisions)
    assert played.log[6:] == [
        (400, "arrival", 2, -1),
        (400, "commit", 1, 1),
        (590, "saved", 1, 1),
        (590, "dispatch", 2, 1),
        (590, "run", 2, 1),
        (1000, "completion", 0, 0),
        (1190, "completion", 2, 1),
        (1190, "dispatch", 1, 1),
        (1385, "run", 1, 1),
        (2985, "completion", 1, 1),
    ]
    # The first runs its 1000 cycles undisturbed, the second takes 2985, the third 790; isolated times are the fast NPU's.
    assert played.end["metrics"]["antt"] == pytest.approx((1000 / 1000 + 2985 / 1000 + 790 / 300) / 3)
    # Progress of 1000 + 2000 + 600 cycles in twice 2985.
    assert played.end["metrics"]["useful_share"] == pytest.approx(3600 / 5970)


def test_a_killed_task_is_free_of_its_configuration(player: Player) -> None:
    # At 500 the slow NPU kills its long task; at 1000 the fast one takes it up from nothing.
    trace = [LONG, LONG, Arrival(500, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(500, 0, KEEP, "arrival"),
        Decision(500, 1, kill(2), "arrival"),
    ]
    played = play(player, setup(FAST, SLOW), trace, decisions)
    assert played.log[6:] == [
        (500, "arrival", 2, -1),
        (500, "kill", 1, 1),
        (500, "dispatch", 2, 1),
        (500, "run", 2, 1),
        (1000, "completion", 0, 0),
        (1000, "dispatch", 1, 0),
        (1000, "run", 1, 0),
        (1100, "completion", 2, 1),
        (2000, "completion", 1, 0),
    ]
    assert played.end["account"] == {"useful": 2600, "wasted": 500, "overhead": 0, "idle": 900}


def test_predictions_shown_are_the_asked_npus_or_those_that_progress_is_bound_to(player: Player) -> None:
    # At 500 the slow NPU has run the second task for 500 cycles, the fast one the first.
    trace = [LONG, LONG, Arrival(500, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(500, 0, KEEP, "arrival"),
        Decision(500, 1, KEEP, "arrival"),
        # At 1000 the fast NPU takes the short task unasked.
    ]
    played = play(player, setup(FAST, SLOW), trace, decisions)
    predicted = [[slot["predicted_cycles"] for slot in shown["slots"] if slot["state"] != "empty"] for shown in played.shown[:3]]
    assert predicted == [[1000, 1000], [1000, 2000, 300], [1000, 2000, 600]]
    fastest = [slot["predicted_fastest_cycles"] for slot in played.shown[2]["slots"] if slot["state"] != "empty"]
    assert fastest == [1000, 1000, 300]
    assert [slot["configuration"] for slot in played.shown[2]["slots"][:3]] == ["fast", "slow", None]


def test_tokens_grow_at_the_rate_of_the_fastest_npu(player: Player) -> None:
    # On two slow NPUs and a fast one: the fourth task, of priority 3, waits from 100 to 300; 300 cycles isolated on the fast NPU.
    trace = [SHORT, LONG, LONG, Arrival(100, "short", 3)]
    decisions = [
        Decision(0, 0, give(1), "arrival"),
        Decision(0, 1, give(2), "arrival"),
        *(Decision(100, npu, KEEP, "arrival") for npu in (0, 1, 2)),
        # At 300 the fast NPU 2 completes. NPUs 0 and 1 are asked and leave it the waiting task.
        Decision(300, 0, KEEP, "completion"),
        Decision(300, 1, KEEP, "completion"),
    ]
    played = play(player, setup(SLOW, SLOW, FAST), trace, decisions)
    assert [shown["slots"][3]["token"] for shown in played.shown[2:6]] == pytest.approx([3, 3, 3, 3 + 3 * 200 / 300])


# --- Idling on purpose ----------------------------------------------------------------------------------------------------------


def test_with_allow_idle_a_slow_npu_may_leave_a_task_to_the_fast_one(player: Player) -> None:
    # The short task waits for the fast NPU although the slow one idles. At 1000 the fast one has a choice again: the idle slow
    # NPU is asked after it.
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(0, 1, KEEP, "arrival"),
        Decision(1000, 0, give(1), "completion"),
    ]
    played = play(player, setup(FAST, SLOW, allow_idle=True), [LONG, SHORT], decisions)
    assert played.log[2:] == [
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (1000, "completion", 0, 0),
        (1000, "dispatch", 1, 0),
        (1000, "run", 1, 0),
        (1300, "completion", 1, 0),
    ]
    assert played.end["account"] == {"useful": 1300, "wasted": 0, "overhead": 0, "idle": 1300}


def test_even_with_allow_idle_somebody_has_to_work(player: Player) -> None:
    # Both NPUs idle and the first keeps: the second can't. Then it runs, and at 100 the first may keep again, and does until 600.
    trace = [SHORT, Arrival(100, "short")]
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        # NPU 1 has one task and no way to keep: it isn't asked.
        Decision(100, 0, KEEP, "arrival"),
        Decision(100, 1, KEEP, "arrival"),
        Decision(300, 0, KEEP, "completion"),
    ]
    played = play(player, setup(allow_idle=True), trace, decisions)
    assert played.log[1:] == [
        (0, "dispatch", 0, 1),
        (0, "run", 0, 1),
        (100, "arrival", 1, -1),
        (300, "completion", 0, 1),
        (300, "dispatch", 1, 1),
        (300, "run", 1, 1),
        (600, "completion", 1, 1),
    ]
