"""Batches that are preempted, killed and drained, on one NPU and on two, computed on paper; whole event logs are compared.

On a fast NPU ``echo`` takes 300 cycles for one sample, 400 for two, 600 for up to four; ``long`` takes 1000 and joins nobody. All
have a preemption point every 100 cycles. Saving or restoring the context of a lone request costs 100 cycles, that of a batch 190,
refilling 5. On a slow NPU programs take twice as long. A log entry is (cycle, event, slot, NPU).
"""

from __future__ import annotations

import pytest
from batching.instances import BATCH_PLAYERS, batching_setup
from reference.player import Arrival, Player
from tools.several_npus import FAST, KEEP, SLOW, Decision, drain, give, kill, play


@pytest.fixture(params=BATCH_PLAYERS)
def player(request: pytest.FixtureRequest) -> Player:
    return BATCH_PLAYERS[request.param]()


ECHO, URGENT, LONG = Arrival(0, "echo"), Arrival(0, "echo", 3), Arrival(0, "long")


# --- One NPU --------------------------------------------------------------------------------------------------------------------


def test_a_batch_is_preempted_and_resumed_as_one_and_takes_nobody_in(player: Player) -> None:
    # Two run from 0. At 130 the long task is chosen: commit at 200, saved at 390, it runs until 1390. The request of 500 waits
    # beside the batch, and doesn't get in when that is resumed: restored and refilled from 1390 to 1585, 200 cycles left, done at
    # 1785. Then the request leads the one of 1600.
    trace = [ECHO, URGENT, Arrival(130, "long"), Arrival(500, "echo"), Arrival(1600, "echo")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(500, 0, KEEP, "arrival"),
        Decision(1390, 0, give(0), "completion"),
        Decision(1600, 0, KEEP, "arrival"),
        Decision(1785, 0, give(3), "completion"),
    ]
    played = play(player, batching_setup(), trace, decisions)
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "arrival", 1, -1),
        (0, "dispatch", 0, 0),
        (0, "join", 1, 0),
        (0, "run", 0, 0),
        (130, "arrival", 2, -1),
        (200, "commit", 0, 0),
        (390, "saved", 0, 0),
        (390, "dispatch", 2, 0),
        (390, "run", 2, 0),
        (500, "arrival", 3, -1),
        (1390, "completion", 2, 0),
        (1390, "dispatch", 0, 0),
        (1585, "run", 0, 0),
        (1600, "arrival", 2, -1),
        (1785, "completion", 0, 0),
        (1785, "completion", 1, 0),
        (1785, "dispatch", 3, 0),
        (1785, "join", 2, 0),
        (1785, "run", 3, 0),
        (2185, "completion", 3, 0),
        (2185, "completion", 2, 0),
    ]
    assert played.end["account"] == {"useful": 1800, "wasted": 0, "overhead": 385, "idle": 0}
    assert played.end["metrics"]["preemptions"] == 1


def test_members_of_a_preempted_batch_wait_and_earn_tokens_each_at_its_own_rate(player: Player) -> None:
    # The same until 1600. From the commit at 200 on both of the batch wait: at 500 each has waited 300 cycles, which is worth its
    # priority, at 1390, when they're dispatched again, 1190.
    trace = [ECHO, URGENT, Arrival(130, "long"), Arrival(500, "echo"), Arrival(1600, "long")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(500, 0, KEEP, "arrival"),
        Decision(1390, 0, give(0), "completion"),
        Decision(1600, 0, KEEP, "arrival"),
        Decision(1785, 0, give(3), "completion"),
        Decision(2085, 0, give(2), "completion"),
    ]
    shown = play(player, batching_setup(), trace, decisions).shown
    waiting, member = shown[2]["slots"][:2]
    assert (waiting["state"], waiting["npu"], waiting["configuration"]) == ("waiting", -1, "fast")
    assert (member["state"], member["npu"], member["configuration"]) == ("joined", -1, "fast")
    assert (waiting["choosable"], member["choosable"]) == (True, False)
    assert (waiting["waited_cycles"], member["waited_cycles"]) == (300, 300)
    assert (waiting["token"], member["token"]) == pytest.approx((1 + 1, 3 + 3))
    assert (waiting["executed_cycles"], member["executed_cycles"]) == (200, 0)
    assert (waiting["saved_bytes"], member["saved_bytes"]) == (2880, 0)
    assert (waiting["predicted_cycles"], member["predicted_cycles"]) == (400, 300)
    assert shown[2]["ready"] == 2, "the batch's leader and the request of 500"
    names = ("leader", "members", "samples", "would_members", "would_samples", "would_predicted_cycles", "would_oldest_cycles")
    assert [waiting["batch"][name] for name in names] == [0, 2, 2, 2, 2, 400, 0]
    assert waiting["batch"]["would_weight"] == pytest.approx(4 / 300)
    assert [member["batch"][name] for name in names] == [0, 2, 2, 0, 0, 0, -1]
    running, member = shown[4]["slots"][:2]
    assert (running["npu"], member["npu"]) == (0, 0)
    assert (running["waited_cycles"], member["waited_cycles"]) == (1190, 1190)
    assert (running["last_dispatch_cycles"], member["last_dispatch_cycles"]) == (1390, 1390)
    assert (running["token"], member["token"]) == pytest.approx((1 + 1190 / 300, 3 + 3 * 1190 / 300))
    assert (running["executed_cycles"], member["executed_cycles"]) == (215, 0)
    assert (running["preemptions"], member["preemptions"]) == (1, 0)
    observation = shown[2]["observation"]
    assert (observation["leads"], observation["joined"]) == ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0])
    assert observation["batch_members"] == pytest.approx([0.4, 0.4, 0, 0, 0])
    assert observation["batch_samples"] == pytest.approx([0.5, 0, 0.25, 0.25, 0])


def test_a_lone_request_with_progress_takes_nobody_in_either(player: Player) -> None:
    # The first runs alone from 0, makes room at 100, a point, for the long task, and is back at 1300 + 105: 200 left.
    trace = [ECHO, Arrival(100, "long"), Arrival(300, "echo")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(100, 0, give(1), "arrival"),
        # Saved at 200; the long task runs from then on, and the arrival at 300 is asked about.
        Decision(300, 0, KEEP, "arrival"),
        Decision(1200, 0, give(0), "completion"),
        Decision(1505, 0, give(2), "completion"),
    ]
    played = play(player, batching_setup(), trace, decisions)
    assert played.log[3:] == [
        (100, "arrival", 1, -1),
        (100, "commit", 0, 0),
        (200, "saved", 0, 0),
        (200, "dispatch", 1, 0),
        (200, "run", 1, 0),
        (300, "arrival", 2, -1),
        (1200, "completion", 1, 0),
        (1200, "dispatch", 0, 0),
        (1305, "run", 0, 0),
        (1505, "completion", 0, 0),
        (1505, "dispatch", 2, 0),
        (1505, "run", 2, 0),
        (1805, "completion", 2, 0),
    ]
    # Given the NPU at 1200 it would run alone; the other would not take it in, for it has progress.
    would = [[slot["batch"][f"would_{name}"] for name in ("members", "predicted_cycles")] for slot in played.shown[3]["slots"]]
    assert would == [[1, 300], [0, 0], [1, 300], [0, 0], [0, 0]]


def test_a_killed_batch_is_no_more_and_its_members_join_anew(player: Player) -> None:
    # The second leads the first from 0. At 130 both are killed for the third request, which takes in neither: they ran when it was
    # chosen. At 200 a fourth comes, of two samples. At 430 the first leads, and the second and the fourth join: 4 samples, 600.
    trace = [ECHO, ECHO, Arrival(130, "echo", 9), Arrival(200, "echo", samples=2)]
    decisions = [
        Decision(0, 0, give(1), "arrival"),
        Decision(130, 0, kill(2), "arrival"),
        Decision(200, 0, KEEP, "arrival"),
        Decision(430, 0, give(0), "completion"),
    ]
    played = play(player, batching_setup(), trace, decisions)
    assert played.log[2:] == [
        (0, "dispatch", 1, 0),
        (0, "join", 0, 0),
        (0, "run", 1, 0),
        (130, "arrival", 2, -1),
        (130, "kill", 1, 0),
        (130, "dispatch", 2, 0),
        (130, "run", 2, 0),
        (200, "arrival", 3, -1),
        (430, "completion", 2, 0),
        (430, "dispatch", 0, 0),
        (430, "join", 1, 0),
        (430, "join", 3, 0),
        (430, "run", 0, 0),
        (1030, "completion", 0, 0),
        (1030, "completion", 1, 0),
        (1030, "completion", 3, 0),
    ]
    assert played.end["account"] == {"useful": 900, "wasted": 130, "overhead": 0, "idle": 0}
    joined, leader = played.shown[1]["slots"][:2]
    assert (joined["state"], joined["npu"], joined["configuration"], joined["predicted_cycles"]) == ("joined", 0, "fast", 300)
    assert (leader["state"], leader["npu"], leader["executed_cycles"], leader["predicted_cycles"]) == ("running", 0, 130, 400)
    for slot in played.shown[2]["slots"][:2]:
        assert (slot["state"], slot["npu"], slot["configuration"], slot["choosable"]) == ("waiting", -1, None, True)
        assert (slot["executed_cycles"], slot["predicted_cycles"], slot["waited_cycles"]) == (0, 300, 70)
        assert (slot["token"], slot["last_dispatch_cycles"]) == (pytest.approx(1 + 70 / 300), 0)
        assert (slot["batch"]["leader"], slot["batch"]["members"]) == (-1, 0)
    assert [slot["preemptions"] for slot in played.shown[2]["slots"][:2]] == [0, 1]


def test_a_drained_batch_completes_before_the_next_begins(player: Player) -> None:
    # At 130 the long task is chosen, the batch runs on to 400.
    trace = [ECHO, ECHO, Arrival(130, "long")]
    played = play(player, batching_setup(), trace, [Decision(0, 0, give(0), "arrival"), Decision(130, 0, drain(2), "arrival")])
    assert played.log[5:] == [
        (130, "arrival", 2, -1),
        (130, "drain", 0, 0),
        (400, "completion", 0, 0),
        (400, "completion", 1, 0),
        (400, "dispatch", 2, 0),
        (400, "run", 2, 0),
        (1400, "completion", 2, 0),
    ]


def test_a_batch_past_its_last_point_completes_where_it_should_be_checkpointed(player: Player) -> None:
    # At 350 the next point of the batch is its end, 400.
    trace = [ECHO, ECHO, Arrival(350, "long")]
    played = play(player, batching_setup(), trace, [Decision(0, 0, give(1), "arrival"), Decision(350, 0, give(2), "arrival")])
    assert played.log[5:] == [
        (350, "arrival", 2, -1),
        (400, "completion", 1, 0),
        (400, "completion", 0, 0),
        (400, "dispatch", 2, 0),
        (400, "run", 2, 0),
        (1400, "completion", 2, 0),
    ]


# --- Two NPUs -------------------------------------------------------------------------------------------------------------------


def test_unlike_npus_have_a_batch_each_and_a_killed_one_goes_to_the_other(player: Player) -> None:
    # B = 2. NPU 0, fast, takes the first two: 400. NPU 1, slow, takes the last, which the third joins: 800. At 100 NPU 0 kills for
    # the long task; NPU 1 hears of the freed two and keeps. At 800 it takes them: without progress they run anywhere, here in 800.
    trace = [ECHO, ECHO, ECHO, ECHO, Arrival(100, "long", 9)]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(0, 1, give(3), "arrival"),
        Decision(100, 0, kill(4), "arrival"),
        Decision(100, 1, KEEP, "arrival"),
        Decision(800, 0, KEEP, "completion"),
        Decision(800, 1, give(0), "completion"),
    ]
    played = play(player, batching_setup(FAST, SLOW, batching=2), trace, decisions)
    assert played.log[4:] == [
        (0, "dispatch", 0, 0),
        (0, "join", 1, 0),
        (0, "run", 0, 0),
        (0, "dispatch", 3, 1),
        (0, "join", 2, 1),
        (0, "run", 3, 1),
        (100, "arrival", 4, -1),
        (100, "kill", 0, 0),
        (100, "dispatch", 4, 0),
        (100, "run", 4, 0),
        (800, "completion", 3, 1),
        (800, "completion", 2, 1),
        (800, "dispatch", 0, 1),
        (800, "join", 1, 1),
        (800, "run", 0, 1),
        (1100, "completion", 4, 0),
        (1600, "completion", 0, 1),
        (1600, "completion", 1, 1),
    ]
    assert played.end["account"] == {"useful": 2600, "wasted": 100, "overhead": 0, "idle": 500}
    # Asked for NPU 1, the batch that NPU 0 has just begun shows what it is predicted to take on NPU 1; its member shows its own.
    assert [slot["predicted_cycles"] for slot in played.shown[1]["slots"][:4]] == [800, 600, 600, 600]
    assert [slot["batch"]["would_predicted_cycles"] for slot in played.shown[0]["slots"][:4]] == [400] * 4
    assert [slot["batch"]["would_predicted_cycles"] for slot in played.shown[1]["slots"][:4]] == [0, 0, 800, 800]
    # At 100 the killed two are back, while NPU 1 runs on.
    states = [(slot["state"], slot["npu"], slot["batch"]["leader"]) for slot in played.shown[3]["slots"]]
    assert states == [("waiting", -1, -1)] * 2 + [("joined", 1, 3), ("running", 1, 3), ("running", 0, -1)]


def test_a_waiting_npu_is_offered_a_killed_batch_in_pass_two_and_others_may_join(player: Player) -> None:
    # NPU 0 waits at 0 and, in pass 1, at 130. NPU 1 kills its two for the long task: NPU 0 may take either of them in pass 2, not
    # the request of 130, which was offered before and which joins them: 3 in a program of 4, 600 cycles.
    trace = [ECHO, ECHO, Arrival(130, "long"), Arrival(130, "echo")]
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        Decision(0, 1, give(0), "arrival"),
        Decision(130, 0, KEEP, "arrival"),
        Decision(130, 1, kill(2), "arrival"),
        Decision(130, 0, give(1), "arrival", asking_pass=2),
    ]
    played = play(player, batching_setup(FAST, FAST), trace, decisions)
    assert played.log[2:] == [
        (0, "dispatch", 0, 1),
        (0, "join", 1, 1),
        (0, "run", 0, 1),
        (130, "arrival", 2, -1),
        (130, "arrival", 3, -1),
        (130, "kill", 0, 1),
        (130, "dispatch", 2, 1),
        (130, "run", 2, 1),
        (130, "dispatch", 1, 0),
        (130, "join", 0, 0),
        (130, "join", 3, 0),
        (130, "run", 1, 0),
        (730, "completion", 1, 0),
        (730, "completion", 0, 0),
        (730, "completion", 3, 0),
        (1130, "completion", 2, 1),
    ]
    assert played.shown[4]["mask"] == [1] + [1, 0, 0] * 2 + [0] * 9
    assert [slot["batch"]["would_members"] for slot in played.shown[4]["slots"]] == [3, 3, 0, 0, 0]
    assert played.end["account"] == {"useful": 1600, "wasted": 130, "overhead": 0, "idle": 530}


UNTIL_THE_BATCH_MOVES = [
    Decision(0, 0, give(0), "arrival"),
    Decision(0, 1, give(2), "arrival"),
    Decision(130, 0, give(3), "arrival"),
    Decision(390, 0, KEEP, "ready"),
    Decision(390, 1, give(0), "ready"),
]
"""From NPU 0, where it was evicted, to NPU 1, of the two tests that follow."""


def test_a_checkpointed_batch_goes_on_at_the_other_npu(player: Player) -> None:
    # NPU 1 runs a long task from 0. NPU 0's batch makes room at 130, commit at 200, saved at 390: NPU 1 is told, and gives way at
    # 390 (commit at 400, saved at 500). The batch is restored there by 695, with 200 cycles left: its member moves with it.
    trace = [ECHO, ECHO, LONG, Arrival(130, "long")]
    decisions = [
        *UNTIL_THE_BATCH_MOVES,
        # At 500 the long task is choosable for NPU 0, which runs the other until 1390.
        Decision(500, 0, KEEP, "ready"),
        Decision(895, 0, KEEP, "completion"),
        Decision(895, 1, give(2), "completion"),
    ]
    played = play(player, batching_setup(FAST, FAST), trace, decisions)
    assert played.log[8:] == [
        (130, "arrival", 3, -1),
        (200, "commit", 0, 0),
        (390, "saved", 0, 0),
        (390, "dispatch", 3, 0),
        (390, "run", 3, 0),
        (400, "commit", 2, 1),
        (500, "saved", 2, 1),
        (500, "dispatch", 0, 1),
        (695, "run", 0, 1),
        (895, "completion", 0, 1),
        (895, "completion", 1, 1),
        (895, "dispatch", 2, 1),
        (1000, "run", 2, 1),
        (1390, "completion", 3, 0),
        (1600, "completion", 2, 1),
    ]


def test_members_show_the_npu_that_their_leader_is_bound_to_before_it_is_free(player: Player) -> None:
    # As before, but NPU 0 is asked at 450, while NPU 1 makes room for the batch: both of its tasks are said to be NPU 1's. That
    # hears of the arrival at 695. At 1390 NPU 0 takes the short task.
    trace = [ECHO, ECHO, LONG, Arrival(130, "long"), Arrival(450, "short")]
    decisions = [
        *UNTIL_THE_BATCH_MOVES,
        Decision(450, 0, KEEP, "arrival"),
        Decision(500, 0, KEEP, "ready"),
        *(Decision(695, npu, KEEP, "arrival") for npu in (0, 1)),
        Decision(895, 0, KEEP, "completion"),
        Decision(895, 1, give(2), "completion"),
        Decision(1390, 0, give(4), "completion"),
    ]
    played = play(player, batching_setup(FAST, FAST), trace, decisions)
    assert [(slot["state"], slot["npu"]) for slot in played.shown[4]["slots"][:2]] == [("waiting", -1), ("joined", -1)]
    assert [(slot["state"], slot["npu"]) for slot in played.shown[5]["slots"][:2]] == [("bound", 1), ("joined", 1)]


def test_a_bound_batch_waits_without_tokens_and_nobody_else_joins_it(player: Player) -> None:
    # Both NPUs run long tasks. From 130 NPU 0 drains for the two that came then. At 500 NPU 1 is asked about another: the two have
    # waited 370 cycles each and earned nothing. All complete as they should: at 1000 the two begin, and the other alone on NPU 1.
    trace = [LONG, LONG, Arrival(130, "echo"), Arrival(130, "echo", 3), Arrival(500, "echo")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(0, 1, give(1), "arrival"),
        Decision(130, 0, drain(2), "arrival"),
        Decision(500, 1, KEEP, "arrival"),
        # NPU 0 hears of the arrival at 500 only now: it was switching.
        Decision(1000, 0, KEEP, "arrival+completion"),
        Decision(1000, 1, give(4), "arrival+completion"),
    ]
    played = play(player, batching_setup(FAST, FAST), trace, decisions)
    assert played.log[6:] == [
        (130, "arrival", 2, -1),
        (130, "arrival", 3, -1),
        (130, "drain", 0, 0),
        (500, "arrival", 4, -1),
        (1000, "completion", 0, 0),
        (1000, "dispatch", 2, 0),
        (1000, "join", 3, 0),
        (1000, "run", 2, 0),
        (1000, "completion", 1, 1),
        (1000, "dispatch", 4, 1),
        (1000, "run", 4, 1),
        (1300, "completion", 4, 1),
        (1400, "completion", 2, 0),
        (1400, "completion", 3, 0),
    ]
    bound, joined = played.shown[3]["slots"][2:4]
    assert (bound["state"], bound["npu"], bound["waited_cycles"], bound["token"]) == ("bound", 0, 370, 1.0)
    assert (joined["state"], joined["npu"], joined["waited_cycles"], joined["token"]) == ("joined", 0, 370, 3.0)
    assert (bound["predicted_cycles"], joined["predicted_cycles"]) == (400, 300)
    assert (bound["configuration"], joined["configuration"]) == (None, None)
    assert [bound["batch"]["leader"], joined["batch"]["leader"]] == [2, 2]
    begun = played.shown[4]["slots"]
    assert [begun[slot]["waited_cycles"] for slot in (2, 3)] == [870, 870]
    assert [begun[slot]["last_dispatch_cycles"] for slot in (2, 3)] == [1000, 1000]
