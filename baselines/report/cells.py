"""What stands in a table's cell: means with half-widths, to three significant digits, and who is best."""

from __future__ import annotations

import math

from baselines.evaluation.comparison import Comparison
from baselines.evaluation.estimates import decimals_of, digits

PERCENT = ("sla_violation",)
"""Measures that are shown in percent."""


def cell(results: Comparison, policy: str, measure: str) -> tuple[str, str]:
    """Return (mean, half-width of the interval) as text, SLA violations in percent; no half-width where there is no interval."""
    estimate = results.estimate(policy, measure)
    scale = 100.0 if measure in PERCENT else 1.0
    mean, half = scale * estimate.mean, scale * estimate.half_width
    return digits(mean), digits(half, decimals_of(mean)).removeprefix("0") if estimate.has_interval else ""


def spread(mean: str, half: str, sign: str = " ±") -> str:
    """Return a mean with its half-width, and alone where it has none."""
    return f"{mean}{sign}{half}" if half else mean


def marks(results: Comparison, policy: str, told: str = "†", illegal: str = "‡", elsewhere: str = "§") -> str:
    """Return the marks of ``policy``: ``told`` true times, plays ``illegal`` actions, was trained ``elsewhere``: on another NPU."""
    marked = {told: results.clairvoyant, illegal: results.illegal, elsewhere: results.trained_elsewhere}
    return "".join(mark for mark, policies in marked.items() if policy in policies)


def named(results: Comparison, policy: str) -> str:
    """Return the name of ``policy`` with its marks."""
    return f"{policy} {marks(results, policy)}".rstrip()


def factor_text(value: float) -> str:
    """Return a factor as text: at most two decimals."""
    return digits(value, min(decimals_of(value), 2))


def best_policies(results: Comparison, measure: str) -> list[str]:
    """Return the policies that are best in ``measure`` (ties included), those told true times apart."""
    known = [name for name in results.policies if name not in results.clairvoyant]
    means = {name: results.mean(name, measure) for name in known}
    finite = [value for value in means.values() if math.isfinite(value)]
    if not finite or len(known) < 2:
        return []
    target = max(finite) if results.measures[measure].higher_is_better else min(finite)
    return [name for name, value in means.items() if value == target]
