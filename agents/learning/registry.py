"""The training algorithms, and the networks that gradients train, by name. Both are functions of one signature, with options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agents.learning.arguments import Arguments
from agents.learning.options import option_fields
from agents.learning.run import Run
from prema_gym.checks import new_name
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError, shown

if TYPE_CHECKING:
    from agents.network.actor_critic import ActorCritic


@dataclass(frozen=True)
class NoOptions:
    """The options of what has none."""


class BuildModule(Protocol):
    """What makes a network for the project's own trainer."""

    def __call__(self, arguments: Arguments, config: EnvConfig) -> ActorCritic:
        """Return actor and critic for the environment of ``config``, with their initial weights."""
        ...


class BuildNetwork(Protocol):
    """What says how stable-baselines3 makes a network."""

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
    streams: bool = False
    """Whether it trains on streams too, and to measures that ``--select`` names."""


@dataclass(frozen=True)
class Network:
    """A network that gradients train."""

    name: str
    build: BuildNetwork | None
    """For the algorithms of stable-baselines3; None where they can't train it."""
    options: type
    """As of an algorithm."""
    module: BuildModule | None
    """For ``masked_ppo``; None where it can't train it."""


ALGORITHMS: dict[str, Algorithm] = {}
"""Every training algorithm by name; those of the project are there once :mod:`agents.learning.algorithms` is imported."""
NETWORKS: dict[str, Network] = {}
"""Every network by name; those of the project are there once :mod:`agents.learning.networks` is imported."""


def register_algorithm(name: str, train: Callable[[Run, Any], None], options: type = NoOptions, *, streams: bool = False) -> None:
    """Add a training algorithm, so that ``python -m agents.train --algo NAME`` runs it.

    Parameters
    ----------
    name: a name that no other algorithm has.
    train: called as ``train(run, options)``; it trains until ``run.finished`` and hands policies to ``run.evaluate``.
    options: a frozen dataclass; its fields become options of the command line. No name may be one that all runs have.
    streams: whether it trains on streams too, and leaves to the run what the best policy is chosen by.

    """
    _check_new("algorithm", name, ALGORITHMS)
    _check_options(f"algorithm {name!r}", options)
    ALGORITHMS[name] = Algorithm(name, train, options, streams)


def register_network(
    name: str, build: BuildNetwork | None = None, options: type = NoOptions, *, module: BuildModule | None = None
) -> None:
    """Add a network, so that ``--network NAME`` chooses it for the algorithms that learn by gradients.

    Parameters
    ----------
    name: a name that no other network has.
    build: makes it for the algorithms of stable-baselines3.
    options: as of an algorithm.
    module: makes it for ``masked_ppo``. One of the two is needed.

    """
    if build is None and module is None:
        raise PolicyError(f"network {shown(name)}: needs a function build, or module, that makes it.")
    _check_new("network", name, NETWORKS)
    _check_options(f"network {name!r}", options)
    NETWORKS[name] = Network(name, build, options, module)


def builder(name: str) -> BuildNetwork:
    """Return what makes the network ``name`` for stable-baselines3; raises :class:`PolicyError` where nothing does."""
    build = NETWORKS[name].build
    if build is None:
        raise PolicyError(f"--network {name}: is none of stable-baselines3: --algo masked_ppo trains it.")
    return build


def module_builder(name: str) -> BuildModule:
    """Return what makes the network ``name`` for masked_ppo; raises :class:`PolicyError` where nothing does."""
    module = NETWORKS[name].module
    if module is None:
        raise PolicyError(f"--network {name}: is one of stable-baselines3 alone: --algo maskable_ppo trains it.")
    return module


def _check_new(kind: str, name: str, registered: dict[str, Any]) -> None:
    new_name(f"{kind} {shown(name)}", name, error=PolicyError)
    if name in registered:
        raise PolicyError(f"{kind} {name!r} is registered already; choose another name.")


def _check_options(owner: str, options: type) -> None:
    shared = {entry.name for entry in option_fields(Arguments)}
    taken = sorted(shared & {entry.name for entry in option_fields(options)})
    if taken:
        raise PolicyError(f"{owner}: every run has the option {taken[0]!r} already; choose another name, or use run.arguments.")
