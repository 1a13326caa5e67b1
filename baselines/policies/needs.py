"""What a policy needs of its environment: how often it is to be asked, and by which mechanisms it switches.

A policy says so by attributes, all optional. ``asked_every`` are the quanta between decisions asked by the quantum; None: it
decides nothing new between arrivals and completions. ``mechanisms`` are those that it may play; a network that doesn't know has
None there, and ``actions``, the number that it was trained with, which tells how many they are. ``allow_idle`` is True for one
that leaves an NPU idle though tasks wait. PREMA, whose tokens grow while tasks wait, is asked at every quantum; shortest job first
need not be.

Four more hooks are optional. ``plays(config)`` tells whether the policy plays on a configuration at all: one that doesn't is
left out where nobody names it. ``start_episodes(starts)``, with (N,) bool, is called before ``act`` where the decision of a row
is its episode's first: what remembers something of a row forgets it then. ``check(view)`` raises a PolicyError where the policy
can't play what a view of its environment shows; it is called before anything is played. ``on_rows(core)`` returns what plays on
the rows of a core, for a policy that a view is not enough for: a planner copies the rows. Unless it says ``clairvoyant`` its
decisions must not depend on their truth; that is its author's to keep, and a test's to see.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from baselines.policies.policy import Policy
from prema_gym.checks import one_of
from prema_gym.config import MECHANISMS, EnvConfig
from prema_gym.config.scenarios import with_scenario
from prema_gym.envs.core import Core
from prema_gym.errors import PolicyError


def mechanisms_of(policy: object, slots: int | None = None) -> tuple[str, ...]:
    """Return the mechanisms that ``policy`` may play: those that it states, else as many as its actions for ``slots`` slots have.

    So many are the first ones: CHECKPOINT alone, then KILL too, then all.
    """
    stated = getattr(policy, "mechanisms", MECHANISMS)
    if stated is not None:
        names = (stated,) if isinstance(stated, str) else tuple(stated)
        where = f"policy {getattr(policy, 'name', type(policy).__name__)!r}: "
        return tuple(one_of("mechanism", name, MECHANISMS, error=PolicyError, where=where) for name in names)
    actions = getattr(policy, "actions", None)
    if actions is None or slots is None:
        return MECHANISMS
    count, rest = divmod(actions - 1, slots)
    return MECHANISMS[:count] if rest == 0 and 1 <= count <= len(MECHANISMS) else MECHANISMS


def env_arguments(*policies: object, slots: int | None = None) -> dict[str, Any]:
    """Return the environment's arguments that give all ``policies`` what they need, for ``gym.make("Prema-v0", ...)``.

    ``slots`` are those of the environment, for networks that know no more than how many actions they have.
    """
    intervals = [every for policy in policies if (every := getattr(policy, "asked_every", None)) is not None]
    wanted = {mechanism for policy in policies for mechanism in mechanisms_of(policy, slots)}
    mechanisms = tuple(mechanism for mechanism in MECHANISMS if mechanism in wanted) or MECHANISMS[:1]
    needed: dict[str, Any] = {"decision_every": min(intervals, default=None), "mechanisms": mechanisms}
    if any(getattr(policy, "allow_idle", False) for policy in policies):
        needed["allow_idle"] = True
    return needed


def config_for(policy: object, config: EnvConfig, arguments: Mapping[str, Any]) -> EnvConfig:
    """Return ``config`` with what ``policy`` needs in place of what ``arguments``, those that made it, leave open."""
    given = with_scenario(arguments)
    needed = {name: value for name, value in env_arguments(policy, slots=config.num_slots).items() if name not in given}
    return dataclasses.replace(config, **needed)


def plays(policy: object, config: EnvConfig) -> bool:
    """Return whether ``policy`` plays on ``config``, with the mechanisms that it needs; one that doesn't say so plays anywhere."""
    hook = getattr(policy, "plays", None)
    return hook is None or bool(hook(config))


def on_rows(policy: Policy, core: Core) -> Policy:
    """Return what plays on the rows of ``core``: ``policy`` itself, unless it says otherwise."""
    hook = getattr(policy, "on_rows", None)
    return policy if hook is None else hook(core)


def tell_of_starts(policy: object, starts: np.ndarray) -> None:
    """Tell ``policy``, where it wants to know, in which rows (N,) bool an episode starts."""
    hook = getattr(policy, "start_episodes", None)
    if hook is not None:
        hook(starts)


class StatesNeeds:
    """Base of policies that state what they need."""

    name: str
    _warned: ClassVar[set[str]] = set()
    """Names of the policies that have warned: each does so once."""

    @property
    def asked_every(self) -> int | None:
        """Quanta between decisions asked by the quantum; None: arrivals and completions suffice."""
        return None

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Mechanisms that it may play; empty where it never evicts."""
        return MECHANISMS

    @property
    def allow_idle(self) -> bool:
        """Whether it leaves an NPU idle though tasks wait for it, which ``allow_idle=True`` lets it do."""
        return False

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What ``gym.make`` wants for this policy: ``gym.make("Prema-v0", **policy.env_arguments)``."""
        return env_arguments(self)

    def warn_if_it_lacks(self, config: EnvConfig) -> None:
        """Warn, once for each policy, where the environment doesn't give what this policy needs."""
        self._warn_if_asked_less(config)
        several = len(config.all_npus) > 1
        if not (self.allow_idle and several) or config.allow_idle or f"{self.name} idle" in self._warned:
            return
        self._warned.add(f"{self.name} idle")
        warnings.warn(
            f"{self.name} leaves NPUs idle while tasks wait, and this environment doesn't let it: they are given tasks that are "
            f"not meant for them. Make the environment with **policy.env_arguments, or leave allow_idle to evaluate().",
            stacklevel=3,
        )

    def _warn_if_asked_less(self, config: EnvConfig) -> None:
        needed, given = self.asked_every, config.decision_every
        if needed is None or (given is not None and given <= needed) or self.name in self._warned:
            return
        self._warned.add(self.name)
        often = "on arrivals and completions only" if given is None else f"every {given} quanta"
        warnings.warn(
            f"{self.name} is to be asked every {needed} quanta, and this environment asks {often}: it decides late, and does "
            f"worse. Make the environment with **policy.env_arguments, or leave decision_every to evaluate().",
            stacklevel=4,
        )
