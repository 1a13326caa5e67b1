"""The group "streams": the backlog, and how fast requests have come lately."""

from __future__ import annotations

from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation.features import REFERENCE_CYCLES, STREAM_ROW
from prema_gym.envs.observation.lanes import to_logs
from prema_gym.types import NONE

_AT, _FEATURES = STREAM_ROW.at, len(STREAM_ROW.features)
_PER_REFERENCE = 1.0 / REFERENCE_CYCLES


@jit_borrowing
def observe_stream(status, out, at):
    """Fill the group "streams" of ``out`` from ``at`` on; return where it ends."""
    oldest, gap = status.oldest_backlog_cycles, status.arrival_gap_cycles
    out[at + _AT.log_backlog] = 1.0 + status.backlog
    out[at + _AT.log_oldest] = 1.0 if oldest == NONE else 1.0 + (status.clock_cycles - oldest) * _PER_REFERENCE
    out[at + _AT.log_gap] = gap * _PER_REFERENCE if gap > 0.0 else 1.0
    end = at + _FEATURES
    to_logs(out, at, end)
    return end
