"""A training run from names and values: who owns which option, and the algorithm that carries the run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agents.learning.algorithms import ALGORITHMS
from agents.learning.arguments import DEFAULT_ALGORITHM, Arguments, with_workload
from agents.learning.checkpoint import locked
from agents.learning.networks import NETWORKS
from agents.learning.objective import DOMINANCE
from agents.learning.options import flag, option_fields
from agents.learning.run import Run
from agents.publishing.policies import BEST, LearnedPolicy
from agents.publishing.weights import SUFFIX
from prema_gym.errors import PolicyError, unknown_name


def option_classes(algo: str, network: str | None = None) -> dict[str, type]:
    """Return the dataclasses of a run's options by owner: all runs, the algorithm, and the network where one is chosen.

    Raises :class:`PolicyError` for an unknown algorithm or network.
    """
    if algo not in ALGORITHMS:
        raise PolicyError(unknown_name("algorithm", algo, ALGORITHMS))
    options = ALGORITHMS[algo].options
    classes = {"all runs": Arguments, f"algorithm {algo}": options}
    choice = next((entry for entry in option_fields(options) if entry.name == "network"), None)
    if choice is None:
        return classes
    chosen = network or choice.default
    if chosen not in NETWORKS:
        raise PolicyError(unknown_name("network", chosen, NETWORKS))
    of_network = NETWORKS[chosen].options
    clash = _names(options) & _names(of_network)
    if clash:
        raise PolicyError(f"algorithm {algo} and network {chosen} both have an option {flag(min(clash))}: rename one of them.")
    return {**classes, f"network {chosen}": of_network}


def make_arguments(algo: str = DEFAULT_ALGORITHM, **given: Any) -> Arguments:
    """Return the arguments of a run of ``algo``; ``given`` are options of all runs, of the algorithm or of its network.

    Raises :class:`PolicyError` for an option that none of these has, saying whose it is, and for what no run can train on.
    """
    network = given.get("network")
    refuse_unknown(given, algo, network)
    given = with_workload(given)
    shared, own, *of_network = option_classes(algo, network).values()
    arguments = Arguments(
        algo=algo,
        **_chosen(shared, given),
        options=own(**_chosen(own, given)),
        network_options=of_network[0](**_chosen(of_network[0], given)) if of_network else None,
    )
    arguments.check()
    _check_streams(arguments)
    return arguments


def _check_streams(arguments: Arguments) -> None:
    """Raise :class:`PolicyError` where the algorithm knows one objective alone, and the run has another."""
    if ALGORITHMS[arguments.algo].streams or arguments.chosen_by == DOMINANCE:
        return
    others = ", ".join(name for name, entry in ALGORITHMS.items() if entry.streams)
    raise PolicyError(
        f"algorithm {arguments.algo} trains on closed episodes: its objective compares the metrics of their tasks, which "
        f"{arguments.chosen_by} does not. Streams and single measures are for {others}."
    )


def refuse_unknown(names: Iterable[str], algo: str, network: str | None = None) -> None:
    """Raise :class:`PolicyError` for an option that a run of ``algo`` does not have, saying whose it is."""
    classes = option_classes(algo, network)
    known = set().union(*map(_names, classes.values()))
    for name in names:
        owners = _owners(name)
        if name in known:
            continue
        if owners:
            raise PolicyError(f"{flag(name)} is an option of {', '.join(owners)}; this run has those of {', '.join(classes)}.")
        raise PolicyError(unknown_name("option", flag(name), map(flag, known)))


def _names(options: type) -> set[str]:
    return {entry.name for entry in option_fields(options)}


def _chosen(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``given`` that are fields of the dataclass ``options``."""
    return {name: value for name, value in given.items() if name in _names(options)}


def _owners(name: str) -> list[str]:
    """Return the algorithms and networks that have an option ``name``."""
    registries: Mapping[str, Mapping[str, Any]] = {"algorithm": ALGORITHMS, "network": NETWORKS}
    return [
        f"{kind} {entry.name}"
        for kind, registry in registries.items()
        for entry in registry.values()
        if name in _names(entry.options)
    ]


def train(arguments: Arguments) -> LearnedPolicy | None:
    """Carry out a run; return the best policy, None where it has no form that can be published."""
    with locked(arguments.folder):
        run = Run(arguments)
        ALGORITHMS[arguments.algo].train(run, arguments.options)
        run.keep()
    best = arguments.folder / f"{BEST}{SUFFIX}"
    return LearnedPolicy.load(best) if best.exists() else None
