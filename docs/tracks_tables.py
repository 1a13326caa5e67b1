"""The tables of ``docs/tracks.md``, from the files that ``python -m baselines.headroom`` writes.

    python docs/tracks_tables.py results/headroom.json

Of several files the later ones add worlds, or replace them. A table stands between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tables import renewed_by, table

Json = dict[str, Any]
PAGE = Path(__file__).with_name("tracks.md")
MEASURES = {
    "deadline_misses": ("deadlines missed (%)", 100, 2),
    "tardiness": ("tardiness", 1, 3),
    "weighted_antt": ("weighted ANTT", 1, 3),
    "ntt_p99": ("p99 NTT", 1, 1),
}
"""Of each measure its label, what it is multiplied by, and its decimals."""


def _value(entry: Json, key: str, measure: str) -> str:
    _, scale, decimals = MEASURES[measure]
    if entry[key] is None:
        return "-"
    low, high = entry["ci95"]
    half = "" if low is None else f" ± {scale * (high - low) / 2:.{decimals}f}"
    return f"{scale * entry[key]:.{decimals}f}{half}"


def _gained(found: Json, policy: str) -> str:
    """Return a gain in percent with its interval."""
    entry = found["gains"][policy]
    if entry["gain"] is None:
        return "-"
    low, high = entry["ci95"]
    interval = "" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{100 * entry['gain']:.0f}{interval}"


def worlds(found: Mapping[str, Json]) -> str:
    """Return the main measure of every world, what two lookaheads gain, and whether it is a track."""
    rows = []
    for name, world in found.items():
        measure = world["measure"]
        main = _value(world["policies"][world["best"]][measure], "mean", measure)
        rows.append(
            [
                name,
                f"{world['episodes']} of {world['requests']}",
                f"`{world['best']}`",
                f"{MEASURES[measure][0]}: {main}",
                _gained(world, world["lookahead"]),
                _gained(world, world["clairvoyant"]),
                "yes" if world["track"] else "no",
            ]
        )
    head = [
        "world",
        "episodes, requests",
        "best rule",
        "its main measure",
        "LOOKAHEAD gains (%)",
        "its clairvoyant twin † (%)",
        "a track",
    ]
    return table(head, rows, right=4)


def others(found: Mapping[str, Json]) -> str:
    """Return the other measures of the best rule and the lookaheads."""
    rows = []
    for name, world in found.items():
        for policy, measured in world["policies"].items():
            mark = " †" if policy == world["clairvoyant"] else ""
            cells = [_value(measured[measure], "mean", measure) for measure in MEASURES]
            rows.append([name if policy == world["best"] else "", f"{policy}{mark}", *cells])
    return table(["world", "policy", *(label for label, _, _ in MEASURES.values())], rows, right=len(MEASURES))


def main(arguments: Sequence[str]) -> int:
    """Renew the page's tables from the files named; return the exit code."""
    if not arguments:
        print("usage: python docs/tracks_tables.py results/headroom.json ...", file=sys.stderr)
        return 2
    found: dict[str, Json] = {}
    for path in arguments:
        found |= json.loads(Path(path).read_text(encoding="utf-8"))
    made = {"worlds": worlds(found), "others": others(found)}
    PAGE.write_text(renewed_by(PAGE.read_text(encoding="utf-8"), made.__getitem__), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
