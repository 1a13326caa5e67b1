"""Rules for requests that run together, on five requests of two networks, worked out on paper.

request  network  arrives  priority        network    1    2    4 samples
a        X              0         1        X        100  120  160 cycles
b        X             10         1        Y        300  330  390
c        Y             10         9
d        X             20         1
e        X            150         3

Up to 4 samples run together. The quantum is 50 cycles, a context costs nothing, and there is a preemption point every 10 cycles.
Densities below are in 10^-4: the weight of a member of X is priority / 100, of c 9 / 300.
"""

from __future__ import annotations

import gymnasium as gym
import pytest

from baselines import make_policy
from baselines.policies.batch_index import BatchIndex
from baselines.policies.heuristic import Heuristic
from baselines.policies.policy import Policy
from prema_gym import NPUConfig, Program, register_program

NPU = NPUConfig(clock_hz=1_000_000, dram_latency_cycles=0)
QUANTUM = 50
REQUESTS = "abcde"
TRACE = [("X", 0, 1), ("X", 10, 1), ("Y", 10, 9), ("X", 20, 1), ("X", 150, 3)]
SIZES = {"X": {1: 100, 2: 120, 4: 160}, "Y": {1: 300, 2: 330, 4: 390}}


def _started(policy: Policy, batching: int = 4, priority_of_c: int = 9) -> str:
    """Return which requests were given the NPU when, those that ran together in one word."""
    for name, sizes in SIZES.items():
        programs = {samples: Program.from_points(cycles, range(10, cycles + 1, 10)) for samples, cycles in sizes.items()}
        register_program(f"batches {name}", programs)
    env = gym.make(
        "Prema-v0", npu=NPU, quantum_cycles=QUANTUM, batching=batching, mechanisms=["CHECKPOINT"],
        workload={"models": ["batches X", "batches Y"], "batches": [1], "num_tasks": 5},
    ).unwrapped  # fmt: skip
    priorities = {"c": priority_of_c}
    trace = [
        {"model": f"batches {name}", "arrival_cycles": cycle, "priority": priorities.get(request, priority)}
        for request, (name, cycle, priority) in zip(REQUESTS, TRACE, strict=True)
    ]
    env.reset(options={"trace": trace})
    over = False
    while not over:
        *_, over, truncated, _ = env.step(int(policy.act(env.view())[0]))
        assert not truncated
    shown = ""
    for event in env.events():
        name = REQUESTS[event["task"]]
        if event["event"] == "dispatch":
            shown += f" {event['cycle']} {name}"
        elif event["event"] == "join":
            shown += name
    return shown.strip()


NEVER_WAITS = {
    # 100: bd 2 / 12000 = 1.67, c 1. 220: e 3, c 1.
    "NP-DENSITY": "0 a 100 bd 220 e 320 c",
    # 10: a with 90 left 1.11, b 1, c 1. 20: a 1.25, bd 1.67. 140: a 1.25, c 1; a has progress, so that nobody joins it.
    # 150: a with 70 left 1.43, e 3. 250: a, c.
    "DENSITY": "0 a 20 bd 140 a 150 e 250 a 320 c",
}


@pytest.mark.parametrize("name", NEVER_WAITS)
def test_density_goes_by_the_whole_batch(name: str) -> None:
    assert _started(make_policy(name)) == NEVER_WAITS[name]


def test_timeout_waits_until_the_oldest_has_waited_long_enough() -> None:
    # 40 cycles. 0, 10, 20: nobody has waited so long, and X has 3 samples. 70, a quantum later: abd 3 / 16000 = 1.87, c 1.
    # 230: e has waited 80: 3, c 1.
    assert _started(Heuristic("timeout", "TIMEOUT", delay_ms=0.04)) == "70 abd 230 e 330 c"


def test_timeout_waits_for_a_full_batch_at_most() -> None:
    # 150: abde is full. c has not waited for 1000 cycles before 310 + 14 * 50.
    assert _started(Heuristic("timeout", "TIMEOUT", delay_ms=1.0)) == "150 abde 1010 c"


def test_lazy_starts_when_waiting_longer_would_cost_a_deadline() -> None:
    # Due at 400 (X) and 1210 (Y). 120: 120 + 50 + 160 is early enough. 150: abde is full. c: 860 + 50 + 300 is just in time.
    assert _started(Heuristic("lazy", "LAZY", sla=4.0)) == "150 abde 910 c"


def test_lazy_goes_by_deadlines_of_its_own_where_there_are_none() -> None:
    # Due at 250 (X) and 760 (Y). 70: 70 + 50 + 160 is too late for X. 230: e is due at 400, c at 760: e 330, c 580 in time.
    # 280: e 280 + 50 + 100. 380: c 380 + 350 is in time, 430 isn't.
    assert _started(Heuristic("lazy", "LAZY", sla=2.5)) == "70 abd 280 e 430 c"


def test_batch_index_has_a_delay_and_a_size_for_each_network() -> None:
    # X waits for 2 samples or 30 cycles, Y for 4 or 1000. 10: ab. 130: d has waited 110. 230: e 80. c: 330 + 14 * 50.
    networks = {"batches X": (0.03, 2.0), "batches Y": (1.0, 4.0)}
    assert _started(BatchIndex("index", "NONE", networks)) == "10 ab 130 d 230 e 1030 c"


def test_the_exponent_of_batch_index_trades_weight_for_length() -> None:
    # Nobody waits. 100, power 1: bd 2 / 120 / 100, c 9 / 300 / 300: bd. Power 0: 2 / 100 < 9 / 300: c.
    assert _started(BatchIndex("index", "NONE", {}, length_power=1.0)).startswith("0 a 100 bd")
    assert _started(BatchIndex("index", "NONE", {}, length_power=0.0)).startswith("0 a 100 c 400")


@pytest.mark.parametrize("policy", ["TIMEOUT", "LAZY"])
def test_where_requests_run_one_by_one_nobody_waits(policy: str) -> None:
    # The densities of single tasks. 100: b 1, d 1, c 8 / 300 / 300 = 0.89; b is older than d. 200: e 3. 300: d, c.
    assert _started(Heuristic("alone", policy), batching=1, priority_of_c=8) == "0 a 100 b 200 e 300 d 400 c"
