"""Playing whole episodes: compiled policies without returning to Python, any other policy in batches of rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from baselines.heuristic import Heuristic
from baselines.mechanism import act_row
from baselines.policy import Policy
from prema_gym._jit import jit, jit_nogil
from prema_gym.config import EnvConfig
from prema_gym.envs.actions import decode
from prema_gym.envs.core import Core
from prema_gym.envs.step import DISABLED, reset_rows, start_episode, step_rows
from prema_gym.metrics import NUM_METRICS, age, episode_metrics
from prema_gym.sim.book import open_book
from prema_gym.sim.kernel import advance, decide, row_of
from prema_gym.sim.simulator import Simulator
from prema_gym.types import ASKING, EMPTY
from prema_gym.workloads.seeding import split_index

CHUNK = 32
"""Episodes that one compiled call plays; progress is reported between calls."""
BATCH_ROWS = 256
"""Rows that play at once under a policy that is not compiled."""


@dataclass(frozen=True)
class Played:
    """What one policy did in E episodes of n tasks."""

    metrics: np.ndarray
    """(E, NUM_METRICS) float64."""
    ntt: np.ndarray
    """(E, n) float64, tasks in order of arrival."""
    priority: np.ndarray
    """(E, n) int64."""
    decisions: np.ndarray
    """(E,) int64: decisions asked."""
    seeds: np.ndarray
    """(E,) uint64 episode seeds."""

    @classmethod
    def empty(cls, episodes: int, tasks: int) -> Played:
        """Return room for ``episodes`` of ``tasks``."""
        return cls(
            np.full((episodes, NUM_METRICS), np.nan),
            np.full((episodes, tasks), np.nan),
            np.zeros((episodes, tasks), np.int64),
            np.zeros(episodes, np.int64),
            np.zeros(episodes, np.uint64),
        )


@jit
def _true_totals(row, out):
    """Fill ``out`` (T,) int64 with the true totals of the present tasks."""
    for i in range(out.shape[0]):
        slot = row.slots[i]
        out[i] = 0 if slot.state == EMPTY else row.tasks[slot.task].isolated_cycles


@jit
def _record(row, episode, metrics, ntt, priority, decisions, seeds):
    now = row.status.clock_cycles
    episode_metrics(row.machine, row.tasks, now, metrics[episode])
    for i in range(row.machine.tasks):
        ntt[episode, i] = age(row.tasks[i], now) / row.tasks[i].isolated_cycles
        priority[episode, i] = row.tasks[i].priority
    decisions[episode] = row.machine.decisions
    seeds[episode] = row.machine.episode_seed


@jit_nogil
def play_episodes(words, params, split, seed, first, last, truth, metrics, ntt, priority, decisions, seeds):
    """Play episodes ``first`` to ``last - 1`` in row 0 under the heuristic ``params`` (1,) PARAMS, from trace to metrics."""
    tables, draws, state = open_book(words)
    row = row_of(state, 0)
    rules = tables.rules[0]
    row.machine.seed = seed
    for episode in range(first, last):
        row.machine.episode = episode
        start_episode(row, tables, draws, split)
        while row.machine.outcome == ASKING:
            if params[0].clairvoyant:
                _true_totals(row, truth)
            action = act_row(row.status, row.slots, params[0], rules.mechanisms, rules.quantum_cycles, truth)
            slot, mechanism = decode(action)
            decide(row, tables, slot, mechanism)
            advance(row, tables)
        _record(row, episode, metrics, ntt, priority, decisions, seeds)


@jit
def _record_rows(words, rows, episodes, metrics, ntt, priority, decisions, seeds):
    _, _, state = open_book(words)
    for k in range(rows.shape[0]):
        _record(row_of(state, rows[k]), episodes[k], metrics, ntt, priority, decisions, seeds)


def _play_compiled(
    policy: Heuristic, config: EnvConfig, split: int, seed: int, played: Played, threads: int, advance_bar: Callable[[int], None]
) -> None:
    """Fill ``played``, chunks of episodes shared out over threads, each with a simulator of its own."""
    local = threading.local()
    params = policy.params
    word = np.uint64(seed % (1 << 64))

    def chunk(first: int) -> int:
        if not hasattr(local, "simulator"):
            local.simulator = Simulator(config)
            local.truth = np.zeros(config.num_slots, np.int64)
        last = min(first + CHUNK, len(played.decisions))
        play_episodes(
            local.simulator.words, params, split, word, first, last, local.truth,
            played.metrics, played.ntt, played.priority, played.decisions, played.seeds,
        )  # fmt: skip
        return last - first

    starts = range(0, len(played.decisions), CHUNK)
    if threads == 1:
        for first in starts:
            advance_bar(chunk(first))
        return
    with ThreadPoolExecutor(threads) as pool:
        for count in pool.map(chunk, starts):
            advance_bar(count)


def _truth(core: Core) -> np.ndarray:
    """Return the (N, T) int64 true totals of the present tasks."""
    state = core.simulator.state
    totals = np.take_along_axis(state.tasks["isolated_cycles"], np.maximum(state.slots["task"], 0), axis=1)
    return np.where(state.slots["state"] == EMPTY, 0, totals)


def _assignments(rows: int, episodes: int) -> Iterator[int]:
    """Yield the episodes after the first ``rows``, which the rows start with."""
    yield from range(rows, episodes)


def _play_batched(
    policy: Policy, config: EnvConfig, split: str, seed: int, played: Played, advance_bar: Callable[[int], None]
) -> None:
    """Fill ``played`` with a policy that answers in Python, many rows at once."""
    episodes = len(played.decisions)
    rows = min(BATCH_ROWS, episodes)
    core = Core(config.to_dict(), rows, split=split)
    machine = core.simulator.state.machine
    machine["seed"] = seed % (1 << 64)
    assigned = np.arange(rows)
    machine["episode"] = assigned
    waiting = _assignments(rows, episodes)
    starting = np.ones(rows, np.bool_)
    final = core.observations[:0]
    words = core.simulator.words
    while True:
        reset_rows(words, starting, core.split, core.outcomes, core.observations, core.masks)
        alive = machine["outcome"] == ASKING
        starting = np.zeros(rows, np.bool_)
        while not starting.any():
            if not alive.any():
                return
            actions = policy.act(core.view(), _truth(core)) if policy.clairvoyant else policy.act(core.view())
            step_rows(words, actions, core.weights, DISABLED, core.split, core.outcomes, core.observations, core.masks, final)
            ended = np.flatnonzero(alive & (machine["outcome"] != ASKING))
            if not len(ended):
                continue
            _record_rows(words, ended, assigned[ended], played.metrics, played.ntt, played.priority, played.decisions, played.seeds)
            advance_bar(len(ended))
            alive[ended] = False
            for row in ended:
                assigned[row] = next(waiting, -1)
                if assigned[row] >= 0:
                    machine[row]["episode"] = assigned[row]
                    starting[row] = True


def play(
    policy: Policy,
    config: EnvConfig,
    episodes: int,
    seed: int,
    *,
    split: str = "eval",
    threads: int = 1,
    progress: Callable[[int], None] = lambda count: None,
) -> Played:
    """Play ``episodes`` of ``split`` under ``policy``; the same arguments give the same episodes to every policy."""
    played = Played.empty(episodes, config.workload.num_tasks)
    if isinstance(policy, Heuristic):
        _play_compiled(policy, config, split_index(split), seed, played, threads, progress)
    else:
        _play_batched(policy, config, split, seed, played, progress)
    return played
