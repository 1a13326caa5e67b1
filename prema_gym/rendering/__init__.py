"""Seeing an episode: recordings, Gantt charts, pages, Perfetto traces, and what ``render()`` draws; and seeing a compiled program.

Nothing heavy is imported before it is used: matplotlib by :func:`gantt`, Bokeh by :func:`save_page`, Pillow by frames, rich by the
live view, pandas by tables.
"""

from prema_gym.rendering.charts.gantt import gantt, gantt_compare
from prema_gym.rendering.charts.roofline import context_profile, roofline
from prema_gym.rendering.export.episode_page import save_page
from prema_gym.rendering.export.perfetto import save_trace
from prema_gym.rendering.record import RecordDecisions, record
from prema_gym.rendering.recording import Recording
from prema_gym.rendering.timeline import Kind, Slice, Timeline, TimelineBuilder

__all__ = [
    "Kind",
    "RecordDecisions",
    "Recording",
    "Slice",
    "Timeline",
    "TimelineBuilder",
    "context_profile",
    "gantt",
    "gantt_compare",
    "record",
    "roofline",
    "save_page",
    "save_trace",
]
