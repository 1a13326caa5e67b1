"""The tables of ``docs/several_npus.md``, from the file that ``make reproduce`` writes.

    python docs/several_npus_tables.py results/reproduction.json

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tables import renewed_by, table

Json = dict[str, Any]
PAGE = Path(__file__).with_name("several_npus.md")
MEASURES = {
    "antt": ("ANTT", 1, 2),
    "weighted_antt": ("weighted ANTT", 1, 2),
    "stp": ("STP", 1, 1),
    "sla_violation": ("SLA violations (%)", 100, 2),
    "hp_tail": ("p9 tail", 1, 2),
}
"""Of each measure its label, what it is multiplied by, and its decimals."""
COMPARED = ("antt", "weighted_antt", "sla_violation")


def _with_interval(entry: Json, key: str, measure: str) -> str:
    _, scale, decimals = MEASURES[measure]
    low, high = entry["ci95"]
    return f"{scale * entry[key]:.{decimals}f} ± {scale * (high - low) / 2:.{decimals}f}"


def of_cluster(cluster: Json) -> str:
    """Return the measures of every policy, and how much of the time each NPU was in use."""
    rows = []
    for name, measured in cluster["policies"].items():
        used = " ".join(f"{100 * share['mean']:.0f}" for share in cluster["utilisation"][name])
        rows.append([name, *(_with_interval(measured[measure], "mean", measure) for measure in MEASURES), used])
    return table(["policy", *(label for label, _, _ in MEASURES.values()), "NPUs in use (%)"], rows, right=len(MEASURES) + 1)


def differences(clusters: Sequence[Json]) -> str:
    """Return the paired differences in every cluster."""
    rows = []
    for cluster in clusters:
        for entry in cluster["differences"]:
            cells = []
            for measure in COMPARED:
                low, high = entry[measure]["ci95"]
                text = _with_interval(entry[measure], "difference", measure)
                cells.append(f"**{text}**" if low > 0 or high < 0 else text)
            rows.append([cluster["label"], f"{entry['policy']} - {entry['opponent']}", *cells])
    return table(["NPUs", "difference", *(MEASURES[measure][0] for measure in COMPARED)], rows, right=len(COMPARED))


def main(arguments: Sequence[str]) -> int:
    """Renew the page's tables from the file named; return the exit code."""
    if len(arguments) != 1:
        print("usage: python docs/several_npus_tables.py results/reproduction.json", file=sys.stderr)
        return 2
    clusters = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))["studies"]["npus"]["clusters"]
    made = {cluster["label"]: of_cluster(cluster) for cluster in clusters} | {"differences": differences(clusters)}
    PAGE.write_text(renewed_by(PAGE.read_text(encoding="utf-8"), made.__getitem__), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
