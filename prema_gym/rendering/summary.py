"""What an episode comes to: the figures that tables of recordings show, their form, and which is best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prema_gym.rendering.episode import RecordedEpisode


class Column(NamedTuple):
    """A metric in a table."""

    metric: str
    head: str
    form: str
    lower_is_better: bool | None


COLUMNS = (
    Column("antt", "ANTT", "{:.3f}", True),
    Column("stp", "STP", "{:.2f}", False),
    Column("sla_violation", "SLA viol.", "{:.1%}", True),
    Column("fairness", "fairness", "{:.3f}", False),
    Column("worst_ntt", "worst NTT", "{:.2f}", True),
    Column("elapsed_ms", "elapsed ms", "{:.2f}", None),
    Column("preemptions", "preemptions", "{:d}", None),
    Column("decisions", "decisions", "{:d}", None),
    Column("overhead_share", "overhead", "{:.3%}", None),
    Column("wasted_share", "wasted", "{:.1%}", None),
)
STREAM_COLUMNS = (
    Column("antt", "ANTT", "{:.3f}", True),
    Column("ntt_p99", "p99 NTT", "{:.1f}", True),
    Column("deadline_misses", "missed", "{:.1%}", True),
    Column("tardiness", "tardiness", "{:.3f}", True),
    Column("goodput", "goodput", "{:.1%}", False),
    Column("utilisation", "busy", "{:.1%}", None),
    Column("preemptions", "preemptions", "{:d}", None),
    Column("decisions", "decisions", "{:d}", None),
)
"""The same of a stream, whose metrics are those of its cohort."""
RETURN = Column("return", "return", "{:.4f}", False)
"""The sum of rewards, shown where one was asked for."""


def columns_of(stream: bool, rewarded: bool = False) -> tuple[Column, ...]:
    """Return the columns of a table of episodes, or of streams."""
    return (*(STREAM_COLUMNS if stream else COLUMNS), *((RETURN,) if rewarded else ()))


def summary_metrics(recording: RecordedEpisode) -> dict[str, Any]:
    """Return the metrics of a finished episode, and what tables show beside them."""
    assert recording.metrics is not None
    decisions = recording.decisions or ()
    more = {
        "return": sum(decision["reward"] for decision in decisions),
        "worst_ntt": max(recording.ntt(task) for task in range(len(recording.tasks))),
        "elapsed_ms": recording.ms(recording.end_cycles),
        "decisions": len(decisions),
    }
    return {**recording.metrics, **more}


def best_value(values: Sequence[float], lower_is_better: bool | None) -> float | None:
    """Return the value to point out; None where nothing stands out."""
    if lower_is_better is None or len(set(values)) < 2:
        return None
    return min(values) if lower_is_better else max(values)
