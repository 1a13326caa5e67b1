"""A training run's folder: atomic checkpoints, the log, the best weights so far, and what is printed on the way."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agents.learning.arguments import Arguments
from agents.learning.objective import CAUTION, SCALES, dominance, five, improvements, lower_bounds, named, parse_aims
from agents.network.slotnet import Shape
from agents.publishing.weights import save_weights, write_atomically
from baselines.evaluation.episodes import Played, play_policy
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy

VALID_SEED = 20_000
"""Of the episodes on which policies are chosen; training has other splits, reported figures too."""
PREMA = "PREMA"
_SHORT = {"antt": "ANTT", "stp": "STP", "sla_violation": "SLA", "fairness": "fair", "hp_tail": "tail"}
CHECKPOINT, STATE, BEST, LOG = "checkpoint", "state.json", "best", "log.jsonl"


class Run:
    """One run: how far it is, what it has found, where it keeps both."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.folder = arguments.folder
        self.config = arguments.config
        """What selection plays: a decision at every quantum."""
        self.aims = parse_aims(arguments.aims)
        """(5,) improvements that count as none yet."""
        self._opponents: dict[str, Played] = {}
        self._writer: Any = None
        self._begun = time.monotonic()
        self.state: dict[str, Any] = {"seconds": 0.0, "done": 0, "best": None, "evaluated": 0}
        self.folder.mkdir(parents=True, exist_ok=True)
        if arguments.resume and (self.folder / STATE).exists():
            self.state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        write_atomically(self.folder / "arguments.json", json.dumps(arguments.plain(), indent=1).encode())

    # --- Time -------------------------------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Count time from here: set-up is over."""
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent so far, earlier parts of a resumed run included."""
        return float(self.state["seconds"]) + time.monotonic() - self._begun

    @property
    def share(self) -> float:
        """How much of the run is done, in [0, 1]."""
        steps = self.arguments.steps
        return min(1.0, self.state["done"] / steps if steps else self.seconds / (60.0 * self.arguments.minutes))

    @property
    def over(self) -> bool:
        """Whether the run has come to its end."""
        return self.share >= 1.0

    @property
    def evaluation_due(self) -> bool:
        """Whether to evaluate now."""
        return self.over or self.share * self.arguments.evaluations >= self.state["evaluated"] + 1

    # --- Checkpoints --------------------------------------------------------------------------------------------------------------

    def checkpoint(self, done: int, write: Callable[[Path], None]) -> None:
        """Write a checkpoint of ``done`` steps: a file that ``write(path)`` fills and that then replaces the last one."""
        temporary, final = self.folder / f".{CHECKPOINT}", self.folder / CHECKPOINT
        write(temporary)
        temporary.replace(final)
        self.state["done"] = done
        self._save_state()

    def _save_state(self) -> None:
        write_atomically(self.folder / STATE, json.dumps({**self.state, "seconds": self.seconds}).encode())

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint to go on from; None where there is none or the run is to start afresh."""
        path = self.folder / CHECKPOINT
        return path if self.arguments.resume and path.exists() else None

    # --- Evaluation ---------------------------------------------------------------------------------------------------------------

    def opponent(self, name: str) -> Played:
        """Return what a policy does in the episodes of selection."""
        if name not in self._opponents:
            self._opponents[name] = self.play_valid(make_policy(name))
        return self._opponents[name]

    def play_valid(self, policy: Policy) -> Played:
        """Play the episodes of selection under any policy."""
        given = self.arguments
        return play_policy(policy, self.config, given.valid_episodes, VALID_SEED, split="valid", threads=given.threads)

    def evaluate(self, played: Played, speed: str, network: tuple[Shape, np.ndarray] | None) -> np.ndarray:
        """Log and print what ``played`` is worth; keep ``network`` if it is the best so far.

        Return the (5,) lower bounds of its improvements over the opponent: by the smallest, the best is chosen.
        """
        values = five(played)
        gains = improvements(values, five(self.opponent(self.arguments.opponent)))
        over_prema = improvements(values, five(self.opponent(PREMA)))
        bounds = lower_bounds(played, self.opponent(self.arguments.opponent))
        score = dominance(bounds - self.aims)
        best = self.state["best"]
        better = best is None or score > best
        if better:
            self.state["best"] = score
            if network is not None:
                self.publish(self.folder / BEST, *network, results=named(values))
        self.state["evaluated"] = max(self.state["evaluated"] + 1, math.floor(self.share * self.arguments.evaluations))
        self._save_state()
        self._log(
            {
                "values": named(values),
                "over_opponent": named(gains),
                "over_prema": named(over_prema),
                "bounds": named(bounds),
                "score": score,
            }
        )
        self._print(values, gains, over_prema, speed, score, better)
        return bounds

    def _log(self, entry: dict[str, Any]) -> None:
        line = {"done": self.state["done"], "seconds": round(self.seconds, 1), **entry}
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        writer = self._tensorboard()
        if writer is not None:
            for group in ("values", "over_opponent", "over_prema"):
                for name, value in entry[group].items():
                    writer.add_scalar(f"{group}/{name}", value, self.state["done"])
            writer.add_scalar("objective", entry["score"], self.state["done"])
            writer.flush()

    def _tensorboard(self) -> Any:
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return None
            self._writer = SummaryWriter(str(self.folder / "tensorboard"))
        return self._writer

    def _print(self, values: np.ndarray, gains: np.ndarray, over_prema: np.ndarray, speed: str, score: float, better: bool) -> None:
        if self.arguments.quiet:
            return
        left = self.seconds * (1.0 - self.share) / max(self.share, 1e-9)
        cells = [
            f"{_SHORT[name]} {value:.4g} ({prema:+.1f}/{gain:+.1f})"
            for name, value, prema, gain in zip(SCALES, values, over_prema, gains, strict=True)
        ]
        clock = f"{100 * self.share:3.0f} % {speed} ETA {int(left // 60)}:{int(left % 60):02}"
        print(f"{clock} | {'  '.join(cells)} | {score:+.2f}{' best' if better else ''}", flush=True)

    # --- Results -----------------------------------------------------------------------------------------------------------------

    def publish(self, path: Path, shape: Shape, flat: np.ndarray, results: dict[str, Any]) -> Path:
        """Write weights and card."""
        arguments = self.arguments
        about = {
            "summary": f"{arguments.algo} on the slot network, to dominate {arguments.opponent}.",
            "command": arguments.command,
            "algorithm": arguments.algo,
            "seed": arguments.seed,
            "arguments": arguments.plain(),
            "training": arguments.training_config.to_dict(),
            "selection": {"split": "valid", "seed": VALID_SEED, "episodes": arguments.valid_episodes, "results": results},
            "objective": {"scales": SCALES, "over": arguments.opponent, "standard errors taken off": CAUTION},
            **provenance(),
        }
        return save_weights(path, shape, flat, about)


def provenance() -> dict[str, str | None]:
    """Return what a card says of code and machine."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
    return {"revision": revision(), "platform": system}


def revision() -> str | None:
    """Return the commit of the code, with ``+`` where files have changed since; None outside a repository."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=20)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=here, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.returncode else "")
