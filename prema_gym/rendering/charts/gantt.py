"""Gantt charts of recordings, drawn with matplotlib: a lane per task, and two or more policies one above the other.

Where there are several NPUs, or tasks run in batches, each NPU has a lane too, above those of the tasks. A stream has too many
requests for lanes of their own: its chart is in :mod:`prema_gym.rendering.charts.stream`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym

from prema_gym.errors import ConfigError
from prema_gym.files import save_figure
from prema_gym.rendering.charts.lanes import Axes, Span, bar_style, draw_lane, draw_npus, inside, write_names
from prema_gym.rendering.charts.stream import count_stream_lanes, draw_stream, stream_legend
from prema_gym.rendering.episode import RecordedEpisode, kinds_in, task_label
from prema_gym.rendering.style import (
    JOINED_LABEL,
    KILLED_COLOR,
    LEARNED_COLORS,
    OVERHEAD_COLOR,
    SHADES,
    STALL_COLOR,
    TARGET_COLORS,
    WAIT_COLOR,
    shade_of,
)
from prema_gym.rendering.timeline import Kind
from prema_gym.types import NONE

if TYPE_CHECKING:
    from matplotlib.figure import Figure as _Figure

Figure: TypeAlias = "_Figure"
Source: TypeAlias = "RecordedEpisode | gym.Env[Any, Any]"
Window: TypeAlias = "Span | None"
Requests: TypeAlias = "int | tuple[int, int] | None"

STREAM_REQUESTS = 40
"""What a chart of a stream shows by default."""
TARGETS = (2, 5, 10)
"""SLA targets that are marked by default, in multiples of the isolated time."""
LANE_INCHES, FRAME_INCHES, WIDTH_INCHES = 0.34, 1.7, 11.0
GAP = 0.4
"""Between the lanes of NPUs and those of tasks, in lanes."""
DPI = 150

_TARGET_LINES: dict[bool, dict[str, Any]] = {
    False: {"color": TARGET_COLORS[False], "linewidth": 1.0, "linestyle": ":"},
    True: {"color": TARGET_COLORS[True], "linewidth": 1.8},
}
"""An SLA target, by whether it was missed."""


def _draw_marks(ax: Axes, recording: RecordedEpisode, task: int, lane: float, window: Span, targets: Sequence[float]) -> None:
    """Mark arrival, completion, and the moments at which the task misses its SLA targets."""
    entry = recording.tasks[task]
    arrival = recording.ms(entry["arrival_cycles"])
    if inside(arrival, window):
        ax.plot(arrival, lane, marker=">", markersize=6, color="black", markerfacecolor="white", zorder=5, clip_on=False)
    if entry["completion_cycles"] != NONE and inside(done := recording.ms(entry["completion_cycles"]), window):
        ax.plot(done, lane, marker="D", markersize=4.5, color="black", zorder=5, clip_on=False)
    for target in targets:
        late = arrival + target * recording.ms(entry["isolated_cycles"])
        if inside(late, window):
            missed = recording.age_cycles(task) > target * entry["isolated_cycles"]
            ax.plot([late, late], [lane - 0.36, lane + 0.36], zorder=4, **_TARGET_LINES[missed])
            ax.text(late, lane - 0.4, f" {target:g}", fontsize=6, ha="left", va="top", color=TARGET_COLORS[missed], zorder=6)


def _lane_label(recording: RecordedEpisode, task: int) -> str:
    entry = recording.tasks[task]
    so_far = "" if entry["completion_cycles"] != NONE else "+"
    return f"#{task}  {task_label(entry)}   NTT {recording.ntt(task):.1f}{so_far}"


def _draw_tasks(ax: Axes, recording: RecordedEpisode, window: Span, targets: Sequence[float]) -> None:
    lanes = draw_npus(ax, recording, window) if recording.shows_npus else []
    top = len(lanes) + GAP if lanes else 0.0
    shown = [task for task in range(len(recording.tasks)) if _overlaps(recording, task, window)]
    for index, task in enumerate(shown):
        lane = top + index
        draw_lane(ax, recording, recording.timeline.tasks[task], lane, window)
        _draw_marks(ax, recording, task, lane, window, targets)
        if recording.several:
            write_names(ax, recording, recording.timeline.tasks[task], lane, window, lambda part: (f"NPU {part.npu}",))
        lanes.append((lane, _lane_label(recording, task)))
    ax.set_yticks([place for place, _ in lanes], [label for _, label in lanes], fontsize=8)
    ax.tick_params(axis="y", length=0, pad=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.set_ylim(top + max(len(shown), 1) - 0.4, -0.6)
    ax.set_ylabel("NPUs, and tasks (arrival order)" if top else "task (arrival order)", fontsize=8)


def _draw(ax: Axes, recording: RecordedEpisode, window: Span, targets: Sequence[float]) -> None:
    """Draw a recording: a stream as one, any other task by task."""
    if recording.config.stream:
        draw_stream(ax, recording, window)
    else:
        _draw_tasks(ax, recording, window, targets)
    ax.set_xlim(*window)
    ax.set_title(recording.title(), fontsize=10, loc="left", color=LEARNED_COLORS[0] if recording.learned else "black")
    ax.grid(axis="x", color="#EEEEEE", zorder=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _overlaps(recording: RecordedEpisode, task: int, window: Span) -> bool:
    """Whether the task is there at any moment of the window."""
    slices = recording.timeline.tasks[task]
    return bool(slices) and recording.ms(slices[0].start_cycles) < window[1] and recording.ms(slices[-1].end_cycles) > window[0]


def _legend(ax: Axes, recordings: Sequence[RecordedEpisode], targets: Sequence[float]) -> None:
    """Explain what occurs: kinds that no recording has are left out."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    priorities = sorted({task["priority"] for recording in recordings for task in recording.tasks})
    kinds = kinds_in(recordings)
    handles: list[Any] = []
    for shade in SHADES:
        reached = [priority for priority in priorities if shade_of(priority) is shade]
        if reached:
            style = {key: value for key, value in bar_style(Kind.EXECUTE, shade.least).items() if key != "height"}
            handles.append(Patch(label=f"runs, {shade.name} priority ({', '.join(map(str, reached))})", **style))
    stream = any(recording.config.stream for recording in recordings)
    if Kind.JOINED in kinds and not stream:
        handles.append(Line2D([], [], color=SHADES[0].color, linewidth=3, solid_capstyle="butt", label=JOINED_LABEL))
    handles += stream_legend(recordings) if stream else [Patch(facecolor=WAIT_COLOR, label="waits")]
    if Kind.KILLED in kinds:
        handles.append(Patch(facecolor=KILLED_COLOR, edgecolor="white", hatch="xxxx", label="killed work"))
    if kinds & {Kind.SAVE, Kind.RESTORE, Kind.REFILL}:
        handles.append(Patch(facecolor=OVERHEAD_COLOR, label="save, restore, refill (widened)"))
    if Kind.STALL in kinds:
        handles.append(Patch(facecolor=STALL_COLOR, label="scheduler latency"))
    if not stream:
        dots: dict[str, Any] = {"linestyle": "none", "color": "black"}
        handles.append(Line2D([], [], marker=">", markerfacecolor="white", label="arrival", **dots))
        handles.append(Line2D([], [], marker="D", markersize=4.5, label="completion", **dots))
    if targets and not stream:
        handles.append(Line2D([], [], label="SLA target met (× isolated)", **_TARGET_LINES[False]))
        handles.append(Line2D([], [], label="SLA target missed", **_TARGET_LINES[True]))
    below, columns = (0.42, -0.55 / _axes_inches(ax)), (len(handles) + 1) // 2
    layout: dict[str, Any] = {"fontsize": 7.5, "frameon": False, "columnspacing": 1.2, "handlelength": 1.8, "handletextpad": 0.6}
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=below, ncols=columns, **layout)


def _axes_inches(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.get_position().height * float(figure.get_size_inches()[1])


def _check_window(window_ms: Window, requests: Requests, recordings: Sequence[RecordedEpisode]) -> Span:
    """Return the (first, last) milliseconds to draw; of a stream without either the first STREAM_REQUESTS requests."""
    if window_ms is not None and requests is not None:
        raise ConfigError(f"window_ms = {window_ms!r} and requests = {requests!r}: give one of them.")
    if requests is None and any(recording.config.stream for recording in recordings):
        requests = STREAM_REQUESTS
    if window_ms is None:
        if requests is not None:
            return _window_of(requests, recordings)
        return 0.0, max(max(recording.ms(recording.end_cycles) for recording in recordings), 1e-6)
    first, last = (float(edge) for edge in window_ms)
    if not first < last:
        raise ConfigError(f"window_ms = {window_ms!r}: must be (first, last) milliseconds with first < last.")
    return first, last


def _window_of(requests: int | tuple[int, int], recordings: Sequence[RecordedEpisode]) -> Span:
    """Return the milliseconds from the arrival of the first of ``requests`` to that of the one after the last."""
    first, last = (0, requests) if isinstance(requests, int) else requests
    if not 0 <= first < last:
        raise ConfigError(f"requests = {requests!r}: must be a number of at least 1, or (first, last) with 0 <= first < last.")

    def moment(recording: RecordedEpisode, number: int) -> float:
        return recording.ms(recording.tasks[number]["arrival_cycles"] if number < len(recording.tasks) else recording.end_cycles)

    begin = min(moment(recording, first) for recording in recordings)
    return begin, max(*(moment(recording, last) for recording in recordings), begin + 1e-6)


def _count_lanes(recording: RecordedEpisode, window: Span) -> float:
    if recording.config.stream:
        return count_stream_lanes(recording)
    npus = len(recording.timeline.npus) if recording.shows_npus else 0
    tasks = sum(_overlaps(recording, task, window) for task in range(len(recording.tasks)))
    return max(tasks, 3) + (npus + GAP if npus else 0)


def _new_axes(recordings: Sequence[RecordedEpisode], window: Span, to_file: bool) -> list[Axes]:
    """Return axes one above the other, on a figure of pyplot's (which notebooks show) unless it only goes into a file."""
    lanes = [_count_lanes(recording, window) for recording in recordings]
    height = LANE_INCHES * sum(lanes) + FRAME_INCHES + 0.45 * (len(lanes) - 1)
    options: dict[str, Any] = {"figsize": (WIDTH_INCHES, height), "dpi": DPI}
    if to_file:
        from matplotlib.figure import Figure as NewFigure

        figure = NewFigure(**options)
    else:
        import matplotlib.pyplot as plt

        figure = plt.figure(**options)
    drawn = figure.subplots(len(lanes), 1, sharex=True, squeeze=False, height_ratios=lanes)[:, 0]
    figure.subplots_adjust(
        left=0.235, right=0.975, top=1 - 0.35 / height, bottom=1.05 / height, hspace=0.45 / (height / len(lanes)) * 1.3
    )
    return list(drawn)


def _save(axes: Sequence[Axes], path: str | Path | None) -> None:
    if path is None:
        return
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    save_figure(figure, path)


def gantt(
    source: Source,
    *,
    ax: Axes | None = None,
    window_ms: Window = None,
    requests: Requests = None,
    targets: Sequence[float] = TARGETS,
    path: str | Path | None = None,
) -> Axes:
    """Draw what an episode's tasks did over time, or the NPUs and queues of a stream; return the axes.

    Parameters
    ----------
    source: a recording, or an environment whose present episode is drawn as far as it has been played.
    ax: axes to draw into; a new figure by default.
    window_ms: (first, last) milliseconds to show; tasks that are not there in that time get no lane. The whole episode by default.
    requests: in place of that, how many requests from the first on, or (first, last) with the last left out: the chart goes from
        the arrival of the first to that of the one after the last. By default 40 of a stream.
    targets: SLA targets to mark, in multiples of the isolated time; () for none.
    path: file to write, in any format that matplotlib knows (.png, .pdf, .svg).

    """
    recording = RecordedEpisode.of(source)
    window = _check_window(window_ms, requests, [recording])
    if ax is None:
        (ax,) = _new_axes([recording], window, path is not None)
    _draw(ax, recording, window, targets)
    ax.set_xlabel("time (ms)", fontsize=8)
    _legend(ax, [recording], targets)
    _save([ax], path)
    return ax


def gantt_compare(
    sources: Sequence[Source],
    *,
    window_ms: Window = None,
    requests: Requests = None,
    targets: Sequence[float] = TARGETS,
    path: str | Path | None = None,
) -> Figure:
    """Draw recordings one above the other on one time axis, best of the same episode under several policies; return the figure."""
    recordings = [RecordedEpisode.of(source) for source in sources]
    if not recordings:
        raise ConfigError("gantt_compare([]): must be at least one recording.")
    window = _check_window(window_ms, requests, recordings)
    axes = _new_axes(recordings, window, path is not None)
    for ax, recording in zip(axes, recordings, strict=True):
        _draw(ax, recording, window, targets)
    axes[-1].set_xlabel("time (ms)", fontsize=8)
    _legend(axes[-1], recordings, targets)
    _save(axes, path)
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    return figure
