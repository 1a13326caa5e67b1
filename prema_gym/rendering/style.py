"""Colours and words that all pictures share: Okabe and Ito's palette, told apart by lightness and hatches too."""

from __future__ import annotations

from prema_gym.rendering.timeline import Kind

PRIORITY_COLORS = {1: "#56B4E9", 3: "#009E73", 9: "#0072B2"}
"""Execution, by priority: the higher, the darker, so that grey print keeps the order."""
NAME_COLORS = {1: "#000000", 3: "#FFFFFF", 9: "#FFFFFF"}
"""What is written on execution, by priority."""
KILLED_COLOR = "#D55E00"
OVERHEAD_COLOR = "#000000"
STALL_COLOR = "#CC79A7"
WAIT_COLOR = "#DDDDDD"
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
"""Everything but execution."""

PRIORITY_NAMES = {1: "low", 3: "medium", 9: "high"}


def color_of(kind: Kind, priority: int) -> str:
    """Return the colour of a slice of a task of ``priority``."""
    return PRIORITY_COLORS[priority] if kind is Kind.EXECUTE else KIND_COLORS[kind]
