"""Whole episodes under a small network in compiled code: what makes search over weights fast."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agents.slotnet import Shape, choose, scratch_size
from baselines.episodes import Played, record_episode
from prema_gym._jit import jit_nogil
from prema_gym.config import EnvConfig
from prema_gym.envs.actions import decode, fill_mask, num_actions
from prema_gym.envs.observation import observation_size, observe
from prema_gym.envs.step import start_episode
from prema_gym.sim.book import open_book
from prema_gym.sim.kernel import advance, decide, row_of
from prema_gym.sim.simulator import Simulator
from prema_gym.types import ASKING
from prema_gym.workloads.seeding import split_index


@jit_nogil
def play_network(words, sizes, weights, split, seed, observation, mask, scratch, logits, episodes, tasks):
    """Play the first episodes of ``seed`` in row 0 under the network, as many as ``episodes`` (E,) EPISODE has room for."""
    tables, draws, state = open_book(words)
    row = row_of(state, 0)
    rules = tables.rules[0]
    row.machine.seed = seed
    for k in range(episodes.shape[0]):
        row.machine.episode = k
        start_episode(row, tables, draws, split)
        while row.machine.outcome == ASKING:
            observe(row.status, row.slots, rules, observation)
            fill_mask(row.status, row.slots, rules.mechanisms, True, mask)
            slot, mechanism = decode(choose(observation, mask, sizes, weights, scratch, logits))
            decide(row, tables, slot, mechanism)
            advance(row, tables)
        record_episode(row, episodes[k], tasks[k])


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
        """Return what the flat ``weights`` do in the first ``episodes`` of ``seed``, those of :func:`baselines.episodes.play`."""
        local, slots = self._local, self.config.num_slots
        if not hasattr(local, "simulator"):
            local.simulator = Simulator(self.config)
            local.buffers = (
                np.zeros(observation_size(slots), np.float32),
                np.zeros(num_actions(slots), np.int8),
                np.zeros(scratch_size(self.shape, slots)),
                np.zeros(num_actions(slots)),
            )
        played = Played.empty(episodes, self.config.workload.num_tasks)
        flat = np.ascontiguousarray(weights, np.float64)
        split, word = split_index(self.split), np.uint64(seed % (1 << 64))
        words, sizes = local.simulator.words, self.shape.sizes
        play_network(words, sizes, flat, split, word, *local.buffers, played.episodes, played.tasks)
        return played

    def play_all(self, candidates: Sequence[np.ndarray], episodes: int, seed: int) -> list[Played]:
        """Return what each of ``candidates`` does in the same episodes."""
        return list(self._pool.map(lambda weights: self.play(weights, episodes, seed), candidates))
