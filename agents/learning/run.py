"""A training run: its folder, its clock, its checkpoints, and the best policy so far.

An algorithm is handed a :class:`Run`. It calls :meth:`Run.start_clock` when set-up is over, :meth:`Run.checkpoint` after every
step, :meth:`Run.evaluate` when :attr:`Run.evaluation_due`, and returns when :attr:`Run.finished`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agents.learning.arguments import Arguments
from agents.learning.log import TrainingLog, progress_line
from agents.learning.objective import SCALES, STANDARD_ERRORS, by_measure, parse_margins
from agents.learning.selection import SELECTION_SEED, SELECTION_SPLIT, Selection
from agents.publishing.policies import LearnedPolicy
from agents.publishing.provenance import provenance
from agents.publishing.weights import save_weights
from baselines.policies.policy import Policy
from prema_gym.files import write_bytes

CHECKPOINT, STATE, BEST = "checkpoint", "state.json", "best"
"""Names in a run's folder: of the checkpoint, of what the run needs beside it, and of the best policy's weights and card."""


class Run:
    """A training run, fresh or resumed."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.folder = arguments.folder
        self.margins = parse_margins(arguments.margins)
        """(H,) improvements over the opponent that are required, for each of HEADLINES."""
        given = arguments
        self.selection = Selection(given.selection_config, given.valid_episodes, given.threads, given.opponent, self.margins)
        """The episodes on which the best policy is chosen."""
        self._log = TrainingLog(self.folder)
        self._begun = time.monotonic()
        self.state: dict[str, Any] = {"seconds": 0.0, "done": 0, "best": None, "evaluated": 0}
        """What a resumed run continues with, as JSON types; an algorithm may add entries of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if arguments.resume and (self.folder / STATE).exists():
            self.state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        write_bytes(self.folder / "arguments.json", json.dumps(arguments.recorded(), indent=1).encode())

    # --- Progress ---------------------------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Count time from here: set-up is over."""
        self._begun = time.monotonic()

    @property
    def done(self) -> int:
        """Steps done so far, those before a resumed run was interrupted included."""
        return int(self.state["done"])

    @property
    def seconds(self) -> float:
        """Time spent so far, earlier parts of a resumed run included."""
        return float(self.state["seconds"]) + time.monotonic() - self._begun

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        steps = self.arguments.steps
        return min(1.0, self.done / steps if steps else self.seconds / (60.0 * self.arguments.minutes))

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or all minutes are over."""
        return self.progress >= 1.0

    @property
    def evaluation_due(self) -> bool:
        """Whether to evaluate now."""
        return self.finished or self.progress * self.arguments.evaluations >= self.state["evaluated"] + 1

    # --- Checkpoints --------------------------------------------------------------------------------------------------------------

    def checkpoint(self, done: int, write: Callable[[Path], None]) -> None:
        """Write a checkpoint after ``done`` steps: a file that ``write(path)`` fills and that then replaces the last one."""
        temporary, final = self.folder / f".{CHECKPOINT}", self.folder / CHECKPOINT
        write(temporary)
        temporary.replace(final)
        self.state["done"] = done
        self._save_state()

    def _save_state(self) -> None:
        write_bytes(self.folder / STATE, json.dumps({**self.state, "seconds": self.seconds}).encode())

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint to continue from; None where there is none or the run is to start afresh."""
        path = self.folder / CHECKPOINT
        return path if self.arguments.resume and path.exists() else None

    # --- Evaluation ---------------------------------------------------------------------------------------------------------------

    def evaluate(self, policy: Policy, note: str) -> np.ndarray:
        """Play the episodes of selection under ``policy``, log and print what it is worth, and keep it if it is the best so far.

        A :class:`LearnedPolicy` is kept in the folder with its card; others have no form that can be published. ``note`` is a few
        words on how far training is, for the line that is printed. Returns the (H,) lower bounds of the improvements over the
        opponent, for each of HEADLINES.
        """
        outcome = self.selection.judge(policy)
        best = self.state["best"]
        better = best is None or outcome.score > best
        if better:
            self.state["best"] = outcome.score
            if isinstance(policy, LearnedPolicy):
                self._keep(policy, outcome.values)
        self.state["evaluated"] = max(self.state["evaluated"] + 1, math.floor(self.progress * self.arguments.evaluations))
        self._save_state()
        self._log.append(self.done, self.seconds, outcome)
        if not self.arguments.quiet:
            left = self.seconds * (1.0 - self.progress) / max(self.progress, 1e-9)
            print(progress_line(self.progress, left, note, outcome, better), flush=True)
        return outcome.bounds

    def _keep(self, policy: LearnedPolicy, values: np.ndarray) -> None:
        """Write weights and card of the best policy."""
        arguments, results = self.arguments, by_measure(values)
        about = {
            "summary": f"{arguments.algo} on the slot network, to dominate {arguments.opponent}.",
            "command": arguments.command,
            "algorithm": arguments.algo,
            "seed": arguments.seed,
            "arguments": arguments.recorded(),
            "training": arguments.training_config.to_dict(),
            "selection": {
                "split": SELECTION_SPLIT,
                "seed": SELECTION_SEED,
                "episodes": arguments.valid_episodes,
                "results": results,
            },
            "objective": {"scales": SCALES, "over": arguments.opponent, "standard errors taken off": STANDARD_ERRORS},
            **provenance(),
        }
        save_weights(self.folder / BEST, policy.shape, policy.flat, about)
