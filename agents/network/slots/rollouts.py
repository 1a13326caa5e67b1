"""Whole episodes under a small network in compiled code: what makes search over weights fast."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agents.network.slots.chooser import network_chooser
from agents.network.slots.layout import Shape
from baselines.evaluation.episodes import EpisodePlayer, Played
from prema_gym.config import EnvConfig
from prema_gym.sim.simulator import Simulator


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
        if not hasattr(local, "player"):
            local.player = EpisodePlayer(self.config)
        played = Played.empty(episodes, self.config.workload.num_tasks, len(self.config.all_npus))
        network = network_chooser(self.shape, weights, self.config)
        local.player.play_chunk(network, played, 0, episodes, seed, self.split)
        return played

    def play_all(self, candidates: Sequence[np.ndarray], episodes: int, seed: int) -> list[Played]:
        """Return what each of ``candidates`` does in the same episodes."""
        return list(self._pool.map(lambda weights: self.play(weights, episodes, seed), candidates))
