"""A moment as text, for ``render_mode="ansi"``: the NPU's past on one line, then a line per task that has arrived."""

from __future__ import annotations

from prema_gym.rendering.live.scene import DONE, Scene, TaskRow
from prema_gym.rendering.timeline import ACCOUNTS, Kind, Slice, shares
from prema_gym.types import NONE

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""Tasks on the NPU's line, by order of arrival, over and over."""
IDLE_MARK, OVERHEAD_MARK = ".", "!"
STRIP_CELLS = 80
BAR_CELLS = 12
_HEADS = (
    f"{'task':>4}  {'model':<10} {'batch':>5} {'prio':>4}  {'state':<5}  {'progress':<{BAR_CELLS + 8}} {'token':>9} {'NTT':>7}"
    f"  {'SLA slack':>17}  saved"
)


def mark_of(part: Slice | None) -> str:
    """Return the character of a cell of the NPU's line."""
    if part is None or part.kind is Kind.IDLE:
        return IDLE_MARK
    if part.kind in ACCOUNTS["overhead"]:
        return OVERHEAD_MARK
    return DIGITS[part.task % len(DIGITS)]


def npu_line(scene: Scene, cells: int = STRIP_CELLS) -> str:
    """Return what the NPU did since cycle 0, a character per equal stretch of time: what filled most of it."""
    past = scene.timeline
    filled = shares(past.npu, 0, past.end_cycles, cells) if past.end_cycles else []
    return "".join(mark_of(part) for part in filled).ljust(cells)


def headline(scene: Scene) -> str:
    """Return clock, cause and counts in one line."""
    runs = "idle" if scene.running == NONE else f"runs #{scene.running}"
    return (
        f"{scene.now_ms:.3f} ms ({scene.cause or 'start'})   NPU {runs}   waiting {scene.waiting}   done {scene.finished} of "
        f"{scene.arrived} arrived   decision {scene.decisions}"
    )


def bar(share: float, cells: int = BAR_CELLS) -> str:
    """Return a progress bar."""
    filled = round(share * cells)
    return "[" + "#" * filled + "." * (cells - filled) + "]"


def size(nbytes: int) -> str:
    """Return bytes in KiB or MiB; nothing for none."""
    if nbytes == 0:
        return ""
    return f"{nbytes / 1024:.0f} KiB" if nbytes < 1 << 20 else f"{nbytes / (1 << 20):.2f} MiB"


def slack(row: TaskRow) -> str:
    """Return the SLA target a task is heading for, and the time left to it."""
    return f"{row.sla_target}x {row.slack_ms:+.2f} ms"


def _line(row: TaskRow) -> str:
    token = "" if row.state == DONE else f"{row.token:.2f}"
    return (
        f"{'#' + str(row.task):>4}  {row.model[:10]:<10} {row.batch:>5} {row.priority:>4}  {row.state:<5}  {bar(row.progress)} "
        f"{row.progress:>5.0%} {token:>9} {row.ntt:>7.2f}  {slack(row):>17}  {size(row.saved_bytes)}"
    ).rstrip()


def render_text(scene: Scene) -> str:
    """Return the scene as text."""
    lines = [headline(scene), f"NPU |{npu_line(scene)}|", _HEADS, *map(_line, scene.rows)]
    hidden = scene.arrived - len(scene.rows)
    return "\n".join([*lines, f"      and {hidden} tasks more"] if hidden else lines)
