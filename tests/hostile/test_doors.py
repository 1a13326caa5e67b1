"""Impossible values at every door: a typed error at once, in one sentence that names the value and what is allowed."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from baselines import evaluate
from baselines.policies.registry import make_policy, register_policy
from prema_gym import Gemm, Network, Program, compile_model, register_model, register_npu, register_program
from prema_gym.checks import MOST_CYCLES
from prema_gym.config import EnvConfig, NPUConfig, WorkloadConfig
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.reward import register_reward_term, reward_weights
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import PremaError
from prema_gym.workloads.models import Model
from prema_gym.workloads.seeding import split_index

WORKLOAD = {"models": ["short"], "num_tasks": 2}
UNPRINTABLE = 10**5000
"""Python refuses to write it out."""


@pytest.fixture(scope="module")
def played():
    register_program("short", Program.from_points(100, [10, 50]))
    one, three = PremaEnv(workload=WORKLOAD), PremaVectorEnv(3, workload=WORKLOAD)
    one.reset(seed=1)
    three.reset(seed=1)
    return SimpleNamespace(one=one, three=three, short=Program.from_points(100, [10, 50]))


CASES = {
    # actions and seeds
    "an infinite action": lambda p: p.one.step(math.inf),
    "True as an action": lambda p: p.one.step(True),
    "a float as an action": lambda p: p.one.step(1.0),
    "an action of 5 001 digits": lambda p: p.one.step(UNPRINTABLE),
    "no action": lambda p: p.one.step(None),
    "an array as an action": lambda p: p.one.step(np.array([0])),
    "actions of unlike lengths": lambda p: p.three.step([[0], [0, 1], 0]),
    "bools as actions": lambda p: p.three.step(np.ones(3, bool)),
    "floats as actions": lambda p: p.three.step(np.zeros(3)),
    "an action beyond 64 bits": lambda p: p.three.step([0, 0, 10**30]),
    "a negative seed": lambda p: p.one.reset(seed=-1),
    "a seed of half": lambda p: p.three.reset(seed=1.5),
    "True as a seed": lambda p: p.three.reset(seed=True),
    "a string as a seed": lambda p: p.three.reset(seed="123"),
    "NaN as a seed": lambda p: p.three.reset(seed=math.nan),
    "two seeds for three rows": lambda p: p.three.reset(seed=[1, 2]),
    "True among seeds": lambda p: p.three.reset(seed=[1, 2, True]),
    "a seed of 65 bits": lambda p: p.one.reset(seed=1 << 64),
    # configurations
    "decision_every of 64 bits": lambda p: EnvConfig(decision_every=2**63),
    "a quantum of 401 digits": lambda p: EnvConfig(quantum_cycles=10**400),
    "a window of 401 digits": lambda p: WorkloadConfig(window=10**400),
    "a clock of 5 001 digits": lambda p: NPUConfig(clock_hz=UNPRINTABLE),
    "a list as a preset": lambda p: EnvConfig.coerce({"npu": {"preset": []}}),
    "arrays of arrays as batches": lambda p: WorkloadConfig(batches=np.ones((2, 2))),
    "a number as a mechanism": lambda p: EnvConfig(mechanisms=[0]),
    "a set as a reward term": lambda p: reward_weights({frozenset(): 1.0}),
    "a priority of 5 000 digits": lambda p: WorkloadConfig(mix=[{"model": "CNN-AN", "priority": {"9" * 5000: 1.0}}]),
    "a list that holds itself": lambda p: EnvConfig(mechanisms=_endless()),
    "an unknown split": lambda p: split_index([]),
    "2^31 rows": lambda p: PremaVectorEnv(2**31, workload=WORKLOAD),
    "more rows than memory": lambda p: PremaVectorEnv(1 << 24, slots=4096, workload=WORKLOAD),
    "a list as a render mode": lambda p: PremaEnv(render_mode=[], workload=WORKLOAD),
    # names
    "no policy": lambda p: make_policy(None),
    "a policy of 10 000 parts": lambda p: make_policy("JSQ/" * 10_000 + "FCFS"),
    "no name for a policy": lambda p: register_policy(None, lambda: p.one),
    "no factory of a policy": lambda p: register_policy("mine", 3),
    "no name for a program": lambda p: register_program(None, p.short),
    "NaN as the name of a program": lambda p: register_program(math.nan, p.short),
    "a function as the name of a program": lambda p: register_program(print, p.short),
    "no name for an NPU": lambda p: register_npu("", NPUConfig()),
    "a number as the name of a model": lambda p: register_model(Model(3, lambda: None)),
    "no name for a reward term": lambda p: register_reward_term(None, print),
    # layers and programs
    "a layer without rows": lambda p: compile_model([Gemm(m=0, k=1, n=1)]),
    "a layer without a list of inputs": lambda p: compile_model([Gemm(1, 1, 1, inputs=None)]),
    "a layer of 4 GB": lambda p: compile_model([Gemm(1, 2**31, 1)]),
    "a layer of 2^60 rows": lambda p: compile_model([Gemm(2**60, 1, 1)]),
    "a layer of 2^80 products": lambda p: compile_model([Gemm(2**40, 1, 2**40)]),
    "a batch of 2^62": lambda p: compile_model([Gemm(1, 1, 1)], batch=1 << 62),
    "layers that are none": lambda p: compile_model(Network("none", 1, None)),
    "no commits": lambda p: Program.from_points(100, commit_cycles=None),
    "a prediction of 0": lambda p: compile_model([Gemm(1, 1, 1)], predicted_cycles=0),
    "a string as a prediction": lambda p: compile_model([Gemm(1, 1, 1)], predicted_cycles="3"),
    "an absurd prediction": lambda p: compile_model([Gemm(1, 1, 1)], predicted_cycles=1e300),
    "a prediction replaced by 0": lambda p: dataclasses.replace(p.short, predicted_cycles=0),
    "a program of 2^58 cycles": lambda p: Program.from_points(2 * MOST_CYCLES, [10]),
    # evaluation
    "half an episode": lambda p: evaluate(["NP-FCFS"], 0.5, workload=WORKLOAD),
    "NaN as the seed of an evaluation": lambda p: evaluate(["NP-FCFS"], 1, math.nan, workload=WORKLOAD),
    "no thread": lambda p: evaluate(["NP-FCFS"], 1, threads=0, workload=WORKLOAD),
}


def _endless() -> list[object]:
    endless: list[object] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize("case", CASES)
def test_an_impossible_value_is_a_typed_error_of_one_sentence(case, played):
    with pytest.raises(PremaError) as raised:
        CASES[case](played)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 2000


def test_whole_numbers_of_numpy_are_as_good_as_pythons(played):
    played.one.reset(seed=np.int64(3))
    played.one.step(np.int64(0))
    played.one.step(np.array(0))
    played.three.reset(seed=np.array([1, 2, 3]))
    config = EnvConfig(decision_every=np.int8(2), npu={"array_rows": np.uint16(64)}, workload={"batches": np.array([1, 4])})
    assert config == EnvConfig(decision_every=2, npu={"array_rows": 64}, workload={"batches": [1, 4]})
    assert type(config.decision_every) is int
    assert len(evaluate(["NP-FCFS"], np.int32(2), np.uint8(1), workload=WORKLOAD).values["NP-FCFS"]) == 2


def test_sizes_of_numpy_are_multiplied_as_pythons():
    small = [np.int32(size) for size in (100_000, 64, 64)]
    assert compile_model([Gemm(*small)]).total_cycles == compile_model([Gemm(100_000, 64, 64)]).total_cycles
