"""``python -m agents.train``: train a scheduler, watch it against PREMA and INDEX, publish its weights.

    python -m agents.train --algo cma                     from the index rule to a network, no torch needed
    python -m agents.train --algo maskable_ppo            gradients on the native vector environment
    python -m agents.train --output results/mine --resume  go on after Ctrl-C or a crash

The folder of the run holds ``best.safetensors`` with its card (``agents.evaluate --policy`` takes the path), ``log.jsonl``,
TensorBoard files, and the checkpoint that ``--resume`` needs.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from pathlib import Path

from agents.commands.command import exit_status
from agents.learning.arguments import Arguments, parse
from agents.learning.cma import Search, opponent_of
from agents.learning.rollouts import Rollouts
from agents.learning.run import BEST, Run
from agents.network.slotnet import Shape
from agents.publishing.policies import LearnedPolicy
from agents.publishing.weights import load_weights

_INTERRUPTED = 130


def _load_search(path: Path) -> Search:
    """Return the search of an own checkpoint (a pickle: load only your own)."""
    with path.open("rb") as file:
        search = pickle.load(file)
    assert isinstance(search, Search)
    return search


def _save_search(search: Search, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(search, file)


def train_cma(arguments: Arguments, run: Run) -> LearnedPolicy | None:
    """Search until the run is over; return the best policy that was met."""
    opponent = opponent_of(arguments.opponent)
    shape = Shape(1, 1, arguments.mechanisms)
    checkpoint = run.last_checkpoint
    if checkpoint is None:
        search = Search.begin(shape, opponent, arguments.seed, arguments.population, cap=not arguments.no_cap)
        search.aims = run.aims
        if arguments.init is not None:
            weights = load_weights(arguments.init)
            search.start_from(weights.shape, weights.flat)
    else:
        search = _load_search(checkpoint)
    rollouts = Rollouts(shape, arguments.training_config, "train", arguments.threads)
    run.start_clock()
    started, first = time.monotonic(), search.generation
    while not run.over:
        search.advance(rollouts, opponent, arguments.episodes)
        run.checkpoint(search.generation, lambda path: _save_search(search, path))
        if run.evaluation_due:
            rate = (search.generation - first) * arguments.population * arguments.episodes / (time.monotonic() - started)
            policy = LearnedPolicy("learner", shape, search.center)
            speed = f"generation {search.generation}, {rate:,.0f} episodes/s"
            search.correct(run.evaluate(run.play_valid(policy), speed, (shape, search.center)))
            run.checkpoint(search.generation, lambda path: _save_search(search, path))
    best = run.folder / f"{BEST}.safetensors"
    return LearnedPolicy.load(best) if best.exists() else None


def train(arguments: Arguments) -> LearnedPolicy | None:
    """Carry out a run and return its best policy."""
    run = Run(arguments)
    if arguments.algo == "cma":
        return train_cma(arguments, run)
    from agents.learning.gradients import train as train_by_gradients

    return train_by_gradients(arguments, run)


def _train(arguments: Arguments) -> None:
    policy = train(arguments)
    if policy is not None:
        print(f"{arguments.folder / BEST}.safetensors: on valid {policy.card['selection']['results']}")


def main(given: Sequence[str] | None = None) -> int:
    """Train; return the exit status."""
    arguments = parse(given)
    try:
        return exit_status(lambda: _train(arguments))
    except KeyboardInterrupt:
        print(f"\nstopped; go on with: python -m agents.train --output {arguments.folder} --resume (and the same options)")
        return _INTERRUPTED
