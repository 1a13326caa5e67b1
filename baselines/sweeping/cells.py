"""A sweep's cells: one policy in one scenario at one load with one seed each, and a file for each that is finished.

Whoever plays a cell returns its file's text; whoever runs the sweep writes it. So cells may be played on machines that share no
disk.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import prema_gym
from baselines.evaluation.evaluate import evaluate
from baselines.policies.registry import POLICIES
from prema_gym.errors import PremaError, UsageError
from prema_gym.files import is_file, write_text

SCHEMA = 2
"""Of sweep.json and of a cell's file."""
NAMED = ("policy", "scenario", "load", "episodes", "seed", "split")
"""Fields of a cell that name it in files."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One policy in one scenario at one load, with one seed."""

    policy: str
    scenario: str
    load: float
    episodes: int
    seed: int
    split: str
    arguments: str
    """The environment's, as JSON, the load among them."""
    content: str = ""
    """A hash of the agent's file where the policy is the path of one: another file is another cell."""

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"{self.policy} in {self.scenario} at load {self.load:g}, seed {self.seed}"

    @property
    def name(self) -> str:
        """Its file's name: the same for the same cell of the same release."""
        content = json.dumps([SCHEMA, prema_gym.__version__, dataclasses.astuple(self)])
        words = (self.policy.replace("/", "+"), self.scenario, f"{self.load:g}", str(self.seed))
        return "-".join((*words, f"{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"))


class Outcome(NamedTuple):
    """How a cell has ended."""

    cell: Cell
    text: str = ""
    """Of its file, where it is finished."""
    problem: str = ""
    """What went wrong, where it is not."""


def content_of(policy: str) -> str:
    """Return a hash of the files that lie at ``policy``, the path of an agent; nothing for a name."""
    if policy in POLICIES:
        return ""
    place = Path(policy)
    files = [place.with_suffix(".safetensors"), place / "best.safetensors", place]
    found = [file.read_bytes() for file in files if is_file(file)]
    return hashlib.sha256(b"".join(found)).hexdigest() if found else ""


def play_cell(cell: Cell) -> str:
    """Play a cell on one thread; return its file's text."""
    results = evaluate([cell.policy], cell.episodes, cell.seed, split=cell.split, threads=1, **json.loads(cell.arguments))
    return json.dumps({"schema": SCHEMA, **row_of(cell), "measures": results.summary(results.policies[0])}) + "\n"


def outcome_of(cell: Cell, name: str) -> Outcome:
    """Play a cell and return how it ended; ``name`` is what the sweep's own machine calls its file.

    On another machine there may be another release, or another file at an agent's path: that is a problem, not a result.
    """
    try:
        _check_is_here(cell, name)
        return Outcome(cell, text=play_cell(cell))
    except PremaError as error:
        return Outcome(cell, problem=str(error))


def _check_is_here(cell: Cell, name: str) -> None:
    if cell.name != name:
        raise UsageError(f"whoever plays it has prema-gym {prema_gym.__version__}, the sweep another: install the same everywhere.")
    if content_of(cell.policy) != cell.content:
        raise UsageError(f"{cell.policy}: is not the file that the sweep was started with: it must be readable everywhere.")


def row_of(cell: Cell) -> dict[str, Any]:
    """Return what names a cell in files."""
    return {name: getattr(cell, name) for name in NAMED}


def keep(outcome: Outcome, folder: Path) -> None:
    """Write the file of a cell that is finished."""
    write_text(folder / outcome.cell.name, outcome.text)


def read_cell(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return a finished cell; None where its file is missing or damaged."""
    try:
        found = json.loads((folder / cell.name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.get("schema") == SCHEMA and isinstance(found.get("measures"), dict)
    return found if whole else None


def over_seeds(finished: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return finished cells with those of different seeds as one: seeds draw streams that have nothing to do with each other.

    A measure's mean is that of the seeds, and the half-width of its interval the root of the sum of squares of theirs, over their
    number. A single seed's cells are returned as they are.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for cell in finished:
        groups.setdefault(tuple(cell[name] for name in NAMED if name != "seed"), []).append(cell)
    return [dict(cells[0]) if len(cells) == 1 else {**cells[0], "measures": _pooled(cells)} for cells in groups.values()]


def _pooled(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and interval over ``cells`` of every measure that has them; None where one of the cells has none."""
    return {
        name: _pooled_estimate([cell["measures"][name] for cell in cells])
        for name, first in cells[0]["measures"].items()
        if isinstance(first, dict) and "mean" in first
    }


def _pooled_estimate(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means, ends = [one["mean"] for one in found], [end for one in found for end in one["ci95"]]
    mean = None if None in means else sum(means) / len(means)
    if mean is None or None in ends:
        return {"mean": mean, "ci95": [None, None]}
    half = math.sqrt(sum(((high - low) / 2) ** 2 for low, high in zip(ends[::2], ends[1::2], strict=True))) / len(found)
    return {"mean": mean, "ci95": [mean - half, mean + half]}
