"""Instances for two NPUs, worked out on paper: the quantum, scheduler latency, the horizon.

On a fast NPU ``long`` takes 1000 cycles, ``short`` 300, both with a preemption point every 100 cycles, ``whole`` 250 with none
before its end. Saving or restoring a context costs 100 cycles there, refilling the pipeline 5. On a slow NPU programs take twice
as long, with points twice as far apart, and a context costs 190. A log entry is (cycle, event, slot, NPU).
"""

from __future__ import annotations

import pytest
from reference.player import Arrival, Player
from tools.several_npus import FAST, KEEP, PLAYERS, SLOW, Decision, drain, give, kill, play, setup


@pytest.fixture(params=PLAYERS)
def player(request: pytest.FixtureRequest) -> Player:
    return PLAYERS[request.param]()


LONG, SHORT = Arrival(0, "long"), Arrival(0, "short")


# --- The quantum ----------------------------------------------------------------------------------------------------------------

QUANTUM_TRACE = [LONG, LONG, Arrival(130, "short"), Arrival(130, "short")]


def test_a_quantum_that_is_due_at_the_end_of_a_switch_starts_anew_there(player: Player) -> None:
    # The fast NPU switches from 130 to 300. The slow one runs with a task waiting for it: the quantum of 170, restarted at 130,
    # is due at 300, but the switch that ends there puts it off to 470. Nothing happened in the switch, and the slow NPU can't
    # take the saved task. At 600 the fast NPU completes and takes the other short task; the quantum expires at 770, when the
    # saved task waits for it.
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(130, 1, KEEP, "arrival"),
        Decision(470, 0, KEEP, "quantum"),
        Decision(470, 1, KEEP, "quantum"),
        Decision(600, 0, give(3), "completion", may_keep=False),
        Decision(770, 0, KEEP, "quantum"),
    ]
    played = play(player, setup(FAST, SLOW, quantum=170), QUANTUM_TRACE, decisions)
    assert played.log[6:] == [
        (130, "arrival", 2, -1),
        (130, "arrival", 3, -1),
        (200, "commit", 0, 0),
        (300, "saved", 0, 0),
        (300, "dispatch", 2, 0),
        (300, "run", 2, 0),
        (470, "quantum", 2, 0),
        (470, "quantum", 1, 1),
        (600, "completion", 2, 0),
        (600, "dispatch", 3, 0),
        (600, "run", 3, 0),
        (770, "quantum", 3, 0),
        (900, "completion", 3, 0),
        (900, "dispatch", 0, 0),
        (1005, "run", 0, 0),
        (1805, "completion", 0, 0),
        (2000, "completion", 1, 1),
    ]


def test_a_quantum_within_a_switch_is_the_other_npus_only(player: Player) -> None:
    # One cycle less: at 299 the slow NPU is asked. The fast one, switching until 300, isn't owed this quantum then; the next is
    # at 468.
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(130, 0, give(2), "arrival"),
        Decision(130, 1, KEEP, "arrival"),
        Decision(299, 1, KEEP, "quantum"),
        Decision(468, 0, KEEP, "quantum"),
        Decision(468, 1, KEEP, "quantum"),
        Decision(600, 0, give(3), "completion", may_keep=False),
        Decision(769, 0, KEEP, "quantum"),
    ]
    played = play(player, setup(FAST, SLOW, quantum=169), QUANTUM_TRACE, decisions)
    assert [event for event in played.log if event[1] == "quantum"] == [
        (299, "quantum", 1, 1),
        (468, "quantum", 2, 0),
        (468, "quantum", 1, 1),
        (769, "quantum", 3, 0),
    ]


@pytest.mark.parametrize(("every", "cycles"), [(2, [230, 430, 630, 830]), (3, [330, 630, 930]), (None, [])])
def test_decision_every_thins_the_quantum_of_the_row(player: Player, every: int | None, cycles: list[int]) -> None:
    # Two like NPUs run, a third task waits from 30 on: each quantum of 100 is the only cause, and both NPUs are asked or neither.
    trace = [LONG, LONG, Arrival(30, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        *(Decision(30, npu, KEEP, "arrival") for npu in (0, 1)),
        *(Decision(cycle, npu, KEEP, "quantum") for cycle in cycles for npu in (0, 1)),
        # At 1000 both complete: NPU 0 may leave the waiting task to NPU 1.
        Decision(1000, 0, KEEP, "completion"),
    ]
    played = play(player, setup(quantum=100, decision_every=every), trace, decisions)
    assert played.log[-2:] == [(1000, "run", 2, 1), (1300, "completion", 2, 1)]


@pytest.mark.parametrize("every", [2, None])
def test_a_quantum_that_is_thinned_away_asks_no_idle_npu_either(player: Player, every: int | None) -> None:
    # The slow NPU idles on purpose beside a task that it could take; the only quantum before the fast one completes is at 600.
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(0, 1, KEEP, "arrival"),
        Decision(1000, 0, give(1), "completion"),
    ]
    machine = setup(FAST, SLOW, allow_idle=True, quantum=600, decision_every=every)
    played = play(player, machine, [LONG, SHORT], decisions)
    assert played.log[-1] == (1300, "completion", 1, 0)


def test_an_invocation_that_asks_nobody_counts_the_quanta_anew(player: Player) -> None:
    # The fast NPU stalls until 100, while the slow one has taken the second task unasked and gives it up for the third: asked at
    # 50, at its point at 300, saved at 490. At 100 the fast NPU answers to the arrival at 50 and finds nothing to take. The quantum
    # of 600 that begins there is the first to expire with a task that waits, at 700; the second would be due at 1300. At 1090 the
    # slow NPU takes the saved task up again, restores it until 1285 and runs its other 1800 cycles.
    decisions = [Decision(0, 0, give(0), "arrival"), Decision(50, 1, give(2), "arrival")]
    machine = setup(FAST, SLOW, latency=100, quantum=600, decision_every=2)
    played = play(player, machine, [LONG, LONG, Arrival(50, "short")], decisions)
    assert played.log[-6:] == [
        (490, "run", 2, 1),
        (1090, "completion", 2, 1),
        (1090, "dispatch", 1, 1),
        (1100, "completion", 0, 0),
        (1285, "run", 1, 1),
        (3085, "completion", 1, 1),
    ]


# --- Scheduler latency ----------------------------------------------------------------------------------------------------------


def test_latency_stalls_the_asked_npu_only(player: Player) -> None:
    # NPU 0 keeps, at a stall until 20; NPU 1 takes the long task at once. At 10 the short one arrives: NPU 1 is asked, keeps, and
    # stands still until 30. At 20 NPU 0 is there for what arrived within its stall: one move, at no latency.
    decisions = [Decision(0, 0, KEEP, "arrival"), Decision(10, 1, KEEP, "arrival")]
    played = play(player, setup(latency=20), [LONG, Arrival(10, "short")], decisions)
    assert played.log == [
        (0, "arrival", 0, -1),
        (0, "stall", -1, 0),
        (0, "dispatch", 0, 1),
        (0, "run", 0, 1),
        (10, "arrival", 1, -1),
        (10, "stall", 0, 1),
        (20, "dispatch", 1, 0),
        (20, "run", 1, 0),
        (30, "run", 0, 1),
        (320, "completion", 1, 0),
        (1020, "completion", 0, 1),
    ]
    assert played.end["account"] == {"useful": 1300, "wasted": 0, "overhead": 40, "idle": 700}


def test_a_move_of_the_second_pass_follows_upon_the_stall_of_the_first(player: Player) -> None:
    # NPU 0 keeps, NPU 1 chooses the short task; what is left is NPU 0's only move, and begins when its stall is over.
    decisions = [Decision(0, 0, KEEP, "arrival"), Decision(0, 1, give(1), "arrival", may_keep=False)]
    played = play(player, setup(latency=20), [LONG, SHORT], decisions)
    assert played.log[2:] == [
        (0, "stall", -1, 0),
        (0, "stall", -1, 1),
        (20, "dispatch", 0, 0),
        (20, "run", 0, 0),
        (20, "dispatch", 1, 1),
        (20, "run", 1, 1),
        (320, "completion", 1, 1),
        (1020, "completion", 0, 0),
    ]


@pytest.mark.parametrize("latency", [1, 20])
def test_a_chosen_move_of_the_second_pass_costs_its_own_latency_behind_the_stall(player: Player, latency: int) -> None:
    # As before, but two tasks are left: NPU 0 has a choice, which takes as many cycles again.
    decisions = [
        Decision(0, 0, KEEP, "arrival"),
        Decision(0, 1, give(1), "arrival", may_keep=False),
        Decision(0, 0, give(2), "arrival", asking_pass=2, may_keep=False),
        Decision(latency + 300, 0, KEEP, "completion"),  # NPU 1 then takes the long task, its only move
    ]
    played = play(player, setup(latency=latency), [LONG, SHORT, SHORT], decisions)
    assert [entry for entry in played.log[3:] if entry[0] <= 2 * latency] == [
        (0, "stall", -1, 0),
        (0, "stall", -1, 1),
        (latency, "stall", -1, 0),
        (latency, "dispatch", 1, 1),
        (latency, "run", 1, 1),
        (2 * latency, "dispatch", 2, 0),
        (2 * latency, "run", 2, 0),
    ]


def test_a_kill_after_latency_frees_its_task_for_the_other_npu(player: Player) -> None:
    # The kill decided at 100 happens at 120. The killed task is choosable then: both NPUs are asked and keep, and stand still
    # until 140.
    trace = [LONG, LONG, Arrival(100, "short")]
    decisions = [
        Decision(0, 0, give(0), "arrival"),
        Decision(100, 0, kill(2), "arrival"),
        Decision(120, 0, KEEP, "ready"),
        Decision(120, 1, KEEP, "ready"),
    ]
    played = play(player, setup(latency=20), trace, decisions)
    assert played.log[2:] == [
        (0, "stall", -1, 0),
        (0, "dispatch", 1, 1),
        (0, "run", 1, 1),
        (20, "dispatch", 0, 0),
        (20, "run", 0, 0),
        (100, "arrival", 2, -1),
        (100, "stall", 0, 0),
        (120, "kill", 0, 0),
        (120, "dispatch", 2, 0),
        (120, "run", 2, 0),
        (120, "stall", 2, 0),
        (120, "stall", 1, 1),
        (140, "run", 2, 0),
        (140, "run", 1, 1),
        (440, "completion", 2, 0),
        (440, "dispatch", 0, 0),
        (440, "run", 0, 0),
        (1020, "completion", 1, 1),
        (1440, "completion", 0, 0),
    ]
    # Wasted: the 80 cycles from 20 to 100. Overhead: 20 + 20 + 20 on NPU 0, 20 on NPU 1.
    assert played.end["account"] == {"useful": 2300, "wasted": 80, "overhead": 80, "idle": 420}


# --- The horizon ----------------------------------------------------------------------------------------------------------------

THREE_WHOLE = [Arrival(0, "whole")] * 3
"""Their horizon is 20 * 750 = 15 000."""


def _killing(until: int, quantum: int = 40) -> list[Decision]:
    """Return what is asked and answered where every quantum kills on both NPUs, up to but not at ``until``.

    NPU 0 takes the waiting task, NPU 1 the one that NPU 0 has just killed: each move goes on by one NPU, the third waits.
    """
    decisions, (first, second, waiting) = (
        [Decision(0, 0, give(0), "arrival"), Decision(0, 1, give(1), "arrival", may_keep=False)],
        (0, 1, 2),
    )
    for cycle in range(quantum, until, quantum):
        decisions += [Decision(cycle, 0, kill(waiting), "quantum"), Decision(cycle, 1, kill(first), "quantum")]
        first, second, waiting = waiting, first, second
    return decisions


def test_killers_in_a_loop_are_truncated_at_the_horizon(player: Player) -> None:
    # The quantum expires at the horizon too, 15 000 = 375 * 40, and asks nothing there.
    played = play(player, setup(quantum=40), THREE_WHOLE, _killing(15_000))
    assert (played.end["clock_cycles"], played.end["truncated"], played.end["terminated"]) == (15_000, True, False)
    assert played.end["cause"] == ["quantum"]
    # What runs at the end has run for 40 cycles on each NPU.
    assert played.end["account"] == {"useful": 80, "wasted": 29_920, "overhead": 0, "idle": 0}


def test_what_switches_at_the_horizon_is_played_to_its_end_and_the_others_go_on(player: Player) -> None:
    # The last decision is at 14 960, the 374th quantum, 373 having passed: tasks have moved on 373 = 1 mod 3 times, so NPU 0 runs
    # task 2, NPU 1 task 0, and task 1 waits. NPU 0 drains for it: until 14 960 + 210 = 15 170, when NPU 1 completes as well.
    # Nothing is asked in between, as nothing waits, and nothing after the horizon of 15 000.
    decisions = [*_killing(14_960), Decision(14_960, 0, drain(1), "quantum")]
    played = play(player, setup(quantum=40), THREE_WHOLE, decisions)
    assert played.log[-4:] == [
        (15_170, "completion", 2, 0),
        (15_170, "dispatch", 1, 0),
        (15_170, "run", 1, 0),
        (15_170, "completion", 0, 1),
    ]
    assert (played.end["clock_cycles"], played.end["truncated"], played.end["terminated"]) == (15_170, True, False)
    assert played.end["metrics"]["unfinished"] == 1


def test_the_last_completion_may_fall_on_the_horizon(player: Player) -> None:
    # The 290th kill, at 14 500, is the last: tasks 1 and 2 run, and complete at 14 750. Task 0 follows, and completes at 15 000.
    keeping = [Decision(cycle, n, KEEP, "quantum") for cycle in range(14_550, 14_750, 50) for n in (0, 1)]
    last = Decision(14_750, 0, give(0), "completion")
    played = play(player, setup(quantum=50), THREE_WHOLE, [*_killing(14_550, 50), *keeping, last])
    assert played.log[-1] == (15_000, "completion", 0, 0)
    assert (played.end["clock_cycles"], played.end["truncated"], played.end["terminated"]) == (15_000, False, True)
