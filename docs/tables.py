"""The tables of the pages that are made from the code: ``python docs/tables.py`` renews them, with ``--check`` it only looks.

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. A test holds pages and code together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from baselines import Results, evaluate
from baselines.report.isolated import ISOLATED_HEADS, isolated_times
from prema_gym.config import EnvConfig
from prema_gym.envs.observation import BLOCKS, GROUPS

ROOT = Path(__file__).parents[1]
RESULT_POLICIES = ("NP-FCFS", "P-HPF", "P-RRB", "HRRN", "PREMA", "PREMA-COMMIT", "P-SJF", "WSRPT", "INDEX", "CAP-INDEX")
RESULT_MEASURES = ("antt", "weighted_antt", "stp", "sla_violation", "fairness", "class_fairness", "hp_tail")
RESULT_EPISODES = 1000
"""As many as ``make compare`` plays: the rows are the same."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> str:
    """Return a Markdown table; the last ``right`` columns are aligned to the right."""
    rules = ["---"] * (len(head) - right) + ["--:"] * right
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


WIDTHS = {"slot": "T", "npu": "M", "row": "1"}
"""How many numbers a feature is."""


def features(group: str) -> str:
    """Return the table of one group of the observation, in the order of the vector."""
    rows = (
        [f"`{feature.name}`", WIDTHS[block.of], feature.meaning, f"[{feature.low:g}, {feature.high:g}]"]
        for block in BLOCKS
        if block.group == group
        for feature in block.features
    )
    return table(["feature", "numbers", "meaning and scale", "clipped to"], rows)


def _result(results: Results, policy: str, measure: str) -> str:
    estimate = results.estimate(policy, measure)
    percent = measure == "sla_violation"
    mean, half = (100 * value if percent else value for value in (estimate.mean, estimate.half_width))
    decimals = 0 if mean >= 100 else 1 if mean >= 10 else 2 if mean >= 0.5 else 3
    return f"{mean:.{decimals}f}{' %' if percent else ''}" + (f" ± {half:.{decimals}f}" if estimate.has_interval else "")


def results() -> str:
    """Return measures of a few policies, in the episodes that ``make compare`` plays."""
    played = evaluate(RESULT_POLICIES, RESULT_EPISODES)
    head = ["policy", *(played.measures[name].label for name in RESULT_MEASURES)]
    rows = ([name, *(_result(played, name, measure) for measure in RESULT_MEASURES)] for name in RESULT_POLICIES)
    return table(head, rows, right=len(RESULT_MEASURES))


def isolated() -> str:
    """Return the isolated times of the default NPU and workload, in ms."""
    config = EnvConfig()
    return table(ISOLATED_HEADS, (row.cells(config.npu) for row in isolated_times(config)), right=5)


TABLES: dict[str, Callable[[], str]] = {
    **{f"features {group}": partial(features, group) for group in GROUPS},
    "results": results,
    "isolated times": isolated,
}
"""What makes each table, by name."""
PAGES = ("README.md", "docs/baselines.md", "docs/environment.md")
"""Pages that have such tables."""


def renewed_by(page: str, make: Callable[[str], str]) -> str:
    """Return the text of ``page`` with each of its tables replaced by what ``make(name)`` returns."""

    def renew(match: re.Match[str]) -> str:
        return f"{match[1]}\n{make(match[2])}\n{match[3]}"

    return re.sub(r"(<!-- begin ([a-z ]+) -->).*?(<!-- end \2 -->)", renew, page, flags=re.DOTALL)


def renewed(page: str) -> str:
    """Return the text of ``page`` with its tables made anew."""
    return renewed_by(page, lambda name: TABLES[name]())


def main(arguments: Sequence[str]) -> int:
    """Renew the pages, or under ``--check`` name those that are out of date; return the exit code."""
    stale = []
    for name in PAGES:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = renewed(before)
        if before != after:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(after, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'out of date, run python docs/tables.py' if '--check' in arguments else 'renewed'}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
