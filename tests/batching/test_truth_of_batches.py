"""What clairvoyant policies are told of batches: their true totals, in numpy and in compiled code."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tools.hand_made import BATCHES, checkpoint, register_sized_programs, task

from baselines import evaluate, make_policy


def test_a_leader_has_the_total_of_its_batch_and_a_member_its_own() -> None:
    register_sized_programs()
    workload = {"models": ["echo"], "batches": [1], "num_tasks": 1}
    env: Any = gym.make("Prema-v0", batching=4, slots=5, quantum_cycles=10**9, workload=workload).unwrapped
    env.reset(options={"trace": [task(0, "echo"), task(0, "echo"), task(0, "echo"), task(130, "lone")]})
    simulator = env._core.simulator
    assert simulator.true_totals().tolist() == [[300, 300, 300, 0, 0]]
    env.step(checkpoint(0))  # three together take 600 cycles
    assert simulator.true_totals().tolist() == [[600, 300, 300, 1000, 0]]
    assert simulator.state.engines[0, 0]["total_cycles"] == 600
    env.step(checkpoint(3))
    assert env.view().npu["running_slot"][0] == -1  # the lone request is done, the batch has been waiting with 400 cycles left
    assert simulator.true_totals().tolist() == [[600, 300, 300, 0, 0]]


def test_a_batch_takes_as_long_as_its_longest_output() -> None:
    workload = {"models": ["RNN-MT1"], "batches": [1], "num_tasks": 1}
    env: Any = gym.make("Prema-v0", batching=2, slots=5, quantum_cycles=10**12, workload=workload).unwrapped
    trace = [{**task(0, "RNN-MT1"), "input_length": 20, "output_length": length} for length in (10, 30)]
    env.reset(options={"trace": [*trace, task(1, "RNN-MT1")]})
    env.step(checkpoint(0))
    simulator = env._core.simulator
    leader, member = simulator.true_totals()[0, :2].tolist()
    assert leader == simulator.state.engines[0, 0]["total_cycles"]
    assert leader > member > simulator.describe_tasks(0)[0]["isolated_cycles"]


class InPython:
    """SRPT, asked through Python."""

    name = "in Python"
    clairvoyant = True

    def __init__(self) -> None:
        self._policy = make_policy("SRPT")

    def act(self, view: Any, truth: np.ndarray) -> np.ndarray:
        return self._policy.act(view, truth)


@pytest.mark.parametrize("npus", [None, ["prema", "edge"]], ids=["one NPU", "two NPUs"])
def test_compiled_code_and_numpy_tell_the_same(npus: list[str] | None) -> None:
    register_sized_programs()
    results = evaluate(["SRPT", InPython()], episodes=4, seed=2, **{**BATCHES, "npus": npus})
    for measure in ("antt", "batch_samples", "preemptions", "tardiness"):
        compiled, interpreted = (results.per_episode(name, measure) for name in ("SRPT", "in Python"))
        np.testing.assert_array_equal(compiled, interpreted)
    assert results.mean("SRPT", "batch_samples") > 1.02
    assert results.mean("SRPT", "preemptions") > 3
