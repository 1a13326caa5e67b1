"""What networks with a compiled form have in common: sizes, tensors by name, and what they read of an observation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.envs import observation
from prema_gym.errors import PolicyError, shown

MOST_UNITS = 4096
"""Largest layer of a network that is read."""


class Form(ABC):
    """The sizes of a network; two networks of equal form differ in their weights alone."""

    kind: ClassVar[str]
    """What cards call it."""
    words: ClassVar[str]
    """What summaries call it."""

    @property
    @abstractmethod
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, in the order in which they lie in the flat weights."""

    @property
    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What a card says of the form, as JSON."""

    @classmethod
    @abstractmethod
    def from_described(cls, described: Mapping[str, Any]) -> Form:
        """Return the form that a card describes; raises :class:`prema_gym.errors.PolicyError` saying what is wrong."""

    @property
    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """What a card says of the observations that the network reads: weights fit no other."""

    @property
    @abstractmethod
    def mechanism_names(self) -> tuple[str, ...]:
        """The preemption mechanisms that it has columns for."""

    def refusal(self, config: EnvConfig) -> str | None:
        """Return why the network can't play on ``config``, whatever the mechanisms there; None where it can."""
        return None

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(shape)) for shape in self.tensors.values())

    def pack(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the (size,) float64 flat weights."""
        return np.concatenate([np.asarray(tensors[name], np.float64).ravel() for name in self.tensors])

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tensors of (size,) flat weights, float32."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.tensors.values()])
        parts = np.split(np.asarray(flat, np.float32), ends[:-1])
        return {name: part.reshape(shape).copy() for (name, shape), part in zip(self.tensors.items(), parts, strict=True)}


def fingerprint(*read: object) -> str:
    """Return a hash over ``read``, what a network reads of an observation, and the observation's scales."""
    scales = (observation.LOG_SCALE, observation.REFERENCE_CYCLES, observation.CONTEXT_SCALE_CYCLES, observation.REMAINING_FLOOR)
    return hashlib.sha256(repr((*read, scales)).encode()).hexdigest()[:16]


def whole(described: Mapping[str, Any], name: str, most: int) -> int:
    """Return the entry ``name`` of a card's network, a whole number from 1 to ``most``; raises :class:`PolicyError`."""
    value = described.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise PolicyError(f"network {name} = {shown(value)}: must be from 1 to {most}.")
    return value


def check_entries(described: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise :class:`PolicyError` unless a card's network has exactly the entries ``names``."""
    if set(described) != set(names):
        raise PolicyError(f"'network' = {shown(dict(described))}: must have {', '.join(names)}.")
