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


def schedule(policy, arrivals=ARRIVALS, lengths=LENGTHS, priorities=PRIORITIES, quantum=NO_QUANTUM):
    """Play the trace; return (decisions as (cycle, move), completions by name, tokens at decisions by cycle)."""
    for length in lengths:
        register_program(f"free-{length}", free_program(length))
    trace = [
        {"arrival_cycles": arrival, "model": f"free-{length}", "batch": 1, "priority": priority}
        for arrival, length, priority in zip(arrivals, lengths, priorities, strict=True)
    ]
    env = gym.make("Prema-v0", quantum_cycles=quantum, strict=True, disable_env_checker=True).unwrapped
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
        slot, mechanism = decode(action)
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
    assert ", ".join(f"{cycle} {move}" for cycle, move in decisions) == expected
    assert done == {"B": 260, "C": 300, "E": 430, "D": 630, "A": 770}


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


def test_deadlines_and_laxities_part_ways():
    # At 90 A has 10 of its 100 cycles left, is due at 200 and has room for 100; B is 60 long, due at 210, with room for 60.
    part = {"arrivals": (0, 90), "lengths": (100, 60), "priorities": (1, 1)}
    assert play("EDF", **part)[0][1] == (90, "keep")
    assert play("LLF", **part)[0][1] == (90, "B")


def test_ties_go_to_the_running_task_then_to_the_earlier_arrival():
    same = {"arrivals": (0, 10, 20), "lengths": (100, 100, 100), "priorities": (3, 3, 3)}
    for name in ("P-FCFS", "P-HPF", "P-SJF"):
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
