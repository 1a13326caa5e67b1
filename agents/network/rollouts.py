"""Whole episodes under a small network in compiled code: what makes search over weights fast."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agents.network.slotnet import Shape, choose, scratch_size
from baselines.evaluation.episodes import Played, record_episode
from prema_gym._jit import jit_nogil
from prema_gym.config import EnvConfig
from prema_gym.envs.actions import fill_mask, num_actions
from prema_gym.envs.observation import observation_size, observe
from prema_gym.envs.step import carry_out, start_episode
from prema_gym.sim.book import open_book
from prema_gym.sim.kernel import row_of
from prema_gym.sim.simulator import Simulator
from prema_gym.types import ASKING
from prema_gym.workloads.seeding import split_index


@jit_nogil
def play_network(words, sizes, weights, split, seed, first, last, observation, mask, scratch, logits, episodes, tasks):
    """Play episodes ``first`` to ``last - 1`` of ``seed`` in row 0 under the network; ``episodes`` is (E,), ``tasks`` (E, n)."""
    tables, draws, state = open_book(words)
    row = row_of(state, 0)
    rules = tables.rules[0]
    row.machine.seed = seed
    for k in range(first, last):
        row.machine.episode = k
        start_episode(row, tables, draws, split)
        while row.machine.outcome == ASKING:
            observe(row.status, row.slots, rules, observation)
            fill_mask(row.status, row.slots, rules.mechanisms, True, mask)
            carry_out(row, tables, choose(observation, mask, sizes, weights, scratch, logits))
        record_episode(row, episodes[k], tasks[k])


class NetworkPlayer:
    """Plays whole episodes under any weights of one shape; holds the work space of one thread."""

    def __init__(self, shape: Shape, config: EnvConfig) -> None:
        slots = config.num_slots
        self._sizes = shape.sizes
        self._buffers = (
            np.zeros(observation_size(slots), np.float32),
            np.zeros(num_actions(slots), np.int8),
            np.zeros(scratch_size(shape, slots)),
            np.zeros(num_actions(slots)),
        )

    def play(
        self, weights: np.ndarray, words: np.ndarray, split: int, seed: np.uint64, first: int, last: int, played: Played
    ) -> None:
        """Play episodes ``first`` to ``last - 1`` of ``seed`` under the flat ``weights`` (float64) into ``played``."""
        play_network(words, self._sizes, weights, split, seed, first, last, *self._buffers, played.episodes, played.tasks)


class Rollouts:
    """Plays candidates on the same episodes, as many candidates at a time as there are threads."""

    def __init__(self, shape: Shape, config: EnvConfig, split: str, threads: int = 1) -> None:
        self.shape = shape
        self.config = config
        self.split = split
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads)
        Simulator(config)  # builds the program table, which all threads share

    def play(self, weights: np.ndarray, episodes: int, seed: int) -> Played:
        """Return what the flat ``weights`` do in the first ``episodes`` of ``seed``, those that other policies play."""
        local = self._local
        if not hasattr(local, "simulator"):
            local.simulator, local.player = Simulator(self.config), NetworkPlayer(self.shape, self.config)
        played = Played.empty(episodes, self.config.workload.num_tasks)
        flat = np.ascontiguousarray(weights, np.float64)
        word = np.uint64(seed % (1 << 64))
        local.player.play(flat, local.simulator.words, split_index(self.split), word, 0, episodes, played)
        return played

    def play_all(self, candidates: Sequence[np.ndarray], episodes: int, seed: int) -> list[Played]:
        """Return what each of ``candidates`` does in the same episodes."""
        return list(self._pool.map(lambda weights: self.play(weights, episodes, seed), candidates))
