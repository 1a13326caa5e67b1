"""Five tasks whose whole schedule was worked out on paper, for every rule: each decision and PREMA's tokens, one by one.

Switching is free here (no context, no refill) and every tenth cycle is a preemption point, so all cycles are sums of the lengths:

    task  arrives  length  priority
    A           0     400         1
    B          50     100         3
    C          60      40         1
    D         200     200         9
    E         210      30         9
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from baselines import make_policy
from baselines.policies.heuristic import Heuristic
from prema_gym import Program, register_program
from prema_gym.config import mechanism_bits
from prema_gym.envs.actions import decode
from prema_gym.types import CHECKPOINT, DRAIN, EMPTY, KILL, NONE

NAMES = "ABCDE"
ARRIVALS, LENGTHS, PRIORITIES = (0, 50, 60, 200, 210), (400, 100, 40, 200, 30), (1, 3, 1, 9, 9)
NO_QUANTUM = 1 << 40
HOW = {CHECKPOINT: "", KILL: " kills", DRAIN: " drains"}


def free_program(total: int) -> Program:
    return Program.from_points(
        total_cycles=total,
        commit_cycles=np.arange(10, total + 1, 10),
        save_bytes=0,
        restore_bytes=0,
        refill_cycles=0,
        predicted_cycles=total,
    )


def schedule(policy, arrivals=ARRIVALS, lengths=LENGTHS, priorities=PRIORITIES, quantum=NO_QUANTUM, due=None):
    """Play the trace, with the deadlines ``due``; return (decisions as (cycle, move), completions by name, tokens by cycle)."""
    for length in lengths:
        register_program(f"free-{length}", free_program(length))
    trace = [
        {"arrival_cycles": arrival, "model": f"free-{length}", "batch": 1, "priority": priority}
        for arrival, length, priority in zip(arrivals, lengths, priorities, strict=True)
    ]
    for task, deadline in zip(trace, due or [None] * len(trace), strict=True):
        task |= {} if deadline is None else {"deadline_cycles": deadline}
    workload = {"models": list(dict.fromkeys(f"free-{length}" for length in lengths)), "batches": [1]}
    env = gym.make(
        "Prema-v0", quantum_cycles=quantum, decision_every=1, strict=True, workload=workload, disable_env_checker=True
    ).unwrapped
    env.reset(options={"trace": trace})
    isolated = np.array([task["isolated_cycles"] for task in env.tasks()])
    assert tuple(isolated) == tuple(lengths)
    decisions, tokens, ended = [], {}, False
    while not ended:
        view = env.view()
        slots, now = view.table[0], int(view.npu[0]["clock_cycles"])
        present = slots[slots["state"] != EMPTY]
        tokens[now] = {NAMES[slot["task"]]: (slot["token"], slot["token_whole_wait"]) for slot in present}
        truth = np.where(view.present, isolated[np.maximum(view.table["task"], 0)], 0)
        action = int((policy.act(view, truth) if policy.clairvoyant else policy.act(view))[0])
        slot, mechanism = decode(action, mechanism_bits(view.config.mechanisms))
        move = "keep" if slot == NONE else NAMES[slots[slot]["task"]] + HOW[mechanism]
        decisions.append((now, move))
        *_, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
    done = {NAMES[k]: task["completion_cycles"] for k, task in enumerate(env.tasks())}
    return decisions, done, tokens


def play(name: str, **arguments):
    return schedule(make_policy(name), **arguments)


A_FIRST = [(0, "A"), (50, "keep"), (60, "keep"), (200, "keep"), (210, "keep")]

BY_HAND = {
    # Without preemption all five wait for A; what follows is the order among B, C, D, E.
    "NP-FCFS": ([*A_FIRST, (400, "B"), (500, "C"), (540, "D")], {"A": 400, "B": 500, "C": 540, "D": 740, "E": 770}),
    "NP-HPF": ([*A_FIRST, (400, "D"), (600, "E"), (630, "B")], {"A": 400, "D": 600, "E": 630, "B": 730, "C": 770}),
    "NP-SJF": ([*A_FIRST, (400, "E"), (430, "C"), (470, "B")], {"A": 400, "E": 430, "C": 470, "B": 570, "D": 770}),
    # All tokens have passed 9 by then, so everyone is a candidate: TOKEN goes by arrival, PREMA by length.
    "NP-TOKEN": ([*A_FIRST, (400, "B"), (500, "C"), (540, "D")], {"A": 400, "B": 500, "C": 540, "D": 740, "E": 770}),
    "NP-PREMA": ([*A_FIRST, (400, "E"), (430, "C"), (470, "B")], {"A": 400, "E": 430, "C": 470, "B": 570, "D": 770}),
    "P-FCFS": ([*A_FIRST, (400, "B"), (500, "C"), (540, "D")], {"A": 400, "B": 500, "C": 540, "D": 740, "E": 770}),
    # At 150 A and C tie at priority 1, A came first. At 210 E equals the running D.
    "P-HPF": (
        [(0, "A"), (50, "B"), (60, "keep"), (150, "A"), (200, "D"), (210, "keep"), (400, "E"), (430, "A")],
        {"B": 150, "D": 400, "E": 430, "A": 730, "C": 770},
    ),
    "P-SJF": (
        [(0, "A"), (50, "B"), (60, "C"), (100, "B"), (200, "D"), (210, "E"), (240, "D")],
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # A loses 50 cycles at 50, B 10 at 60, D 10 at 210. B's completion and D's arrival meet at 200.
    "P-SJF-KILL": (
        [(0, "A"), (50, "B kills"), (60, "C kills"), (100, "B"), (200, "D"), (210, "E kills"), (240, "D")],
        {"C": 100, "B": 200, "E": 240, "D": 440, "A": 840},
    ),
    # B is promised the NPU at 50, gets it at 400 when A is done, and is itself committed to complete before E.
    "P-SJF-DRAIN": (
        [(0, "A"), (50, "B drains"), (400, "E drains"), (500, "keep"), (530, "C")],
        {"A": 400, "B": 500, "E": 530, "C": 570, "D": 770},
    ),
    # C, which waits, has the token 1 + 90/40 = 3.25 at 150 and becomes the only candidate; E equals D at 210 and came later.
    "P-TOKEN": (
        [(0, "A"), (50, "B"), (60, "keep"), (150, "C"), (200, "D"), (210, "keep"), (400, "E")],
        {"B": 150, "C": 190, "D": 400, "E": 430, "A": 770},
    ),
    # As TOKEN up to 210; there E is the shorter of the two candidates. Algorithm 3: 30/200 < 190/30, so D is evicted.
    "PREMA": (
        [(0, "A"), (50, "B"), (60, "keep"), (150, "C"), (200, "D"), (210, "E"), (240, "D")],
        {"B": 150, "C": 190, "E": 240, "D": 430, "A": 770},
    ),
    "SRPT": (
        [(0, "A"), (50, "B"), (60, "C"), (100, "B"), (200, "D"), (210, "E"), (240, "D")],
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # priority * (1 + elapsed/length) / length^(1/4). At 60: B 3.3/3.162 > C 1/2.515. At 150: C 3.25/2.515 > A 1.375/4.472.
    # At 210: E 9/2.340 > D 9.45/3.761. At 240: D 10.8/3.761 > A 1.6/4.472.
    "INDEX-SIMPLE": (
        [(0, "A"), (50, "B"), (60, "keep"), (150, "C"), (200, "D"), (210, "E"), (240, "D")],
        {"B": 150, "C": 190, "E": 240, "D": 430, "A": 770},
    ),
    # In 10^-4 priority / (length * remaining). 50: A 0.07, B 3. 60: B 3.3, C 6.25. 200: A 0.07, D 2.25. 210: D 2.4, E 100.
    "WSRPT": (
        [(0, "A"), (50, "B"), (60, "C"), (100, "B"), (200, "D"), (210, "E"), (240, "D")],
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # In 10^-4 priority / length^2: A 0.06, B 3, C 6.25, D 2.25, E 100, whenever it is.
    "WSPT": (
        [(0, "A"), (50, "B"), (60, "C"), (100, "B"), (200, "D"), (210, "E"), (240, "D")],
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # Deadlines at twice the length after the arrival, all of which can be met: A 800, B 250, C 140, D 600, E 270.
    "EDF": (
        [(0, "A"), (50, "B"), (60, "C"), (100, "B"), (200, "D"), (210, "E"), (240, "D")],
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # Laxities. 50: A 400, B 100. 60: B 100, C 40. 100: A 350, B 60. 200: A 260, D 200. 210: D 200, E 30. 240: A 220, D 170.
    "LLF": (
        [(0, "A"), (50, "B"), (60, "C"), (100, "B"), (200, "D"), (210, "E"), (240, "D")],
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_decision_is_the_one_on_paper(name):
    expected, completions = BY_HAND[name]
    decisions, done, _ = play(name)
    assert decisions == expected
    assert done == completions


@pytest.mark.parametrize(
    "name", ["PREMA-CHECKPOINT", "PREMA-COMMIT", "PREMA-ORACLE", "PREMA-WHOLE-WAIT", "P-PREMA", "P-PREMA-DYNAMIC"]
)
def test_variants_of_prema_agree_where_evicting_is_right(name):
    assert play(name)[:2] == BY_HAND["PREMA"]


def test_round_robin_takes_turns_every_quantum_of_100():
    decisions, done, _ = play("P-RRB", quantum=100)
    # Every invocation restarts the quantum: after C's arrival at 60 the next is due at 160. A alone has run 160 cycles by then.
    expected = "0 A, 50 keep, 60 keep, 160 B, 200 keep, 210 keep, 260 C, 300 D, 400 E, 430 A, 530 D"
    assert moves(decisions) == expected
    assert done == {"B": 260, "C": 300, "E": 430, "D": 630, "A": 770}


def moves(decisions) -> str:
    return ", ".join(f"{cycle} {move}" for cycle, move in decisions)


BY_HAND_EVERY_100_CYCLES = {
    # Executed: A 50 at 50, B 10 at 60, A 60 at 200, D 10 at 210. At 340 D has 110, A 60; at 440 A has 160, D 110.
    "LAS": (
        "0 A, 50 B, 60 C, 100 B, 200 D, 210 E, 240 D, 340 A, 440 D",
        {"C": 100, "B": 190, "E": 240, "D": 530, "A": 770},
    ),
    # As LAS up to 340: there D has executed 110 / 9 = 12.2 per unit of priority, A 60.
    "WFQ": (
        "0 A, 50 B, 60 C, 100 B, 200 D, 210 E, 240 D, 340 keep",
        {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770},
    ),
    # A's first turn ends at 160, at level 1. B, C, D and E are at level 0 until they have run 100. At 430 A and D are both at
    # level 1, A was dispatched first, and its turn there lasts from 100 to 300 executed: at 530 it has 260, at 630 it has 360.
    "MLFQ": (
        "0 A, 50 keep, 60 keep, 160 B, 200 keep, 210 keep, 260 C, 300 D, 400 E, 430 A, 530 keep, 630 D",
        {"B": 260, "C": 300, "E": 430, "D": 730, "A": 770},
    ),
    # priority * (waited + length) / length. 50: A 1, B 3. 60: A 1.025, B 3, C 1. 150: A 1.25, C 130/40. 200: A 540/400, D 9.
    # 210: D and E 9, D runs. 310: D 9, E 9 * 130/30. 340: A 680/400, D 9 * 230/200.
    "HRRN": (
        "0 A, 50 B, 60 keep, 150 C, 200 D, 210 keep, 310 E, 340 D",
        {"B": 150, "C": 190, "E": 340, "D": 430, "A": 770},
    ),
}


@pytest.mark.parametrize("name", BY_HAND_EVERY_100_CYCLES)
def test_every_decision_of_rules_that_the_quantum_asks_is_the_one_on_paper(name):
    expected, completions = BY_HAND_EVERY_100_CYCLES[name]
    decisions, done, _ = play(name, quantum=100)
    assert moves(decisions) == expected
    assert done == completions


def test_feedback_queues_of_one_level_are_round_robin():
    one = schedule(Heuristic("one", "MLFQ", "CHECKPOINT", levels=1), quantum=100)
    assert one[:2] == play("P-RRB", quantum=100)[:2]


def test_the_classic_response_ratio_has_no_priorities_and_does_not_evict():
    # (waited + length) / length. 400: B 4.5, C 9.5, D 2, E 7.3. 440: B 4.9, D 2.2, E 8.7. 470: B 5.2, D 2.35.
    decisions, done, _ = schedule(Heuristic("classic", "HRRN", "NONE", weighted=False))
    assert decisions == [*A_FIRST, (400, "C"), (440, "E"), (470, "B")]
    assert done == {"A": 400, "C": 440, "E": 470, "B": 570, "D": 770}


HARD_CAP = {"room": 0.5, "above_weight": 0.0, "held_weight": 1000.0, "held_length_power": 10.0}
"""Nothing counts above the cap but that a task is there, and then how long it will take."""


def test_all_above_the_cap_run_the_shortest_first_until_one_has_finished():
    # The cap is -2.2 + 0.5, ln of 1/5.5. 50: A is at 1, B at 1/3, both are held. 60: A, B and C are. C finishes at 1: all are free.
    # From then on INDEX-SIMPLE: at 100 B 4.5/3.162 > A 1.25/4.472, and as there from 200 on.
    decisions, done, _ = schedule(Heuristic("hard", "CAP-INDEX", "CHECKPOINT", floor=-2.2, **HARD_CAP))
    assert moves(decisions) == "0 A, 50 B, 60 C, 100 B, 200 D, 210 E, 240 D"
    assert done == {"C": 100, "B": 190, "E": 240, "D": 430, "A": 770}


def test_a_task_above_the_cap_is_held_back_until_it_has_waited_long_enough():
    # c = 1. 100: B 1/100 > A 3 * 1.25/400. But the cap is -1.1 + 0.5, ln of 1/1.82: A is at 1/3 and may run, B is at 1, at 150
    # at 1/1.5, and at 200, when it is at 1/2, it is free: 2/100 > 3 * 1.5/400. By 250 A has lost 50 cycles and is at 1/(3 * 1.125),
    # which lowers the cap to ln of 1/2.05: B, at 1/2, is held again. At 300 it is at 1/2.5 and free for good.
    part = {"arrivals": (0, 100), "lengths": (400, 100), "priorities": (3, 1), "quantum": 50}
    index = schedule(Heuristic("index", "INDEX", "CHECKPOINT", length_power=1.0), **part)[0]
    assert index[:2] == [(0, "A"), (100, "B")]
    decisions, done, _ = schedule(Heuristic("cap", "CAP-INDEX", "CHECKPOINT", length_power=1.0, floor=-1.1, **HARD_CAP), **part)
    assert decisions == [(0, "A"), (100, "keep"), (150, "keep"), (200, "B"), (250, "A"), (300, "B")]
    assert done == {"B": 350, "A": 500}


def test_a_task_near_the_lowest_is_brought_forward():
    # 60: the lowest is that of B, ln of 1/9; A is at 1, further above it than near. With a = 0, c = 1 and no cap A has
    # 1.2/300 = 0.004 and B 1/400 = 0.0025. The weight multiplies B's by exp(2 * 0.5): 0.0068.
    part = {"arrivals": (0, 60), "lengths": (300, 400), "priorities": (1, 9)}
    plain = {"priority_power": 0.0, "length_power": 1.0, "floor": 0.0, "room": 1000.0, "near": 0.5}
    assert schedule(Heuristic("plain", "CAP-INDEX", "CHECKPOINT", **plain), **part)[0][1] == (60, "keep")
    assert schedule(Heuristic("near", "CAP-INDEX", "CHECKPOINT", lagging_weight=2.0, **plain), **part)[0][1] == (60, "B")


def test_tokens_of_prema_on_paper():
    tokens = play("PREMA")[2]
    plain = {cycle: {name: token for name, (token, _) in row.items()} for cycle, row in tokens.items()}
    expected = {
        0: {"A": 1},
        50: {"A": 1, "B": 3},
        60: {"A": 1 + 10 / 400, "B": 3, "C": 1},
        150: {"A": 1.025 + 90 / 400, "C": 1 + 90 / 40},
        200: {"A": 1.25 + 40 / 400, "D": 9},
        210: {"A": 1.35 + 10 / 400, "D": 9, "E": 9},
        240: {"A": 1.375 + 30 / 400, "D": 9 + 9 * 30 / 200},
    }
    assert list(plain) == list(expected)
    for cycle, row in expected.items():
        assert plain[cycle] == pytest.approx(row, abs=1e-12), cycle


def test_tokens_that_add_the_whole_wait_on_paper():
    tokens = play("PREMA-WHOLE-WAIT")[2]
    whole = {cycle: {name: token for name, (_, token) in row.items()} for cycle, row in tokens.items()}
    # A has waited 10 cycles at 60, 100 at 150, 140 at 190 (not asked), 150 at 210, 180 at 240.
    expected = {
        60: {"A": 1 + 10 / 400, "B": 3, "C": 1},
        150: {"A": 1.025 + 100 / 400, "C": 1 + 90 / 40},
        200: {"A": 1.275 + 140 / 400, "D": 9},
        210: {"A": 1.625 + 150 / 400, "D": 9, "E": 9},
        240: {"A": 2.0 + 180 / 400, "D": 9 + 9 * 30 / 200},
    }
    for cycle, row in expected.items():
        assert whole[cycle] == pytest.approx(row, abs=1e-12), cycle


def test_tokens_without_preemption_on_paper():
    tokens = play("NP-PREMA")[2][400]
    assert {name: token for name, (token, _) in tokens.items()} == pytest.approx(
        {
            "B": 3 + 3 * 350 / 100,
            "C": 1 + 340 / 40,
            "D": 9 + 9 * 200 / 200,
            "E": 9 + 9 * 190 / 30,
        },
        abs=1e-12,
    )


NEARLY_DONE = {"arrivals": (0, 380), "lengths": (400, 300), "priorities": (1, 9)}
"""B comes when A has 20 of its 400 cycles left. Algorithm 3: 300/400 > 20/300, A is let run."""


@pytest.mark.parametrize(
    ("name", "decision", "done"),
    [
        ("PREMA", "keep", {"A": 400, "B": 700}),
        ("PREMA-COMMIT", "B drains", {"A": 400, "B": 700}),
        ("PREMA-CHECKPOINT", "B", {"A": 700, "B": 680}),
        ("PREMA-KILL", "B kills", {"A": 1080, "B": 680}),
        ("P-HPF-DYNAMIC", "keep", {"A": 400, "B": 700}),
    ],
)
def test_a_task_that_is_nearly_done_is_let_run_by_algorithm_3(name, decision, done):
    decisions, completions, _ = play(name, **NEARLY_DONE)
    assert decisions[1] == (380, decision)
    assert completions == done


def test_a_dynamic_policy_is_asked_again_and_changes_its_mind():
    # A (400 long) has 200 left when B (300 long) comes: 300/400 > 200/300, A is let run. C (100 long) at 210: 100/400 < 190/100.
    decisions, done, _ = play("PREMA", arrivals=(0, 200, 210), lengths=(400, 300, 100), priorities=(1, 9, 9))
    assert decisions == [(0, "A"), (200, "keep"), (210, "C"), (310, "B")]
    assert done == {"A": 800, "B": 610, "C": 310}
    # The quantum asks too: nothing has changed for B but that A has less left.
    decisions, done, _ = play("PREMA", arrivals=(0, 200), lengths=(400, 300), priorities=(1, 9), quantum=100)
    assert decisions == [(0, "A"), (200, "keep"), (300, "keep")]
    assert done == {"A": 400, "B": 700}
    # Were B 220 long, A would have gone at once: 220/400 < 200/220.
    decisions, *_ = play("PREMA", arrivals=(0, 200), lengths=(400, 220), priorities=(1, 9), quantum=100)
    assert decisions[:2] == [(0, "A"), (200, "B")]


def test_remaining_time_and_total_time_part_ways():
    nearly = {"arrivals": (0, 380), "lengths": (400, 300), "priorities": (1, 1)}
    assert play("P-SJF", **nearly)[0][1] == (380, "B")
    assert play("SRPT", **nearly)[0][1] == (380, "keep")


def test_densities_of_remaining_and_of_total_time_part_ways():
    # 10^-6 priority / (length * remaining) at 380: A 1/(400 * 20) = 125, B 1/300^2 = 11. By the total length A has 1/400^2 = 6.
    nearly = {"arrivals": (0, 380), "lengths": (400, 300), "priorities": (1, 1)}
    assert play("WSRPT", **nearly)[0][1] == (380, "keep")
    assert play("WSPT", **nearly)[0][1] == (380, "B")


def test_densities_weigh_priority_against_length():
    # At 10: A 1/(100 * 90) = 1.1, B 9/200^2 = 2.25, in 10^-4. Were B 300 long: 9/300^2 = 1.0.
    for length, move in ((200, "B"), (300, "keep")):
        part = {"arrivals": (0, 10), "lengths": (100, length), "priorities": (1, 9)}
        assert play("WSRPT", **part)[0][1] == (10, move)
    assert play("SRPT", arrivals=(0, 10), lengths=(100, 200), priorities=(1, 9))[0][1] == (10, "keep")


def test_deadlines_and_laxities_part_ways():
    # At 90 A has 10 of its 100 cycles left, is due at 200 and has room for 100; B is 60 long, due at 210, with room for 60.
    part = {"arrivals": (0, 90), "lengths": (100, 60), "priorities": (1, 1)}
    assert play("EDF", **part)[0][1] == (90, "keep")
    assert play("LLF", **part)[0][1] == (90, "B")


def test_without_deadlines_of_their_own_tasks_are_due_at_the_tightest_target():
    for name in ("EDF-FEASIBLE", "PLANARIA", "DEADLINE-RESIDUAL"):
        assert play(name)[:2] == BY_HAND["EDF"]


def test_where_lengths_are_known_rules_for_unknown_ones_are_wsrpt_and_srpt():
    for quantum in (NO_QUANTUM, 100):
        assert play("GITTINS", quantum=quantum) == play("WMRL", quantum=quantum) == play("WSRPT", quantum=quantum)
        plain = schedule(Heuristic("plain", "GITTINS", "CHECKPOINT", weighted=False), quantum=quantum)
        assert plain == play("SRPT", quantum=quantum)


def test_ties_go_to_the_running_task_then_to_the_earlier_arrival():
    same = {"arrivals": (0, 10, 20), "lengths": (100, 100, 100), "priorities": (3, 3, 3)}
    for name in ("P-FCFS", "P-HPF", "P-SJF", "WSPT", "WSRPT"):
        decisions, done, _ = play(name, **same)
        assert decisions == [(0, "A"), (10, "keep"), (20, "keep"), (100, "B")]
        assert done == {"A": 100, "B": 200, "C": 300}


def test_a_forbidden_mechanism_is_not_played():
    policy = Heuristic("test", "SJF", "KILL")
    env = gym.make("Prema-v0", mechanisms=["CHECKPOINT"], strict=True, disable_env_checker=True).unwrapped
    env.reset(seed=3)
    ended = False
    while not ended:
        *_, terminated, truncated, _ = env.step(int(policy.act(env.view())[0]))
        ended = terminated or truncated
    assert not any(event["event"] in ("kill", "commit") for event in env.events())


def test_a_program_registered_again_is_the_one_that_plays():
    # Found here: rows of the program table outlived replaced programs, whose ids new ones then took.
    for length in range(50, 1000, 10):
        register_program("free-again", free_program(length))
        env = gym.make("Prema-v0", disable_env_checker=True).unwrapped
        env.reset(options={"trace": [{"arrival_cycles": 0, "model": "free-again", "batch": 1, "priority": 1}]})
        assert env.tasks()[0]["isolated_cycles"] == length
