"""The pipeline: when every operation loads, computes and stores, and what an empty pipeline costs after a preemption.

Three engines run in program order over one memory port, double-buffered. With _s and _e for start and end, D the commit (all
results are in the accumulators), E the cycle from which on memory holds the output and all before it, and w the operation whose
store a load must wait for::

    load     L_s[t] = max(L_e[t-1], C_s[t-1], E[w] + latency, port)
    compute  C_s[t] = max(C_e[t-1], L_e[t], S_e[t-2], D[t-1])
             C_e[t] = C_s[t] + compute        D[t] = C_e[t] + flight
    store    S_s[t] = max(C_e[t], S_e[t-1], port)
             E[t]   = max(E[t-1], S_e[t], D[t] + store)

Where tiles overlap, flight is not 0, and the compute of t waits neither for D[t-1] if t-1 is of the same pass over its layer, nor
for S_e[t-2] if t-2 is. The port serves one transfer at a time, in program order: load t+1 comes before store t, except where load
t+1 reads what store t writes. So every start is a maximum of sums of durations, and no longer duration can make anything earlier.
A program that starts on an empty pipeline pays the memory's latency before its first transfer; later ones are pipelined behind it.

As C_s[t] >= L_e[t], all that the operations before t leave to those from t on is (C_s[t-1], C_e[t-1], D[t-1], S_e[t-2], E[t-2],
port): the *state* at t, with the store of t-1 not yet granted. An S_e below C_e, an E below D and a port below C_s can't bind, so
states are compared after raising them there; and D follows C_e at the flight of t-1. If two states differ by a uniform shift, so
does all that follows (max-plus linearity); this is what makes loops periodic, and what the refill of a point is found by.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prema_gym._jit import jit

TIMED = np.dtype(
    [
        ("load_cycles", np.int64),  # both LOAD_TILEs
        ("compute_cycles", np.int64),
        ("flight_cycles", np.int64),
        ("store_cycles", np.int64),
        ("cold_cycles", np.int64),  # more compute cycles right after a cold start
        ("store_bytes", np.int64),
        ("dram_bytes", np.int64),  # loaded and stored
        ("waits_for", np.int64),  # operation whose store the load waits for (w), or -1
        ("save_bytes", np.int64),  # after its commit, stores that are still under way included
        ("restore_bytes", np.int64),
        ("compute_start", np.int64),
        ("compute_end", np.int64),
        ("commit", np.int64),
        ("store_end", np.int64),
        ("landed", np.int64),  # E
        ("port", np.int64),  # when the memory port is free, before this operation's grants
        ("refill_cycles", np.int64),
        ("settled", np.int64),  # operation from which on the pipeline refilled after this point runs as if undisturbed
        ("node", np.int32),
        ("overlapped", np.int32),  # operations just before it that it overlaps with, at most 2
        ("point", np.bool_),
        ("through", np.bool_),
    ]
)
"""One operation in time. Positions are cycles since the cold start."""

LONG_AGO = -(np.int64(1) << 60)


class State(NamedTuple):
    """What the operations before t leave to those from t on."""

    start: int
    """C_s[t-1]."""
    end: int
    """C_e[t-1]."""
    commit: int
    """D[t-1]."""
    store_end: int
    """S_e[t-2]."""
    landed: int
    """E[t-2]."""
    port: int


def cold_state(latency: int) -> State:
    """Return the state of an empty pipeline at cycle 0."""
    return State(0, 0, 0, 0, 0, latency)


@jit
def place_pass(timed, at, operations, waits, previous, step, growth_save, growth_clean, clock, bandwidth):
    """Write one pass over ``operations`` into ``timed`` from ``at`` on, with durations and contexts.

    ``waits`` (ops, 3) names the store to wait for: an operation of this pass, of the pass before it (which starts at ``previous``,
    -1 for none), or of ``timed``. ``step`` counts passes from 0. A transfer takes ceil(bytes * clock / bandwidth).
    """
    for t in range(len(operations)):
        op = operations[t]
        out = timed[at + t]
        weight_bytes = 0 if op.kept and step > 0 else op.weight_bytes
        out.load_cycles = _transfer(weight_bytes, clock, bandwidth) + _transfer(op.input_bytes, clock, bandwidth)
        out.compute_cycles = op.compute_cycles
        out.flight_cycles = op.flight_cycles
        out.store_cycles = _transfer(op.store_bytes, clock, bandwidth)
        out.cold_cycles = op.cold_cycles
        out.store_bytes = op.store_bytes
        out.dram_bytes = weight_bytes + op.input_bytes + op.store_bytes
        out.waits_for = waits[t, 2]
        if waits[t, 0] >= 0:
            out.waits_for = max(out.waits_for, at + waits[t, 0])
        if waits[t, 1] >= 0 and previous >= 0:
            out.waits_for = max(out.waits_for, previous + waits[t, 1])
        if step == 0:
            out.save_bytes = op.first_save_bytes
            out.restore_bytes = op.first_save_bytes + op.first_clean_bytes
        else:
            out.save_bytes = op.save_bytes + (step - 1) * growth_save
            out.restore_bytes = out.save_bytes + op.clean_bytes + (step - 1) * growth_clean
        out.node = op.node
        out.overlapped = op.overlapped
        out.point = op.point
        out.through = op.through


@jit
def _transfer(nbytes, clock, bandwidth):
    return (nbytes * clock + bandwidth - 1) // bandwidth


@jit
def _advance(op, before, cold, store_first, release, latency, state):
    """Run one operation on the state at it; returns the state at the next. ``before`` is the operation before it.

    The pending store of ``before`` goes before the load if ``store_first``; ``release`` is E[w] + latency of an older one. ``cold``
    is for the first operation on an empty pipeline, which has none before it.
    """
    start, end, commit, store_end, landed, port = state
    pending = 0 if cold else before.store_cycles
    if store_first:
        store_end, landed, port = _store(pending, end, commit, store_end, landed, port)
        release = landed + latency
    load_end = max(start, release)
    if op.load_cycles > 0:
        load_end = max(load_end, port) + op.load_cycles
        port = load_end
    next_start = max(end, load_end)
    if op.overlapped < 1:
        next_start = max(next_start, commit)
    # Where store t-1 went first, the load that waited for it is later than S_e[t-1].
    if op.overlapped < 2:
        next_start = max(next_start, store_end)
    if not store_first:
        store_end, landed, port = _store(pending, end, commit, store_end, landed, port)
    next_end = next_start + op.compute_cycles + (op.cold_cycles if cold else 0)
    return State(next_start, next_end, next_end + op.flight_cycles, store_end, landed, port)


@jit
def _store(store, end, commit, store_end, landed, port):
    """Grant the pending store of t-1, computed at ``end``; returns (S_e[t-1], E[t-1], port)."""
    store_end = max(end, store_end)
    if store > 0:
        store_end = max(store_end, port) + store
        port = store_end
    return store_end, max(landed, store_end, commit + store), port


@jit
def play(timed, begin, end, state, latency):
    """Run operations [begin, end), in place: their times, and the stores under way at each commit; returns the state at ``end``.

    ``state`` is that at ``begin``.
    """
    oldest = _oldest_pending(timed, begin)
    save, restore = _pending_bytes(timed, oldest, begin - 1)
    for t in range(begin, end):
        op, before = timed[t], timed[max(t - 1, 0)]
        op.port = state.port
        wait = op.waits_for
        release = LONG_AGO
        if 0 <= wait < t - 1:
            release = timed[wait].landed + latency
        state = _advance(op, before, t == 0, wait >= 0 and wait == t - 1, release, latency, state)
        op.compute_start = state.start
        op.compute_end = state.end
        op.commit = state.commit
        if t > 0:
            before.store_end = state.store_end
            before.landed = state.landed
            save += before.store_bytes
            restore += _stored_only(before)
        while oldest < t and timed[oldest].landed <= op.commit:
            save -= timed[oldest].store_bytes
            restore -= _stored_only(timed[oldest])
            oldest += 1
        # Its own output is finished, and not stored yet.
        op.save_bytes += save + op.store_bytes
        op.restore_bytes += restore + _stored_only(op)
    return state


@jit
def _stored_only(op):
    """Return the bytes of the operation's output that are gone from the chip once they are stored."""
    return 0 if op.through else op.store_bytes


@jit
def _oldest_pending(timed, t):
    """Return the first operation before t-1 whose store was under way when t-1 committed; t-1 where there is none."""
    oldest = max(t - 1, 0)
    while oldest > 0 and timed[oldest - 1].landed > timed[t - 1].commit:
        oldest -= 1
    return oldest


@jit
def _pending_bytes(timed, begin, end):
    """Return the bytes that the stores of operations [begin, end) move, and those of them that are gone from the chip then."""
    save, restore = 0, 0
    for t in range(begin, end):
        save += timed[t].store_bytes
        restore += _stored_only(timed[t])
    return save, restore


@jit
def finish(timed, end, state):
    """Return the end of a program that is cut after operation ``end - 1``: memory holds all output."""
    _, landed, _ = _store(timed[end - 1].store_cycles, state.end, state.commit, state.store_end, state.landed, state.port)
    return landed


@jit
def last_awaited(timed, count):
    """Return (count + 1,) for every t the last operation before t whose store an operation from t on waits for, or -1."""
    last_reader = np.full(count, -1, np.int64)
    for t in range(count):
        if timed[t].waits_for >= 0:
            last_reader[timed[t].waits_for] = t
    awaited = np.full(count + 1, -1, np.int64)
    stack = np.empty(count + 1, np.int64)
    height = 0
    for t in range(1, count + 1):
        if last_reader[t - 1] >= 0:
            stack[height] = t - 1
            height += 1
        while height > 0 and last_reader[stack[height - 1]] < t:
            height -= 1
        if height > 0:
            awaited[t] = stack[height - 1]
    return awaited


@jit
def refill(timed, count, program_end, latency):
    """Set ``refill_cycles`` and ``settled`` of every point, in place.

    The refill is how much longer the operations after the point take from empty engines than they would have taken running on. All
    that was committed before is available. The cold run is simulated until its state is the undisturbed one, shifted.
    """
    awaited = last_awaited(timed, count)
    cold_landed = np.zeros(count, np.int64)
    for k in range(count):
        if timed[k].point:
            shift, timed[k].settled = _refill_after(timed, k, count, program_end, latency, awaited, cold_landed)
            timed[k].refill_cycles = max(0, shift)


@jit
def _refill_after(timed, k, count, program_end, latency, awaited, cold_landed):
    """Return (shift of the cold run after point k, operation from which on it holds)."""
    restart = timed[k].commit
    state = State(0, 0, 0, 0, 0, latency)
    for t in range(k + 1, count):
        wait = timed[t].waits_for
        release = LONG_AGO
        if k < wait < t - 1:
            release = cold_landed[wait] + latency
        state = _advance(timed[t], timed[t - 1], t == k + 1, wait > k and wait == t - 1, release, latency, state)
        cold_landed[t - 1] = state.landed
        if t + 1 < count and _settled(timed, t + 1, k, state, latency, awaited, cold_landed):
            return state.end - (timed[t].compute_end - restart), t + 1
    if k + 1 == count:
        return restart - program_end, count + 1
    return finish(timed, count, state) - (program_end - restart), count + 1


@jit
def _settled(timed, t, k, state, latency, awaited, cold_landed):
    """Whether a cold run after point k has the undisturbed state at t, but for a uniform shift."""
    hot_start, hot_end = timed[t - 1].compute_start, timed[t - 1].compute_end
    shift = state.end - hot_end
    if state.start - hot_start != shift:
        return False
    if max(state.store_end, state.end) - max(timed[t - 2].store_end, hot_end) != shift:
        return False
    if max(state.landed, state.commit) - max(timed[t - 2].landed, timed[t - 1].commit) != shift:
        return False
    if max(state.port, state.start) - max(timed[t].port, hot_start) != shift:
        return False
    wait = awaited[t]
    if wait < 0:
        return True
    # An awaited store can't delay a load from t on once it, and the latency, are over before C_s[t-1].
    if wait == t - 1 or timed[wait].landed + latency > hot_start:
        return False
    return wait <= k or cold_landed[wait] + latency <= state.start
