"""Drawing the requests of a stream again: what it doesn't keep, and what pictures and files of its episode need."""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.sim.book import open_book
from prema_gym.sim.tables import row_of
from prema_gym.workloads.arrivals import next_arrival
from prema_gym.workloads.drawing import arrive_at, draw_request, read_listed


@jit_borrowing
def draw_again(words, i, tasks, times, cursors):
    """Fill ``tasks`` (n,) TASK and ``times`` (n, C) TIMES with the first n requests of the episode in row ``i``.

    ``cursors`` (1,) ARRIVALS is scratch. Requests of closed clients are given the arrival 0: the episode's log has it.
    """
    tables, draws, state = open_book(words)
    row = row_of(state, i)
    memory, seed, cursor = row.stream.memory, row.machine.episode_seed, cursors[0]
    for number in range(tasks.shape[0]):
        if memory.listed > 0:
            listed = memory.first_listed + number
            read_listed(tasks[number], times[number], draws, tables.programs, listed, memory.first_kind)
            continue
        draw_request(tasks[number], times[number], draws, tables.programs, seed, number)
        if tables.rules[0].clients == 0:
            next_arrival(cursor, draws.draw[0], seed, number)
            arrive_at(tasks[number], cursor.cycles)
