"""The tables of ``docs/reproduction.md``, from the file that ``make reproduce`` writes.

    python docs/reproduction_tables.py results/reproduction.json

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. The text around it is written by hand:
read it again where a figure that it speaks of has moved.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tables import renewed_by, table

Json = dict[str, Any]
PAGE = Path(__file__).with_name("reproduction.md")
FACTORS = {"antt": "ANTT", "stp": "STP", "sla": "SLA violations", "fairness": "fairness"}
MEASURES = {"antt": "ANTT", "stp": "STP", "sla_violation": "SLA violations (%)", "fairness": "fairness", "hp_tail": "p9 tail"}
SHARES = {**MEASURES, "sla_violation": "SLA violations"}
SHOWN_TARGETS = (2, 3, 4, 6, 8, 10, 12, 16, 20)
LARGE = 1e3


def number(value: float, decimals: int = 2) -> str:
    """Return ``value`` with at most ``decimals``; a number of three digits before the point needs none."""
    return f"{value:.0f}" if abs(value) >= LARGE else f"{value:.{decimals}f}"


def half_width(entry: Json) -> float:
    """Return half the length of the entry's interval."""
    low, high = entry["ci95"]
    return float((high - low) / 2)


def factor(entry: Json, decimals: int = 2) -> str:
    """Return a factor with half its interval."""
    return f"{entry['factor']:.{decimals}f} ± {half_width(entry):.{decimals}f}"


def headline(studies: Json) -> str:
    """Return the three factors of PREMA beside the abstract's."""
    rows = []
    for key, label in list(FACTORS.items())[:3]:
        entry = studies["headline"]["factors"][key]
        low, high = entry["ci95"]
        geometric = entry["geometric_mean"]["factor"]
        rows.append(
            [
                label,
                f"{entry['paper']}",
                f"**{entry['factor']:.2f}**",
                f"{low:.2f}–{high:.2f}",
                f"{entry['factor'] / entry['paper']:.2f}",
                "yes" if entry["within_25_percent"] else "no",
                "undefined (no violations in some)" if geometric is None else f"{geometric:.2f}",
            ]
        )
    head = ["PREMA over NP-FCFS", "abstract", "here", "95 % interval", "here / abstract", "within 25 %"]
    return table([*head, "geometric mean over episodes"], rows)


def readings(studies: Json) -> str:
    """Return the three factors under every reading of hardware and scheduler."""
    rows = []
    for mode, policies in studies["headline"]["readings"].items():
        for policy, factors in policies.items():
            rows.append([f"`{mode}`", policy, *(factor(factors[key]) for key in list(FACTORS)[:3])])
    return table(["`weight_loading`", "policy", *list(FACTORS.values())[:3]], rows)


def factors_of(study: str, head: str) -> Callable[[Json], str]:
    """Return the maker of a table of factors over the points of ``study``."""

    def make(studies: Json) -> str:
        rows = []
        for point in studies[study]["points"]:
            cells = [factor(point["factors"][key], 1 if key == "fairness" else 2) for key in FACTORS]
            rows.append([point["label"], *cells])
        return table([head, *FACTORS.values()], rows)

    return make


def calibration(studies: Json) -> str:
    """Return the rule's distances over windows."""
    rows = []
    for point in studies["calibration"]["points"]:
        low, high = point["distance_ci95"]
        cells = [factor(point["factors"][key]) for key in list(FACTORS)[:3]]
        rows.append(
            [point["label"], *cells, f"{point['distance']:.3f}", f"{low:.3f}–{high:.3f}", f"{100 * point['chosen_share']:.0f} %"]
        )
    head = ["window", *list(FACTORS.values())[:3], "largest abs. ln(factor / abstract's)", "95 % interval", "chosen in resamples"]
    return table(head, rows)


def measure(entry: Json, name: str) -> str:
    """Return a measure with half its interval, SLA violations in percent."""
    scale, decimals = (100.0, 2) if name == "sla_violation" else (1.0, 3) if name == "fairness" else (1.0, 2)
    return f"{number(scale * entry['mean'], decimals)} ± {number(scale * half_width(entry), decimals)}"


def measures(policies: Json, names: Iterable[str]) -> Iterable[list[str]]:
    """Yield a row of measures for each of ``names``."""
    for name in names:
        yield [name, *(measure(policies[name][key], key) for key in MEASURES)]


def families(studies: Json) -> str:
    """Return each rule beside its preemptive version, then PREMA."""
    policies = studies["families"]["policies"]
    rules = [name.removeprefix("NP-") for name in policies if name.startswith("NP-")]
    names = [name for rule in rules for name in (f"NP-{rule}", f"P-{rule}")]
    return table(["policy", *MEASURES.values()], measures(policies, [*names, "PREMA"]))


def mechanisms(studies: Json) -> str:
    """Return three rules under every mechanism."""
    policies = studies["mechanisms"]["policies"]
    chosen = [name for name in policies if name.startswith(("P-SJF", "P-TOKEN", "P-PREMA"))]
    return table(["policy", *MEASURES.values()], measures(policies, [*chosen, "PREMA-COMMIT"]))


def tokens(studies: Json) -> str:
    """Return both readings of Algorithm 2 over windows."""
    rows = []
    for point in studies["tokens"]["points"]:
        for policy, words in (("PREMA", "since last"), ("PREMA-WHOLE-WAIT", "whole")):
            (cells,) = measures(point["policies"], [policy])
            rows.append([point["label"], words, *cells[1:]])
    return table(["window", "token", *MEASURES.values()], rows)


def oracle(studies: Json) -> str:
    """Return PREMA's share of the oracle over predictor errors."""
    rows = []
    for point in studies["oracle"]["points"]:
        shares = (point["share_of_oracle"][key] for key in SHARES)
        rows.append([point["label"], *(f"{100 * s['factor']:.1f} ± {100 * half_width(s):.1f} %" for s in shares)])
    return table(["predictor error σ", *SHARES.values()], rows)


def targets(studies: Json) -> str:
    """Return SLA violations by target, in percent."""
    found = studies["sla"]["violations"]
    rows = ([name, *(f"{100 * row[str(n)]['mean']:.1f}" for n in SHOWN_TARGETS)] for name, row in found.items())
    return table(["policy", *(f"N = {n}" for n in SHOWN_TARGETS)], rows)


def prediction(studies: Json) -> str:
    """Return the predictors' errors by network and batch."""
    rows = (
        [
            row["model"],
            str(row["batch"]),
            *(f"{100 * row[key]:.2f}" for key in ("true_length", "guessed_length")),
            f"{100 * row['macs']:.0f}",
        ]
        for row in studies["prediction"]["errors"]
    )
    return table(["network", "batch", "Algorithm 1, true length (%)", "Algorithm 1, profiled length (%)", "MAC count (%)"], rows)


def contexts(studies: Json) -> str:
    """Return what preempting each program costs."""

    def spread(entry: Json, decimals: int) -> str:
        return f"{entry['mean']:.{decimals}f} / {entry['max']:.{0 if decimals == 0 else 1}f}"

    rows = []
    for row in studies["contexts"]["programs"]:
        cells = [spread(row["save_kib"], 0), spread(row["cost_us"], 1), spread(row["wait_for_commit_us"], 2)]
        rows.append([row["model"], str(row["batch"]), str(row["points"]), f"{row['isolated_ms']:.2f}", *cells])
    head = ["network", "batch", "points", "isolated (ms)", "save, mean / max (KiB)"]
    return table([*head, "save + restore + refill, mean / max (µs)", "wait for the commit, mean / max (µs)"], rows)


def pairs(studies: Json) -> str:
    """Return what each mechanism does to a pair of networks."""
    rows = []
    for name, found in studies["pairs"]["mechanisms"].items():
        overall = found["overall"]
        preempting, preempted = f"{overall['ntt_preempting']:.3f}", f"{overall['ntt_preempted']:.2f}"
        rows.append([name, f"{overall['delay_us']:.1f}", preempting, preempted, f"{overall['stp']:.3f}"])
    return table(["mechanism", "delay of the preempting task (µs)", "its NTT", "NTT of the preempted", "STP"], rows)


TABLES: dict[str, Callable[[Json], str]] = {
    "headline": headline,
    "readings": readings,
    "calibration": calibration,
    "window": factors_of("window", "window"),
    "mix": factors_of("mix", "networks drawn"),
    "batch": factors_of("batch", "batch sizes"),
    "tasks": factors_of("tasks", "tasks"),
    "quantum": factors_of("quantum", "quantum (ms)"),
    "hardware": factors_of("hardware", "hardware"),
    "families": families,
    "mechanisms": mechanisms,
    "tokens": tokens,
    "oracle": oracle,
    "targets": targets,
    "prediction": prediction,
    "contexts": contexts,
    "pairs": pairs,
}
"""What makes each table of the page, by name."""
STUDIES = {"readings": "headline", "targets": "sla"}
"""The study behind a table, where its name is another."""


def _made(name: str, studies: Json, page: str) -> str:
    """Return the table ``name``; that of the page, where the file lacks the study."""
    study = STUDIES.get(name, name)
    if study not in studies:
        return page.partition(f"<!-- begin {name} -->\n")[2].partition(f"\n<!-- end {name} -->")[0]
    return TABLES[name](studies)


def main(arguments: Sequence[str]) -> int:
    """Renew the page's tables from the file named; return the exit code."""
    if len(arguments) != 1:
        print("usage: python docs/reproduction_tables.py results/reproduction.json", file=sys.stderr)
        return 2
    studies = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))["studies"]
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(renewed_by(page, lambda name: _made(name, studies, page)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
