"""Rollouts in compiled code: what each of a few actions is worth where a base rule goes on, over the same futures for all.

Two rows of memory are enough: one holds a future of the asked row, the other plays it, action by action. What plays is the
environment's own machine, from the decision until every request that is there, or comes in the future, is done. An action that has
paid no more than the base rule's own over half of the futures is tried no further.
"""

from __future__ import annotations

import numpy as np

from baselines.policies.compiled import ask, is_asked
from prema_gym._jit import jit_apart, jit_borrowing, jit_nogil
from prema_gym.envs.actions import KEEP, count_columns, encode, is_legal, may_keep
from prema_gym.envs.step import fill_row_terms, legal_move
from prema_gym.envs.step_reward import NUM_TERMS
from prema_gym.sim.book import open_book
from prema_gym.sim.borrow import borrowed
from prema_gym.sim.futures import begin_step, sample_lengths, sample_stream, sample_tasks, true_stream
from prema_gym.sim.kernel import make_move
from prema_gym.sim.tables import row_of
from prema_gym.types import ASKING, CAUSE_QUANTUM, CHECKPOINT, NONE, READY
from prema_gym.workloads.seeding import mix64, substream

PLAN = np.dtype(
    [
        ("seed", np.uint64),
        ("futures", np.int64),
        ("requests", np.int64),  # of a stream that come after the decision in a future
        ("errors", np.float64),  # standard errors that a gain must exceed
        ("clairvoyant", np.bool_),  # the future is the true one
    ],
    align=True,
)
"""How a row is planned for."""
PLACE = np.dtype([("theirs", np.int64), ("own", np.int64), ("row_bytes", np.int64)])
"""Where an array of the rows that are planned for lies, where that of the two rows of memory, and bytes of a row."""
FUTURE, TRIAL = 0, 1
"""The rows of memory."""
_HIDDEN = -2
"""State of a task that the base rule is not to see, so that it names its next choice; not that of dispatchers."""
_FUTURES = 21
"""Purpose of the substreams of futures."""
_TINY = 1e-12
"""A gain below this share of what is at stake is rounding."""
_words = borrowed(np.int64, 1)


# --- Copies of rows -----------------------------------------------------------------------------------------------------------


@jit_borrowing
def _copy_words(source, target, count):
    given, taken = _words(source, (count,)), _words(target, (count,))
    for k in range(count):
        taken[k] = given[k]


@jit_apart
def _take(places, i):
    """Copy row ``i`` of those that are planned for into memory."""
    for k in range(places.shape[0]):
        place = places[k]
        _copy_words(place.theirs + i * place.row_bytes, place.own + FUTURE * place.row_bytes, place.row_bytes // 8)


@jit_apart
def _try_anew(places):
    """Let the trial stand where the future begins."""
    for k in range(places.shape[0]):
        place = places[k]
        _copy_words(place.own + FUTURE * place.row_bytes, place.own + TRIAL * place.row_bytes, place.row_bytes // 8)


# --- Which actions are tried --------------------------------------------------------------------------------------------------


@jit_borrowing
def _base_action(row, tables, entry, asks, i):
    """Return what the base rule plays in row ``i``, as a legal action."""
    mechanisms = tables.rules[0].mechanisms
    action = ask(entry, asks, i) if is_asked(row.status, asks) else KEEP
    slot, mechanism, legal = legal_move(row, tables, action)
    if legal:
        return action
    return KEEP if slot == NONE else encode(slot, mechanism, mechanisms)


@jit_borrowing
def _add(actions, count, action):
    """Add ``action`` to the first ``count`` of ``actions`` if it isn't there and there is room; return how many there are."""
    for k in range(count):
        if actions[k] == action:
            return count
    if count == actions.shape[0]:
        return count
    actions[count] = action
    return count + 1


@jit_borrowing
def _add_slot(row, rules, actions, count, slot):
    """Add every way to give the NPU to ``slot``; return how many actions there are."""
    columns = count_columns(rules.mechanisms)
    for column in range(columns):
        action = 1 + columns * slot + column
        if is_legal(row.status, row.table, rules.mechanisms, action):
            count = _add(actions, count, action)
    return count


@jit_borrowing
def _densest(row):
    """Return the slot that could be chosen whose task WSRPT would run first; NONE where there is none."""
    best, most = NONE, -1.0
    for slot in range(row.table.shape[0]):
        entry = row.table[slot]
        if entry.state == READY:
            left = max(entry.predicted_cycles - entry.executed_cycles, 1)
            density = entry.priority / (float(entry.predicted_cycles) * left)
            if density > most:
                best, most = slot, density
    return best


@jit_apart
def list_actions(row, tables, entry, asks, i, base, actions):
    """Fill ``actions`` (K,) with those that are tried in row ``i``; return how many. Its table is worthless afterwards.

    They are the ``base`` rule's own and to keep; then whom the rule would choose if it didn't see those before, one after another;
    then, where it would choose nobody, the others by density.
    """
    rules = tables.rules[0]
    columns = count_columns(rules.mechanisms)
    actions[0] = base
    count = 1
    if may_keep(row.status):
        count = _add(actions, count, KEEP)
    choice, by_rule = base, True
    for _ in range(row.table.shape[0]):
        if count == actions.shape[0]:
            break
        slot = NONE if choice == KEEP else (choice - 1) // columns
        if slot == NONE and by_rule and row.status.running_slot >= 0:
            slot = row.status.running_slot  # the rule would let it run: who comes next?
        by_rule = by_rule and slot != NONE
        if not by_rule:
            slot = _densest(row)
            if slot == NONE:
                break
        count = _add_slot(row, rules, actions, count, slot)
        row.table[slot].state = _HIDDEN
        if by_rule:
            choice = ask(entry, asks, i)
            by_rule = choice != KEEP and is_legal(row.status, row.table, rules.mechanisms, choice)
    return count


# --- Futures ------------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _begin_step(row, stream):
    if stream is not None:
        begin_step(row)


@jit_borrowing
def _sample(row, tables, draws, plan, seed, stream):
    if stream is None:
        sample_tasks(row, tables, draws, seed)
    else:
        sample_stream(row, tables, draws, seed, plan.requests)


@jit_borrowing
def _read_on(row, tables, draws, plan, stream):
    if stream is not None:
        true_stream(row, tables, draws, plan.requests)


@jit_apart
def write_future(row, tables, draws, outputs, plan, seed):
    """Write a future into a copy of a row; ``draws`` is what the rows that are planned for draw from."""
    if plan.clairvoyant:
        _read_on(row, tables, draws, plan, row.stream)
    else:
        sample_lengths(row, tables, draws, outputs, seed)
        _sample(row, tables, draws, plan, seed, row.stream)
    _begin_step(row, row.stream)


@jit_borrowing
def _play_out(row, tables, entry, asks, action, weights, terms):
    """Play ``action`` in the trial, and the base rule until all is done; return what that pays."""
    start, first = row.status.clock_cycles, True
    while row.machine.outcome == ASKING:
        slot, mechanism = NONE, CHECKPOINT
        if first or is_asked(row.status, asks):
            slot, mechanism, _ = legal_move(row, tables, action if first else ask(entry, asks, TRIAL))
        first = False
        make_move(row, tables, slot, mechanism)
    fill_row_terms(row, start, row.status.clock_cycles, terms, row.stream)
    total = 0.0
    for k in range(NUM_TERMS):
        total += weights[k] * terms[k]
    return total


@jit_borrowing
def _gain(returns, a, futures):
    """Return mean and standard error of what action ``a`` pays more than the first, over the same futures."""
    mean = 0.0
    for s in range(futures):
        mean += (returns[a, s] - returns[0, s]) / futures
    squares = 0.0
    for s in range(futures):
        squares += (returns[a, s] - returns[0, s] - mean) ** 2
    return mean, np.sqrt(squares / max(futures - 1, 1) / futures)


@jit_borrowing
def best_action(returns, count, futures, errors):
    """Return which of ``count`` actions is the best of those that pay more than the first by ``errors`` standard errors; else 0.

    ``returns`` is (K, S) float64.
    """
    at_stake = 0.0
    for s in range(futures):
        at_stake += abs(returns[0, s]) / futures
    best, most = 0, _TINY * at_stake
    for a in range(1, count):
        mean, error = _gain(returns, a, futures)
        if mean > errors * error and mean > most:
            best, most = a, mean
    return best


@jit_borrowing
def drop_losers(returns, count, futures):
    """Mark with NaN, behind these futures, the actions that have paid no more than the first; return how many others are left."""
    left = 0
    for a in range(1, count):
        mean, _ = _gain(returns, a, futures)
        returns[a, futures] = 0.0 if mean > 0.0 else np.nan
        left += mean > 0.0
    return left


@jit_borrowing
def _seed_of(row, plan):
    """Return the seed of a decision: of the planner's own, and of what is seen."""
    status = row.status
    word = mix64(plan.seed ^ mix64(np.uint64(status.clock_cycles)))
    return mix64(word ^ (np.uint64(row.machine.decisions) << np.uint64(8)) ^ np.uint64(status.npu))


@jit_nogil
def plan_rows(words, own, places, entry, asks, own_asks, plans, outputs, weights, terms, tried, returns, out):
    """Fill ``out`` (N,) int64 with the actions of N rows.

    Parameters
    ----------
    words: address book of the rows. own: that of the two rows of memory, whose rules are those of rollouts.
    places: (...,) PLACE. entry: address of the base rule; asks and own_asks are what it is called with, there and here.
    plans: (1,) PLAN. outputs: :class:`Outputs`. weights: (NUM_TERMS,) float64 of what is to become large.
    terms: (NUM_TERMS,) float64, tried: (1, K) int64, returns: (K, S) float64: scratch.

    """
    tables, draws, state = open_book(words)
    own_tables, _, own_state = open_book(own)
    future, trial, plan, actions = row_of(own_state, FUTURE), row_of(own_state, TRIAL), plans[0], tried[0]
    for i in range(out.shape[0]):
        row = row_of(state, i)
        out[i] = KEEP
        if row.machine.outcome != ASKING:
            continue
        out[i] = _base_action(row, tables, entry, asks, i)
        if row.status.cause == CAUSE_QUANTUM:
            continue
        _take(places, i)
        _try_anew(places)
        count = list_actions(trial, own_tables, entry, own_asks, TRIAL, out[i], actions)
        if count == 1:
            continue
        seed = _seed_of(row, plan)
        half, left = plan.futures // 2, count
        for s in range(plan.futures):
            if 0 < s == half:
                left = drop_losers(returns, count, half)
            if left == 0:
                break
            _take(places, i)
            write_future(future, own_tables, draws, outputs, plan, substream(seed, _FUTURES, s))
            for a in range(count):
                if 0 < half <= s and a > 0 and np.isnan(returns[a, half]):
                    continue
                _try_anew(places)
                returns[a, s] = _play_out(trial, own_tables, entry, own_asks, actions[a], weights, terms)
        if left > 0:
            out[i] = actions[best_action(returns, count, plan.futures, plan.errors)]
