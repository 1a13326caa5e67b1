"""One episode under one policy or several as a page: lanes to zoom into, exact cycles under the mouse, the queue below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from prema_gym.errors import ConfigError
from prema_gym.files import write_text
from prema_gym.rendering.episode import RecordedEpisode, kinds_in, npu_labels, task_label
from prema_gym.rendering.export.page import Cell, Plot, configuration, heading, render_page, table
from prema_gym.rendering.style import (
    JOINED_LABEL,
    KILLED_COLOR,
    LEARNED_COLORS,
    OVERHEAD_COLOR,
    SHADED,
    SHADES,
    STALL_COLOR,
    TARGET_COLORS,
    WAIT_COLOR,
    color_of,
    shade_of,
)
from prema_gym.rendering.summary import best_value, columns_of, summary_metrics
from prema_gym.rendering.timeline import Kind, Slice
from prema_gym.types import NONE

TARGETS = (2, 5, 10)
"""SLA targets that are marked, in multiples of the isolated time."""
LANE_PIXELS, FRAME_PIXELS, QUEUE_PIXELS = 24, 70, 130
MOST_PIXELS = 1400
"""Height of a plot; more lanes are thinner."""
CHARACTER_PIXELS = 6.6
"""Width of a character of a lane's label."""
HEIGHTS = {Kind.WAIT: 0.16, Kind.JOINED: 0.34, Kind.EXECUTE: 0.66, Kind.KILLED: 0.66, Kind.STALL: 0.3}
"""Of bars, in lanes; saves, restores and refills are OVERHEAD_HEIGHT."""
OVERHEAD_HEIGHT = 0.86
ORDER = (Kind.WAIT, Kind.JOINED, Kind.EXECUTE, Kind.KILLED, Kind.RESTORE, Kind.REFILL, Kind.SAVE, Kind.STALL)
"""What is drawn over what."""
WORDS = {
    Kind.EXECUTE: "runs",
    Kind.KILLED: "killed work",
    Kind.SAVE: "saves its context",
    Kind.RESTORE: "restores its context",
    Kind.REFILL: "refills the pipeline",
    Kind.STALL: "scheduler latency",
    Kind.WAIT: "waits",
    Kind.JOINED: "runs in the batch that #{leader} leads",
}
"""What the mouse says of a slice; of a leader's its members follow."""
QUEUE_COLOR = "#777777"
MOST_NAMES = 12
"""Tasks that wait, or run together, that the mouse names."""

_SLICE_TIP = (
    '<div class="tip"><b>@who</b> @what<br>cycles @start to @end<br>@cycles cycles, @ms ms<br>@where</div>'  # escaped by Bokeh
)
_MARK_TIP = '<div class="tip"><b>@who</b> @what<br>cycle @cycle, @ms ms</div>'
_QUEUE_TIP = '<div class="tip"><b>@waiting waiting</b> @who<br>cycles @start to @end<br>@cycles cycles, @ms ms</div>'


def _number(value: int) -> str:
    """Return whole cycles as text: JavaScript's numbers are exact to 2^53 only."""
    return f"{value:,}"


# --- Data -----------------------------------------------------------------------------------------------------------------------


def slice_columns(recording: RecordedEpisode, lanes: Sequence[tuple[float, Sequence[Slice]]]) -> dict[str, list[Any]]:
    """Return the columns of the bars of ``lanes`` (place, slices): where they are drawn, how, and what the mouse shows."""
    drawn = [(lane, part) for lane, slices in lanes for part in slices if part.kind is not Kind.IDLE]
    drawn.sort(key=lambda entry: ORDER.index(entry[1].kind))
    names = npu_labels(recording.config)
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("left", "right", "top", "bottom", "fill", "hatch", "who", "what", "where", "start", "end", "cycles", "ms")
    }
    for lane, part in drawn:
        half = HEIGHTS.get(part.kind, OVERHEAD_HEIGHT) / 2
        priority = 1 if part.task == NONE else int(recording.tasks[part.task]["priority"])
        moved = f", {_number(part.nbytes)} bytes" if part.nbytes else ""
        values = (
            recording.ms(part.start_cycles), recording.ms(part.end_cycles), lane - half, lane + half, color_of(part.kind, priority),
            _hatch(part, priority), _who(recording, part.task), _what(part),
            ("" if part.npu == NONE else f"on {names[part.npu]}") + moved,
            _number(part.start_cycles), _number(part.end_cycles), _number(part.cycles), f"{recording.ms(part.cycles):.6f}",
        )  # fmt: skip
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def _who(recording: RecordedEpisode, task: int) -> str:
    return "" if task == NONE else f"#{task} {task_label(recording.tasks[task])}"


def _what(part: Slice) -> str:
    """Return what a slice went into, and who ran with its task."""
    what = WORDS[part.kind].format(leader=part.leader)
    return f"{what}, in a batch with {_named(part.members)}" if part.members else what


def _named(tasks: Sequence[int]) -> str:
    """Return the numbers of tasks, as far as the mouse names them."""
    return ", ".join(f"#{task}" for task in tasks[:MOST_NAMES]) + (", ..." if len(tasks) > MOST_NAMES else "")


def _hatch(part: Slice, priority: int) -> str:
    if part.kind is Kind.KILLED:
        return "cross"
    return "right_diagonal_line" if part.kind in SHADED and shade_of(priority).hatch else "blank"


def mark_columns(recording: RecordedEpisode, lanes: Sequence[float]) -> dict[str, list[Any]]:
    """Return the columns of arrivals, completions and SLA targets; ``lanes`` are the tasks' places."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("x", "y", "marker", "angle", "size", "fill", "line", "who", "what", "cycle", "ms")
    }
    for task, lane in enumerate(lanes):
        entry = recording.tasks[task]
        arrival, done = entry["arrival_cycles"], entry["completion_cycles"]
        marks = [(arrival, "triangle", -math.pi / 2, 9, "white", "black", "arrives")]
        for cycle, missed, what in due_marks(recording, task):
            color = TARGET_COLORS[missed]
            if cycle <= recording.end_cycles:
                marks.append((cycle, "dash", math.pi / 2, 18, color, color, f"{what} {'missed' if missed else 'met'}"))
        if done != NONE:
            marks.append((done, "diamond", 0.0, 9, "black", "black", f"completes, NTT {recording.ntt(task):.3f}"))
        for cycle, *look, what in marks:
            values = (recording.ms(cycle), lane, *look, _who(recording, task), what, _number(cycle), f"{recording.ms(cycle):.6f}")
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    return columns


def due_marks(recording: RecordedEpisode, task: int) -> Iterator[tuple[int, bool, str]]:
    """Yield (cycle, whether it was missed, what) of a task's deadline, and of its SLA targets where an episode has an end."""
    entry = recording.tasks[task]
    if entry["deadline_cycles"] != NONE:
        yield entry["deadline_cycles"], recording.misses(task), "deadline"
    for target in () if recording.config.stream else TARGETS:
        late = target * entry["isolated_cycles"]
        yield entry["arrival_cycles"] + late, recording.age_cycles(task) > late, f"SLA target {target}x"


def queue_stretches(recording: RecordedEpisode) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return (first cycle, last cycle, tasks that are there and on no NPU) for every stretch of time in which they are the same."""
    changes: list[tuple[int, int, bool]] = []
    for task, slices in enumerate(recording.timeline.tasks):
        for part in slices:
            if part.kind is Kind.WAIT:
                changes += [(part.start_cycles, task, True), (part.end_cycles, task, False)]
    changes.sort(key=lambda change: (change[0], change[2]))
    waiting: set[int] = set()
    found, now = [], 0
    for cycle, task, begins in [*changes, (recording.end_cycles, NONE, False)]:
        if cycle > now:
            found.append((now, cycle, tuple(sorted(waiting))))
            now = cycle
        (waiting.add if begins else waiting.discard)(task)
    return found


def queue_columns(recording: RecordedEpisode) -> dict[str, list[Any]]:
    """Return the columns of the queue's steps."""
    stretches = queue_stretches(recording)
    return {
        "left": [recording.ms(first) for first, _, _ in stretches],
        "right": [recording.ms(last) for _, last, _ in stretches],
        "waiting": [len(tasks) for *_, tasks in stretches],
        "who": [_named(tasks) for *_, tasks in stretches],
        "start": [_number(first) for first, _, _ in stretches],
        "end": [_number(last) for _, last, _ in stretches],
        "cycles": [_number(last - first) for first, last, _ in stretches],
        "ms": [f"{recording.ms(last - first):.6f}" for first, last, _ in stretches],
    }


# --- Plots ----------------------------------------------------------------------------------------------------------------------


class Lanes(NamedTuple):
    """Where what is drawn: NPUs first, where they are shown, then a lane for each task; requests of a stream share lanes."""

    labels: list[str]
    """By lane."""
    npus: Sequence[tuple[float, Sequence[Slice]]]
    tasks: list[int]
    """By task: its lane."""


def packed(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return a lane for each of ``spans`` (first, last), which begin in order: the first that is free, so that none overlap."""
    ends: list[int] = []
    lanes = []
    for first, last in spans:
        lane = next((lane for lane, end in enumerate(ends) if end <= first), len(ends))
        ends[lane : lane + 1] = [last]
        lanes.append(lane)
    return lanes


def lanes_of(recording: RecordedEpisode) -> Lanes:
    """Return the lanes of a recording."""
    npus, tasks = recording.timeline.npus, recording.timeline.tasks
    labels: list[str] = []
    if recording.shows_npus:
        labels += [f"{label}  {recording.utilisation(npu):.0%} busy" for npu, label in enumerate(npu_labels(recording.config))]
        labels.append("")
    first = len(labels)
    own = list(enumerate(npus)) if first else []
    if recording.config.stream:
        arrivals = [int(entry["arrival_cycles"]) for entry in recording.tasks]
        spans = [(begin, slices[-1].end_cycles if slices else begin) for begin, slices in zip(arrivals, tasks, strict=True)]
        lanes = [len(labels) + lane for lane in packed(spans)]
        unnamed = max(lanes, default=len(labels)) - len(labels)
        return Lanes([*labels, "requests", *[""] * unnamed], own, lanes)
    for task in range(len(tasks)):
        so_far = "" if recording.tasks[task]["completion_cycles"] != NONE else "+"
        labels.append(f"{_who(recording, task)}  NTT {recording.ntt(task):.2f}{so_far}")
    return Lanes(labels, own, [first + task for task in range(len(tasks))])


def new_plot(title: str, height: int, **options: Any) -> Plot:
    """Return an empty plot as wide as the page, with the tools that all plots have."""
    from bokeh.models import WheelZoomTool
    from bokeh.plotting import figure

    dimensions = options.pop("dimensions", "width")
    plot: Plot = figure(
        title=title, height=height, sizing_mode="stretch_width", toolbar_location="right", output_backend="canvas",
        tools=f"{'x' if dimensions == 'width' else ''}box_zoom,{'x' if dimensions == 'width' else ''}pan,reset,save", **options,
    )  # fmt: skip
    plot.add_tools(WheelZoomTool(dimensions=dimensions, modifiers={"ctrl": True}))
    plot.toolbar.logo = None
    plot.toolbar.active_drag = plot.tools[0]
    plot.toolbar.active_scroll = plot.tools[-1]
    plot.grid.grid_line_color = "#EEEEEE"
    plot.outline_line_color = None
    return plot


def add_hover(plot: Plot, renderers: Sequence[Any], tooltips: str) -> None:
    """Show ``tooltips`` where the mouse is on one of ``renderers``."""
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(renderers=list(renderers), tooltips=tooltips, point_policy="follow_mouse"))


def lanes_plot(recording: RecordedEpisode, span: Any, border: int) -> Plot:
    """Return the lanes of the NPUs, where they are shown, and of the tasks."""
    from bokeh.models import ColumnDataSource, Range1d

    labels, npus, places = lanes_of(recording)
    lanes = [*npus, *zip(places, recording.timeline.tasks, strict=True)]
    plot = new_plot(
        recording.title(), min(LANE_PIXELS * len(labels) + FRAME_PIXELS, MOST_PIXELS),
        x_range=span, y_range=Range1d(start=len(labels) - 0.4, end=-0.6), min_border_left=border,
    )  # fmt: skip
    plot.title.text_color = LEARNED_COLORS[0] if recording.learned else "black"
    plot.yaxis.ticker = list(range(len(labels)))
    plot.yaxis.major_label_overrides = dict(enumerate(labels))
    plot.yaxis.major_tick_line_color = plot.yaxis.axis_line_color = None
    plot.ygrid.grid_line_color = None
    bars = plot.quad(
        "left", "right", "top", "bottom", source=ColumnDataSource(slice_columns(recording, lanes)),
        fill_color="fill", line_color="fill", hatch_pattern="hatch", hatch_color="white", hatch_scale=7, hatch_weight=1.5,
    )  # fmt: skip
    marks = plot.scatter(
        "x", "y", source=ColumnDataSource(mark_columns(recording, places)),
        marker="marker", angle="angle", size="size", fill_color="fill", line_color="line", line_width=1.5,
    )  # fmt: skip
    add_hover(plot, [bars], _SLICE_TIP)
    add_hover(plot, [marks], _MARK_TIP)
    return plot


def queue_plot(recording: RecordedEpisode, span: Any, border: int, most: int) -> Plot:
    """Return how many tasks wait, up to ``most``, as steps over time."""
    from bokeh.models import ColumnDataSource, Range1d

    plot = new_plot("", QUEUE_PIXELS, x_range=span, y_range=Range1d(start=0, end=most + 0.5), min_border_left=border)
    color = LEARNED_COLORS[0] if recording.learned else QUEUE_COLOR
    source = ColumnDataSource(queue_columns(recording))
    steps = plot.quad("left", "right", "waiting", 0, source=source, fill_color=color, fill_alpha=0.55, line_color=None)
    add_hover(plot, [steps], _QUEUE_TIP)
    plot.yaxis.axis_label = "waiting"
    plot.yaxis.minor_tick_line_color = None
    plot.yaxis.ticker.min_interval = 1
    plot.xaxis.axis_label = "time (ms)"
    return plot


def episode_plots(recordings: Sequence[RecordedEpisode]) -> list[Plot]:
    """Return for each recording its lanes and below them its queue, all on one time axis that zooms in all of them."""
    from bokeh.models import Range1d

    end = max(max(recording.ms(recording.end_cycles) for recording in recordings), 1e-6)
    span = Range1d(start=0, end=end, bounds=(0, end))
    border = round(16 + CHARACTER_PIXELS * max(len(label) for recording in recordings for label in lanes_of(recording).labels))
    most = max(len(tasks) for recording in recordings for *_, tasks in queue_stretches(recording))
    plots = []
    for recording in recordings:
        plots += [lanes_plot(recording, span, border), queue_plot(recording, span, border, most)]
    return plots


# --- The page -------------------------------------------------------------------------------------------------------------------

HINT = (
    "Drag over a stretch of time to zoom into it, in all plots at once; Ctrl and the wheel zoom too, the round arrow shows all "
    "again. Under the mouse: exact cycles. Saves and restores are drawn one pixel wide at least; zoomed in, all is to scale."
)


def legend(recordings: Sequence[RecordedEpisode]) -> str:
    """Return what colours and marks mean, as far as they occur, as HTML."""
    priorities = sorted({int(task["priority"]) for recording in recordings for task in recording.tasks})
    kinds = kinds_in(recordings)
    entries = [
        (f"background:{_swatch(shade.color, bool(shade.hatch))}", f"runs, {shade.name} priority ({', '.join(map(str, reached))})")
        for shade in SHADES
        if (reached := [priority for priority in priorities if shade_of(priority) is shade])
    ]
    if Kind.JOINED in kinds:
        entries.append((f"background:linear-gradient(transparent 30%,{SHADES[0].color} 30% 70%,transparent 70%)", JOINED_LABEL))
    entries.append((f"background:{WAIT_COLOR}", "waits"))
    if Kind.KILLED in kinds:
        entries.append((f"background:{_swatch(KILLED_COLOR, True)}", "killed work"))
    if kinds & {Kind.SAVE, Kind.RESTORE, Kind.REFILL}:
        entries.append((f"background:{OVERHEAD_COLOR}", "save, restore, refill"))
    if Kind.STALL in kinds:
        entries.append((f"background:{STALL_COLOR}", "scheduler latency"))
    swatches = "".join(f'<span><i style="{style}"></i>{escape(text)}</span>' for style, text in entries)
    return f'<p class="legend">{swatches}<span>▷ arrives</span><span>◆ completes</span><span>| deadline, SLA target</span></p>'


def _swatch(color: str, hatched: bool) -> str:
    return f"repeating-linear-gradient(135deg,{color} 0 4px,#fff 4px 6px)" if hatched else color


def metrics_rows(recordings: Sequence[RecordedEpisode]) -> list[list[Cell | str]]:
    """Return a row of metrics for each recording, the best of each pointed out."""
    measured = [summary_metrics(recording) for recording in recordings]
    rows: list[list[Cell | str]] = [
        [Cell(recording.policy, color=LEARNED_COLORS[0] if recording.learned else "")] for recording in recordings
    ]
    for column in columns_of(recordings[0].config):
        values = [entry[column.metric] for entry in measured]
        best = best_value(values, column.lower_is_better)
        for row, value in zip(rows, values, strict=True):
            row.append(Cell(column.form.format(value), value == best))
    return rows


def episode_sections(recordings: Sequence[RecordedEpisode]) -> list[str | Plot]:
    """Return hint, legend, lanes and queues."""
    return [f'<p class="quiet">{escape(HINT)}</p>', legend(recordings), *episode_plots(recordings)]


def episode_page(recordings: Sequence[RecordedEpisode], heading_text: str = "") -> str:
    """Return the page of finished recordings of one episode, one policy below the other."""
    if not recordings:
        raise ConfigError("save_page: must be given at least one recording.")
    if any(recording.metrics is None for recording in recordings):
        raise ConfigError("save_page: every recording must be of a finished episode.")
    title = heading_text or " and ".join(recording.title() for recording in recordings)
    heads = ("policy", *(column.head for column in columns_of(recordings[0].config)))
    config = recordings[0].config.to_dict()
    return render_page(
        title,
        [table(heads, metrics_rows(recordings)), *episode_sections(recordings), heading("What was played"), configuration(config)],
    )


def save_page(path: str | Path, recordings: Sequence[RecordedEpisode], heading: str = "") -> None:
    """Write a page of finished recordings of one episode to ``path``: one file that needs nothing else; needs the extra ``html``.

    Raises :class:`prema_gym.errors.ConfigError` for no recording, or one of an episode that is still being played.

    Parameters
    ----------
    path: the file, .html.
    recordings: best of the same episode under several policies; they are drawn one below the other on one time axis.
    heading: of the page; what was played by default.

    """
    write_text(path, episode_page(recordings, heading))
