"""Streams against queueing theory, through the public interface: mean waits at 30, 60 and 90 % load lie where theory says.

Service times are those of synthetic programs. Each mean is of independent streams; its 99.9 % interval holds the theoretical value
and is no wider than a tenth of it (at 90 % load, where waits are long and hang together, three tenths).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numba import config
from scipy import special, stats

from baselines import evaluate
from prema_gym import NPUConfig, Program, register_program

MEAN = 2000
"""Mean service time in cycles."""
CONFIDENCE = 0.999
STREAMS = 80
HORIZON = {0.3: 8_000, 0.6: 14_000, 0.9: 24_000}
"""Requests of a stream, by load."""
WIDEST = {0.3: 0.1, 0.6: 0.1, 0.9: 0.3}
"""Width of an interval over the value, by load."""
NPU = NPUConfig(dram_latency_cycles=0)
QUANTUM = MEAN // 40

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="millions of requests take too long uncompiled")


def _exponential(quantiles: int) -> list[int]:
    """Return equally likely service times: the means of the exponential distribution between its ``quantiles``."""
    survival = np.linspace(1, 0, quantiles + 1)
    beyond = survival - special.xlogy(survival, survival)
    return [max(1, round(MEAN * quantiles * float(share))) for share in beyond[:-1] - beyond[1:]]


SERVICE = {"M": _exponential(400), "D": [MEAN], "G": [MEAN // 2] * 9 + [MEAN * 11 // 2]}


def _waits(
    service: Sequence[int], load: float, *, npus: int = 1, policy: str = "NP-FCFS", step: int | None = None, longer: int = 1
) -> np.ndarray:
    """Return the mean wait of each of independent streams, in cycles; programs can stop every ``step`` cycles at no cost."""
    names = [f"serves {cycles} by {step}, {index}" for index, cycles in enumerate(service)]
    for name, cycles in zip(names, service, strict=True):
        register_program(name, Program.from_points(cycles, [] if step is None else range(step, cycles + 1, step)))
    results = evaluate(
        [policy], episodes=STREAMS, seed=5, npus=[NPU] * npus, quantum_cycles=QUANTUM, horizon_requests=longer * HORIZON[load],
        slots=8 if step is None else 192, mechanisms=["CHECKPOINT"],
        workload={"models": names, "batches": [1], "arrivals": {"process": "poisson", "utilisation": load}},
    )  # fmt: skip
    assert results.mean(policy, "unfinished_share") == 0
    return results.per_episode(policy, "wait_ms") * NPU.clock_hz / 1000


def _assert_mean(waits: np.ndarray, expected: float, load: float) -> None:
    interval = stats.t.interval(CONFIDENCE, len(waits) - 1, np.mean(waits), stats.sem(waits))
    assert interval[0] <= expected <= interval[1]
    assert interval[1] - interval[0] <= WIDEST[load] * expected


def _erlang_wait(servers: int, load: float) -> float:
    """Return the mean wait of M/M/c in cycles: Erlang's C over c (1 - load) services."""
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    busy = last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    return busy * MEAN / (servers * (1 - load))


@pytest.mark.parametrize("load", HORIZON)
@pytest.mark.parametrize("service", ["M", "D"])
def test_waits_of_one_npu_under_first_come_first_served_are_pollaczek_and_khinchines(service: str, load: float) -> None:
    squares = np.mean(np.square(SERVICE[service], dtype=float))
    _assert_mean(_waits(SERVICE[service], load), load / MEAN * squares / (2 * (1 - load)), load)


@pytest.mark.parametrize("load", HORIZON)
@pytest.mark.parametrize("npus", [2, 4])
def test_waits_of_several_npus_behind_one_queue_are_erlangs(npus: int, load: float) -> None:
    longer = 8 if load == min(HORIZON) else 2  # few requests wait at all
    _assert_mean(_waits(SERVICE["M"], load, npus=npus, longer=longer), _erlang_wait(npus, load), load)


@pytest.mark.parametrize("load", HORIZON)
def test_under_processor_sharing_waits_depend_on_the_mean_service_time_alone(load: float) -> None:
    waits = _waits(SERVICE["G"], load, policy="P-RRB", step=10)
    _assert_mean(waits, MEAN / (1 - load) - MEAN, load)
