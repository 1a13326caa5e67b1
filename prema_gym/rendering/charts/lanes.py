"""Lanes of a chart: slices of time as bars, with names in them; what Gantt charts of all kinds are put together from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from prema_gym.rendering.episode import RecordedEpisode, batch_names, npu_labels
from prema_gym.rendering.style import KILLED_COLOR, OVERHEAD_COLOR, SHADED, STALL_COLOR, WAIT_COLOR, shade_of
from prema_gym.rendering.timeline import Kind, Slice
from prema_gym.types import NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes as _Axes

Axes: TypeAlias = "_Axes"
Span: TypeAlias = "tuple[float, float]"
"""First and last millisecond of a chart."""
Places: TypeAlias = "list[tuple[float, str]]"
"""Where lanes are, from the top, and what stands beside them."""

MIN_SHARE = 0.002
"""A save or restore is drawn at least this share of the window wide: at scale it is thinner than a line."""
NPU_BACKGROUND = "#F4F4F4"
NAME_POINTS = 6.5
"""Size of what is written into bars: the task on an NPU's lane, the NPU on a task's lane."""
CHARACTER_SHARE = 0.007
"""Width of a character of it, in shares of the window."""

_BARS: dict[Kind, dict[str, Any]] = {
    Kind.WAIT: {"height": 0.16, "facecolor": WAIT_COLOR, "edgecolor": "none"},
    Kind.KILLED: {"height": 0.66, "facecolor": KILLED_COLOR, "edgecolor": "white", "hatch": "xxxx"},
    Kind.SAVE: {"height": 0.9, "facecolor": OVERHEAD_COLOR, "edgecolor": "none"},
    Kind.RESTORE: {"height": 0.9, "facecolor": OVERHEAD_COLOR, "edgecolor": "none"},
    Kind.REFILL: {"height": 0.9, "facecolor": OVERHEAD_COLOR, "edgecolor": "none"},
    Kind.STALL: {"height": 0.3, "facecolor": STALL_COLOR, "edgecolor": "none"},
}
"""How each kind without a priority's shade is drawn; heights in lanes."""
_SHADED_HEIGHTS = {Kind.EXECUTE: 0.66, Kind.JOINED: 0.34}
_ORDER = (Kind.WAIT, Kind.JOINED, Kind.EXECUTE, Kind.KILLED, Kind.RESTORE, Kind.REFILL, Kind.SAVE, Kind.STALL)
"""What is drawn over what."""
_FIRST, _STEP = 2.0, 0.1
_SEPARATORS = _FIRST + _STEP * (_ORDER.index(Kind.EXECUTE) + 0.5)
"""Places of bars in matplotlib's order, and of the lines between those of an NPU's lane, which are drawn over execution."""
_WIDENED = (Kind.SAVE, Kind.RESTORE, Kind.REFILL)


def bar_style(kind: Kind, priority: int) -> dict[str, Any]:
    """Return how a slice of a task of ``priority`` is drawn."""
    if kind in SHADED:
        shade = shade_of(priority)
        return {
            "height": _SHADED_HEIGHTS[kind],
            "facecolor": shade.color,
            "edgecolor": "white" if shade.hatch else "none",
            "hatch": shade.hatch,
        }
    return _BARS[kind]


def _spans(slices: list[Slice], recording: RecordedEpisode, window: Span, least_ms: float) -> list[tuple[float, float]]:
    """Return (start, width) in milliseconds of the slices that the window shows, at least ``least_ms`` wide."""
    spans = [(recording.ms(part.start_cycles), recording.ms(part.cycles)) for part in slices]
    return [(start, max(width, least_ms)) for start, width in spans if start < window[1] and start + width > window[0]]


def _priority(recording: RecordedEpisode, part: Slice) -> int:
    """Return the priority of a slice's task, 0 where it is nobody's."""
    return 0 if part.task == NONE else int(recording.tasks[part.task]["priority"])


def draw_lane(ax: Axes, recording: RecordedEpisode, slices: Sequence[Slice], lane: float, window: Span) -> None:
    """Draw the slices of a task or an NPU, those of one look at a time."""
    thin = (window[1] - window[0]) * MIN_SHARE
    for order, kind in enumerate(_ORDER):
        least = thin if kind in _WIDENED else 0.0
        of_kind = [part for part in slices if part.kind is kind]
        for priority in sorted({_priority(recording, part) for part in of_kind}):
            style = dict(bar_style(kind, priority))
            height = style.pop("height")
            spans = _spans([part for part in of_kind if _priority(recording, part) == priority], recording, window, least)
            if spans:
                ax.broken_barh(spans, (lane - height / 2, height), linewidth=0.0, zorder=_FIRST + _STEP * order, **style)


def write_names(
    ax: Axes,
    recording: RecordedEpisode,
    slices: Sequence[Slice],
    lane: float,
    window: Span,
    names_of: Callable[[Slice], Sequence[str]],
) -> None:
    """Write into every bar the first of its names that it has room for."""
    for part in slices:
        if part.kind not in (Kind.EXECUTE, Kind.KILLED):
            continue
        first, last = max(recording.ms(part.start_cycles), window[0]), min(recording.ms(part.end_cycles), window[1])
        room = (last - first) / (window[1] - window[0]) / CHARACTER_SHARE - 1
        name = next((name for name in names_of(part) if len(name) + name.count("+") / 3 <= room), "")  # a plus is wider
        if not name:
            continue
        priority = _priority(recording, part)
        box = {"facecolor": bar_style(part.kind, priority)["facecolor"], "edgecolor": "none", "pad": 0.8}
        color = shade_of(priority).name_color if part.kind is Kind.EXECUTE else "white"
        ax.text((first + last) / 2, lane, name, fontsize=NAME_POINTS, ha="center", va="center", color=color, bbox=box, zorder=4.5)


def draw_npus(ax: Axes, recording: RecordedEpisode, window: Span) -> Places:
    """Draw a lane per NPU; return their places and labels."""
    npus = recording.timeline.npus
    ax.axhspan(-0.6, len(npus) - 0.4, facecolor=NPU_BACKGROUND, zorder=0)
    for npu, slices in enumerate(npus):
        draw_lane(ax, recording, slices, npu, window)
        write_names(ax, recording, slices, npu, window, lambda part: batch_names(part.task, part.members))
        ends = [recording.ms(part.end_cycles) for part in slices if part.kind is not Kind.IDLE]
        ax.vlines(
            [end for end in ends if inside(end, window)], npu - 0.33, npu + 0.33, color="white", linewidth=0.8, zorder=_SEPARATORS
        )
    labels = npu_labels(recording.config)
    return [(npu, f"{labels[npu]}   {recording.utilisation(npu):.0%} busy") for npu in range(len(npus))]


def inside(ms: float, window: Span) -> bool:
    """Return whether a moment is shown."""
    return window[0] <= ms <= window[1]
