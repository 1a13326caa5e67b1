"""Idle NPUs that wait for a fuller batch: instances whose every event was computed on paper; whole event logs are compared.

On a fast NPU ``echo`` takes 300 cycles for one sample, 400 for two, 600 for up to four; ``long`` takes 1000 and joins nobody. A log
entry is (cycle, event, slot, NPU).
"""

from __future__ import annotations

import pytest
from batching.instances import BATCH_PLAYERS, batching_setup
from reference.player import Arrival, Player
from tools.several_npus import FAST, KEEP, Decision, give, play


@pytest.fixture(params=BATCH_PLAYERS)
def player(request: pytest.FixtureRequest) -> Player:
    return BATCH_PLAYERS[request.param]()


ECHO, LONG = Arrival(0, "echo"), Arrival(0, "long")


@pytest.mark.parametrize("every", [None, 1, 7])
def test_an_npu_that_waits_is_asked_again_at_every_quantum_and_at_every_arrival(player: Player, every: int | None) -> None:
    # Quantum 250. At 0 it waits; due 250: asked, waits. At 400 the second arrives: asked, waits; the quantum starts anew, due 650:
    # both run as two, 400 cycles. decision_every is for NPUs that run: who waits is asked at each quantum.
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        Decision(250, 0, KEEP, "quantum"),
        Decision(400, 0, KEEP, "arrival"),
        Decision(650, 0, give(0), "quantum"),
    ]
    played = play(player, batching_setup(quantum=250, decision_every=every), [ECHO, Arrival(400, "echo")], decisions)
    assert played.log == [
        (0, "arrival", 0, -1),
        (250, "quantum", -1, 0),
        (400, "arrival", 1, -1),
        (650, "quantum", -1, 0),
        (650, "dispatch", 0, 0),
        (650, "join", 1, 0),
        (650, "run", 0, 0),
        (1050, "completion", 0, 0),
        (1050, "completion", 1, 0),
    ]
    assert played.end["account"] == {"useful": 400, "wasted": 0, "overhead": 0, "idle": 650}
    # Waiting, both earn tokens: 650 / 300 and 250 / 300 by the last decision.
    assert [slot["token"] for slot in played.shown[3]["slots"][:2]] == pytest.approx([1 + 650 / 300, 1 + 250 / 300])


def test_where_it_is_not_the_quantums_turn_those_that_wait_are_asked_alone(player: Player) -> None:
    # NPU 0 runs the long task, NPU 1 waits. Quantum 250, every second one asks all: at 500. At 250 and 750 NPU 1 is asked alone;
    # its decision at 250 doesn't put off the turn at 500, nor does that at 750 bring it forward.
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(0, 1, KEEP, "arrival"),
        Decision(250, 1, KEEP, "quantum"),
        Decision(500, 0, KEEP, "quantum"),
        Decision(500, 1, KEEP, "quantum"),
        Decision(750, 1, give(1), "quantum"),
    ]
    played = play(player, batching_setup(FAST, FAST, quantum=250, decision_every=2), [LONG, ECHO], decisions)
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "arrival", 1, -1),
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (250, "quantum", -1, 1),
        (500, "quantum", 0, 0),
        (500, "quantum", -1, 1),
        (750, "quantum", -1, 1),
        (750, "dispatch", 1, 1),
        (750, "run", 1, 1),
        (1000, "completion", 0, 0),
        (1050, "completion", 1, 1),
    ]


def test_a_quantum_is_a_cause_though_its_npu_completes_at_its_very_cycle(player: Player) -> None:
    # Quantum 500: at 500 the running NPU is asked. At 1000 its task completes as the quantum expires: both are causes, and the
    # NPU, idle now, is asked. It waits until 1500.
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(500, 0, KEEP, "quantum"),
        Decision(1000, 0, KEEP, "completion+quantum"),
        Decision(1500, 0, give(1), "quantum"),
    ]
    played = play(player, batching_setup(quantum=500), [LONG, ECHO], decisions)
    assert played.log[2:] == [
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (500, "quantum", 0, 0),
        (1000, "completion", 0, 0),
        (1000, "quantum", -1, 0),
        (1500, "quantum", -1, 0),
        (1500, "dispatch", 1, 0),
        (1500, "run", 1, 0),
        (1800, "completion", 1, 0),
    ]


def test_requests_join_at_the_decision_and_not_at_the_dispatch(player: Player) -> None:
    # Latency 40. At 0 the NPU keeps and stalls until 40, hears then of the arrival at 20, and keeps until 80. The quantum (250) of
    # the invocation at 40 is due at 290: the first leads, the second joins, and both wait on until the dispatch at 330, without
    # tokens. The third, of 300, is too late for them. The NPU is asked about it at 330 and keeps, which costs it 40 cycles again;
    # the two complete at 370 + 400 = 770. The quantum of 580 asks nobody: the NPU runs, and decision_every is None.
    trace = [ECHO, Arrival(20, "echo"), Arrival(300, "echo")]
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        Decision(40, 0, KEEP, "arrival"),
        Decision(290, 0, give(0), "quantum"),
        Decision(330, 0, KEEP, "arrival"),
        Decision(770, 0, give(2), "completion"),
    ]
    played = play(player, batching_setup(quantum=250, latency=40, decision_every=None), trace, decisions)
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "stall", -1, 0),
        (20, "arrival", 1, -1),
        (40, "stall", -1, 0),
        (290, "quantum", -1, 0),
        (290, "stall", -1, 0),
        (300, "arrival", 2, -1),
        (330, "dispatch", 0, 0),
        (330, "join", 1, 0),
        (330, "run", 0, 0),
        (330, "stall", 0, 0),
        (370, "run", 0, 0),
        (770, "completion", 0, 0),
        (770, "completion", 1, 0),
        (770, "stall", -1, 0),
        (810, "dispatch", 2, 0),
        (810, "run", 2, 0),
        (1110, "completion", 2, 0),
    ]
    slots = played.shown[3]["slots"]
    assert [slot["state"] for slot in slots[:3]] == ["running", "joined", "waiting"]
    assert [slot["waited_cycles"] for slot in slots[:3]] == [330, 310, 30]
    assert [slot["last_dispatch_cycles"] for slot in slots[:3]] == [290, 290, -1]
    assert [slot["token"] for slot in slots[:3]] == pytest.approx([1 + 290 / 300, 1 + 270 / 300, 1 + 30 / 300])
    # A dispatch has been: the batch has its configuration, of which only the leader's progress, none yet, would show at it.
    assert [slot["configuration"] for slot in slots[:3]] == [None, "fast", None]
    assert played.end["account"] == {"useful": 700, "wasted": 0, "overhead": 200, "idle": 210}


def test_an_illegal_action_where_an_npu_waits_is_replaced_by_keep(player: Player) -> None:
    # A slot that is empty, and a mechanism that an idle NPU has no use for: both mean to wait on.
    player.start([ECHO, Arrival(100, "echo"), Arrival(200, "echo")], batching_setup())
    assert not player.act(give(4))
    assert not player.act(give(1, "KILL"))
    assert player.snapshot()["clock_cycles"] == 200
    assert player.act(give(2))
    events = [event[:2] for event in player.snapshot()["events"]]
    assert events == [(200, "dispatch"), (200, "join"), (200, "join"), (200, "run"), *[(800, "completion")] * 3]


def test_with_the_right_to_idle_an_npu_waits_all_the_same(player: Player) -> None:
    # allow_idle lets an NPU idle beside a busy one; batching lets it idle in any case.
    decisions = [Decision(0, 0, KEEP, "arrival"), Decision(50, 0, give(1), "arrival")]
    played = play(player, batching_setup(allow_idle=True), [ECHO, Arrival(50, "echo")], decisions)
    assert played.log[2:] == [
        (50, "dispatch", 1, 0),
        (50, "join", 0, 0),
        (50, "run", 1, 0),
        (450, "completion", 1, 0),
        (450, "completion", 0, 0),
    ]


def test_whoever_waits_for_ever_meets_the_horizon(player: Player) -> None:
    # One request of 300 cycles: the horizon is 20 * 300 = 6000. Without a quantum nothing happens until then, and no token is paid.
    played = play(player, batching_setup(), [ECHO], [Decision(0, 0, KEEP, "arrival")])
    assert played.log == [(0, "arrival", 0, -1)]
    assert (played.end["truncated"], played.end["clock_cycles"]) == (True, 6000)
    assert played.end["slots"][0]["token"] == 1
    assert played.end["account"] == {"useful": 0, "wasted": 0, "overhead": 0, "idle": 6000}


def test_the_quantum_that_expires_at_the_horizon_asks_nobody_but_pays_tokens(player: Player) -> None:
    # Quantum 2000: asked at 2000 and 4000. The third expires at the horizon, 6000: the token has then grown by 6000 / 300.
    decisions = [Decision(0, 0, KEEP, "arrival"), Decision(2000, 0, KEEP, "quantum"), Decision(4000, 0, KEEP, "quantum")]
    played = play(player, batching_setup(quantum=2000), [ECHO], decisions)
    assert played.log[1:] == [(2000, "quantum", -1, 0), (4000, "quantum", -1, 0)]
    assert (played.end["truncated"], played.end["clock_cycles"]) == (True, 6000)
    assert played.end["slots"][0]["token"] == pytest.approx(21)
    shown = played.end["slots"][0]["batch"]
    assert [shown[name] for name in ("leader", "members", "samples", "would_members", "would_oldest_cycles")] == [-1, 0, 1, 0, -1]


def test_a_batch_that_runs_over_the_horizon_is_cut_off(player: Player) -> None:
    # Two requests: the horizon is 20 * 600 = 12000. The quantum of 11900 asks for the last time; the batch has run 100 cycles then.
    quanta = [Decision(at, 0, KEEP, "quantum") for at in range(2380, 11900, 2380)]
    decisions = [Decision(0, 0, KEEP, "arrival"), *quanta, Decision(11900, 0, give(0), "quantum")]
    played = play(player, batching_setup(quantum=2380), [ECHO, ECHO], decisions)
    assert played.log[-4:] == [(11900, "quantum", -1, 0), (11900, "dispatch", 0, 0), (11900, "join", 1, 0), (11900, "run", 0, 0)]
    assert (played.end["truncated"], played.end["clock_cycles"]) == (True, 12000)
    assert played.end["account"] == {"useful": 100, "wasted": 0, "overhead": 0, "idle": 11900}
    assert [slot["state"] for slot in played.end["slots"][:2]] == ["running", "joined"]
    assert [slot["waited_cycles"] for slot in played.end["slots"][:2]] == [11900, 11900]
    assert played.end["slots"][0]["predicted_cycles"] == 400
