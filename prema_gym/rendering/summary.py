"""What an episode comes to: the figures that tables of recordings show, their form, and which is best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prema_gym.config import EnvConfig
from prema_gym.rendering.episode import RecordedEpisode
from prema_gym.rendering.timeline import Kind
from prema_gym.types import NONE


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
BATCH_SAMPLES = Column("batch_samples", "samples a batch", "{:.2f}", None)
"""Shown where tasks run in batches."""
RETURN = Column("return", "return", "{:.4f}", False)
"""The sum of rewards, shown where one was asked for."""


def columns_of(config: EnvConfig, rewarded: bool = False) -> tuple[Column, ...]:
    """Return the columns of a table of episodes of ``config``."""
    metrics = STREAM_COLUMNS if config.stream else COLUMNS
    return (*metrics, *((BATCH_SAMPLES,) if config.batching > 1 else ()), *((RETURN,) if rewarded else ()))


def batch_samples(recording: RecordedEpisode) -> float:
    """Return the mean samples that ran together, of what has completed; NaN where nothing has."""
    lanes = zip(recording.tasks, recording.timeline.tasks, strict=True)
    done = [(task["batch"], lane[-1].kind) for task, lane in lanes if task["completion_cycles"] != NONE]
    batches = sum(kind is not Kind.JOINED for _, kind in done)
    return sum(samples for samples, _ in done) / batches if batches else float("nan")


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
    batched = {"batch_samples": batch_samples(recording)} if recording.config.batching > 1 else {}
    return {**recording.metrics, **batched, **more}


def best_value(values: Sequence[float], lower_is_better: bool | None) -> float | None:
    """Return the value to point out; None where nothing stands out."""
    if lower_is_better is None or len(set(values)) < 2:
        return None
    return min(values) if lower_is_better else max(values)
