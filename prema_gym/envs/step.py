"""One step of every row, in compiled code: decode, decide, advance, reward, metrics, autoreset, mask, observe.

Single environment, vector environment and evaluation all run these functions; the single one is the case of one row. Rows of one
NPU and of several are the same code: the type of the book chooses the machine's driver (sim/kernel.py).
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing, jit_nogil
from prema_gym.envs.actions import decode, fill_mask, is_action, is_legal, replacement
from prema_gym.envs.observation import Visible, observe
from prema_gym.envs.step_reward import NUM_TERMS, clear_reward, fill_terms
from prema_gym.envs.stream_reward import fill_stream_terms
from prema_gym.metrics import NUM_METRICS, episode_metrics
from prema_gym.sim.book import open_book
from prema_gym.sim.kernel import begin, begin_stream, make_move
from prema_gym.sim.streams.metrics import NUM_STREAM_METRICS, fill_stream_metrics
from prema_gym.sim.tables import row_of
from prema_gym.types import ASKING, TERMINATED, TRUNCATED, outcome_dtype
from prema_gym.workloads.drawing import draw_trace
from prema_gym.workloads.seeding import hash64

OUTCOME = outcome_dtype(NUM_TERMS, NUM_METRICS)
"""What a step returns for one row."""
STREAM_OUTCOME = outcome_dtype(NUM_TERMS, NUM_STREAM_METRICS)
"""The same for a row of a stream."""

NEXT_STEP, SAME_STEP, DISABLED = 0, 1, 2
"""When a row whose episode has ended starts the next one."""
_NOTHING_WRONG = -1


@jit_borrowing
def _observe(row, tables, observation):
    """Fill a row's (D,) observation, by the rules of the asked NPU's configuration."""
    rules = tables.rules[row.status.configuration]
    seen = Visible(row.status, row.npus, row.table, row.predictions, row.batches, rules)
    observe(seen, observation, row.several, row.stream)


@jit_borrowing
def _show(row, tables, observation, mask):
    """Fill a row's (D,) observation and (A,) mask."""
    fill_mask(row.status, row.table, tables.rules[0].mechanisms, row.machine.outcome == ASKING, mask)
    _observe(row, tables, observation)


@jit_borrowing
def _begin(row, tables, draws, stream):
    if stream is None:
        draw_trace(row.tasks, row.times, row.arrivals, draws, tables.programs, row.machine.episode_seed)
        begin(row, tables, draws.draw[0].num_tasks)
    else:
        begin_stream(row, tables)


@jit_borrowing
def start_episode(row, tables, draws, split):
    """Draw the row's next episode of ``split`` and play to its first decision."""
    machine = row.machine
    machine.episode_seed = hash64(split, machine.seed, 0, machine.episode)
    machine.episode += 1
    clear_reward(row.reward)
    _begin(row, tables, draws, row.stream)


@jit_borrowing
def _clear_outcome(outcome):
    outcome.reward = 0.0
    outcome.elapsed_cycles = 0
    outcome.terms[:] = 0.0
    outcome.metrics[:] = np.nan
    outcome.terminated = False
    outcome.truncated = False
    outcome.illegal_action = False


@jit_borrowing
def legal_move(row, tables, action):
    """Return the move (slot, mechanism) of ``action`` and True, or where that is illegal, what replaces it and False."""
    mechanisms = tables.rules[0].mechanisms
    if is_legal(row.status, row.table, mechanisms, action):
        slot, mechanism = decode(action, mechanisms)
        return slot, mechanism, True
    slot, mechanism = replacement(row.status, row.table)
    return slot, mechanism, False


@jit_borrowing
def fill_row_terms(row, start, now, out, stream):
    """Fill ``out`` (NUM_TERMS,) with the reward terms of a step from cycle ``start`` to ``now``."""
    if stream is None:
        fill_terms(row.reward, row.machine, row.tasks, start, now, out)
    else:
        fill_stream_terms(row, start, now, out)


@jit_borrowing
def fill_metrics(row, tables, out, stream):
    """Fill ``out`` with the metrics of the episode that has ended: METRICS, or of a stream STREAM_METRICS."""
    if stream is None:
        episode_metrics(row.machine, row.engines, row.tasks, row.status.clock_cycles, out)
    else:
        fill_stream_metrics(row, tables.rules[0].clock_hz, out)


@jit_borrowing
def play(row, tables, outcome, weights, action):
    """Carry out ``action`` in a row that asks for one and fill ``outcome``; an illegal action is replaced and flagged."""
    slot, mechanism, legal = legal_move(row, tables, action)
    start = row.status.clock_cycles
    ended = make_move(row, tables, slot, mechanism)
    now = row.status.clock_cycles
    fill_row_terms(row, start, now, outcome.terms, row.stream)
    reward = 0.0
    for k in range(NUM_TERMS):
        reward += weights[k] * outcome.terms[k]
    outcome.reward = reward
    outcome.elapsed_cycles = now - start
    outcome.illegal_action = not legal
    outcome.terminated = ended == TERMINATED
    outcome.truncated = ended == TRUNCATED
    if ended == ASKING:
        outcome.metrics[:] = np.nan
    else:
        fill_metrics(row, tables, outcome.metrics, row.stream)


@jit_borrowing
def find_bad_action(words, actions, strict, mode):
    """Return the first row whose action is out of range, or under ``strict`` illegal; -1 where there is none."""
    tables, _, state = open_book(words)
    for i in range(actions.shape[0]):
        row = row_of(state, i)
        if row.machine.outcome != ASKING and mode == NEXT_STEP:
            continue
        if not is_action(actions[i], row.table.shape[0], tables.rules[0].mechanisms):
            return i
        if strict and not is_legal(row.status, row.table, tables.rules[0].mechanisms, actions[i]):
            return i
    return _NOTHING_WRONG


@jit_nogil
def step_rows(words, first, last, actions, weights, mode, split, outcomes, observations, masks, final_observations):
    """Step rows ``first`` to ``last - 1``; return how many episodes ended.

    Parameters
    ----------
    words: int64 address book. actions: (N,) int64. weights: (NUM_TERMS,) float64. mode: NEXT_STEP, SAME_STEP or DISABLED.
    split: index of the seeds' split. Filled: outcomes (N,) OUTCOME, observations (N, D) float32, masks (N, A) int8, and under
    SAME_STEP final_observations (N, D) float32 in the rows whose episode ended.

    """
    tables, draws, state = open_book(words)
    ended = 0
    for i in range(first, last):
        row = row_of(state, i)
        if row.machine.outcome != ASKING:
            _clear_outcome(outcomes[i])
            if mode == NEXT_STEP:
                start_episode(row, tables, draws, split)
        else:
            play(row, tables, outcomes[i], weights, actions[i])
            if row.machine.outcome != ASKING:
                ended += 1
                if mode == SAME_STEP:
                    _observe(row, tables, final_observations[i])
                    start_episode(row, tables, draws, split)
        _show(row, tables, observations[i], masks[i])
    return ended


@jit_borrowing
def step_one(words, action, weights, outcomes, observation, mask):
    """Step row 0, which must be asking: the single environment's whole step."""
    tables, _, state = open_book(words)
    row = row_of(state, 0)
    play(row, tables, outcomes[0], weights, action)
    _show(row, tables, observation, mask)


@jit_borrowing
def reset_rows(words, chosen, split, outcomes, observations, masks):
    """Start the next episode of the rows where ``chosen`` (N,) bool is set; show every row."""
    tables, draws, state = open_book(words)
    for i in range(chosen.shape[0]):
        row = row_of(state, i)
        if chosen[i]:
            start_episode(row, tables, draws, split)
        _clear_outcome(outcomes[i])
        _show(row, tables, observations[i], masks[i])


@jit_borrowing
def begin_row(words, i, count, outcomes, observations, masks):
    """Start the injected episode of ``count`` tasks that lies in row ``i``; show the row."""
    tables, _, state = open_book(words)
    row = row_of(state, i)
    row.machine.episode_seed = 0
    row.machine.episode += 1
    clear_reward(row.reward)
    begin(row, tables, count)
    _clear_outcome(outcomes[i])
    _show(row, tables, observations[i], masks[i])
