"""The policy that plays any legal action."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from baselines.policies.compiled import Chooser, CompiledPolicy, policy_entry
from prema_gym._jit import jit_borrowing
from prema_gym.config import MECHANISMS, EnvConfig
from prema_gym.envs.actions import KEEP, count_actions, is_legal
from prema_gym.workloads.seeding import mix64

_PARAMS = np.dtype([("seed", np.uint64)])


@jit_borrowing
def _any_legal(seen, params):
    """Return a legal action drawn uniformly, from a hash of the seed, the clock and the table."""
    legal = 0
    actions = count_actions(seen.table.shape[0], seen.rules.mechanisms)
    word = mix64(params.seed ^ np.uint64(seen.npu.clock_cycles))
    for i in range(seen.table.shape[0]):
        word = mix64(word ^ np.uint64(seen.table[i].arrival_cycles))
    for action in range(actions):
        legal += is_legal(seen.npu, seen.table, seen.rules.mechanisms, action)
    wanted = int(word % np.uint64(max(legal, 1)))
    for action in range(actions):
        if is_legal(seen.npu, seen.table, seen.rules.mechanisms, action):
            if wanted == 0:
                return action
            wanted -= 1
    return KEEP


_ENTRY = policy_entry("RANDOM", _any_legal, _PARAMS)


class RandomPolicy(CompiledPolicy):
    """Plays a legal action drawn uniformly; the same view and seed give the same action."""

    rule = "Runs: uniform over the legal actions. Ours: the floor."
    asked_every: int | None = 1
    """Quanta between the decisions that it needs: the floor is an untrained policy that acts at every quantum."""
    mechanisms = MECHANISMS
    """The mechanisms that it may play: all."""

    def __init__(self, name: str = "RANDOM", seed: int = 0) -> None:
        self.name = name
        self.seed = seed

    @cached_property
    def _chooser(self) -> Chooser:
        params = np.zeros(1, _PARAMS)
        params["seed"] = self.seed
        return Chooser(_ENTRY, params)

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return the compiled policy, the same for every configuration."""
        return self._chooser
