"""A moment as a picture, for ``render_mode="rgb_array"``: (H, W, 3) uint8, of one shape for all episodes of an environment.

Drawn with Pillow, which matplotlib brings along anyway: a frame takes about five milliseconds, a small part of what a matplotlib
figure would, and bare numpy would need a font of its own.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from prema_gym.rendering.episode import batch_names
from prema_gym.rendering.live.scene import DONE, MAX_ROWS, RUNS, NpuRow, Scene, TaskRow
from prema_gym.rendering.live.text import headline, size, slack
from prema_gym.rendering.style import JOINED_LABEL, KIND_COLORS, OVERHEAD_COLOR, SHADES, shade_of
from prema_gym.rendering.timeline import ACCOUNTS, Kind, Slice
from prema_gym.types import NONE

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH = 1120
HEADER, LANE, FOOTER = 56, 26, 52
"""Heights in pixels: above the lanes, of a lane, below them. All even, as video codecs want it."""
STRIP_LEFT, STRIP_RIGHT = 214, 754
"""The timeline, in pixels from the left."""
COLUMNS = {"token": 826, "NTT": 890, "SLA slack": 1020, "saved": WIDTH - 12}
"""Right edges of the columns beside it."""
NAME_MARGIN = 4
"""Pixels that a bar is longer than the name that is written into it."""
BACKGROUND, INK, FAINT, HIGHLIGHT = "#FFFFFF", "#111111", "#777777", "#FFF3C4"
_OVERHEAD = frozenset(ACCOUNTS["overhead"])
_INSETS = {Kind.WAIT: 10, Kind.JOINED: 8}
"""Pixels above and below bars that are thinner than those of execution."""


def span_of(now_ms: float) -> float:
    """Return the length of the time axis: the smallest of 1, 2, 5, 10, ... microseconds that holds ``now_ms``, in milliseconds."""
    for exponent in itertools.count(-3):
        for digit in (1, 2, 5):
            if digit * 10.0**exponent >= now_ms:
                return digit * 10.0**exponent
    raise AssertionError


def _moment(since_ms: float, later_ms: float, span_ms: float) -> str:
    """Return a moment of a time axis in milliseconds, as exactly as its length asks for."""
    return f"{since_ms + later_ms:.{max(2 - math.floor(math.log10(span_ms)), 0)}f}" if since_ms else f"{later_ms:g}"


class Painter:
    """Draws scenes with a lane per NPU and up to ``lanes`` tasks."""

    def __init__(self, lanes: int, npus: int) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._new_image: Any = Image.new
        self._new_draw: Any = ImageDraw.Draw
        self._font = ImageFont.load_default(14)
        self._small = ImageFont.load_default(12)
        self.lanes = min(lanes, MAX_ROWS)
        self.npus = npus
        self.bottom = HEADER + LANE * (npus + self.lanes)
        self.height = self.bottom + FOOTER

    def paint(self, scene: Scene) -> np.ndarray:
        """Return the scene as a fresh (H, W, 3) uint8 array."""
        image = self._new_image("RGB", (WIDTH, self.height), BACKGROUND)
        draw = self._new_draw(image)
        span = span_of(scene.now_ms - scene.since_ms)
        self._text(draw, 12, 16, headline(scene))
        for name, right in COLUMNS.items():
            self._text(draw, right, 42, name, anchor="rm", fill=FAINT)
        self._text(draw, 12, 42, "task, batch, priority", fill=FAINT)
        for lane, npu in enumerate(scene.npus):
            self._npu(draw, scene, npu, lane, span)
        for lane, row in enumerate(scene.rows[: self.lanes], self.npus):
            self._lane(draw, scene, row, HEADER + LANE * lane, span)
        self._axis(draw, scene, span)
        self._legend(draw, scene.batching)
        return np.array(image, np.uint8)

    def _text(self, draw: ImageDraw, x: float, y: float, text: str, *, anchor: str = "lm", fill: str = INK) -> None:
        draw.text((x, y), text, fill=fill, font=self._font, anchor=anchor)

    def _columns(self, scene: Scene, part: Slice, span: float) -> tuple[int, int]:
        """Return the first and last pixel column of a slice: at least one."""
        scale = (STRIP_RIGHT - STRIP_LEFT) / span
        first, last = (int(scene.npu.ms(cycle - scene.since_cycles) * scale) for cycle in (part.start_cycles, part.end_cycles))
        return STRIP_LEFT + first, STRIP_LEFT + max(last - 1, first)

    def _bars(self, draw: ImageDraw, scene: Scene, slices: tuple[Slice, ...], top: int, span: float) -> None:
        """Draw slices in a lane; overhead last, so that its single pixels are not painted over."""
        for over in (False, True):
            for part in slices:
                if (part.kind in _OVERHEAD) is not over or part.kind is Kind.IDLE:
                    continue
                first, last = self._columns(scene, part, span)
                inset = 3 if over else _INSETS.get(part.kind, 5)
                draw.rectangle((first, top + inset, last, top + LANE - inset - 1), fill=scene.color_of(part))

    def _names(self, draw: ImageDraw, scene: Scene, slices: tuple[Slice, ...], top: int, span: float) -> None:
        """Write who runs into every bar of an NPU that has room for it, and part it from its neighbour."""
        for part in slices:
            if part.kind not in (Kind.EXECUTE, Kind.KILLED):
                continue
            first, last = self._columns(scene, part, span)
            room, color = last - first - NAME_MARGIN, shade_of(scene.priorities[part.task]).name_color
            names = batch_names(part.task, part.members)
            name = next((name for name in names if self._small.getlength(name) < room), "")
            if name:
                draw.text(((first + last) / 2, top + LANE // 2), name, fill=color, font=self._small, anchor="mm")
            if last - first > 3:
                draw.line((last, top + 5, last, top + LANE - 6), fill=BACKGROUND)

    def _npu(self, draw: ImageDraw, scene: Scene, npu: NpuRow, lane: int, span: float) -> None:
        top = HEADER + LANE * lane
        if npu.is_asked:
            draw.rectangle((0, top, WIDTH - 1, top + LANE - 1), fill=HIGHLIGHT)
        self._text(draw, 12, top + LANE // 2, npu.label)
        self._bars(draw, scene, scene.timeline.npus[lane], top, span)
        if self.npus > 1 or scene.batching:
            self._names(draw, scene, scene.timeline.npus[lane], top, span)
        if self.npus == 1:
            return
        self._text(draw, STRIP_RIGHT + 12, top + LANE // 2, npu.doing, fill=FAINT if npu.doing == "idle" else INK)
        if npu.is_asked:
            self._text(draw, STRIP_LEFT - 8, top + LANE // 2, "asked", anchor="rm")

    def _lane(self, draw: ImageDraw, scene: Scene, row: TaskRow, top: int, span: float) -> None:
        asked = NONE if scene.asked is None else scene.asked.task
        if row.state == RUNS and (self.npus == 1 or row.task == asked):
            draw.rectangle((0, top, WIDTH - 1, top + LANE - 1), fill=HIGHLIGHT)
        middle = top + LANE // 2
        fill = FAINT if row.state == DONE else INK
        self._text(draw, 12, middle, f"#{row.task}  {row.model}  b{row.batch}  p{row.priority}", fill=fill)
        self._text(draw, STRIP_LEFT - 8, middle, row.where_in_short, anchor="rm", fill=fill)
        self._bars(draw, scene, scene.lane(row.task), top, span)
        values = {
            "token": "" if row.state == DONE else f"{row.token:.1f}",
            "NTT": f"{row.ntt:.2f}",
            "SLA slack": slack(row),
            "saved": size(row.saved_bytes),
        }
        for name, value in values.items():
            if value:
                self._text(draw, COLUMNS[name], middle, value, anchor="rm", fill=fill)

    def _axis(self, draw: ImageDraw, scene: Scene, span: float) -> None:
        bottom = self.bottom
        if self.npus > 1:
            between = HEADER + LANE * self.npus
            draw.line((12, between, WIDTH - 12, between), fill=KIND_COLORS[Kind.WAIT])
        draw.line((STRIP_LEFT, bottom, STRIP_RIGHT, bottom), fill=FAINT)
        for tick in range(6):
            x = STRIP_LEFT + tick * (STRIP_RIGHT - STRIP_LEFT) // 5
            draw.line((x, bottom, x, bottom + 4), fill=FAINT)
            name = _moment(scene.since_ms, span * tick / 5, span) + (" ms" if tick == 5 else "")
            draw.text((x, bottom + 12), name, fill=FAINT, font=self._small, anchor="mm")
        now = STRIP_LEFT + int((scene.now_ms - scene.since_ms) / span * (STRIP_RIGHT - STRIP_LEFT))
        draw.line((now, HEADER, now, bottom), fill=FAINT)

    def _legend(self, draw: ImageDraw, batching: bool) -> None:
        words = {f"runs, {shade.name} priority": shade.color for shade in SHADES}
        words |= {
            "waits": KIND_COLORS[Kind.WAIT],
            "killed work": KIND_COLORS[Kind.KILLED],
            "save, restore (at least a pixel)": OVERHEAD_COLOR,
        }
        x, y = 12.0, self.height - 16
        for word, color in words.items():
            draw.rectangle((x, y - 5, x + 14, y + 5), fill=color)
            draw.text((x + 20, y), word, fill=INK, font=self._small, anchor="lm")
            x += 40 + self._small.getlength(word)
        if batching:
            draw.rectangle((x, y - 2, x + 14, y + 2), fill=SHADES[0].color)
            draw.text((x + 20, y), JOINED_LABEL, fill=INK, font=self._small, anchor="lm")
