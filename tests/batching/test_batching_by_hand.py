"""Who joins a batch, and what the batch runs: instances whose every event was computed on paper; whole event logs are compared.

On a fast NPU ``echo`` takes 300 cycles for one sample, 400 for two, 600 for up to four. ``talk`` generates: alone it takes 200, 400
or 600 cycles, by output length, in twos 300, 600 or 900. All have a preemption point every 100 cycles. ``long`` takes 1000 and is
known for one sample only. A log entry is (cycle, event, slot, NPU).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from batching.instances import BATCH_PLAYERS, batching_setup
from reference.player import Arrival, Player, ReferencePlayer
from tools.several_npus import KEEP, Decision, give, play


@pytest.fixture(params=BATCH_PLAYERS)
def player(request: pytest.FixtureRequest) -> Player:
    return BATCH_PLAYERS[request.param]()


ECHO, TWO = Arrival(0, "echo"), Arrival(0, "echo", samples=2)


def would(shown: dict[str, Any], slot: int) -> tuple[int, ...]:
    """Return members, samples, prediction and oldest arrival of what would run if ``slot`` were dispatched now."""
    batch = shown["slots"][slot]["batch"]
    return tuple(batch[f"would_{name}"] for name in ("members", "samples", "predicted_cycles", "oldest_cycles"))


def test_the_first_that_does_not_fit_ends_the_joining(player: Player) -> None:
    # Samples 1, 2, 2, 1 and B = 4. The first leads, the second joins: 3, padded to 4, take 600 cycles. With the third it would be
    # 5, so nobody else joins, though the fourth alone would fit. The last two run from 600, again as 3 in a program of 4.
    trace = [ECHO, TWO, TWO, ECHO]
    decisions = [Decision(0, 0, give(0), "arrival"), Decision(600, 0, give(2), "completion")]
    played = play(player, batching_setup(), trace, decisions)
    assert played.log == [
        *((0, "arrival", slot, -1) for slot in range(4)),
        (0, "dispatch", 0, 0),
        (0, "join", 1, 0),
        (0, "run", 0, 0),
        (600, "completion", 0, 0),
        (600, "completion", 1, 0),
        (600, "dispatch", 2, 0),
        (600, "join", 3, 0),
        (600, "run", 2, 0),
        (1200, "completion", 2, 0),
        (1200, "completion", 3, 0),
    ]
    assert played.end["account"] == {"useful": 1200, "wasted": 0, "overhead": 0, "idle": 0}
    assert played.end["finished"] == 4
    # The last would take in the first two; what weighs is priority over own prediction: 300 for one sample, 400 for two.
    assert [would(played.shown[0], slot) for slot in range(5)] == [(2, 3, 600, 0)] * 3 + [(3, 4, 600, 0), (0, 0, 0, -1)]
    weights = [slot["batch"]["would_weight"] for slot in played.shown[0]["slots"]]
    assert weights == pytest.approx([1 / 300 + 1 / 400, 1 / 400 + 1 / 300, 1 / 400 + 1 / 300, 2 / 300 + 1 / 400, 0])


def test_whoever_is_chosen_leads_and_the_oldest_join(player: Player) -> None:
    # The last is chosen. It takes in the first two, 4 samples; logged are the leader first, then the others as they arrived. The
    # third runs alone, its own program of two samples: 400 cycles.
    trace = [ECHO, TWO, TWO, ECHO]
    decisions = [Decision(0, 0, give(3), "arrival"), Decision(600, 0, give(2), "completion")]
    played = play(player, batching_setup(), trace, decisions)
    assert played.log[4:] == [
        (0, "dispatch", 3, 0),
        (0, "join", 0, 0),
        (0, "join", 1, 0),
        (0, "run", 3, 0),
        (600, "completion", 3, 0),
        (600, "completion", 0, 0),
        (600, "completion", 1, 0),
        (600, "dispatch", 2, 0),
        (600, "run", 2, 0),
        (1000, "completion", 2, 0),
    ]
    alone = played.shown[1]["slots"][2]["batch"]
    assert (alone["leader"], alone["members"], alone["samples"]) == (-1, 0, 2)
    assert would(played.shown[1], 2) == (1, 2, 400, 0)


def test_a_full_batch_runs_and_who_comes_later_waits_for_the_next(player: Player) -> None:
    # Five at once and a sixth at 100: four run until 600. The sixth is asked about while they run, and joins nobody that runs. It
    # waits with the fifth, and both run as two from 600 to 1000.
    trace = [ECHO] * 5 + [Arrival(100, "echo", 9)]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(100, 0, KEEP, "arrival"),
        Decision(600, 0, give(5), "completion"),
    ]
    played = play(player, batching_setup(slots=6), trace, decisions)
    assert played.log[5:] == [
        (0, "dispatch", 0, 0),
        *((0, "join", slot, 0) for slot in (1, 2, 3)),
        (0, "run", 0, 0),
        (100, "arrival", 5, -1),
        *((600, "completion", slot, 0) for slot in range(4)),
        (600, "dispatch", 5, 0),
        (600, "join", 4, 0),
        (600, "run", 5, 0),
        (1000, "completion", 5, 0),
        (1000, "completion", 4, 0),
    ]
    # At 100 the running ones are one batch of four; only its leader has executed anything, and shows the batch's prediction.
    slots = played.shown[1]["slots"]
    assert [slot["state"] for slot in slots] == ["running", "joined", "joined", "joined", "waiting", "waiting"]
    assert [slot["executed_cycles"] for slot in slots] == [100, 0, 0, 0, 0, 0]
    assert [slot["predicted_cycles"] for slot in slots] == [600] + [300] * 5
    assert [slot["predicted_fastest_cycles"] for slot in slots] == [300] * 6
    batches = [slot["batch"] for slot in slots]
    assert [(batch["leader"], batch["members"], batch["samples"]) for batch in batches] == [(0, 4, 4)] * 4 + [(-1, 0, 1)] * 2
    assert [would(played.shown[1], slot) for slot in (3, 4, 5)] == [(0, 0, 0, -1), (2, 2, 400, 0), (2, 2, 400, 0)]
    # Isolated times stay each one's own, 300: waits of 600 / 300, 4 times; 1000 / 300 for the fifth, 900 / 300 for the sixth.
    assert played.end["metrics"]["antt"] == pytest.approx((4 * 600 + 1000 + 900) / 300 / 6)


def test_a_request_of_more_samples_than_a_batch_may_have_takes_nobody_in(player: Player) -> None:
    # B = 2: the request of four samples runs alone, 600 cycles. Of the others two join, the third is left and takes 300.
    trace = [Arrival(0, "echo", samples=4), ECHO, ECHO, ECHO]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(600, 0, give(3), "completion"),
        Decision(1000, 0, give(2), "completion"),
    ]
    played = play(player, batching_setup(batching=2), trace, decisions)
    assert played.log[4:] == [
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (600, "completion", 0, 0),
        (600, "dispatch", 3, 0),
        (600, "join", 1, 0),
        (600, "run", 3, 0),
        (1000, "completion", 3, 0),
        (1000, "completion", 1, 0),
        (1000, "dispatch", 2, 0),
        (1000, "run", 2, 0),
        (1300, "completion", 2, 0),
    ]


def test_only_one_model_is_in_a_batch_and_only_sizes_that_are_known(player: Player) -> None:
    # Of ``pair`` three wait, and B = 8: with the third a program of four would be needed, which there is none of, though one of
    # eight there is. ``long`` is known for one sample only. At 0 the first two of ``pair`` run, 400 cycles.
    trace = [Arrival(0, "pair"), Arrival(0, "long"), Arrival(0, "pair"), Arrival(0, "long"), Arrival(0, "pair")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(400, 0, give(1), "completion"),
        Decision(1400, 0, give(4), "completion"),
        Decision(1700, 0, give(3), "completion"),
    ]
    played = play(player, batching_setup(batching=8), trace, decisions)
    assert played.log[5:] == [
        (0, "dispatch", 0, 0),
        (0, "join", 2, 0),
        (0, "run", 0, 0),
        (400, "completion", 0, 0),
        (400, "completion", 2, 0),
        (400, "dispatch", 1, 0),
        (400, "run", 1, 0),
        (1400, "completion", 1, 0),
        (1400, "dispatch", 4, 0),
        (1400, "run", 4, 0),
        (1700, "completion", 4, 0),
        (1700, "dispatch", 3, 0),
        (1700, "run", 3, 0),
        (2700, "completion", 3, 0),
    ]


def test_a_batch_generates_as_long_as_the_longest_of_its_members() -> None:
    # Alone the first would take 200 and the second 600; together 900, with 600 predicted. At 700 it has run longer than that. The
    # third, alone from 900, takes its own 400. (Of the kernel only networks generate, not programs that are registered.)
    trace = [
        Arrival(0, "talk", output_length=1),
        Arrival(0, "talk", output_length=3),
        Arrival(700, "talk", output_length=2),
    ]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(700, 0, KEEP, "arrival"),
        Decision(900, 0, give(2), "completion"),
    ]
    played = play(ReferencePlayer(), batching_setup(), trace, decisions)
    assert played.log[2:] == [
        (0, "dispatch", 0, 0),
        (0, "join", 1, 0),
        (0, "run", 0, 0),
        (700, "arrival", 2, -1),
        (900, "completion", 0, 0),
        (900, "completion", 1, 0),
        (900, "dispatch", 2, 0),
        (900, "run", 2, 0),
        (1300, "completion", 2, 0),
    ]
    assert [slot["predicted_cycles"] for slot in played.shown[1]["slots"][:3]] == [600, 400, 400]
    assert played.shown[1]["slots"][0]["executed_cycles"] == 700
    # Isolated: 200, 600, 400. NTT: 900 / 200, 900 / 600, 600 / 400.
    assert played.end["metrics"]["antt"] == pytest.approx((4.5 + 1.5 + 1.5) / 3)


def test_predictions_are_off_as_those_of_the_oldest_with_the_longest_input(player: Player) -> None:
    # ``echo`` has no input lengths, so the oldest counts: the batch of two is predicted at 1.5 * 400, whoever leads it. Alone the
    # requests are predicted at 450 and at 150.
    trace = [Arrival(0, "echo", factor=1.5), Arrival(0, "echo", factor=0.5), Arrival(100, "long")]
    decisions = [
        Decision(0, 0, give(1), "arrival"),
        Decision(100, 0, KEEP, "arrival"),
        Decision(400, 0, give(2), "completion"),
    ]
    played = play(player, batching_setup(), trace, decisions)
    assert played.log[2:5] == [(0, "dispatch", 1, 0), (0, "join", 0, 0), (0, "run", 1, 0)]
    assert [would(played.shown[0], slot)[2] for slot in (0, 1)] == [600, 600]
    assert [slot["predicted_cycles"] for slot in played.shown[0]["slots"][:2]] == [450, 150]
    assert [slot["predicted_cycles"] for slot in played.shown[1]["slots"][:3]] == [450, 600, 1000]
    assert played.shown[0]["slots"][0]["batch"]["would_weight"] == pytest.approx(1 / 450 + 1 / 150)


def test_the_group_batching_shows_what_would_run_and_what_is_joined(player: Player) -> None:
    # At 200 two run as one, with 200 of 400 cycles left; two others wait, of samples 2 and 1, since 50 and 100: as 3 they'd take
    # 600 cycles. Their density is (1 / 400 + 3 / 300) / 600 * 10^12, the logarithm of which, over 4, is 4.2: it shows as 4, the
    # most there is, as does that of the two that run, 2 / 300 / 200 * 10^12.
    trace = [ECHO, ECHO, Arrival(50, "echo", samples=2), Arrival(100, "echo", 3), Arrival(200, "long")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(50, 0, KEEP, "arrival"),
        Decision(100, 0, KEEP, "arrival"),
        Decision(200, 0, KEEP, "arrival"),
        Decision(400, 0, give(2), "completion"),
        Decision(1000, 0, give(4), "completion"),
    ]
    shown = play(player, batching_setup(), trace, decisions).shown[3]["observation"]
    together = [math.log(600 / 1e6) / 4, 4.0, math.log(1 + 150 / 1e6) / 4]
    running = [math.log(200 / 1e6) / 4, 4.0, math.log(1 + 200 / 1e6) / 4]
    alone = [math.log(1000 / 1e6) / 4, math.log(1 / 1000 / 1000 * 1e12) / 4, 0.0]
    names = ("log_batch_predicted", "log_batch_density", "log_batch_wait")
    for name, first, both, long in zip(names, running, together, alone, strict=True):
        assert shown[name] == pytest.approx([first, 0, both, both, long], abs=1e-6)
    assert shown["leads"] == [1, 0, 0, 0, 0]
    assert shown["joined"] == [0, 1, 0, 0, 0]
    assert shown["batch_members"] == pytest.approx([2 / 5, 2 / 5, 0, 0, 0])
    assert shown["batch_samples"] == [2 / 4, 0, 3 / 4, 3 / 4, 1 / 4]
    assert list(shown)[-7:] == [*names, "leads", "joined", "batch_members", "batch_samples"]


def test_without_batching_nobody_joins_and_nothing_of_it_shows(player: Player) -> None:
    # B = 1: the first runs alone, the second after it unasked, for nobody may wait.
    played = play(player, batching_setup(batching=1), [ECHO, ECHO], [Decision(0, 0, give(0), "arrival", may_keep=False)])
    assert played.log[2:] == [
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (300, "completion", 0, 0),
        (300, "dispatch", 1, 0),
        (300, "run", 1, 0),
        (600, "completion", 1, 0),
    ]
    assert all("batch" not in slot for shown in played.shown for slot in shown["slots"])
    assert "joined" not in played.shown[0]["observation"]
