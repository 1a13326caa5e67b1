"""Colours and words that all pictures share: Okabe and Ito's palette, told apart by lightness and hatches too."""

from __future__ import annotations

import dataclasses

from prema_gym.rendering.timeline import Kind


@dataclasses.dataclass(frozen=True)
class Shade:
    """How execution at a band of priorities looks: the higher, the darker, so that grey print keeps the order."""

    name: str
    least: int
    """The lowest priority of the band."""
    color: str
    name_color: str
    """What is written on it."""
    hatch: str
    glyph: str
    """In a terminal: told apart without colour too."""


SHADES = (
    Shade("low", 1, "#56B4E9", "#000000", "", "▒"),
    Shade("medium", 3, "#009E73", "#FFFFFF", "////", "▓"),
    Shade("high", 9, "#0072B2", "#FFFFFF", "", "█"),
)
"""Low, medium and high as the paper's 1, 3 and 9 are; other priorities belong to the band that they have reached."""
KILLED_COLOR = "#D55E00"
OVERHEAD_COLOR = "#000000"
STALL_COLOR = "#CC79A7"
WAIT_COLOR = "#DDDDDD"
LEARNED_COLORS = ("#882255", "#5D3A9B")
"""Learned policies and the user's own, in every picture, and nothing else: the first of a picture, and a second."""
LEARNED_MARKER = "*"
LEARNED_LINES = ("-", "--", ":", "-.")
BACKLOG_COLOR = "#E69F00"
TARGET_COLORS = {False: "#777777", True: "#A34700"}
"""SLA targets, by whether they were missed."""

KIND_COLORS = {
    Kind.KILLED: KILLED_COLOR,
    Kind.SAVE: OVERHEAD_COLOR,
    Kind.RESTORE: OVERHEAD_COLOR,
    Kind.REFILL: OVERHEAD_COLOR,
    Kind.STALL: STALL_COLOR,
    Kind.WAIT: WAIT_COLOR,
    Kind.IDLE: "#FFFFFF",
}
"""What looks the same at every priority."""
SHADED = (Kind.EXECUTE, Kind.JOINED)
"""What looks as its task's priority does."""
JOINED_LABEL = "runs in a batch that another leads"


def shade_of(priority: int) -> Shade:
    """Return how execution of a task of ``priority``, from 1 to 64, looks."""
    return next(shade for shade in reversed(SHADES) if shade.least <= priority)


def color_of(kind: Kind, priority: int) -> str:
    """Return the colour of a slice of a task of ``priority``."""
    return shade_of(priority).color if kind in SHADED else KIND_COLORS[kind]


def learned_look(number: int) -> tuple[str, str]:
    """Return (colour, line style) of a picture's learned policy ``number``, from 0; those of the first eight are all different."""
    colors, lines = LEARNED_COLORS, LEARNED_LINES
    return colors[number % len(colors)], lines[number // len(colors) % len(lines)]
