"""A training run: its folder, its clock, its checkpoints, and the best policy so far.

An algorithm is handed a :class:`Run`. It calls :meth:`Run.start_clock` when set-up is over, :meth:`Run.checkpoint` after every
step, :meth:`Run.evaluate` when :attr:`Run.evaluation_due`, and returns when :attr:`Run.finished`.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from agents.learning.arguments import Arguments
from agents.learning.checkpoint import Saved, load, save
from agents.learning.log import LOG, TrainingLog, progress_line
from agents.learning.objective import DOMINANCE, SCALES, STANDARD_ERRORS, parse_margins
from agents.learning.options import flag
from agents.learning.selection import SELECTION_SEED, SELECTION_SPLIT, Outcome, make_selection
from agents.policies.card import FORMAT as AGENT
from agents.policies.card import card_path
from agents.publishing.policies import BEST, GRAPH, LearnedPolicy
from agents.publishing.provenance import provenance
from agents.publishing.weights import SUFFIX, form_of, network_entry, save_weights
from baselines.policies.policy import Policy
from prema_gym.errors import FileError, PolicyError
from prema_gym.files import write_bytes, write_text

CHECKPOINT, RESUMED, STATE = "checkpoint", ".resumed", "state.json"
"""Names in a run's folder.

The checkpoint is all that ``--resume`` reads; its part that is the algorithm's; progress. The best policy's weights and card have
the name BEST.
"""
MAY_CHANGE = frozenset(("steps", "minutes"))
"""Options that a resumed run may be given anew: how long to go on."""


@runtime_checkable
class HasGraph(Protocol):
    """A policy that can be written as an ONNX file."""

    def graph(self) -> bytes:
        """Return the file's bytes."""
        ...


def best_of_run(folder: Path) -> tuple[Path, dict[str, float]] | None:
    """Return the file of the best policy in a run's folder and its results at selection; None where there is none."""
    for file, card in ((folder / f"{BEST}{SUFFIX}", folder / f"{BEST}.json"), (folder / GRAPH, card_path(folder / GRAPH))):
        if file.exists():
            return file, json.loads(card.read_text(encoding="utf-8"))["selection"]["results"]
    return None


class Run:
    """A training run, fresh or resumed. One process at a time may have a folder: make it inside :func:`checkpoint.locked`."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.folder = arguments.folder
        self.margins = parse_margins(arguments.margins)
        """(H,) improvements over the opponent that are required, for each of HEADLINES."""
        given = arguments
        self.selection = make_selection(
            given.chosen_by, given.selection_config, given.valid_episodes, given.threads, given.opponent, self.margins
        )
        """The episodes on which the best policy is chosen."""
        self._log = TrainingLog(self.folder)
        self._begun = time.monotonic()
        fresh = {"seconds": 0.0, "done": 0, "best": None, "evaluated": 0, "evaluated_at": None}
        self._saved = Saved({**fresh, "arguments": arguments.recorded()}, "")
        self._resumed = arguments.resume and (self.folder / CHECKPOINT).exists()
        if self._resumed:
            self._saved = load(self.folder / CHECKPOINT)
            self._check_same_options()
        else:
            self._clear()
        self._write_from(self._saved)
        write_text(self.folder / "arguments.json", json.dumps(arguments.recorded(), indent=1))

    @property
    def state(self) -> dict[str, Any]:
        """What a resumed run continues with, as JSON types; an algorithm may add entries of its own."""
        return self._saved.state

    def _check_same_options(self) -> None:
        """Refuse to go on with other options: neither run would be what its card says. How long to go on may change."""
        before, now = self.state.get("arguments", {}), json.loads(json.dumps(self.arguments.recorded()))
        unlike = [name for name in sorted({*before, *now} - MAY_CHANGE) if before.get(name) != now.get(name)]
        if unlike:
            each = "; ".join(f"{flag(name)} {now.get(name)} where the run has {before.get(name)}" for name in unlike)
            raise PolicyError(f"{self.folder}: --resume with other options: {each}. Give the same, or another --output.")

    def _clear(self) -> None:
        """Remove what an earlier run has left in the folder."""
        for name in (CHECKPOINT, STATE, LOG, f"{BEST}{SUFFIX}", f"{BEST}.json", GRAPH, f"{GRAPH}.json"):
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise FileError(f"{self.folder / name}: can't be removed: {error.strerror or error}.") from error

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
        """Whether to evaluate now; never twice after the same step."""
        if self.state["evaluated_at"] == self.done:
            return False
        return self.finished or self.progress * self.arguments.evaluations >= self.state["evaluated"] + 1

    # --- Checkpoints --------------------------------------------------------------------------------------------------------------

    def checkpoint(self, done: int, write: Callable[[Path], None]) -> None:
        """Keep what the run needs to go on after ``done`` steps: the file that ``write(path)`` fills, and all else.

        Where an evaluation is due it is kept with the evaluation, by the next call or at the end: to be killed between the two is
        to be killed before the step.
        """
        temporary = self.folder / f".{CHECKPOINT}"
        try:
            write(temporary)
            self._saved.payload = temporary.read_bytes()
        except OSError as error:
            raise FileError(f"{temporary}: can't be written: {error.strerror or error}.") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self.state["done"] = done
        if not self.evaluation_due:
            self.keep()

    def keep(self) -> None:
        """Write all of the run as it is now, in one step."""
        seconds, begun = self.seconds, time.monotonic()
        self.state["seconds"], self._begun = seconds, begun
        save(self.folder / CHECKPOINT, self._saved)
        self._write_from(self._saved)

    def _write_from(self, saved: Saved) -> None:
        """Write the files that people and other commands read from what is kept."""
        write_text(self.folder / STATE, json.dumps(saved.state))
        self._log.replace(saved.log)
        if saved.best is not None and saved.card is not None:
            about = {name: value for name, value in saved.card.items() if name != "shape"}
            if "shape" in saved.card:
                save_weights(self.folder / BEST, form_of(saved.card["shape"]), saved.best, about)
            else:
                write_bytes(self.folder / GRAPH, saved.best.tobytes())
                write_text(card_path(self.folder / GRAPH), json.dumps(about, indent=1) + "\n")

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint to continue from, as the algorithm wrote it; None where there is none or the run starts afresh."""
        if not self._resumed or self._saved.payload is None:
            return None
        path = self.folder / RESUMED
        write_bytes(path, self._saved.payload)
        return path

    # --- Evaluation ---------------------------------------------------------------------------------------------------------------

    def evaluate(self, policy: Policy, note: str, training: Mapping[str, float] | None = None) -> np.ndarray:
        """Play the episodes of selection under ``policy``, log and print what it is worth, and keep it if it is the best so far.

        A :class:`LearnedPolicy` is kept in the folder with its card, and so is a policy with a method ``graph()`` that returns an
        ONNX file's bytes; others have no form that can be published. ``note`` is a few words on how far training is, for the line
        that is printed; ``training`` are numbers for the log. Returns the (H,) lower bounds of the improvements over the opponent,
        for each measure of selection (those of HEADLINES where the best is chosen by dominance).
        """
        outcome = self.selection.judge(policy)
        best = self.state["best"]
        better = best is None or outcome.score > best
        if better:
            self.state["best"] = outcome.score
            self._keep(policy, outcome)
        self.state["evaluated_at"] = self.done
        self.state["evaluated"] = max(self.state["evaluated"] + 1, math.floor(self.progress * self.arguments.evaluations))
        self._saved.log += self._log.line(self.done, self.seconds, outcome, training or {})
        if not self.arguments.quiet:
            left = self.seconds * (1.0 - self.progress) / max(self.progress, 1e-9)
            print(progress_line(self.progress, left, note, outcome, better), flush=True)
        return outcome.bounds

    def _keep(self, policy: Policy, outcome: Outcome) -> None:
        """Remember the best policy and its card, where it has a form that can be published."""
        if isinstance(policy, LearnedPolicy):
            needs = {"allow_idle": policy.allow_idle} if policy.allow_idle else {}
            card = {"shape": network_entry(policy.shape), **needs, **self._about(policy.shape.words, outcome)}
            self._saved.best, self._saved.card = policy.flat.copy(), card
        elif isinstance(policy, HasGraph):
            needs = {name: getattr(policy, name) for name in ("mechanisms", "asked_every", "allow_idle")}
            card = {"format": AGENT, **needs, **self._about("a network of its own", outcome)}
            self._saved.best, self._saved.card = np.frombuffer(policy.graph(), np.uint8), card

    def _about(self, network: str, outcome: Outcome) -> dict[str, Any]:
        """Return what a card says of how a policy was made."""
        arguments, dominates = self.arguments, self.arguments.chosen_by == DOMINANCE
        aim = f"dominate {arguments.opponent}" if dominates else f"be good in {arguments.chosen_by}"
        scales = {"scales": SCALES, "over": arguments.opponent, "standard errors taken off": STANDARD_ERRORS}
        return {
            "summary": f"{arguments.algo} on {network}, to {aim}.",
            "command": arguments.command,
            "algorithm": arguments.algo,
            "seed": arguments.seed,
            "arguments": arguments.recorded(),
            "training": arguments.training_config.to_dict(),
            "selection": {
                "split": SELECTION_SPLIT,
                "seed": SELECTION_SEED,
                "episodes": arguments.valid_episodes,
                "results": outcome.named("values"),
            },
            "objective": scales if dominates else {"measure": arguments.chosen_by},
            **({} if dominates else {"asked_every": arguments.selection_config.decision_every}),
            **provenance(),
        }
