"""Heuristics: a selection rule and a mechanism rule, compiled, behind the policy interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from baselines.policies.mechanism import MECHANISM_RULES, act_rows
from baselines.policies.selection import PARAMS, SELECTIONS
from prema_gym.config import MECHANISMS
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError


@dataclass(frozen=True)
class Heuristic:
    """A scheduler made of whom to run and how to switch."""

    name: str
    selection: str
    """A key of :data:`baselines.policies.selection.SELECTIONS`."""
    mechanism: str = "NONE"
    """A key of :data:`baselines.policies.mechanism.MECHANISM_RULES`."""
    whole_wait: bool = False
    clairvoyant: bool = False
    priority_power: float = 1.0
    wait_weight: float = 1.0
    length_power: float = 0.25
    seed: int = 0
    source: str = ""
    """Where the rule comes from."""

    @cached_property
    def params(self) -> np.ndarray:
        """(1,) PARAMS for compiled code."""
        params = np.zeros(1, PARAMS)
        params["selection"] = list(SELECTIONS).index(self.selection)
        params["mechanism"] = list(MECHANISM_RULES).index(self.mechanism)
        for field in ("whole_wait", "clairvoyant", "priority_power", "wait_weight", "length_power", "seed"):
            params[field] = getattr(self, field)
        return params

    @property
    def rule(self) -> str:
        """What it does, in words: whom it runs, how it switches, the source."""
        switching = "" if self.selection == "RANDOM" else f" Switching: {MECHANISM_RULES[self.mechanism]}."
        known = " Knows true times." if self.clairvoyant else ""
        return f"Runs: {SELECTIONS[self.selection]}.{switching}{known} {self.source}".strip()

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions."""
        if self.clairvoyant and truth is None:
            raise PolicyError(f"{self.name} knows true times: baselines.evaluate hands them over; act() alone cannot.")
        out = np.empty(view.rows, np.int64)
        mechanisms = sum(1 << MECHANISMS.index(mechanism) for mechanism in view.config.mechanisms)
        seen = np.zeros(view.slots.shape, np.int64) if truth is None else truth
        act_rows(view.status, view.slots, self.params, mechanisms, view.config.quantum_cycles, seen, out)
        return out
