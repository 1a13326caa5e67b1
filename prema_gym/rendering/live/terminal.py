"""The live view of ``render_mode="human"``, in the terminal (rich): no window, no display, no system package; it works over ssh.

Where standard output is no terminal (a pipe, a log, CI) it prints a line per moment instead, and does not wait.
"""

from __future__ import annotations

import time
from typing import Any

from prema_gym.rendering.episode import batch_name
from prema_gym.rendering.live.scene import DONE, RUNS, NpuRow, Scene, TaskRow
from prema_gym.rendering.live.text import bar, headline, size, slack
from prema_gym.rendering.style import SHADED, color_of, shade_of
from prema_gym.rendering.timeline import ACCOUNTS, Kind, Slice, shares
from prema_gym.types import NONE

STRIP_CELLS = 48
_OVERHEAD = frozenset(ACCOUNTS["overhead"])
_JOINED_GLYPH = "▬"
_GLYPHS = {Kind.KILLED: "x", Kind.WAIT: "─", Kind.IDLE: " "}
_WAIT_STYLE, _KILLED_STYLE, _OVERHEAD_STYLE, _ASKED_STYLE = "grey50", "#D55E00", "bold", "bold"


def _strip(scene: Scene, slices: tuple[Slice, ...]) -> Any:
    """Return a timeline as coloured blocks."""
    from rich.text import Text

    strip = Text(no_wrap=True)
    for part in shares(slices, scene.since_cycles, max(scene.now_cycles, scene.since_cycles + 1), STRIP_CELLS):
        if part is None:
            strip.append(" ")
        elif part.kind in _OVERHEAD:
            strip.append("!", _OVERHEAD_STYLE)
        elif part.kind in SHADED:
            shade = shade_of(scene.priorities[part.task])
            strip.append(shade.glyph if part.kind is Kind.EXECUTE else _JOINED_GLYPH, shade.color)
        else:
            strip.append(_GLYPHS[part.kind], _KILLED_STYLE if part.kind is Kind.KILLED else _WAIT_STYLE)
    return strip


def _cells(row: TaskRow) -> tuple[str, ...]:
    token = "" if row.state == DONE else f"{row.token:.1f}"
    return (
        f"#{row.task}", f"{row.model} b{row.batch}", str(row.priority), row.where, f"{bar(row.progress, 8)} {row.progress:4.0%}",
        token, f"{row.ntt:.2f}", slack(row), size(row.saved_bytes),
    )  # fmt: skip


def _npu_cells(npu: NpuRow, several: bool) -> tuple[str, ...]:
    """Return what stands before an NPU's timeline: its name alone where it is the only one."""
    if not several:
        return (npu.label, *[""] * 8)
    number, _, configuration = npu.label.removeprefix("NPU ").partition(" ")
    return (f"NPU {number}", configuration, "", "asked" if npu.is_asked else "", npu.doing, *[""] * 4)


def live_table(scene: Scene) -> Any:
    """Return the scene as a rich table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=headline(scene), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for name in ("task", "model", "prio", "state", "progress", "token", "NTT", "SLA slack", "saved"):
        table.add_column(name, justify="left" if name in ("task", "model", "state", "progress") else "right", no_wrap=True)
    table.add_column(f"{scene.since_ms:.4g} to {scene.now_ms:.2f} ms", width=STRIP_CELLS, no_wrap=True)
    for npu, lane in zip(scene.npus, scene.timeline.npus, strict=True):
        table.add_row(*_npu_cells(npu, len(scene.npus) > 1), _strip(scene, lane), style=_ASKED_STYLE if npu.is_asked else "")
    for row in scene.rows:
        style = "bold" if row.state == RUNS else "dim" if row.state == DONE else ""
        first, *rest = _cells(row)
        task = Text(first, color_of(Kind.EXECUTE, row.priority))
        table.add_row(task, *map(Text, rest), _strip(scene, scene.lane(row.task)), style=style)
    return table


def summary_line(scene: Scene) -> str:
    """Return a moment in one line, for output that is no terminal."""
    waiting = ", ".join(f"#{row.task}" for row in scene.rows if row.waits)
    running = ", ".join(batch_name(npu.task, npu.members) for npu in scene.npus if npu.task != NONE)
    runs = f"{running} runs" if running else "idle"
    backlog = "" if scene.backlog is None else f"  backlog: {scene.backlog}"
    done = f"done: {scene.finished} of {scene.arrived} arrived"
    return f"{scene.now_ms:10.3f} ms  {runs:9s}  waiting: {waiting or 'none'}{backlog}  {done}"


class LiveView:
    """Shows scenes in place, at most ``fps`` of them per second."""

    def __init__(self, fps: float) -> None:
        from rich.console import Console

        self._console = Console()
        self._seconds = 1.0 / fps
        self._live: Any = None
        self._shown = 0.0

    def show(self, scene: Scene, ended: bool) -> None:
        """Show ``scene``; after an episode's last one the view stays on the screen and the next begins below it."""
        if not self._console.is_terminal:
            print(summary_line(scene), flush=True)
            return
        time.sleep(max(0.0, self._shown + self._seconds - time.monotonic()))
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(live_table(scene), refresh=True)
        self._shown = time.monotonic()
        if ended:
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was, with the last view on it."""
        if self._live is not None:
            self._live.stop()
            self._live = None
