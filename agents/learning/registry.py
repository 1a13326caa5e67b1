"""The training algorithms, and the networks that gradients train, by name. Both are functions of one signature, with options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from agents.learning.arguments import Arguments
from agents.learning.options import option_fields
from agents.learning.run import Run
from prema_gym.checks import new_name
from prema_gym.errors import PolicyError, shown


@dataclass(frozen=True)
class NoOptions:
    """The options of what has none."""


class BuildNetwork(Protocol):
    """What every network is: a function that says how stable-baselines3 makes it."""

    def __call__(self, arguments: Arguments, *, masked: bool) -> tuple[Any, dict[str, Any]]:
        """Return the policy class (or its name in stable-baselines3) and the keyword arguments of its constructor.

        ``masked`` says whether the algorithm hands masks of legal actions to the policy. The network's own options are
        ``arguments.network_options``.
        """
        ...


@dataclass(frozen=True)
class Algorithm:
    """A training algorithm."""

    name: str
    train: Callable[[Run, Any], None]
    """``train(run, options)``: train until ``run.finished``; ``options`` is an instance of the class below."""
    options: type
    """A frozen dataclass whose fields are made by :func:`agents.learning.options.option`."""


@dataclass(frozen=True)
class Network:
    """A network that gradients train."""

    name: str
    build: BuildNetwork
    options: type
    """As of an algorithm."""


ALGORITHMS: dict[str, Algorithm] = {}
"""Every training algorithm by name; those of the project are there once :mod:`agents.learning.algorithms` is imported."""
NETWORKS: dict[str, Network] = {}
"""Every network by name; those of the project are there once :mod:`agents.learning.networks` is imported."""


def register_algorithm(name: str, train: Callable[[Run, Any], None], options: type = NoOptions) -> None:
    """Add a training algorithm, so that ``python -m agents.train --algo NAME`` runs it.

    Parameters
    ----------
    name: a name that no other algorithm has.
    train: called as ``train(run, options)``; it trains until ``run.finished`` and hands policies to ``run.evaluate``.
    options: a frozen dataclass; its fields become options of the command line. No name may be one that all runs have.

    """
    _check_new("algorithm", name, ALGORITHMS)
    _check_options(f"algorithm {name!r}", options)
    ALGORITHMS[name] = Algorithm(name, train, options)


def register_network(name: str, build: BuildNetwork, options: type = NoOptions) -> None:
    """Add a network, so that ``--network NAME`` chooses it for the algorithms that learn by gradients."""
    _check_new("network", name, NETWORKS)
    _check_options(f"network {name!r}", options)
    NETWORKS[name] = Network(name, build, options)


def _check_new(kind: str, name: str, registered: dict[str, Any]) -> None:
    new_name(f"{kind} {shown(name)}", name, error=PolicyError)
    if name in registered:
        raise PolicyError(f"{kind} {name!r} is registered already; choose another name.")


def _check_options(owner: str, options: type) -> None:
    shared = {entry.name for entry in option_fields(Arguments)}
    taken = sorted(shared & {entry.name for entry in option_fields(options)})
    if taken:
        raise PolicyError(f"{owner}: every run has the option {taken[0]!r} already; choose another name, or use run.arguments.")
