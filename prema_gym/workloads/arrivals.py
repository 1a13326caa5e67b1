"""Arrivals of requests that keep coming: when each arrives, one after the other, in constant memory.

Poisson, or a two-state modulated Poisson process: calm and bursts take turns, each lasts exponentially long, and requests arrive at
one rate in a burst and at a lower one outside. Poisson is the case without bursts. Cycles are whole and cumulative.
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.types import NEVER
from prema_gym.workloads.seeding import exponential, substream, uniform

ARRIVAL_STREAM = 1
"""Purpose of the substreams that arrivals are drawn from."""


@jit_borrowing
def _lasting(cycles, seed, counter):
    """Return an exponential draw of mean ``cycles`` in whole cycles."""
    return np.int64(np.rint(cycles * exponential(seed, counter)))


@jit_borrowing
def next_arrival(cursor, draw, seed, index):
    """Advance ``cursor`` (ARRIVALS) from the arrival of request ``index`` - 1 to that of ``index``; the first arrives at 0.

    ``draw`` is DRAW, ``seed`` the episode's. Two draws per gap, from the request's own substream: one for the arrival and, where a
    burst or a calm ends before it, one for how long what follows it lasts.
    """
    stream = substream(seed, ARRIVAL_STREAM, index)
    if index == 0:
        cursor.cycles = 0
        cursor.turn_cycles = NEVER
        cursor.bursting = uniform(stream, 0) < draw.burst_first
        if draw.calm_cycles > 0.0:
            cursor.turn_cycles = _lasting(draw.burst_cycles if cursor.bursting else draw.calm_cycles, stream, 1)
        return
    counter = 0
    while True:
        gap = _lasting(draw.burst_gap_cycles if cursor.bursting else draw.gap_cycles, stream, counter)
        if cursor.cycles + gap <= cursor.turn_cycles:
            cursor.cycles += gap
            return
        cursor.cycles = cursor.turn_cycles
        cursor.bursting = not cursor.bursting
        cursor.turn_cycles += _lasting(draw.burst_cycles if cursor.bursting else draw.calm_cycles, stream, counter + 1)
        counter += 2
