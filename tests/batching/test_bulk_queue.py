"""Batches against queueing theory, through the public interface: Bailey's bulk queue, and the throughput at overload.

A server that takes all who wait, B at most, for a fixed time, and starts as soon as anyone waits, is Bailey's queue with Poisson
arrivals (M/D^B/1; Bailey, J. R. Stat. Soc. B 1954). Its mean wait is computed here from the chain of those who wait at the ends of
services.
"""

from __future__ import annotations

import numpy as np
import pytest
from numba import config
from scipy import stats

from baselines import evaluate
from prema_gym import NPUConfig, Program, register_program

SERVICE = 2000
"""Cycles of a batch of any size."""
MOST = 4
STREAMS, HORIZON = 60, 12_000
NPU = NPUConfig(dram_latency_cycles=0)
STATES = 400
"""Of the chain; more never wait at the loads below."""

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="millions of requests take too long uncompiled")


def _played(load: float, sizes: dict[int, int], requests: int = HORIZON, streams: int = STREAMS) -> dict[str, np.ndarray]:
    """Return waits in cycles and samples completed per cycle, of each stream; ``sizes`` are the cycles of each size of a batch."""
    register_program("bulk", {size: Program.from_points(cycles, []) for size, cycles in sizes.items()})
    results = evaluate(
        ["NP-FCFS"], episodes=streams, seed=3, npu=NPU, horizon_requests=requests, slots=64, batching=MOST,
        workload={"models": ["bulk"], "batches": [1], "arrivals": {"process": "poisson", "utilisation": load}},
    )  # fmt: skip
    return {
        "waits": results.per_episode("NP-FCFS", "wait_ms") * NPU.clock_hz / 1000,
        "rates": results.per_episode("NP-FCFS", "samples_per_second") / NPU.clock_hz,
    }


def _mean_wait(load: float) -> float:
    """Return the mean wait of Bailey's queue in cycles, where ``load`` requests arrive during a service."""
    waiting = np.arange(STATES)
    left = np.maximum(waiting - MOST, 0)  # when the next service begins; of an empty queue it takes the next to come
    chances = np.array([stats.poisson.pmf(waiting - start, load) for start in left])
    chances[:, -1] += 1 - chances.sum(axis=1)
    values, vectors = np.linalg.eig(chances.T)
    steady = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    steady /= steady.sum()
    area = steady @ (left * SERVICE + load * SERVICE / 2)
    length = steady @ (SERVICE + np.where(waiting == 0, SERVICE / load, 0.0))
    return float(area / length / (load / SERVICE))


def test_with_batches_of_one_the_chain_gives_the_wait_of_m_d_1() -> None:
    load, states = 0.6, np.arange(STATES)
    chances = np.array([stats.poisson.pmf(states - max(waiting - 1, 0), load) for waiting in states])
    steady = np.linalg.matrix_power(chances / chances.sum(axis=1, keepdims=True), 4096)[0]
    area = steady @ (np.maximum(states - 1, 0) * SERVICE + load * SERVICE / 2)
    length = steady @ (SERVICE + np.where(states == 0, SERVICE / load, 0.0))
    assert area / length / (load / SERVICE) == pytest.approx(SERVICE * load / (2 * (1 - load)), rel=1e-6)


@pytest.mark.parametrize("load", [0.8, 2.0, 3.2])
def test_waits_without_waiting_for_more_are_baileys(load: float) -> None:
    waits = _played(load, dict.fromkeys((1, 2, 4), SERVICE))["waits"]
    interval = stats.t.interval(0.999, len(waits) - 1, np.mean(waits), stats.sem(waits))
    assert interval[0] <= _mean_wait(load) <= interval[1]
    assert interval[1] - interval[0] <= 0.1 * _mean_wait(load)


def test_at_overload_full_batches_follow_each_other() -> None:
    rates = _played(8.0, {1: SERVICE, 2: SERVICE + 500, 4: SERVICE + 1500}, requests=4000, streams=4)["rates"]
    np.testing.assert_allclose(rates, MOST / (SERVICE + 1500), rtol=0.01)
