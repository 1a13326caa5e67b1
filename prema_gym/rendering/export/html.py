"""The summary of a recording that notebooks show: metrics, and a line with a timeline for each NPU and task. Plain HTML, no script.

A single NPU has no line of its own, unless tasks run in batches: the tasks' lines say it all.
"""

from __future__ import annotations

from html import escape

from prema_gym.rendering.episode import RecordedEpisode, npu_labels
from prema_gym.rendering.style import color_of
from prema_gym.rendering.timeline import Kind, Slice, shares
from prema_gym.types import NONE

MAX_TASKS = 32
"""Lines of the table; the rest is counted."""
STRIP_CELLS = 240
STRIP_WIDTH, STRIP_HEIGHT = 480, 12
"""Size of a task's timeline in pixels."""
_HEIGHTS = {Kind.WAIT: 4, Kind.JOINED: 6}
"""Of what is thinner than that."""


def _rectangle(first: int, last: int, part: Slice, priority: int) -> str:
    scale = STRIP_WIDTH / STRIP_CELLS
    height = _HEIGHTS.get(part.kind, STRIP_HEIGHT)
    top = (STRIP_HEIGHT - height) / 2
    color = color_of(part.kind, priority)
    return f'<rect x="{first * scale:g}" y="{top:g}" width="{(last - first) * scale:g}" height="{height}" fill="{color}"/>'


def _priority(recording: RecordedEpisode, part: Slice) -> int:
    return NONE if part.task == NONE else int(recording.tasks[part.task]["priority"])


def _strip(recording: RecordedEpisode, slices: tuple[Slice, ...]) -> str:
    """Return the timeline of one task or NPU as SVG: neighbouring cells of one kind and task are one rectangle."""
    cells = shares(slices, 0, max(recording.end_cycles, 1), STRIP_CELLS)
    looks = [part and (part.kind, part.task) for part in cells]
    drawn, first = [], 0
    for cell in range(1, STRIP_CELLS + 1):
        if cell < STRIP_CELLS and looks[cell] == looks[first]:
            continue
        part = cells[first]
        if part is not None and part.kind is not Kind.IDLE:
            drawn.append(_rectangle(first, cell, part, _priority(recording, part)))
        first = cell
    return f'<svg width="{STRIP_WIDTH}" height="{STRIP_HEIGHT}">{"".join(drawn)}</svg>'


def _task_line(recording: RecordedEpisode, task: int) -> str:
    entry = recording.tasks[task]
    unfinished = "" if entry["completion_cycles"] != NONE else " so far"
    strip = _strip(recording, recording.timeline.tasks[task])
    numbers = [str(entry["batch"]), str(entry["priority"])]
    numbers += [f"{recording.ms(entry[key]):.2f}" for key in ("arrival_cycles", "isolated_cycles")]
    numbers.append(f"{recording.ntt(task):.2f}{unfinished}")
    cells = "".join(f'<td style="text-align:right">{number}</td>' for number in numbers)
    return f"<tr><td>{task}</td><td>{escape(entry['model'])}</td>{cells}<td>{strip}</td></tr>"


def _npu_lines(recording: RecordedEpisode) -> str:
    """Return a line per NPU, where pictures show them: its name, how busy it was, what it did."""
    if not recording.shows_npus:
        return ""
    labels = npu_labels(recording.config)
    return "".join(
        f'<tr><td colspan="6">{escape(label)}</td><td style="text-align:right">{recording.utilisation(npu):.0%} busy</td>'
        f"<td>{_strip(recording, recording.timeline.npus[npu])}</td></tr>"
        for npu, label in enumerate(labels)
    )


def _metrics_line(recording: RecordedEpisode) -> str:
    if recording.metrics is None:
        return "Not finished."
    named = [f"{name} <b>{value}</b>" for name, value in recording.headline().items()]
    return ", ".join([*named, f"{recording.metrics['preemptions']} preemptions"])


def render_html(recording: RecordedEpisode) -> str:
    """Return the summary as HTML."""
    span = f"0 to {recording.ms(recording.end_cycles):.2f} ms"
    heads = ("task", "model", "batch", "priority", "arrival (ms)", "isolated (ms)", "NTT", span)
    shown = range(min(len(recording.tasks), MAX_TASKS))
    more = len(recording.tasks) - len(shown)
    machine = "NPUs" if recording.several else "NPU"
    accounts = ", ".join(f"{name} {recording.ms(cycles):.2f} ms" for name, cycles in recording.timeline.accounts().items())
    return (
        f"<p><b>{escape(recording.title())}</b><br>{_metrics_line(recording)}<br>{machine}: {accounts}</p><table><thead><tr>"
        + "".join(f"<th>{head}</th>" for head in heads)
        + "</tr></thead><tbody>"
        + _npu_lines(recording)
        + "".join(_task_line(recording, task) for task in shown)
        + "</tbody></table>"
        + (f"<p>and {more} tasks more</p>" if more else "")
    )
