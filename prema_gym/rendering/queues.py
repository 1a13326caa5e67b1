"""How many requests of a recorded stream waited: in the backlog, and in the table."""

from __future__ import annotations

from collections.abc import Iterable

from prema_gym.rendering.episode import RecordedEpisode

Steps = list[tuple[int, int]]
"""(cycle, length from then on), in order, a cycle once."""
TABLE_STEPS = {"arrival": 1, "commit": 1, "kill": 1, "dispatch": -1}
"""By event: how many more tasks wait in the table."""


def backlog_steps(recording: RecordedEpisode) -> Steps:
    """Return the length of the backlog: requests that have arrived and found the table full."""
    arrivals = ((task["arrival_cycles"], 1) for task in recording.tasks)
    entries = ((event["cycle"], -1) for event in recording.events if event["event"] == "arrival")
    return _summed([*arrivals, *entries])


def table_steps(recording: RecordedEpisode) -> Steps:
    """Return how many requests wait in the table."""
    return _summed((event["cycle"], TABLE_STEPS[event["event"]]) for event in recording.events if event["event"] in TABLE_STEPS)


def _summed(changes: Iterable[tuple[int, int]]) -> Steps:
    steps: Steps = [(0, 0)]
    for cycle, change in sorted(changes):
        if cycle == steps[-1][0]:
            steps[-1] = (cycle, steps[-1][1] + change)
        else:
            steps.append((cycle, steps[-1][1] + change))
    return [step for index, step in enumerate(steps) if index == 0 or step[1] != steps[index - 1][1]]
