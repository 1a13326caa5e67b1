"""``python -m agents.train``: train a scheduler, watch it against PREMA and INDEX, publish its weights.

    python -m agents.train --algo cma                      from the index rule to a network, no torch needed
    python -m agents.train --algo masked_ppo               gradients, by the project's own trainer; streams too
    python -m agents.train --algo maskable_ppo             the same by stable-baselines3's
    python -m agents.train --algo cma --help               the options of an algorithm
    python -m agents.train --output results/mine --resume  go on after Ctrl-C or a crash
    python -m agents.train --import my_search --algo mine  an algorithm that my_search.py registers

The folder of the run holds ``best.safetensors``, or ``best.onnx`` of a network that has no compiled form, with its card
(``agents.evaluate --policy`` takes the folder), ``log.jsonl``, TensorBoard files, and the checkpoint that ``--resume`` needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from agents.commands.command import INTERRUPTED, TERMINATED, Terminated, exit_status
from agents.learning.algorithms import ALGORITHMS
from agents.learning.arguments import DEFAULT_ALGORITHM, Arguments
from agents.learning.networks import NETWORKS
from agents.learning.options import add_options
from agents.learning.run import best_of_run
from agents.learning.training import make_arguments, option_classes, refuse_unknown, train
from baselines.commands.options import PRINTED, give_json, refuse
from prema_gym.errors import PolicyError
from prema_gym.exits import Parser

SAID_BY_WORKLOAD = '--workload says it, as in --workload \'{"models": ["CNN-AN"], "batches": [1]}\''
REFUSED = {
    "--models": SAID_BY_WORKLOAD,
    "--batches": SAID_BY_WORKLOAD,
    "--utilisation": '--workload says it, as in --workload \'{"arrivals": {"utilisation": 0.7}}\'; --loads trains at several',
    "--batching": "a run's networks schedule requests that run one by one; gym.make takes batching=B for agents of other libraries",
}
"""Options of other commands that a run does not take, and why."""


def build_parser(algo: str = DEFAULT_ALGORITHM, network: str | None = None) -> Parser:
    """Return the parser of a run of ``algo``: the options of all runs, of the algorithm, and of its network."""
    parser = Parser(
        "python -m agents.train",
        description="Train a scheduler and publish its weights.",
        epilog=f"Algorithms: {', '.join(ALGORITHMS)}. Networks: {', '.join(NETWORKS)}. Each has options of its own:\n"
        "python -m agents.train --algo NAME --help lists those of an algorithm.",
    )
    _add_import(parser)
    for owner, options in option_classes(algo, network).items():
        add_options(parser, options, f"options of {owner}")
    parser.add_argument("--json", nargs="?", const=PRINTED, default=None, metavar="PATH",
        help="print the outcome as JSON in place of progress; with a path write it there as well")  # fmt: skip
    refuse(parser, REFUSED)
    return parser


def _add_import(parser: argparse.ArgumentParser) -> None:
    text = "Import a module of yours first, which may register algorithms, networks and policies."
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help=text)


def parse(given: Sequence[str] | None = None) -> Arguments:
    """Return the arguments of a run; raises :class:`PolicyError` for an option that belongs to another algorithm or network."""
    return parse_all(given)[0]


def parse_all(given: Sequence[str] | None = None) -> tuple[Arguments, argparse.Namespace]:
    """Return the arguments of a run, and what says how its outcome is told."""
    first = Parser("python -m agents.train", add_help=False)
    _add_import(first)
    first.add_argument("--algo", default=DEFAULT_ALGORITHM)
    first.add_argument("--network")
    chosen, _ = first.parse_known_args(given)
    for module in chosen.modules:
        _import(module)
    parser = build_parser(chosen.algo, chosen.network)
    options, unknown = parser.parse_known_args(given)
    names = [word.partition("=")[0].removeprefix("--").replace("-", "_") for word in unknown if word.startswith("--")]
    refuse_unknown(names, chosen.algo, chosen.network)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    telling = argparse.Namespace(json=options.json)
    del options.modules, options.json
    if telling.json == PRINTED:
        options.quiet = True
    return make_arguments(**vars(options)), telling


def _import(module: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise PolicyError(f"--import {module}: {error}.") from error


def _train(arguments: Arguments, telling: argparse.Namespace) -> None:
    train(arguments)
    found = best_of_run(arguments.folder)
    results = None if found is None else found[1]
    outcome = {"folder": str(arguments.folder), "command": arguments.command, "valid": results}
    if not give_json(telling, outcome) and found is not None:
        print(f"{found[0]}: on valid {results}")


def main(given: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    return exit_status(lambda: _parse_and_train(sys.argv[1:] if given is None else given))


def _parse_and_train(given: Sequence[str]) -> int:
    arguments, telling = parse_all(given)
    try:
        _train(arguments, telling)
    except KeyboardInterrupt as stopped:
        print(f"\nstopped; go on with: python -m agents.train --output {arguments.folder} --resume (and the same options)")
        return TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED
    return 0
