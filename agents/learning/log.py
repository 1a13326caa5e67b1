"""The log of a run: a line of JSON for each evaluation, TensorBoard files where torch is installed, and a line on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.learning.selection import Outcome
from prema_gym.errors import FileError, PolicyError
from prema_gym.files import write_text

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


class TrainingLog:
    """Makes the lines of the log in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def replace(self, lines: str) -> None:
        """Write all lines of the log."""
        write_text(self.folder / LOG, lines)

    def line(self, done: int, seconds: float, outcome: Outcome, training: Mapping[str, float]) -> str:
        """Return the line of an evaluation after ``done`` steps, with what the algorithm tells of it, and tell TensorBoard."""
        groups = {name: outcome.named(name) for name in ("values", "over_opponent", "over_prema", "bounds")}
        line = {"done": done, "seconds": round(seconds, 1), **groups, "score": outcome.score}
        if training:
            line["training"] = dict(training)
        writer = self._tensorboard()
        if writer is not None:
            _tell(writer, {**groups, "training": training}, outcome.score, done)
        return json.dumps(line) + "\n"

    def _tensorboard(self) -> Any:
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return None
            try:
                self._writer = SummaryWriter(str(self.folder / TENSORBOARD))
            except OSError as error:
                raise FileError(f"{self.folder / TENSORBOARD}: can't be written: {error.strerror or error}.") from error
        return self._writer


def _tell(writer: Any, groups: Mapping[str, Mapping[str, float]], score: float, done: int) -> None:
    for group in ("values", "over_opponent", "over_prema", "training"):
        for name, value in groups[group].items():
            writer.add_scalar(f"{group}/{name}", value, done)
    writer.add_scalar("objective", score, done)
    writer.flush()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the evaluations in a run's folder, in order; raises :class:`PolicyError` where there is no log."""
    path = folder / LOG
    if not path.is_file():
        raise PolicyError(f"{folder}: holds no {LOG}: is it the folder of a run of python -m agents.train?")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def progress_line(progress: float, seconds_left: float, note: str, outcome: Outcome, best: bool) -> str:
    """Return what is printed of an evaluation: each measure, (improvement over PREMA / over the opponent), the score."""
    rows = zip(outcome.measures.values(), outcome.values, outcome.over_prema, outcome.over_opponent, strict=True)
    cells = [f"{measure.label} {value:.4g} ({prema:+.3g}/{opponent:+.3g})" for measure, value, prema, opponent in rows]
    clock = f"{100 * progress:3.0f} % {note} ETA {int(seconds_left // 60)}:{int(seconds_left % 60):02}"
    return f"{clock} | {'  '.join(cells)} | {outcome.score:+.2f}{' best' if best else ''}"
