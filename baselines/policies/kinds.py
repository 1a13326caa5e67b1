"""Any agent at the table: whatever a caller hands over, or names on a command line, as a policy.

:func:`policy_of` is the one place where that is decided, and :data:`KINDS` the list that it goes through: what a kind is called,
what belongs to it, and how a policy is made of it. An installed package adds kinds with :func:`register_kind` from the module of
its entry point (group ``prema_gym.policies``), as ``agents`` does for models of stable-baselines3, torch modules, ONNX files and
trained weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from baselines.policies.policy import Policy
from baselines.policies.registry import POLICIES, make_policy
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError, shown

HOOKS = ("name", "asked_every", "mechanisms", "allow_idle", "start_episodes")
"""Attributes of a policy that a function may carry too."""


class Kind(NamedTuple):
    """A kind of thing that can schedule."""

    what: str
    """Its name, as an error lists it: "a registered name"."""
    fits: Callable[[Any], bool]
    """Whether a thing is of this kind. It imports nothing heavy: it is asked about everything."""
    make: Callable[[Any], Policy]
    """Returns the policy; raises :class:`PolicyError` with one sentence where it can't."""


class FunctionPolicy:
    """A function of a view as a policy; what it needs are attributes of the function (see :data:`HOOKS`)."""

    clairvoyant = False

    def __init__(self, function: Callable[[View], Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        for hook in HOOKS:
            if hasattr(function, hook):
                setattr(self, hook, getattr(function, hook))

    def act(self, view: View, truth: np.ndarray | None = None) -> Any:
        """Return what the function answers."""
        return self.function(view)


def _is_policy(given: object) -> bool:
    return not isinstance(given, type) and isinstance(given, Policy)


def _is_name(given: object) -> bool:
    return isinstance(given, str) and given in POLICIES


def _is_function(given: object) -> bool:
    return callable(given) and not isinstance(given, type) and not hasattr(given, "act")


def _as_it_is(given: Policy) -> Policy:
    return given


KINDS: list[Kind] = [
    Kind("a registered name", _is_name, make_policy),
    Kind("an object with name, clairvoyant and act(view)", _is_policy, _as_it_is),
]
"""In the order in which they are asked; those that packages add follow, and functions come last: much can be called."""
_FUNCTION = Kind("a function from views to actions", _is_function, FunctionPolicy)


def register_kind(kind: Kind) -> None:
    """Add a kind; one of the same name is replaced."""
    KINDS[:] = [known for known in KINDS if known.what != kind.what] + [kind]


def policy_of(given: object) -> Policy:
    """Return ``given`` as a policy, whatever kind of agent it is; raises :class:`PolicyError` for what is none.

    Names of the registry come first: a file in the present folder takes no name away. Write ``./NAME`` for the file.
    """
    POLICIES.plugins()  # their modules add kinds
    thing = os.fspath(given) if isinstance(given, os.PathLike) else given
    for kind in (*KINDS, _FUNCTION):
        if kind.fits(thing):
            return kind.make(thing)
    if isinstance(thing, str):
        return _composed(thing)
    if isinstance(thing, type):
        raise PolicyError(f"policies: {thing.__name__} is a class: give an instance of it, such as {thing.__name__}().")
    raise PolicyError(f"policies: {shown(thing)}: must be one of: {'; '.join(kind.what for kind in (*KINDS, _FUNCTION))}.")


def _composed(name: str) -> Policy:
    """Return the policy of a composed name (``JSQ/PREMA``); the error for an unknown one says that no file lies there either."""
    try:
        return make_policy(name)
    except PolicyError as error:
        if not any(sign in name for sign in (os.sep, ".")):
            raise
        raise PolicyError(f"{error} Nor does an agent lie at the path {shown(name)}.") from None


def _same(one: object, other: object) -> bool:
    """Whether the same is named twice."""
    return one is other or (isinstance(one, str) and isinstance(other, str) and one == other)


def policies_of(given: Sequence[object]) -> list[Policy]:
    """Return ``given`` as policies, in order; what is named twice is played once, and no two may share a name."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) or not given:
        raise PolicyError(f"policies = {shown(given)}: must be a non-empty list of policies or their names.")
    made: dict[str, Policy] = {}
    seen: list[object] = []
    for one in given:
        if any(_same(one, other) for other in seen):
            continue
        seen.append(one)
        policy = policy_of(one)
        if made.setdefault(policy.name, policy) is not policy:
            raise PolicyError(f"policies: two different ones are called {policy.name!r}: give each a name of its own.")
    return list(made.values())
