"""The five tasks of ``test_policies_by_hand.py`` with deadlines of their own, worked out on paper, and what holds in general.

task  arrives  length  priority  due
A           0     400         1  500
B          50     100         3  130: too early to be met
C          60      40         1  110
D         200     200         9  430
E         210      30         9  700
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from baselines import make_policy
from baselines.policies.heuristic import Heuristic
from tests.rules.test_policies_by_hand import NAMES, moves, play, schedule

DUE = (500, 130, 110, 430, 700)

BY_HAND = {
    # 50: B 130, A 500. 60: C 110. 100: B 130. 190: A is alone. 200: D 430, A 500. 400: A 500, E 700.
    "EDF": ("0 A, 50 B, 60 C, 100 B, 200 D, 210 keep, 400 A", {"C": 100, "B": 190, "D": 400, "A": 740, "E": 770}),
    # Laxities. 50: A 100, B -20. 60: B -20, C 10. 150: A 0, C -80. 200: A -40, D 30. 210: D 20, E 460. 540: D -310, E 130.
    "LLF": (
        "0 A, 50 B, 60 keep, 150 C, 200 keep, 210 keep, 540 D",
        {"B": 150, "C": 190, "A": 540, "D": 740, "E": 770},
    ),
    # When they would be done. 50: A 400, B 150, too late. 60: C 100. 100: A 450. 200: D 400, A 450. 210: E 240, but due later.
    # 400: E 430, A 650, too late, and B. 430: both are too late, B has 100 left, A 250.
    "EDF-FEASIBLE": (
        "0 A, 50 keep, 60 C, 100 A, 200 D, 210 keep, 400 E, 430 B",
        {"C": 100, "D": 400, "E": 430, "B": 530, "A": 770},
    ),
    # 10^5 priority / (slack * remaining). 50: A 1/(450 * 350) = 0.6, B 3/(80 * 100) = 37.5. 60: B 3/(70 * 90) = 47.6,
    # C 1/(50 * 40) = 50. 100: B 3/(30 * 90) = 111. 190: A is alone. 200: A 1/(300 * 340) = 1, D 9/(230 * 200) = 19.6.
    # 210: D 9/(220 * 190) = 21.5, E 9/(490 * 30) = 61.2. 240: D 9/(190 * 190) = 24.9, A 1/(260 * 340) = 1.1.
    "PLANARIA": (
        "0 A, 50 B, 60 C, 100 B, 200 D, 210 E, 240 D",
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # b = 0.01; a wait of the whole length, over the tasks present, counts 1 ms, 700 000 cycles. 50: A 350 + 1, B 100.
    # 60: B 90, C 40 + 0.1, A more than 350. 100: B 90 + 7000 * 40 / (100 * 2) = 1490, A 350 + 0.5 + 7000 * 50 / (400 * 2) = 788.
    # 200: A 250 + 0.5, D 200 + 0.3, B more. 210: D 190 + 0.3, E 30 + 4.6. 240: D 190 + 7000 * 30 / (200 * 3) = 540,
    # A 250 + 0.1 + 7000 * 90 / (400 * 3) = 775. 430: A 250 + 7000 * 280 / (400 * 2) = 2700, B 90 + 7000 * 370 / (100 * 2).
    "DYSTA": (
        "0 A, 50 B, 60 C, 100 A, 200 D, 210 E, 240 D, 430 A",
        {"C": 100, "E": 240, "D": 430, "A": 680, "B": 770},
    ),
    # 1 / remaining of those that would be in time. 50: A 1/350. 60: C 1/40. 100: A 1/350. 200: D 1/200, A 1/250. 210: E 1/30.
    # 240: D, done at 430, 1/190; A, done at 490, 1/250. 430: neither is in time, B has 100 left, A 250.
    "DEADLINE-RESIDUAL": (
        "0 A, 50 keep, 60 C, 100 A, 200 D, 210 E, 240 D, 430 B",
        {"C": 100, "E": 240, "D": 430, "B": 530, "A": 770},
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_decision_about_deadlines_is_the_one_on_paper(name):
    expected, completions = BY_HAND[name]
    decisions, done, _ = play(name, due=DUE)
    assert moves(decisions) == expected
    assert done == completions


def test_the_slack_weight_of_dysta_trades_short_tasks_for_urgent_ones():
    # Without penalty. 210: D 190 + b * 30, E 30 + b * 460: equal at b = 0.37.
    for weight, move in ((0.3, "E"), (0.5, "keep")):
        policy = Heuristic("part", "DYSTA", "CHECKPOINT", slack_weight=weight, penalty_ms=0.0)
        assert dict(schedule(policy, due=DUE)[0])[210] == move


def test_dysta_changes_its_mind_between_events_as_the_slack_of_those_who_wait_runs_out():
    # b = 2, no penalty. A has no slack: 400 - t at the cycle t. B: 100 + 2 * (300 - t - 100) = 500 - 2 t, less from 100 on.
    policy = Heuristic("urgent", "DYSTA", "CHECKPOINT", slack_weight=2.0, penalty_ms=0.0)
    part = {"arrivals": (0, 10), "lengths": (400, 100), "priorities": (1, 1), "due": (400, 300), "quantum": 50}
    assert schedule(policy, **part)[0][:4] == [(0, "A"), (10, "keep"), (60, "keep"), (110, "B")]


def test_the_gate_weighs_deadlines_only_if_it_is_told_to():
    # 10: A 1 / (100 * 90) = 1.1, B 1 / 200^2 = 0.25, in 10^-4. A cannot be in time: times 1 / (1 + 9), 0.11.
    part = {"arrivals": (0, 10), "lengths": (100, 200), "priorities": (1, 1), "due": (50, 300)}
    for penalty, move in ((0.0, "keep"), (1.0, "keep"), (9.0, "B")):
        assert schedule(Heuristic("gate", "GATE", "CHECKPOINT", doomed_penalty=penalty), **part)[0][1] == (10, move)
    # Due later A has a slack of 900: times 1 + 20 / (1 + 900 / 100) = 3, so 3.3. B: times 1 + 20 / (1 + 90 / 200) = 14.8, 3.7.
    part |= {"due": (1000, 300)}
    for weight, move in ((0.0, "keep"), (1.0, "keep"), (20.0, "B")):
        assert schedule(Heuristic("gate", "GATE", "CHECKPOINT", slack_weight=weight), **part)[0][1] == (10, move)


def random_trace(rng):
    count = rng.randint(3, 5)
    return {
        "arrivals": tuple(sorted(rng.randrange(0, 300, 10) for _ in range(count))),
        "lengths": tuple(rng.choice((50, 100, 200, 300)) for _ in range(count)),
        "priorities": tuple(rng.choice((1, 3, 9)) for _ in range(count)),
        "quantum": 70,
    }


def test_earliest_feasible_never_starts_a_doomed_task_while_a_feasible_one_waits():
    rng, chosen = random.Random(3), 0
    for _ in range(40):
        trace = random_trace(rng)
        due = [start + rng.choice((1, 2, 4)) * length for start, length in zip(trace["arrivals"], trace["lengths"], strict=True)]
        watched = Watched(make_policy("EDF-FEASIBLE"))
        schedule(watched, due=due, **trace)
        for feasible, picked in watched.seen:
            assert picked in feasible or not feasible
            chosen += bool(feasible)
    assert chosen > 100


class Watched:
    """Notes at each decision which tasks can be in time, and which the policy runs."""

    clairvoyant = False

    def __init__(self, policy):
        self.name, self.policy, self.seen = "WATCHED", policy, []

    def act(self, view):
        actions = self.policy.act(view)
        slots, now = view.table[0], int(view.npu[0]["clock_cycles"])
        there = np.flatnonzero(view.present[0])
        left = view.predicted_remaining_cycles[0]
        feasible = {int(i) for i in there if now + left[i] <= slots[i]["deadline_cycles"]}
        running = int(view.npu[0]["running_slot"])
        action = int(actions[0])
        self.seen.append((feasible, running if action == 0 else (action - 1) // len(view.config.mechanisms)))
        return actions


def test_planaria_goes_by_density_where_all_have_the_same_time_and_by_the_deadline_where_all_are_alike():
    # One slack for all: priority / remaining. 10: A 1/90, B 3/300 or 9/300.
    for priority, move in ((3, "B"), (1, "keep")):
        part = {"arrivals": (0, 10), "lengths": (100, 200), "priorities": (1, priority), "due": (1000, 1000)}
        assert play("PLANARIA", **part)[0][1] == (10, move)
    # Alike but for the deadline: C is due first, then B, then A.
    part = {"arrivals": (0, 0, 0), "lengths": (100, 100, 100), "priorities": (1, 1, 1), "due": (900, 800, 700)}
    done = play("PLANARIA", **part)[1]
    assert sorted(NAMES[:3], key=done.__getitem__) == ["C", "B", "A"]
    # What is overdue comes last, however urgent.
    part = {"arrivals": (0, 10), "lengths": (100, 100), "priorities": (1, 9), "due": (5000, 20), "quantum": 30}
    assert dict(play("PLANARIA", **part)[0])[40] == "A"
