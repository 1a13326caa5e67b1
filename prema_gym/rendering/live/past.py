"""What the live view knows of the past: all of a closed episode, and of a stream what is recent."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from prema_gym.rendering.timeline import Slice, Timeline, TimelineBuilder
from prema_gym.sim.simulator import Simulator
from prema_gym.types import EVENT_ARRIVAL, EVENT_COMPLETION, EVENT_NAMES, EVENT_STALL, NONE

RECENT_ARRIVALS = 24
"""Of a stream the time since this many requests entered the table is shown."""


class Past(NamedTuple):
    """The past up to a moment."""

    timeline: Timeline
    since_cycles: int
    """Where it begins."""
    priorities: Mapping[int, int]
    """Of tasks that it is about and that have left the table."""


class Follower(Protocol):
    """Follows an episode's event log."""

    def feed(self, event: np.void) -> None:
        """Take the next event (EVENT)."""

    def past(self, now_cycles: int) -> Past:
        """Return the past up to ``now_cycles``."""


def follower_of(simulator: Simulator) -> Follower:
    """Return what follows the episode in row 0 of ``simulator``."""
    return RecentPast(simulator) if simulator.config.stream else WholePast(simulator)


class WholePast:
    """All that has happened in a closed episode."""

    def __init__(self, simulator: Simulator) -> None:
        config = simulator.config
        self._builder = TimelineBuilder(config.num_slots, config.scheduler_latency_cycles, npus=len(config.all_npus))

    def feed(self, event: np.void) -> None:
        """Take the next event (EVENT)."""
        self._builder.feed(int(event["cycle"]), EVENT_NAMES[event["event"]], int(event["task"]), int(event["npu"]))

    def past(self, now_cycles: int) -> Past:
        """Return the past up to ``now_cycles``."""
        return Past(self._builder.timeline(now_cycles), 0, {})


class RecentPast:
    """The last of a stream: events of requests that are present, or left since RECENT_ARRIVALS entered the table."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._entries: deque[int] = deque(maxlen=RECENT_ARRIVALS)
        self._events: list[np.void] = []
        self._left: dict[int, int] = {}
        self._priorities: dict[int, int] = {}

    @property
    def _since(self) -> int:
        return self._entries[0] if len(self._entries) == RECENT_ARRIVALS else 0

    def feed(self, event: np.void) -> None:
        """Take the next event (EVENT)."""
        if event["task"] == NONE and event["event"] != EVENT_STALL:
            return
        self._events.append(event)
        if event["event"] == EVENT_ARRIVAL:
            self._entries.append(int(event["cycle"]))
        elif event["event"] == EVENT_COMPLETION:
            self._left[int(event["task"])] = int(event["cycle"])

    def past(self, now_cycles: int) -> Past:
        """Return the past up to ``now_cycles``; what lies before it is forgotten."""
        self._forget()
        config, tasks = self._simulator.config, dict.fromkeys(int(event["task"]) for event in self._events)
        tasks.pop(NONE, None)
        builder = TimelineBuilder(tasks, config.scheduler_latency_cycles, npus=len(config.all_npus))
        for event in self._events:
            builder.feed(int(event["cycle"]), EVENT_NAMES[event["event"]], int(event["task"]), int(event["npu"]))
        self._note_priorities(tasks)
        return Past(_from(self._since, builder.timeline(now_cycles)), self._since, self._priorities)

    def _forget(self) -> None:
        """Drop the events of requests that have left before the recent past, and old stalls of idle NPUs."""
        gone = {task for task, cycle in self._left.items() if cycle <= self._since}
        kept = [event for event in self._events if int(event["task"]) not in gone]
        self._events = [event for event in kept if event["task"] != NONE or event["cycle"] >= self._since]
        for task in gone:
            del self._left[task]
            self._priorities.pop(task, None)

    def _note_priorities(self, tasks: Mapping[int, object]) -> None:
        """Note the priorities of ``tasks``: those in the table show theirs, any other is drawn anew."""
        table = self._simulator.state.table[0]
        present = table["task"] != NONE
        self._priorities |= dict(zip(table["task"][present].tolist(), table["priority"][present].tolist(), strict=True))
        missing = [task for task in tasks if task not in self._priorities]
        if missing:
            drawn, _ = self._simulator.requests(0)
            self._priorities |= {task: int(drawn["priority"][task]) for task in missing}


def _from(since_cycles: int, timeline: Timeline) -> Timeline:
    """Return the timeline from ``since_cycles`` on."""
    tasks, npus = (tuple(_cut(since_cycles, lane) for lane in lanes) for lanes in (timeline.tasks, timeline.npus))
    return Timeline(timeline.end_cycles, tasks, npus)


def _cut(since_cycles: int, lane: tuple[Slice, ...]) -> tuple[Slice, ...]:
    later = (part for part in lane if part.end_cycles > since_cycles)
    return tuple(part if part.start_cycles >= since_cycles else part._replace(start_cycles=since_cycles) for part in later)
