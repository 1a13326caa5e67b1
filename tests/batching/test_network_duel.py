"""Networks with lengths in batches, kernel against reference: inputs and outputs of all lengths, wrong predictions, two NPUs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from numba import config
from reference.machine import Machine
from reference.parts import CHECKPOINT, KILL, Hardware, Rules
from reference.player import ReferencePlayer
from tools.duel import compare
from tools.kernel_player import KernelPlayer
from tools.twin import network_programs, network_tasks

from prema_gym import NPUConfig
from prema_gym.envs.prema_env import PremaEnv

NPUS = {"plain": NPUConfig(), "brisk": NPUConfig(dram_bytes_per_second=2 * NPUConfig().dram_bytes_per_second)}
PROGRAMS = network_programs(NPUS)
QUANTUM = 400_000
MECHANISMS = (CHECKPOINT, KILL)
MOST_DECISIONS = 120
EPISODES = 2 if config.DISABLE_JIT else 12


class NetworkPlayer(KernelPlayer):
    """The kernel on networks of the zoo."""

    def __init__(self, names: tuple[str, ...], batching: int, seed: int) -> None:
        self._names = list(dict.fromkeys(names))
        self._env = PremaEnv(
            npus=[NPUS[name] for name in names],
            batching=batching,
            quantum_cycles=QUANTUM,
            mechanisms=list(MECHANISMS),
            workload={
                "models": ["RNN-MT1", "RNN-SA", "CNN-AN"], "batches": [1, 2], "num_tasks": 7, "window": 0.1, "predictor_error": 0.4,
            },
        )  # fmt: skip
        self._begin({"seed": seed})

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self._env.tasks()


def _hardware(name: str) -> Hardware:
    npu = NPUS[name]
    return Hardware(name, npu.dram_bytes_per_second, npu.dram_latency_cycles, npu.clock_hz)


def _play(names: tuple[str, ...], batching: int, seed: int) -> int:
    """Play an episode at random on both sides and compare all that shows; return how many batches were formed."""
    kernel, twin = NetworkPlayer(names, batching, seed), ReferencePlayer()
    rules = Rules(
        tuple(map(_hardware, names)), slots=7, quantum=QUANTUM, mechanisms=MECHANISMS, batching=batching, decision_every=None
    )
    twin.begin(Machine(rules, network_tasks(kernel.requests, PROGRAMS, list(dict.fromkeys(names))), PROGRAMS))
    rng, joined = random.Random(seed), 0
    for decision in range(MOST_DECISIONS):
        got, expected = kernel.snapshot(), twin.snapshot()
        if decision == 0:
            del got["reward_terms"], expected["reward_terms"]
        compare(f"decision {decision}", got, expected)
        joined += sum(event[1] == "join" for event in expected["events"])
        if twin.asked() is None:
            break
        legal = [action for action, allowed in enumerate(twin.mask()) if allowed]
        action = 0 if 0 in legal and rng.random() < 0.4 else rng.choice(legal)
        compare(f"decision {decision}.legal", kernel.act(action), twin.act(action))
    return joined


@pytest.mark.parametrize("batching", [2, 4, 16])
@pytest.mark.parametrize("names", [("plain",), ("plain", "brisk")])
def test_networks_run_together_on_both_sides_alike(names: tuple[str, ...], batching: int) -> None:
    assert sum(_play(names, batching, seed) for seed in range(EPISODES)) > 0
