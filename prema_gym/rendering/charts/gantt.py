"""Gantt charts of recordings, drawn with matplotlib: a lane per task, and two or more policies one above the other.

Where there are several NPUs, each has a lane too, above those of the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym

from prema_gym.errors import ConfigError
from prema_gym.files import save_figure
from prema_gym.rendering.episode import RecordedEpisode, npu_labels, task_label
from prema_gym.rendering.style import (
    KILLED_COLOR,
    LEARNED_COLORS,
    OVERHEAD_COLOR,
    SHADES,
    STALL_COLOR,
    TARGET_COLORS,
    WAIT_COLOR,
    shade_of,
)
from prema_gym.rendering.timeline import Kind, Slice
from prema_gym.types import NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes as _Axes
    from matplotlib.figure import Figure as _Figure

Axes: TypeAlias = "_Axes"
Figure: TypeAlias = "_Figure"
Source: TypeAlias = "RecordedEpisode | gym.Env[Any, Any]"
Window: TypeAlias = "tuple[float, float] | None"

TARGETS = (2, 5, 10)
"""SLA targets that are marked by default, in multiples of the isolated time."""
MIN_SHARE = 0.002
"""A save or restore is drawn at least this share of the window wide: at scale it is thinner than a line."""
LANE_INCHES, FRAME_INCHES, WIDTH_INCHES = 0.34, 1.7, 11.0
GAP = 0.4
"""Between the lanes of NPUs and those of tasks, in lanes."""
NPU_BACKGROUND = "#F4F4F4"
NAME_POINTS = 6.5
"""Size of what is written into bars: the task on an NPU's lane, the NPU on a task's lane."""
DPI = 150

_BARS: dict[Kind, dict[str, Any]] = {
    Kind.WAIT: {"height": 0.16, "facecolor": WAIT_COLOR, "edgecolor": "none"},
    Kind.KILLED: {"height": 0.66, "facecolor": KILLED_COLOR, "edgecolor": "white", "hatch": "xxxx"},
    Kind.SAVE: {"height": 0.9, "facecolor": OVERHEAD_COLOR, "edgecolor": "none"},
    Kind.RESTORE: {"height": 0.9, "facecolor": OVERHEAD_COLOR, "edgecolor": "none"},
    Kind.REFILL: {"height": 0.9, "facecolor": OVERHEAD_COLOR, "edgecolor": "none"},
    Kind.STALL: {"height": 0.3, "facecolor": STALL_COLOR, "edgecolor": "none"},
}
"""How each kind but execution is drawn; heights in lanes."""
_WIDENED = (Kind.SAVE, Kind.RESTORE, Kind.REFILL)
_TARGET_LINES: dict[bool, dict[str, Any]] = {
    False: {"color": TARGET_COLORS[False], "linewidth": 1.0, "linestyle": ":"},
    True: {"color": TARGET_COLORS[True], "linewidth": 1.8},
}
"""An SLA target, by whether it was missed."""


def _bar(kind: Kind, priority: int) -> dict[str, Any]:
    if kind is Kind.EXECUTE:
        shade = shade_of(priority)
        return {
            "height": 0.66,
            "facecolor": shade.color,
            "edgecolor": "white" if shade.hatch else "none",
            "hatch": shade.hatch,
        }
    return _BARS[kind]


def _spans(
    slices: list[Slice], recording: RecordedEpisode, window: tuple[float, float], least_ms: float
) -> list[tuple[float, float]]:
    """Return (start, width) in milliseconds of the slices that the window shows, at least ``least_ms`` wide."""
    spans = [(recording.ms(part.start_cycles), recording.ms(part.cycles)) for part in slices]
    return [(start, max(width, least_ms)) for start, width in spans if start < window[1] and start + width > window[0]]


def _priority(recording: RecordedEpisode, part: Slice) -> int:
    """Return the priority of a slice's task, 0 where it is nobody's."""
    return 0 if part.task == NONE else int(recording.tasks[part.task]["priority"])


def _draw_lane(ax: Axes, recording: RecordedEpisode, slices: Sequence[Slice], lane: float, window: tuple[float, float]) -> None:
    """Draw the slices of a task or an NPU, those of one look at a time."""
    thin = (window[1] - window[0]) * MIN_SHARE
    for order, kind in enumerate((Kind.WAIT, Kind.EXECUTE, Kind.KILLED, Kind.RESTORE, Kind.REFILL, Kind.SAVE, Kind.STALL)):
        least = thin if kind in _WIDENED else 0.0
        of_kind = [part for part in slices if part.kind is kind]
        for priority in sorted({_priority(recording, part) for part in of_kind}):
            style = dict(_bar(kind, priority))
            height = style.pop("height")
            spans = _spans([part for part in of_kind if _priority(recording, part) == priority], recording, window, least)
            if spans:
                ax.broken_barh(spans, (lane - height / 2, height), linewidth=0.0, zorder=2 + 0.1 * order, **style)


def _write_names(
    ax: Axes,
    recording: RecordedEpisode,
    slices: Sequence[Slice],
    lane: float,
    window: tuple[float, float],
    name_of: Callable[[Slice], str],
) -> None:
    """Write a name into every bar that has room for it."""
    for part in slices:
        if part.kind not in (Kind.EXECUTE, Kind.KILLED):
            continue
        first, last = max(recording.ms(part.start_cycles), window[0]), min(recording.ms(part.end_cycles), window[1])
        name = name_of(part)
        if (last - first) / (window[1] - window[0]) < 0.007 * (len(name) + 1):
            continue
        priority = _priority(recording, part)
        box = {"facecolor": _bar(part.kind, priority)["facecolor"], "edgecolor": "none", "pad": 0.8}
        color = shade_of(priority).name_color if part.kind is Kind.EXECUTE else "white"
        ax.text((first + last) / 2, lane, name, fontsize=NAME_POINTS, ha="center", va="center", color=color, bbox=box, zorder=4.5)


def _draw_npus(ax: Axes, recording: RecordedEpisode, window: tuple[float, float]) -> list[tuple[float, str]]:
    """Draw a lane per NPU where there are several; return their places and labels."""
    npus = recording.timeline.npus
    if len(npus) == 1:
        return []
    ax.axhspan(-0.6, len(npus) - 0.4, facecolor=NPU_BACKGROUND, zorder=0)
    for npu, slices in enumerate(npus):
        _draw_lane(ax, recording, slices, npu, window)
        _write_names(ax, recording, slices, npu, window, lambda part: f"#{part.task}")
        for part in slices:
            if part.kind is not Kind.IDLE and _inside(end := recording.ms(part.end_cycles), window):
                ax.plot([end, end], [npu - 0.33, npu + 0.33], color="white", linewidth=0.8, zorder=2.15)
    labels = npu_labels(recording.config)
    return [(npu, f"{labels[npu]}   {recording.utilisation(npu):.0%} busy") for npu in range(len(npus))]


def _inside(ms: float, window: tuple[float, float]) -> bool:
    return window[0] <= ms <= window[1]


def _draw_marks(
    ax: Axes, recording: RecordedEpisode, task: int, lane: float, window: tuple[float, float], targets: Sequence[float]
) -> None:
    """Mark arrival, completion, and the moments at which the task misses its SLA targets."""
    entry = recording.tasks[task]
    arrival = recording.ms(entry["arrival_cycles"])
    if _inside(arrival, window):
        ax.plot(arrival, lane, marker=">", markersize=6, color="black", markerfacecolor="white", zorder=5, clip_on=False)
    if entry["completion_cycles"] != NONE and _inside(done := recording.ms(entry["completion_cycles"]), window):
        ax.plot(done, lane, marker="D", markersize=4.5, color="black", zorder=5, clip_on=False)
    for target in targets:
        late = arrival + target * recording.ms(entry["isolated_cycles"])
        if _inside(late, window):
            missed = recording.age_cycles(task) > target * entry["isolated_cycles"]
            ax.plot([late, late], [lane - 0.36, lane + 0.36], zorder=4, **_TARGET_LINES[missed])
            ax.text(late, lane - 0.4, f" {target:g}", fontsize=6, ha="left", va="top", color=TARGET_COLORS[missed], zorder=6)


def _lane_label(recording: RecordedEpisode, task: int) -> str:
    entry = recording.tasks[task]
    so_far = "" if entry["completion_cycles"] != NONE else "+"
    return f"#{task}  {task_label(entry)}   NTT {recording.ntt(task):.1f}{so_far}"


def _draw(ax: Axes, recording: RecordedEpisode, window: tuple[float, float], targets: Sequence[float]) -> None:
    lanes = _draw_npus(ax, recording, window)
    several = len(lanes) > 0
    top = len(lanes) + GAP if several else 0.0
    shown = [task for task in range(len(recording.tasks)) if _overlaps(recording, task, window)]
    for index, task in enumerate(shown):
        lane = top + index
        _draw_lane(ax, recording, recording.timeline.tasks[task], lane, window)
        _draw_marks(ax, recording, task, lane, window, targets)
        if several:
            _write_names(ax, recording, recording.timeline.tasks[task], lane, window, lambda part: f"NPU {part.npu}")
        lanes.append((lane, _lane_label(recording, task)))
    ax.set_yticks([place for place, _ in lanes], [label for _, label in lanes], fontsize=8)
    ax.tick_params(axis="y", length=0, pad=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.set_ylim(top + max(len(shown), 1) - 0.4, -0.6)
    ax.set_xlim(*window)
    ax.set_ylabel("NPUs, and tasks (arrival order)" if several else "task (arrival order)", fontsize=8)
    ax.set_title(recording.title(), fontsize=10, loc="left", color=LEARNED_COLORS[0] if recording.learned else "black")
    ax.grid(axis="x", color="#EEEEEE", zorder=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _overlaps(recording: RecordedEpisode, task: int, window: tuple[float, float]) -> bool:
    """Whether the task is there at any moment of the window."""
    slices = recording.timeline.tasks[task]
    return bool(slices) and recording.ms(slices[0].start_cycles) < window[1] and recording.ms(slices[-1].end_cycles) > window[0]


def _legend(ax: Axes, recordings: Sequence[RecordedEpisode], targets: Sequence[float]) -> None:
    """Explain what occurs: kinds that no recording has are left out."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    priorities = sorted({task["priority"] for recording in recordings for task in recording.tasks})
    kinds = {part.kind for recording in recordings for lane in recording.timeline.npus for part in lane}
    handles: list[Any] = []
    for shade in SHADES:
        reached = [priority for priority in priorities if shade_of(priority) is shade]
        if reached:
            style = {key: value for key, value in _bar(Kind.EXECUTE, shade.least).items() if key != "height"}
            handles.append(Patch(label=f"runs, {shade.name} priority ({', '.join(map(str, reached))})", **style))
    handles.append(Patch(facecolor=WAIT_COLOR, label="waits"))
    if Kind.KILLED in kinds:
        handles.append(Patch(facecolor=KILLED_COLOR, edgecolor="white", hatch="xxxx", label="killed work"))
    if kinds & {Kind.SAVE, Kind.RESTORE, Kind.REFILL}:
        handles.append(Patch(facecolor=OVERHEAD_COLOR, label="save, restore, refill (widened)"))
    if Kind.STALL in kinds:
        handles.append(Patch(facecolor=STALL_COLOR, label="scheduler latency"))
    dots: dict[str, Any] = {"linestyle": "none", "color": "black"}
    handles.append(Line2D([], [], marker=">", markerfacecolor="white", label="arrival", **dots))
    handles.append(Line2D([], [], marker="D", markersize=4.5, label="completion", **dots))
    if targets:
        handles.append(Line2D([], [], label="SLA target met (× isolated)", **_TARGET_LINES[False]))
        handles.append(Line2D([], [], label="SLA target missed", **_TARGET_LINES[True]))
    below, columns = (0.42, -0.55 / _axes_inches(ax)), (len(handles) + 1) // 2
    layout: dict[str, Any] = {"fontsize": 7.5, "frameon": False, "columnspacing": 1.2, "handlelength": 1.8, "handletextpad": 0.6}
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=below, ncols=columns, **layout)


def _axes_inches(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.get_position().height * float(figure.get_size_inches()[1])


def _check_window(window_ms: Window, recordings: Sequence[RecordedEpisode]) -> tuple[float, float]:
    if window_ms is None:
        return 0.0, max(max(recording.ms(recording.end_cycles) for recording in recordings), 1e-6)
    first, last = (float(edge) for edge in window_ms)
    if not first < last:
        raise ConfigError(f"window_ms = {window_ms!r}: must be (first, last) milliseconds with first < last.")
    return first, last


def _count_lanes(recording: RecordedEpisode, window: tuple[float, float]) -> float:
    npus = len(recording.timeline.npus)
    tasks = sum(_overlaps(recording, task, window) for task in range(len(recording.tasks)))
    return max(tasks, 3) + (npus + GAP if npus > 1 else 0)


def _new_axes(recordings: Sequence[RecordedEpisode], window: tuple[float, float], to_file: bool) -> list[Axes]:
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
    targets: Sequence[float] = TARGETS,
    path: str | Path | None = None,
) -> Axes:
    """Draw what an episode's tasks did over time; return the axes.

    Parameters
    ----------
    source: a recording, or an environment whose present episode is drawn as far as it has been played.
    ax: axes to draw into; a new figure by default.
    window_ms: (first, last) milliseconds to show; tasks that are not there in that time get no lane. The whole episode by default.
    targets: SLA targets to mark, in multiples of the isolated time; () for none.
    path: file to write, in any format that matplotlib knows (.png, .pdf, .svg).

    """
    recording = RecordedEpisode.of(source)
    window = _check_window(window_ms, [recording])
    if ax is None:
        (ax,) = _new_axes([recording], window, path is not None)
    _draw(ax, recording, window, targets)
    ax.set_xlabel("time (ms)", fontsize=8)
    _legend(ax, [recording], targets)
    _save([ax], path)
    return ax


def gantt_compare(
    sources: Sequence[Source], *, window_ms: Window = None, targets: Sequence[float] = TARGETS, path: str | Path | None = None
) -> Figure:
    """Draw recordings one above the other on one time axis, best of the same episode under several policies; return the figure."""
    recordings = [RecordedEpisode.of(source) for source in sources]
    if not recordings:
        raise ConfigError("gantt_compare([]): must be at least one recording.")
    window = _check_window(window_ms, recordings)
    axes = _new_axes(recordings, window, path is not None)
    for ax, recording in zip(axes, recordings, strict=True):
        _draw(ax, recording, window, targets)
    axes[-1].set_xlabel("time (ms)", fontsize=8)
    _legend(axes[-1], recordings, targets)
    _save(axes, path)
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    return figure
