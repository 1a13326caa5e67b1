"""How many tasks of a recording waited: in the table, and of a stream in the backlog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prema_gym.rendering.episode import RecordedEpisode

Steps = list[tuple[int, int]]
"""(cycle, length from then on), in order, a cycle once."""
TABLE_STEPS = {"arrival": 1, "commit": 1, "kill": 1, "dispatch": -1, "join": -1}
"""By event: how many more tasks wait in the table. Commit, kill and dispatch count for every member of a batch."""


def table_changes(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield (cycle, how many more tasks wait in the table from then on) for every event that changes it, in order.

    The log names the leader of a batch alone where it is evicted or goes on; its members are those that have joined it.
    """
    members: dict[int, int] = {}  # by leader
    leaders: dict[int, int] = {}  # by NPU: who was dispatched last
    for event in events:
        what, task = event["event"], event["task"]
        step = TABLE_STEPS.get(what, 0)
        if what == "dispatch":
            leaders[event["npu"]] = task
        if what == "join":
            members[leaders[event["npu"]]] = members.get(leaders[event["npu"]], 0) + 1
        else:
            step *= 1 + members.get(task, 0)
        if what == "kill":
            members.pop(task, None)
        if step:
            yield event["cycle"], step


def backlog_steps(recording: RecordedEpisode) -> Steps:
    """Return the length of the backlog: requests that have arrived and found the table full."""
    arrivals = ((task["arrival_cycles"], 1) for task in recording.tasks)
    entries = ((event["cycle"], -1) for event in recording.events if event["event"] == "arrival")
    return _summed([*arrivals, *entries])


def table_steps(recording: RecordedEpisode) -> Steps:
    """Return how many requests wait in the table."""
    return _summed(table_changes(recording.events))


def _summed(changes: Iterable[tuple[int, int]]) -> Steps:
    steps: Steps = [(0, 0)]
    for cycle, change in sorted(changes):
        if cycle == steps[-1][0]:
            steps[-1] = (cycle, steps[-1][1] + change)
        else:
            steps.append((cycle, steps[-1][1] + change))
    return [step for index, step in enumerate(steps) if index == 0 or step[1] != steps[index - 1][1]]
