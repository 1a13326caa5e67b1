"""Back to back by hand: the recurrence of ``weight_loading="back_to_back"`` as the hardware page states it, in plain Python."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Step:
    """One operation; durations in cycles."""

    load: int
    rows: int  # that stream through the array; 0 for operations of other engines
    compute: int  # of other engines
    store: int
    index: int  # place in its pass over its layer
    waits: list = dataclasses.field(default_factory=list)  # operations whose output the load reads back from memory


class BackToBack:
    """Every time of every step. What is before the first step is over at cycle 0, and the first step starts cold."""

    def __init__(self, steps, rows, cols, latency):
        self.steps, self.array_rows, self.flight, self.latency = steps, rows, rows + cols - 2, latency
        n = len(steps)
        self.load_end, self.start, self.free, self.commit = [0] * n, [0] * n, [0] * n, [0] * n
        self.stored, self.landed = [0] * n, [0] * n
        self.port = latency
        for t, step in enumerate(steps):
            reads_the_last_store = t - 1 in step.waits
            if reads_the_last_store:
                self._store(t - 1)
            self._load(t)
            if t > 0 and not reads_the_last_store:
                self._store(t - 1)
            self._compute(t)
        if steps:
            self._store(n - 1)
        self.end = max([*self.commit, *self.landed], default=0)

    def _transfer(self, begin, cycles):
        if cycles == 0:
            return begin
        self.port = max(begin, self.port) + cycles
        return self.port

    def _load(self, t):
        ready = [self.landed[w] + self.latency for w in self.steps[t].waits]
        if t > 0:
            ready += [self.load_end[t - 1], self.start[t - 1]]
        self.load_end[t] = self._transfer(max(ready, default=0), self.steps[t].load)

    def _compute(self, t):
        step = self.steps[t]
        ready = [self.load_end[t]]
        if t >= 1:
            ready.append(self.free[t - 1])
            if step.index == 0:
                ready.append(self.commit[t - 1])
        if t >= 2 and step.index < 2:  # t-2 is of another pass over a layer
            ready.append(self.stored[t - 2])
        self.start[t] = max(ready)
        if step.rows == 0:
            self.free[t] = self.commit[t] = self.start[t] + step.compute
            return
        shift_in = self.array_rows if t == 0 else 0
        self.free[t] = self.start[t] + shift_in + max(step.rows, self.array_rows)
        self.commit[t] = self.start[t] + shift_in + step.rows + self.flight

    def _store(self, t):
        store = self.steps[t].store
        begin = self.free[t] if t == 0 else max(self.free[t], self.stored[t - 1])
        self.stored[t] = self._transfer(begin, store)
        self.landed[t] = max([self.stored[t], self.commit[t] + store, *self.landed[max(t - 1, 0) : t]])
