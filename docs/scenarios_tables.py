"""The tables of ``docs/scenarios.md``: rules on the streams of PremaCluster-v0, ``python docs/scenarios_tables.py``.

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tables import renewed_by, table

from baselines import Results, evaluate

PAGE = Path(__file__).with_name("scenarios.md")
SCENARIO, EPISODES = "PremaCluster-v0", 200
POLICIES = ("PREMA", "EDF", "EDF-FEASIBLE", "JSQ/WSRPT", "WSRPT", "GATE", "GATE-DEADLINE", "GATE-EDF-FEASIBLE")
MEASURES = {
    "deadline_misses": ("deadlines missed (%)", 100, 2),
    "tardiness": ("tardiness", 1, 3),
    "weighted_antt": ("weighted ANTT", 1, 3),
    "ntt_p99": ("p99 NTT", 1, 1),
    "goodput": ("goodput (%)", 100, 2),
    "fairness_8": ("fairness of 8", 1, 4),
}
"""Of each measure its label, what it is multiplied by, and its decimals."""
PAIRS = (
    ("GATE", "WSRPT"), ("GATE-DEADLINE", "GATE"), ("GATE-DEADLINE", "EDF-FEASIBLE"), ("GATE-EDF-FEASIBLE", "EDF-FEASIBLE"),
    ("GATE-EDF-FEASIBLE", "GATE"),
)  # fmt: skip
"""Whose difference is told: of the first from the second, in the same streams."""
COMPARED = ("deadline_misses", "tardiness", "weighted_antt", "ntt_p99")


def _text(mean: float, half_width: float, measure: str) -> str:
    _, scale, decimals = MEASURES[measure]
    return f"{scale * mean:.{decimals}f} ± {scale * half_width:.{decimals}f}"


def rules(results: Results) -> str:
    """Return the measures of every policy."""
    rows = []
    for name in POLICIES:
        estimates = {measure: results.estimate(name, measure) for measure in MEASURES}
        cells = [_text(estimate.mean, estimate.half_width, measure) for measure, estimate in estimates.items()]
        rows.append([name, *cells, f"{results.mean(name, 'decisions'):.0f}"])
    return table(["policy", *(label for label, _, _ in MEASURES.values()), "decisions"], rows, right=len(MEASURES) + 1)


def differences(results: Results) -> str:
    """Return the paired differences; those whose interval excludes zero are bold."""
    rows = []
    for policy, opponent in PAIRS:
        cells = []
        for measure in COMPARED:
            gap = results.difference(policy, opponent, measure).difference
            text = _text(gap.mean, gap.half_width, measure)
            cells.append(f"**{text}**" if gap.low > 0 or gap.high < 0 else text)
        rows.append([f"{policy} - {opponent}", *cells])
    return table(["difference", *(MEASURES[measure][0] for measure in COMPARED)], rows, right=len(COMPARED))


def main() -> int:
    """Play, and renew the page's tables; return the exit code."""
    results = evaluate(POLICIES, episodes=EPISODES, seed=0, scenario=SCENARIO)
    made = {"rules": rules(results), "differences": differences(results)}
    PAGE.write_text(renewed_by(PAGE.read_text(encoding="utf-8"), made.__getitem__), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
