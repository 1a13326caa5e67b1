"""The pipeline: when every operation loads, computes and stores, and what an empty pipeline costs after a preemption.

Three engines run in program order, double-buffered. With _s and _e for start and end, R the end of the store that a load must wait
for, and one memory port::

    load     L_s[t] = max(L_e[t-1], C_s[t-1], R[t] + latency, port)
    compute  C_s[t] = max(C_e[t-1], L_e[t], S_e[t-2])
    store    S_s[t] = max(C_e[t], S_e[t-1], port)

The port serves one transfer at a time, in program order: load t+1 comes before store t, except where load t+1 reads what store t
writes. So every start is a maximum of sums of durations, and no longer duration can make anything earlier. A program that starts on
an empty pipeline pays the memory's latency before its first transfer; later transfers are pipelined behind it.

As C_s[t] >= L_e[t], all that the operations before t leave to those from t on is (C_s[t-1], C_e[t-1], S_e[t-2], port): the *state*
at t, with the store of t-1 not yet granted. An S_e below C_e and a port below C_s can't bind, so states are compared after raising
them there. If two states differ by a uniform shift, so does all that follows (max-plus linearity); this is what makes loops
periodic, and what the refill of a preemption point is found by.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit

TIMED = np.dtype(
    [
        ("load_cycles", np.int64),  # both LOAD_TILEs
        ("compute_cycles", np.int64),
        ("store_cycles", np.int64),
        ("cold_cycles", np.int64),  # more compute cycles right after a cold start
        ("store_bytes", np.int64),
        ("dram_bytes", np.int64),  # loaded and stored
        ("waits_for", np.int64),  # operation whose store the load waits for (R), or -1
        ("save_bytes", np.int64),  # after its commit, stores that are still under way included
        ("restore_bytes", np.int64),
        ("compute_start", np.int64),
        ("compute_end", np.int64),  # the commit
        ("store_end", np.int64),
        ("port", np.int64),  # when the memory port is free, before this operation's grants
        ("refill_cycles", np.int64),
        ("settled", np.int64),  # operation from which on the pipeline refilled after this point runs as if undisturbed
        ("node", np.int32),
        ("point", np.bool_),
        ("through", np.bool_),
    ]
)
"""One operation in time. Positions are cycles since the cold start."""

LONG_AGO = -(np.int64(1) << 60)


@jit
def place_pass(timed, at, operations, waits, previous, step, growth_save, growth_clean, clock, bandwidth):
    """Write one pass over ``operations`` into ``timed`` from ``at`` on, with durations and contexts.

    ``waits`` (ops, 3) names the store to wait for: an operation of this pass, of the pass before it (which starts at ``previous``,
    -1 for none), or of ``timed``. ``step`` counts passes from 0. A transfer takes ceil(bytes * clock / bandwidth).
    """
    for t in range(len(operations)):
        op = operations[t]
        out = timed[at + t]
        out.load_cycles = _transfer(op.weight_bytes, clock, bandwidth) + _transfer(op.input_bytes, clock, bandwidth)
        out.compute_cycles = op.compute_cycles
        out.store_cycles = _transfer(op.store_bytes, clock, bandwidth)
        out.cold_cycles = op.cold_cycles
        out.store_bytes = op.store_bytes
        out.dram_bytes = op.weight_bytes + op.input_bytes + op.store_bytes
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
        out.point = op.point
        out.through = op.through


@jit
def _transfer(nbytes, clock, bandwidth):
    return (nbytes * clock + bandwidth - 1) // bandwidth


@jit
def advance(load, compute, store, store_first, release, latency, start, end, store_end, port):
    """Run one operation t on the state at t; returns the state at t+1, as (C_s[t], C_e[t], S_e[t-1], port).

    ``store`` is the pending store of t-1, which goes before load t if ``store_first``; ``release`` is R[t] + latency.
    """
    if store_first:
        store_end, port = _store(store, end, store_end, port)
        release = store_end + latency
    load_end = max(start, release)
    if load > 0:
        load_end = max(load_end, port) + load
        port = load_end
    # S_e[t-2] bounds the compute of t; where store t-1 went first, the load that waited for it is later than either.
    compute_start = max(end, load_end, store_end)
    if not store_first:
        store_end, port = _store(store, end, store_end, port)
    return compute_start, compute_start + compute, store_end, port


@jit
def _store(store, end, store_end, port):
    """Grant the pending store of t-1, computed at ``end``; returns (S_e[t-1], port)."""
    store_end = max(end, store_end)
    if store > 0:
        store_end = max(store_end, port) + store
        port = store_end
    return store_end, port


@jit
def play(timed, begin, end, state, latency):
    """Run operations [begin, end), in place: their times, and the stores under way at each commit.

    ``state`` is that at ``begin``, (C_s, C_e, S_e, port), and becomes that at ``end``.
    """
    start, compute_end, store_end, port = state[0], state[1], state[2], state[3]
    for t in range(begin, end):
        op = timed[t]
        op.port = port
        compute = op.compute_cycles + (op.cold_cycles if t == 0 else 0)
        store = timed[t - 1].store_cycles if t > 0 else 0
        wait = op.waits_for
        release = LONG_AGO
        if 0 <= wait < t - 1:
            release = timed[wait].store_end + latency
        start, compute_end, store_end, port = advance(
            op.load_cycles, compute, store, wait >= 0 and wait == t - 1, release, latency, start, compute_end, store_end, port
        )
        op.compute_start = start
        op.compute_end = compute_end
        _add_context(op, op.store_bytes)
        if t > 0:
            timed[t - 1].store_end = store_end
            if store_end > compute_end:
                _add_pending(op, timed[t - 1])
    state[0], state[1], state[2], state[3] = start, compute_end, store_end, port


@jit
def _add_context(op, nbytes):
    """Count ``nbytes`` of the operation's own finished output, which is not stored yet at its commit."""
    op.save_bytes += nbytes
    if not op.through:
        op.restore_bytes += nbytes


@jit
def _add_pending(op, before):
    """Count the output of the operation before, where its store is still under way at this commit."""
    op.save_bytes += before.store_bytes
    if not before.through:
        op.restore_bytes += before.store_bytes


@jit
def finish(timed, end, state):
    """Return the end of a program that is cut after operation ``end - 1``: the later of its last compute and last store."""
    store_end, _ = _store(timed[end - 1].store_cycles, state[1], state[2], state[3])
    return store_end


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
    cold_store_end = np.zeros(count, np.int64)
    for k in range(count):
        if timed[k].point:
            shift, timed[k].settled = _refill_after(timed, k, count, program_end, latency, awaited, cold_store_end)
            timed[k].refill_cycles = max(0, shift)


@jit
def _refill_after(timed, k, count, program_end, latency, awaited, cold_store_end):
    """Return (shift of the cold run after point k, operation from which on it holds)."""
    restart = timed[k].compute_end
    start, end, store_end, port = 0, 0, 0, latency
    for t in range(k + 1, count):
        op = timed[t]
        compute = op.compute_cycles + (op.cold_cycles if t == k + 1 else 0)
        store = timed[t - 1].store_cycles if t > k + 1 else 0
        wait = op.waits_for
        release = LONG_AGO
        if k < wait < t - 1:
            release = cold_store_end[wait] + latency
        store_first = wait > k and wait == t - 1
        start, end, store_end, port = advance(
            op.load_cycles, compute, store, store_first, release, latency, start, end, store_end, port
        )
        cold_store_end[t - 1] = store_end
        if t + 1 < count and _settled(timed, t + 1, k, start, end, store_end, port, latency, awaited, cold_store_end):
            return end - (timed[t].compute_end - restart), t + 1
    store = timed[count - 1].store_cycles if k + 1 < count else 0
    last, _ = _store(store, end, store_end, port)
    return last - (program_end - restart), count + 1


@jit
def _settled(timed, t, k, start, end, store_end, port, latency, awaited, cold_store_end):
    """Whether a cold run after point k has the undisturbed state at t, but for a uniform shift."""
    hot_start, hot_end = timed[t - 1].compute_start, timed[t - 1].compute_end
    shift = end - hot_end
    if start - hot_start != shift:
        return False
    if max(store_end, end) - max(timed[t - 2].store_end, hot_end) != shift:
        return False
    if max(port, start) - max(timed[t].port, hot_start) != shift:
        return False
    wait = awaited[t]
    if wait < 0:
        return True
    # An awaited store can't delay a load from t on once it, and the latency, are over before C_s[t-1].
    if wait == t - 1 or timed[wait].store_end + latency > hot_start:
        return False
    return wait <= k or cold_store_end[wait] + latency <= start
