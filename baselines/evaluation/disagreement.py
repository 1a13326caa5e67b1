"""Where two policies part: one plays, the other is asked at each of its decisions what it would have done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.policies.kinds import policy_of
from baselines.policies.needs import env_arguments, tell_of_starts
from baselines.policies.policy import Policy
from prema_gym.config import EnvConfig, mechanism_bits
from prema_gym.config.scenarios import with_scenario
from prema_gym.envs.actions import decode, replacement
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.view import View
from prema_gym.errors import ActionError, PolicyError, UsageError
from prema_gym.types import NONE

if TYPE_CHECKING:
    import pandas as pd


def _chosen(view: View, action: int) -> dict[str, Any]:
    """Return what row 0 knows of the task that ``action``, or what replaces it, lets run."""
    bits = mechanism_bits(view.config.mechanisms)
    slot, _ = decode(action, bits) if view.mask[0, action] else replacement(view.npu[0], view.table[0])
    running = int(view.npu["running_slot"][0])
    task = running if slot == NONE else slot
    entry, ms = view.table[0, task], view.config.npu.ms
    predicted = max(int(entry["predicted_cycles"]), 1)
    return {
        "task": int(entry["task"]),
        "running": task == running,
        "priority": int(entry["priority"]),
        "predicted_ms": ms(predicted),
        "remaining_ms": ms(float(view.predicted_remaining_cycles[0, task])),
        "slowdown": float(view.elapsed_cycles[0, task]) / predicted,
        "token": float(entry["token"]),
    }


def _compared(ours: float, theirs: float, words: tuple[str, str, str]) -> str:
    return words[int(np.sign(ours - theirs)) + 1]


@dataclass(frozen=True)
class Disagreements:
    """Decisions at which the reference would have let another task run."""

    policy: str
    reference: str
    decisions: int
    """Asked in all."""
    rows: list[dict[str, Any]]
    """One per disagreement: seed, ms, and per side (``ours``, ``theirs``) the task, as ``ours_priority``."""

    @property
    def share(self) -> float:
        """Disagreements per decision."""
        return len(self.rows) / max(self.decisions, 1)

    @cached_property
    def situations(self) -> list[dict[str, Any]]:
        """The rows in which a pair of tasks is weighed for the first time, ``decisions`` saying how often it was.

        As long as nothing happens, the same two tasks are weighed at every quantum: one long wait would drown all else.
        """
        first: dict[tuple[int, int, int], dict[str, Any]] = {}
        for row in self.rows:
            pair = (row["seed"], row["ours_task"], row["theirs_task"])
            first.setdefault(pair, {**row, "decisions": 0})["decisions"] += 1
        return list(first.values())

    @property
    def seed_of_most(self) -> int:
        """Seed of the episode with most situations: one to look at."""
        counts = Counter(row["seed"] for row in self.situations)
        if not counts:
            raise UsageError(f"{self.policy} and {self.reference} agree at all {self.decisions} decisions.")
        return int(counts.most_common(1)[0][0])

    def patterns(self) -> dict[str, int]:
        """Count what the policy prefers in the situations, as "shorter, lower priority" of the two tasks, most frequent first."""
        length, rank = ("shorter", "as long", "longer"), ("lower priority", "same priority", "higher priority")
        counts = Counter(
            f"{_compared(row['ours_remaining_ms'], row['theirs_remaining_ms'], length)}, "
            f"{_compared(row['ours_priority'], row['theirs_priority'], rank)}"
            for row in self.situations
        )
        return dict(counts.most_common())

    def to_pandas(self) -> pd.DataFrame:
        """Return the situations as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.situations)


def _answer(policy: Policy, view: View) -> int:
    """Return the action of ``policy`` in row 0; raises :class:`ActionError` for one out of range."""
    action, actions = int(policy.act(view)[0]), view.mask.shape[1]
    if not 0 <= action < actions:
        raise ActionError(f"policy {policy.name!r} answered with action {action}: must be a whole number from 0 to {actions - 1}.")
    return action


def disagreements(policy: Any, reference: Any = "PREMA", *, episodes: int = 20, seed: int = 0, **arguments: Any) -> Disagreements:
    """Play ``episodes`` under ``policy`` (those of ``reset(seed=seed)`` and the next seeds) and ask ``reference`` along the way.

    Both are what :func:`baselines.policy_of` takes, and not told true times; ``arguments`` are the environment's; where they
    leave it open, it is asked as often as either of the two needs. How a task is evicted doesn't count: only who is to run.
    """
    ours, theirs = policy_of(policy), policy_of(reference)
    for one in (ours, theirs):
        if one.clairvoyant:
            raise PolicyError(f"{one.name} knows true times: only policies that see the same can be compared by decisions.")
    slots = EnvConfig.coerce(arguments).num_slots
    env = PremaEnv(**{**env_arguments(ours, theirs, slots=slots), **with_scenario(arguments)})
    decisions, rows = 0, []
    for episode in range(episodes):
        env.reset(seed=seed + episode)
        for one in (ours, theirs):
            tell_of_starts(one, np.ones(1, np.bool_))
        ended = False
        while not ended:
            view = env.view()
            action, other = _answer(ours, view), _answer(theirs, view)
            mine, its = _chosen(view, action), _chosen(view, other)
            if mine["task"] != its["task"]:
                row = {"seed": seed + episode, "ms": view.config.npu.ms(int(view.npu["clock_cycles"][0]))}
                row |= {f"ours_{key}": value for key, value in mine.items()}
                rows.append(row | {f"theirs_{key}": value for key, value in its.items()})
            decisions += 1
            *_, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
    return Disagreements(ours.name, theirs.name, decisions, rows)
