"""A moment as text, for ``render_mode="ansi"``: each NPU's past on one line, then a line per task that has arrived."""

from __future__ import annotations

from prema_gym.rendering.live.scene import DONE, Scene, TaskRow
from prema_gym.rendering.timeline import ACCOUNTS, Kind, Slice, shares

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""Tasks on an NPU's line, by order of arrival, over and over."""
IDLE_MARK, OVERHEAD_MARK, ASKED_MARK = ".", "!", ">"
STRIP_CELLS = 80
BAR_CELLS = 12
STATE_CELLS = 5
"""Width of a task's state; the number of its NPU takes three cells more, and whom it has joined what it needs."""


def mark_of(part: Slice | None) -> str:
    """Return the character of a cell of an NPU's line."""
    if part is None or part.kind is Kind.IDLE:
        return IDLE_MARK
    if part.kind in ACCOUNTS["overhead"]:
        return OVERHEAD_MARK
    return DIGITS[part.task % len(DIGITS)]


def npu_line(scene: Scene, npu: int = 0, cells: int = STRIP_CELLS) -> str:
    """Return what an NPU did since the timeline begins, a character per equal stretch of time: what filled most of it."""
    past, since = scene.timeline, scene.since_cycles
    filled = shares(past.npus[npu], since, past.end_cycles, cells) if past.end_cycles > since else []
    return "".join(mark_of(part) for part in filled).ljust(cells)


def _npu_lines(scene: Scene) -> list[str]:
    """Return a line per NPU; where there are several, the asked one is marked and each says what it does."""
    if len(scene.npus) == 1:
        return [f"NPU |{npu_line(scene)}|"]
    width = max(len(npu.label) for npu in scene.npus)
    return [
        f"{ASKED_MARK if npu.is_asked else ' '} {npu.label:<{width}} |{npu_line(scene, index)}| {npu.doing}"
        for index, npu in enumerate(scene.npus)
    ]


def machine(scene: Scene) -> str:
    """Return what the NPUs are at: the one's task, or who is asked and how many are busy."""
    if len(scene.npus) == 1:
        return f"NPU {scene.npus[0].doing}"
    busy = f"{scene.busy} of {len(scene.npus)} NPUs busy"
    return busy if scene.asked is None else f"{scene.asked.label} is asked   {busy}"


def headline(scene: Scene) -> str:
    """Return clock, cause and counts in one line."""
    backlog = "" if scene.backlog is None else f" and {scene.backlog} in the backlog"
    return (
        f"{scene.now_ms:.3f} ms ({scene.cause or 'start'})   {machine(scene)}   waiting {scene.waiting}{backlog}   done "
        f"{scene.finished} of {scene.arrived} arrived   decision {scene.decisions}"
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
    """Return the SLA target a task is heading for, or that it has a deadline of its own, and the time left to it."""
    return f"{f'{row.sla_target}x' if row.sla_target else 'due'} {row.slack_ms:+.2f} ms"


def _heads(state_cells: int) -> str:
    return (
        f"{'task':>4}  {'model':<10} {'batch':>5} {'prio':>4}  {'state':<{state_cells}}  {'progress':<{BAR_CELLS + 8}} "
        f"{'token':>9} {'NTT':>7}  {'SLA slack':>17}  saved"
    )


def _line(row: TaskRow, state_cells: int) -> str:
    token = "" if row.state == DONE else f"{row.token:.2f}"
    return (
        f"{'#' + str(row.task):>4}  {row.model[:10]:<10} {row.batch:>5} {row.priority:>4}  {row.where:<{state_cells}}  "
        f"{bar(row.progress)} {row.progress:>5.0%} {token:>9} {row.ntt:>7.2f}  {slack(row):>17}  {size(row.saved_bytes)}"
    ).rstrip()


def render_text(scene: Scene) -> str:
    """Return the scene as text."""
    state_cells = max(STATE_CELLS if len(scene.npus) == 1 else STATE_CELLS + 3, *(len(row.where) for row in scene.rows), 0)
    since = [f"since {scene.since_ms:.3f} ms"] if scene.since_cycles else []
    lines = [headline(scene), *since, *_npu_lines(scene), _heads(state_cells), *(_line(row, state_cells) for row in scene.rows)]
    hidden = scene.listed - len(scene.rows)
    return "\n".join([*lines, f"      and {hidden} tasks more"] if hidden else lines)
