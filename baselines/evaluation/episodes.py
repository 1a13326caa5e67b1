"""Playing whole episodes: compiled policies without returning to Python, any other policy in batches of rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from baselines.policies.compiled import Chooser, Compiled, Shown, addresses, ask, is_asked
from baselines.policies.needs import on_rows, tell_of_starts
from baselines.policies.policy import Policy
from prema_gym._jit import jit_borrowing, jit_nogil
from prema_gym.config import EnvConfig, mechanism_bits
from prema_gym.envs.actions import count_actions, is_action
from prema_gym.envs.core import Core
from prema_gym.envs.step import DISABLED, fill_metrics, legal_move, reset_rows, start_episode, step_rows
from prema_gym.envs.view import read_only
from prema_gym.errors import ActionError, PolicyError
from prema_gym.metrics import NUM_METRICS, age
from prema_gym.sim.batches import leads, total_of_batch
from prema_gym.sim.book import open_book
from prema_gym.sim.kernel import make_move
from prema_gym.sim.simulator import Simulator
from prema_gym.sim.streams.cohort import HISTOGRAM_BINS
from prema_gym.sim.streams.metrics import NUM_STREAM_METRICS
from prema_gym.sim.table import truth_of
from prema_gym.sim.tables import row_of
from prema_gym.types import ASKING, CHECKPOINT, EMPTY, NONE
from prema_gym.workloads.seeding import split_index
from prema_gym.workloads.trace import TraceTask

CHUNK = 32
"""Episodes that one compiled call plays; progress is reported between calls."""
BATCH_ROWS = 256
"""Rows that play at once under a policy that is not compiled."""


def _episode_dtype(metrics: int) -> np.dtype:
    return np.dtype(
        [
            ("metrics", np.float64, (metrics,)),
            ("decisions", np.int64),  # asked
            ("illegal_actions", np.int64),  # that the environment replaced
            ("seed", np.uint64),  # the episode's
        ],
        align=True,
    )


EPISODE = _episode_dtype(NUM_METRICS)
"""What is kept of an episode."""
STREAM_EPISODE = _episode_dtype(NUM_STREAM_METRICS)
"""What is kept of a stream, beside its histogram."""
PLAYED_TASK = np.dtype(
    [("ntt", np.float64), ("arrival_cycles", np.int64), ("isolated_cycles", np.int64), ("priority", np.int64)], align=True
)
"""What is kept of a task; an unfinished one has its NTT so far."""


Starts: TypeAlias = Callable[[np.ndarray, np.ndarray], None]
"""Starts episodes: in which of the rows (N,) bool, and the number of each row's (N,) int64."""


@dataclass(frozen=True)
class Played:
    """What one policy did in E episodes of n tasks, or in E streams."""

    episodes: np.ndarray
    """(E,) EPISODE, or STREAM_EPISODE."""
    tasks: np.ndarray
    """(E, n) PLAYED_TASK, in order of arrival; of streams none."""
    utilisation: np.ndarray = field(default_factory=lambda: np.zeros((0, 1)))
    """(E, M) float64: the share of an episode's time in which each NPU was not idle, overhead included."""
    histograms: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint32))
    """(E, levels, HISTOGRAM_BINS) uint32 of streams: the cohort's requests by priority and NTT; (E, 0, 0) of closed episodes."""

    @classmethod
    def empty(cls, episodes: int, tasks: int, npus: int = 1) -> Played:
        """Return room for ``episodes`` of ``tasks`` on ``npus`` NPUs."""
        none = np.zeros((episodes, 0, 0), np.uint32)
        return cls(np.zeros(episodes, EPISODE), np.zeros((episodes, tasks), PLAYED_TASK), np.zeros((episodes, npus)), none)

    @classmethod
    def empty_for(cls, config: EnvConfig, episodes: int) -> Played:
        """Return room for ``episodes`` of ``config``."""
        npus = len(config.all_npus)
        if not config.stream:
            return cls.empty(episodes, config.workload.num_tasks, npus)
        counts = np.zeros((episodes, len(config.workload.levels), HISTOGRAM_BINS), np.uint32)
        none = np.zeros((episodes, 0), PLAYED_TASK)
        return cls(np.zeros(episodes, STREAM_EPISODE), none, np.zeros((episodes, npus)), counts)

    @property
    def metrics(self) -> np.ndarray:
        """(E, NUM_METRICS) float64, or NUM_STREAM_METRICS."""
        return self.episodes["metrics"]

    @property
    def ntt(self) -> np.ndarray:
        """(E, n) float64."""
        return self.tasks["ntt"]

    @property
    def priority(self) -> np.ndarray:
        """(E, n) int64."""
        return self.tasks["priority"]

    def __len__(self) -> int:
        return len(self.episodes)


@jit_borrowing
def _true_total(row, tables, i, several):
    """Return the true total of the task in slot ``i``, or of the batch that it leads: here, or where it has begun."""
    if several is None:
        return row.tasks[truth_of(row, i)].isolated_cycles
    slot = row.table[i]
    own = slot.configuration if slot.executed_cycles > 0 else row.status.configuration
    if leads(row, i) and row.batches[i].leader == i:
        _, total = total_of_batch(row, tables, i, own)
        return total
    return row.times[truth_of(row, i), own].isolated_cycles


@jit_borrowing
def _true_totals(row, tables, out):
    """Fill ``out`` (T,) int64 with the true totals of the present tasks, and of leaders' batches; 0 where a slot is empty."""
    for i in range(out.shape[0]):
        out[i] = 0 if row.table[i].state == EMPTY else _true_total(row, tables, i, row.several)


@jit_borrowing
def record_episode(row, tables, episode, tasks, utilisation, histogram):
    """Fill ``episode`` (EPISODE) and ``utilisation`` (M,) once an episode has ended in ``row``.

    ``tasks`` (n,) PLAYED_TASK are those of a closed episode, ``histogram`` (levels, HISTOGRAM_BINS) uint32 is that of a stream.
    """
    fill_metrics(row, tables, episode.metrics, row.stream)
    for n in range(row.engines.shape[0]):
        utilisation[n] = 1.0 - row.engines[n].idle_cycles / max(row.status.clock_cycles, 1)
    episode.decisions = row.machine.decisions
    episode.seed = row.machine.episode_seed
    _record_requests(row, tasks, histogram, row.stream)


@jit_borrowing
def _record_tasks(row, tasks):
    now = row.status.clock_cycles
    for i in range(row.machine.tasks):
        tasks[i].ntt = age(row.tasks[i], now) / row.tasks[i].isolated_cycles
        tasks[i].arrival_cycles = row.tasks[i].arrival_cycles
        tasks[i].isolated_cycles = row.tasks[i].isolated_cycles
        tasks[i].priority = row.tasks[i].priority


@jit_borrowing
def _record_requests(row, tasks, histogram, stream):
    if stream is None:
        _record_tasks(row, tasks)
    else:
        for level in range(histogram.shape[0]):
            for k in range(histogram.shape[1]):
                histogram[level, k] = stream.histogram[level, k]


@jit_nogil
def _play_chunk(words, entry, asked, truth, strict, split, seed, first, last, episodes, tasks, utilisation, histograms):
    """Play episodes ``first`` to ``last - 1`` of ``seed`` in row 0 under a compiled policy, from trace to metrics.

    ``entry`` is the policy's address, ``asked`` the int64 words it is called with, ``truth`` (T,) int64 its true times, or (0,).
    Stops at an action that is out of range, or under ``strict`` illegal. Returns (whether there was one, the action).
    """
    tables, draws, state = open_book(words)
    row = row_of(state, 0)
    row.machine.seed = seed
    for k in range(first, last):
        row.machine.episode = k
        start_episode(row, tables, draws, split)
        illegal = 0
        while row.machine.outcome == ASKING:
            slot, mechanism = NONE, CHECKPOINT
            if is_asked(row.status, asked):
                if truth.shape[0] > 0:
                    _true_totals(row, tables, truth)
                action = ask(entry, asked, 0)
                slot, mechanism, legal = legal_move(row, tables, action)
                if not legal:
                    illegal += 1
                    if strict or not is_action(action, row.table.shape[0], tables.rules[0].mechanisms):
                        return True, action
            make_move(row, tables, slot, mechanism)
        record_episode(row, tables, episodes[k], tasks[k], utilisation[k], histograms[k])
        episodes[k].illegal_actions = illegal
    return False, 0


def _refuse(name: str, action: int, config: EnvConfig) -> None:
    """Raise :class:`ActionError` for an ``action`` of the policy ``name`` that ends the evaluation."""
    actions = int(count_actions(config.num_slots, mechanism_bits(config.mechanisms)))
    if 0 <= action < actions:
        raise ActionError(f"policy {name!r} answered with action {action}: illegal there, and strict=True allows no illegal one.")
    raise ActionError(f"policy {name!r} answered with action {action}: must be a whole number from 0 to {actions - 1}.")


class EpisodePlayer:
    """Plays whole episodes of one configuration under compiled policies; holds the simulator of one thread."""

    def __init__(self, config: EnvConfig) -> None:
        self._config = config
        self._simulator = Simulator(config)
        self._truth = np.zeros(config.num_slots, np.int64)

    def play_chunk(
        self,
        policy: Chooser,
        played: Played,
        first: int,
        last: int,
        seed: int,
        split: str,
        *,
        clairvoyant: bool = False,
        name: str = "",
    ) -> None:
        """Fill ``played`` with episodes ``first`` to ``last - 1`` of ``seed``; other threads run meanwhile.

        Raises :class:`ActionError`, which gives the policy's ``name``, for an action out of range, and where the configuration is
        strict for an illegal one.
        """
        state, rules = self._simulator.state, self._simulator.tables.rules
        truth = self._truth if clairvoyant else self._truth[:0]
        shown = Shown(state.status, state.table, state.npus, state.predictions, state.batches)
        asked = addresses(shown, rules, truth if clairvoyant else None, policy)
        wrong, action = _play_chunk(
            self._simulator.words, policy.entry.address, asked, truth, self._config.strict, split_index(split),
            np.uint64(seed % (1 << 64)), first, last, played.episodes, played.tasks, played.utilisation, played.histograms,
        )  # fmt: skip
        if wrong:
            _refuse(name, action, self._config)


@jit_borrowing
def _record_rows(words, rows, numbers, illegal, episodes, tasks, utilisation, histograms):
    """Record the ended ``rows`` as the episodes ``numbers``; ``illegal`` (N,) counts replaced actions and restarts."""
    tables, _, state = open_book(words)
    for k in range(rows.shape[0]):
        number = numbers[k]
        row = row_of(state, rows[k])
        record_episode(row, tables, episodes[number], tasks[number], utilisation[number], histograms[number])
        episodes[numbers[k]].illegal_actions = illegal[rows[k]]
        illegal[rows[k]] = 0


def _play_compiled(
    policy: Compiled, config: EnvConfig, split: str, seed: int, played: Played, threads: int, advance_bar: Callable[[int], None]
) -> None:
    """Fill ``played``, chunks of episodes shared out over threads, each with a player and a chooser of its own."""
    local = threading.local()
    Simulator(config)  # builds the program table, which all threads share

    def play_chunk(first: int) -> int:
        if not hasattr(local, "player"):
            local.player, local.chooser = EpisodePlayer(config), policy.chooser(config)
        last = min(first + CHUNK, len(played))
        local.player.play_chunk(local.chooser, played, first, last, seed, split, clairvoyant=policy.clairvoyant, name=policy.name)
        return last - first

    starts = range(0, len(played), CHUNK)
    if threads == 1:
        for first in starts:
            advance_bar(play_chunk(first))
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            for count in pool.map(play_chunk, starts):
                advance_bar(count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _answers(policy: Policy, core: Core) -> np.ndarray:
    """Ask ``policy`` for the (N,) int64 actions of every row."""
    given = policy.act(core.view(), read_only(core.simulator.true_totals())) if policy.clairvoyant else policy.act(core.view())
    actions = np.asarray(given)
    rows = core.simulator.rows
    if actions.shape != (rows,) or actions.dtype.kind not in "iu":
        raise PolicyError(
            f"policy {policy.name!r} returned actions of shape {actions.shape} and type {actions.dtype}: "
            f"must be ({rows},) whole numbers."
        )
    return np.ascontiguousarray(actions, np.int64)


def _check_actions(policy: Policy, core: Core, actions: np.ndarray, alive: np.ndarray) -> None:
    """Raise :class:`ActionError` where a row in play is answered out of range, or illegally where the configuration is strict."""
    wrong = alive & ((actions < 0) | (actions >= core.num_actions))
    if core.config.strict and not wrong.any():
        wrong = alive & (core.masks[np.arange(len(actions)), np.clip(actions, 0, core.num_actions - 1)] == 0)
    if wrong.any():
        _refuse(policy.name, int(actions[wrong][0]), core.config)


def _draws(core: Core, seed: int) -> Starts:
    """Return what starts the drawn episodes of ``seed``."""
    machine = core.simulator.state.machine
    machine["seed"] = seed % (1 << 64)

    def start(starting: np.ndarray, numbers: np.ndarray) -> None:
        machine["episode"][starting] = numbers[starting]
        reset_rows(core.simulator.words, starting, core.split, core.outcomes, core.observations, core.masks)

    return start


def _plays(core: Core, traces: Sequence[Sequence[TraceTask]]) -> Starts:
    """Return what starts ``traces``, by number."""

    def start(starting: np.ndarray, numbers: np.ndarray) -> None:
        for row in np.flatnonzero(starting).tolist():
            core.begin_trace(row, traces[numbers[row]])

    return start


def _play_in_python(policy: Policy, core: Core, start: Starts, played: Played, advance_bar: Callable[[int], None]) -> None:
    """Fill ``played`` with a policy that answers in Python, many rows at once; a row that ends takes the next episode."""
    rows = core.simulator.rows
    words, machine, outcomes = core.simulator.words, core.simulator.state.machine, core.outcomes
    numbers = np.arange(rows)
    upcoming = iter(range(rows, len(played)))
    illegal = np.zeros(rows, np.int64)
    final = core.observations[:0]
    alive = np.ones(rows, np.bool_)
    starting = alive.copy()
    while alive.any():
        if starting.any():
            start(starting, numbers)
            tell_of_starts(policy, starting.copy())
            starting[:] = False
        actions = _answers(policy, core)
        _check_actions(policy, core, actions, alive)
        step_rows(
            words, 0, rows, actions, core.weights, DISABLED, core.split, outcomes, core.observations, core.masks, final
        )  # fmt: skip
        illegal += outcomes["illegal_action"]
        ended = np.flatnonzero(alive & (machine["outcome"] != ASKING))
        if len(ended) == 0:
            continue
        _record_rows(words, ended, numbers[ended], illegal, played.episodes, played.tasks, played.utilisation, played.histograms)
        advance_bar(len(ended))
        numbers[ended] = [next(upcoming, NONE) for _ in ended]
        starting[ended] = alive[ended] = numbers[ended] != NONE


def play_policy(
    policy: Policy,
    config: EnvConfig,
    episodes: int,
    seed: int,
    *,
    split: str = "eval",
    threads: int = 1,
    progress: Callable[[int], None] = lambda count: None,
    traces: Sequence[Sequence[TraceTask]] | None = None,
) -> Played:
    """Play ``episodes`` of ``split`` under ``policy``; the same arguments give the same episodes to every policy.

    ``traces`` take the place of what would be drawn, one for each episode, all of as many tasks.
    """
    played = Played.empty_for(config, episodes)
    if isinstance(policy, Compiled) and traces is None:
        _play_compiled(policy, config, split, seed, played, threads, progress)
    else:
        core = Core(config.to_dict(), min(BATCH_ROWS, episodes), split=split)
        start = _draws(core, seed) if traces is None else _plays(core, traces)
        _play_in_python(on_rows(policy, core), core, start, played, progress)
    return played
