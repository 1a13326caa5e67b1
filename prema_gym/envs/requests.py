"""The requests of a stream that is being played: drawn anew, since none is kept, with what the event log says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prema_gym.sim.simulator import Simulator
from prema_gym.types import EVENT_ARRIVAL, EVENT_COMPLETION, NONE


def completed_requests(simulator: Simulator, history: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) TASK and (n, C) TIMES of the requests that have arrived in row 0, in order of arrival.

    ``history`` is the episode's log in parts, (...,) EVENT each. Requests of closed clients, who have no backlog, arrive when they
    enter the table.
    """
    tasks, times = simulator.requests(0)
    for part in history:
        ended = part[part["event"] == EVENT_COMPLETION]
        tasks["completion_cycles"][ended["task"]] = ended["cycle"]
        if simulator.sent_by_clients(0):
            entered = part[part["event"] == EVENT_ARRIVAL]
            tasks["arrival_cycles"][entered["task"]] = entered["cycle"]
            due = tasks["deadline_cycles"][entered["task"]]
            tasks["deadline_cycles"][entered["task"]] = np.where(due == NONE, NONE, due + entered["cycle"])
    return tasks, times
