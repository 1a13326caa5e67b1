"""What queueing and scheduling theory say of one machine holds for the simulated one, with programs that can stop at any cycle."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from scipy import special, stats

from prema_gym import Program, register_program
from prema_gym.types import READY

Choose = Callable[[Any], int | None]
"""Returns the slot to run, None to keep."""

NO_TRANSFER_COST = {"dram_latency_cycles": 0}
CONFIDENCE = 0.999


def _program(cycles: int, step: int = 1) -> str:
    """Register a program of ``cycles`` that can be preempted every ``step`` of them at no cost; return its name."""
    name = f"stops every {step} of {cycles}"
    register_program(name, Program.from_points(cycles, range(step, cycles + 1, step)))
    return name


def _make(names: Sequence[str], slots: int, **arguments: Any) -> Any:
    workload = {"models": sorted(set(names)), "num_tasks": 1}
    make = functools.partial(gymnasium.make, "prema_gym:Prema-v0", disable_env_checker=True, npu=NO_TRANSFER_COST)
    return make(workload=workload, slots=slots, **arguments).unwrapped


def _flow_times(env: Any, arrivals: Sequence[int], names: Sequence[str], choose: Choose) -> np.ndarray:
    """Play the trace, giving the NPU to whom ``choose`` says; return the tasks' times in the system."""
    trace = [{"arrival_cycles": int(arrival), "model": name} for arrival, name in zip(arrivals, names, strict=True)]
    env.reset(options={"trace": trace})
    over = False
    while not over:
        slot = choose(env.view())
        _, _, terminated, truncated, _ = env.step(0 if slot is None else 1 + 3 * slot)
        over = terminated or truncated
    assert terminated
    return np.array([task["completion_cycles"] - task["arrival_cycles"] for task in env.tasks()])


def _first_come(view: Any) -> int | None:
    """FCFS without preemption."""
    if view.npu["running_slot"][0] >= 0:
        return None
    return int(np.argmin(np.where(view.ready[0], view.table["task"][0], np.iinfo(np.int32).max)))


def _by(key: Callable[[np.void], int]) -> Choose:
    """Return the preemptive rule that runs the present task of smallest ``key``; a tie keeps."""

    def choose(view: Any) -> int | None:
        slots, running = view.table[0], int(view.npu["running_slot"][0])
        ready = [index for index in range(len(slots)) if slots[index]["state"] == READY]
        best = min(ready, key=lambda index: key(slots[index]))
        if running >= 0 and key(slots[running]) <= key(slots[best]):
            return None
        return best

    return choose


_shortest_remaining = _by(lambda slot: int(slot["predicted_cycles"] - slot["executed_cycles"]))
_round_robin = _by(lambda slot: int(slot["last_dispatch_cycles"]))


# --- Optimal orders ----------------------------------------------------------------------------------------------------------


def _least_total_flow(arrivals: tuple[int, ...], lengths: tuple[int, ...]) -> int:
    """Return the least sum of times in the system over all schedules that may switch at every cycle: exhaustive search."""

    @functools.cache
    def best(now: int, remaining: tuple[int, ...]) -> int:
        present = [k for k, left in enumerate(remaining) if left and arrivals[k] <= now]
        if not present:
            return best(min(arrivals[k] for k, left in enumerate(remaining) if left), remaining) if any(remaining) else 0
        after = (tuple(left - (k == chosen) for k, left in enumerate(remaining)) for chosen in present)
        return len(present) + min(best(now + 1, left) for left in after)

    return best(0, lengths)


@pytest.mark.parametrize("seed", range(25))
def test_shortest_remaining_time_first_minimises_mean_flow_time(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randint(2, 4)
    arrivals = tuple(sorted([0, *(rng.randint(0, 12) for _ in range(count - 1))]))
    lengths = tuple(rng.randint(1, 7) for _ in range(count))
    names = [_program(length) for length in lengths]
    flow = _flow_times(_make(names, count, quantum_cycles=1), arrivals, names, _shortest_remaining)
    assert flow.sum() == _least_total_flow(arrivals, lengths)


@pytest.mark.parametrize("seed", range(5))
def test_shortest_job_first_is_the_best_order_of_simultaneous_arrivals(seed: int) -> None:
    rng = random.Random(seed)
    lengths = [rng.randint(1, 500) for _ in range(4)]
    names = [_program(length) for length in lengths]
    env = _make(names, 4, decision_every=None)

    def total(order: Sequence[int]) -> int:
        rank = dict(zip(order, range(4), strict=True))
        choose = _by(lambda slot: rank[int(slot["task"])])
        return int(_flow_times(env, [0] * 4, names, choose).sum())

    shortest_first = sorted(range(4), key=lambda task: lengths[task])
    assert total(shortest_first) == min(map(total, itertools.permutations(range(4))))


# --- Queues ------------------------------------------------------------------------------------------------------------------

MEAN = 2000
"""Mean service time in cycles."""


def _exponential(quantiles: int) -> list[int]:
    """Return equally likely service times: the means of the exponential distribution between its ``quantiles``."""
    survival = np.linspace(1, 0, quantiles + 1)
    beyond = survival - special.xlogy(survival, survival)
    return [max(1, round(MEAN * quantiles * float(share))) for share in beyond[:-1] - beyond[1:]]


SERVICE = {
    "M/M/1": _exponential(200),
    "M/D/1": [MEAN],
    "M/G/1": [MEAN // 2] * 9 + [MEAN * 11 // 2],
}


def _times(env: Any, names: Sequence[str], load: float, customers: int, choose: Choose, rng: np.random.Generator) -> np.ndarray:
    """Return the times in the system of Poisson arrivals at ``load``, one service time drawn for each, but for the first fifth."""
    arrivals = np.cumsum(rng.exponential(MEAN / load, customers)).astype(np.int64)
    return _flow_times(env, arrivals, rng.choice(names, customers).tolist(), choose)[customers // 5 :]


def _assert_mean(samples: Sequence[float], expected: float) -> None:
    """Assert that ``expected`` lies in the confidence interval of the mean of independent ``samples``, and that it is narrow."""
    interval = stats.t.interval(CONFIDENCE, len(samples) - 1, np.mean(samples), stats.sem(samples))
    assert interval[0] <= expected <= interval[1]
    assert interval[1] - interval[0] < 0.4 * expected


@pytest.mark.parametrize("queue", SERVICE)
def test_mean_wait_under_first_come_first_served_is_that_of_pollaczek_and_khinchine(queue: str) -> None:
    load, customers = 0.5, 500
    names = [_program(cycles, MEAN) for cycles in SERVICE[queue]]
    squares = np.mean(np.square(SERVICE[queue], dtype=float))
    env, rng = _make(names, customers, decision_every=None), np.random.default_rng(4)
    waits = [np.mean(_times(env, names, load, customers, _first_come, rng)) - MEAN for _ in range(30)]
    _assert_mean(waits, load / MEAN * squares / (2 * (1 - load)))


def test_exponential_service_times_make_the_queue_m_m_1() -> None:
    sizes = np.array(SERVICE["M/M/1"], float)
    assert sizes.mean() == pytest.approx(MEAN, rel=1e-3)
    assert np.square(sizes).mean() == pytest.approx(2 * MEAN**2, rel=1e-2)


def test_round_robin_with_a_small_quantum_shares_the_processor_among_simultaneous_arrivals() -> None:
    lengths, quantum = [300, 500, 500, 900, 2000], 5
    names = [_program(length) for length in lengths]
    flow = _flow_times(_make(names, 5, quantum_cycles=quantum, decision_every=1), [0] * 5, names, _round_robin)
    shared = np.cumsum(np.diff([0, *lengths]) * np.arange(5, 0, -1))
    np.testing.assert_allclose(flow, shared, atol=quantum * len(lengths))


@pytest.mark.parametrize("queue", ["M/M/1", "M/G/1"])
def test_mean_time_in_the_system_under_processor_sharing_depends_on_the_mean_service_time_alone(queue: str) -> None:
    load, customers = 0.4, 250
    names = [_program(cycles, 10) for cycles in SERVICE[queue]]
    env, rng = _make(names, customers, quantum_cycles=MEAN // 8), np.random.default_rng(4)
    times = [np.mean(_times(env, names, load, customers, _round_robin, rng)) for _ in range(30)]
    _assert_mean(times, MEAN / (1 - load))
