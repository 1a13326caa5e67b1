"""The chart of a stream: a lane per NPU, the deadlines that were missed, and below how many requests waited over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from prema_gym.rendering.charts.lanes import Axes, Places, Span, draw_npus, inside
from prema_gym.rendering.episode import RecordedEpisode
from prema_gym.rendering.queues import backlog_steps, table_steps
from prema_gym.rendering.style import BACKLOG_COLOR, TARGET_COLORS, WAIT_COLOR
from prema_gym.types import NONE

GAP = 0.5
"""Between the NPUs, the deadlines and the queues, in lanes."""
DEADLINES, QUEUES = 0.5, 3.0
"""Heights of the deadlines and of the queues, in lanes."""
_MISSED: dict[str, Any] = {"color": TARGET_COLORS[True], "linewidth": 1.4}
_LATE: dict[str, Any] = {"marker": "v", "markersize": 4.5, "color": TARGET_COLORS[True], "linestyle": "none"}


def count_stream_lanes(recording: RecordedEpisode) -> float:
    """Return the height of the chart, in lanes."""
    return len(recording.timeline.npus) + DEADLINES + QUEUES + 2 * GAP


def draw_stream(ax: Axes, recording: RecordedEpisode, window: Span) -> None:
    """Draw a stream in the milliseconds of ``window``."""
    lanes = draw_npus(ax, recording, window)
    _mark_late(ax, recording, window)
    top = len(lanes) - 0.5 + GAP
    lanes += _draw_deadlines(ax, recording, window, top)
    lanes += _draw_queues(ax, recording, window, top + DEADLINES + GAP)
    ax.set_yticks([place for place, _ in lanes], [label for _, label in lanes], fontsize=8)
    ax.tick_params(axis="y", length=0, pad=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.set_ylim(count_stream_lanes(recording) - 0.5, -0.6)


def _mark_late(ax: Axes, recording: RecordedEpisode, window: Span) -> None:
    """Mark the completions that came after their deadline, on the lane of the NPU where they did."""
    for event in recording.events:
        if (
            event["event"] == "completion"
            and recording.misses(event["task"])
            and inside(ms := recording.ms(event["cycle"]), window)
        ):
            ax.plot(ms, event["npu"] - 0.42, zorder=5, **_LATE)


def _draw_deadlines(ax: Axes, recording: RecordedEpisode, window: Span, top: float) -> Places:
    """Draw a tick where a deadline passed and its request was not done."""
    due = [task for task in range(len(recording.tasks)) if recording.tasks[task]["deadline_cycles"] != NONE]
    shown = [task for task in due if inside(recording.ms(recording.tasks[task]["deadline_cycles"]), window)]
    missed = [recording.ms(recording.tasks[task]["deadline_cycles"]) for task in shown if recording.misses(task)]
    ax.axhline(top + DEADLINES, color="#DDDDDD", linewidth=0.6, zorder=1)
    ax.vlines(missed, top, top + DEADLINES, zorder=4, **_MISSED)
    label = f"deadlines missed: {len(missed)} of {len(shown)}" if due else "no deadlines"
    return [(top + DEADLINES / 2, label)]


def _draw_queues(ax: Axes, recording: RecordedEpisode, window: Span, top: float) -> Places:
    """Draw how many requests wait, those in the backlog above those in the table."""
    bottom = top + QUEUES
    moments, in_table, waiting = _lengths(recording, window)
    lasting = [length for length, (first, last) in zip(waiting, pairwise(moments), strict=False) if last > first]
    most = max([1, *lasting])
    table, both = ([bottom - QUEUES * length / most for length in lengths] for lengths in (in_table, waiting))
    style: dict[str, Any] = {"step": "post", "linewidth": 0.0, "zorder": 2.0}
    ax.fill_between(moments, table, bottom, facecolor=WAIT_COLOR, **style)
    if waiting != in_table:
        ax.fill_between(moments, both, table, facecolor=BACKLOG_COLOR, **style)
    ax.axhline(bottom, color="#999999", linewidth=0.6, zorder=3)
    return [(top, f"{most} waiting" if any(lasting) else "none waiting"), (bottom, "0")]


def _lengths(recording: RecordedEpisode, window: Span) -> tuple[list[float], list[int], list[int]]:
    """Return moments of the window, its edges included, and from each on how many wait: in the table, and with the backlog."""
    steps = {cycle: [0, 0] for queue in (table_steps(recording), backlog_steps(recording)) for cycle, _ in queue}
    for place, queue in enumerate((table_steps(recording), backlog_steps(recording))):
        for (cycle, length), (_, before) in zip(queue, [(0, 0), *queue], strict=False):
            steps[cycle][place] = length - before
    last = min(window[1], max(recording.ms(recording.end_cycles), window[0]))
    points, table, backlog = [(window[0], 0, 0)], 0, 0
    for cycle in sorted(steps):
        if (ms := recording.ms(cycle)) > last:
            break
        table, backlog = table + steps[cycle][0], backlog + steps[cycle][1]
        points.append((max(ms, window[0]), table, table + backlog))
    moments, in_table, waiting = zip(*points, (last, table, table + backlog), strict=True)
    return list(moments), list(in_table), list(waiting)


def stream_legend(recordings: Sequence[RecordedEpisode]) -> list[Any]:
    """Return what explains the marks of a stream."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(facecolor=WAIT_COLOR, label="waits in the table")]
    if any(len(backlog_steps(recording)) > 1 for recording in recordings):
        handles.append(Patch(facecolor=BACKLOG_COLOR, label="waits in the backlog"))
    if any(task["deadline_cycles"] != NONE for recording in recordings for task in recording.tasks):
        handles += [Line2D([], [], label="deadline missed", **_MISSED), Line2D([], [], label="completed late", **_LATE)]
    return handles
