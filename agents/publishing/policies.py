"""Learned policies behind the interface of all policies; they need neither torch nor stable-baselines3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.network.chooser import network_chooser
from agents.network.slotnet import Shape, choose_rows, scratch_size
from agents.publishing.weights import SUFFIX, load_weights
from baselines.policies.compiled import Chooser
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy
from prema_gym.config import EnvConfig
from prema_gym.envs.actions import num_actions
from prema_gym.envs.view import View, read_only

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""The folder of published weights; a file's stem is its policy's name."""
FRONT = PRETRAINED / "front"
"""The folder of the family LEARNED-FRONT-00, -01, ..."""


@dataclass(frozen=True)
class LearnedPolicy:
    """A network that plays its largest legal logit."""

    name: str
    shape: Shape
    flat: np.ndarray
    """(size,) float64 weights."""
    card: dict[str, Any] = field(default_factory=dict)
    clairvoyant: bool = False

    @classmethod
    def load(cls, path: str | Path) -> LearnedPolicy:
        """Return the policy published at ``path``; raises :class:`prema_gym.errors.PolicyError` if the file isn't one."""
        weights = load_weights(path)
        return cls(weights.name, weights.shape, weights.flat, weights.card)

    @property
    def rule(self) -> str:
        """What it is, in words."""
        summary = self.card.get("summary", "a network over the slots, on top of an index rule.")
        return f"Runs: the task of the largest logit, by CHECKPOINT. Learned: {summary}"

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions."""
        actions, _ = self.evaluate(view.observation, view.mask)
        return actions

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return the network in compiled code, for one thread (see :class:`baselines.policies.compiled.Compiled`)."""
        return network_chooser(self.shape, self.flat, config)

    def evaluate(self, observations: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N,) int64 actions and (N, A) float64 logits for (N, D) float32 observations and (N, A) int8 masks."""
        slots = (masks.shape[1] - num_actions(0)) // (num_actions(1) - num_actions(0))
        actions, logits = np.empty(len(masks), np.int64), np.empty(masks.shape)
        scratch = np.empty(scratch_size(self.shape, slots))
        # As a view's arrays are: read-only or not, numba compiles for one kind.
        choose_rows(read_only(observations), read_only(masks), self.shape.sizes, self.flat, scratch, logits, actions)
        return actions, logits


def pretrained(folder: Path = PRETRAINED) -> dict[str, Callable[[], Policy]]:
    """Return a factory for every published policy, by name: the entry point ``prema_gym.policies``."""
    return {path.stem: partial(LearnedPolicy.load, path) for path in sorted(folder.rglob(f"*{SUFFIX}"))}


def find_policy(name_or_path: str) -> Policy:
    """Return the policy of that name, or the one whose weights lie at that path."""
    if name_or_path.endswith(SUFFIX) or Path(name_or_path).with_suffix(SUFFIX).is_file():
        return LearnedPolicy.load(name_or_path)
    return make_policy(name_or_path)
