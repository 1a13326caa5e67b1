"""``python -m agents.publish NAME RUN [RUN ...]``: make the first run's best network a policy of that name, measured on "eval".

The card has the results of all runs (the same command with other seeds), so that nobody takes one lucky seed for the method.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.commands.command import exit_status
from agents.commands.evaluate import report
from agents.publishing.policies import BEST, GRAPH, PRETRAINED, LearnedPolicy
from agents.publishing.weights import SUFFIX, save_weights
from baselines.evaluation.evaluate import evaluate
from baselines.evaluation.results import Results
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError
from prema_gym.exits import Parser

OPPONENTS = ("PREMA", "INDEX")
"""Who is compared with where nothing is said, in closed episodes; on streams it is PREMA, and the opponent of the training run."""
_EACH_ITS_OWN = ("decision_every", "mechanisms", "allow_idle", "reward")
"""Fields of the training environment that every policy says for itself, or that no measure depends on."""
_FILLED_IN_BY_SAVING = ("format", "version", "name", "sha256", "network", "mechanisms", "observation")
"""Entries of a card that saving fills in."""


def best_of(run: Path) -> LearnedPolicy:
    """Return the best network of a run's folder."""
    path = run / f"{BEST}{SUFFIX}"
    if (run / GRAPH).is_file():
        raise PolicyError(
            f"{run}: its network has no compiled form: hand on {GRAPH} and its card, which --policy takes as they are."
        )
    if not path.is_file():
        raise PolicyError(f"{run}: holds no {path.name}: is it the folder of a run of python -m agents.train?")
    found = LearnedPolicy.load(path)
    return LearnedPolicy(run.name, found.shape, found.flat, found.card)


def world_of(policy: LearnedPolicy) -> dict[str, Any]:
    """Return the environment's arguments of the world that a network was trained in."""
    return {key: value for key, value in policy.card.get("training", {}).items() if key not in _EACH_ITS_OWN}


def opponents_of(policy: LearnedPolicy) -> tuple[str, ...]:
    """Return who a network is compared with where nothing is said."""
    if not EnvConfig.coerce(world_of(policy)).stream:
        return OPPONENTS
    return tuple(dict.fromkeys((OPPONENTS[0], policy.card["arguments"]["opponent"])))


def publish(
    name: str, runs: Sequence[Path], episodes: int, seed: int, folder: Path = PRETRAINED, versus: Sequence[str] | None = None
) -> Path:
    """Write weights and card of the first of ``runs``, played in its world; return the path of the weights."""
    policies = [best_of(run) for run in runs]
    chosen = policies[0]
    opponents = opponents_of(chosen) if versus is None else tuple(versus)
    results = evaluate([*policies, *opponents], episodes, seed, **world_of(chosen))
    card = {key: value for key, value in chosen.card.items() if key not in _FILLED_IN_BY_SAVING}
    card["evaluation"] = {"split": results.split, "episodes": episodes, "seed": seed}
    card["runs"] = [_outcome(policy, results, opponents) for policy in policies]
    return save_weights(folder / f"{name}{SUFFIX}", chosen.shape, chosen.flat, card)


def _outcome(policy: LearnedPolicy, results: Results, opponents: Sequence[str]) -> dict[str, Any]:
    """Return the card's entry on a run: how it was made, its results at selection, and how it compares on "eval"."""
    origin = {key: policy.card.get(key) for key in ("command", "seed", "revision")}
    compared = report(results, policy.name, opponents)["versus"]
    return {**origin, "selection": policy.card["selection"]["results"], "versus": compared}


def summary(card: dict[str, Any]) -> str:
    """Return a line for each run: in how many measures it is better than each opponent."""
    lines = []
    for run in card["runs"]:
        counts = [f"{sum(gap['better'] for gap in gaps.values())} of {len(gaps)} v {name}" for name, gaps in run["versus"].items()]
        lines.append(f"seed {run['seed']}: better in {', '.join(counts)}")
    return "\n".join(lines)


def _run(options: argparse.Namespace) -> None:
    path = publish(options.name, options.runs, options.episodes, options.seed, options.output, options.versus)
    print(summary(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))))
    print(f"{path}: written")


def main(given: Sequence[str] | None = None) -> int:
    """Publish; return the exit status."""
    parser = Parser("python -m agents.publish", description="Make a run's best network a policy with a name.")
    parser.add_argument("name", help="Name of the policy, and of its files.")
    parser.add_argument(
        "runs", type=Path, nargs="+", help="Folders of runs: the one to publish first, then other seeds of the same command."
    )
    parser.add_argument(
        "--versus", nargs="+", metavar="NAME",
        help="Policies to compare with (default PREMA and INDEX; on streams PREMA and the opponent of the run).",
    )  # fmt: skip
    parser.add_argument("--episodes", type=int, default=5000, help="Episodes of the split 'eval' (default 5000).")
    parser.add_argument("--seed", type=int, default=123, help="Seed of these episodes (default 123).")
    parser.add_argument(
        "--output", type=Path, default=PRETRAINED, help="Folder to write to (default: that of the published policies)."
    )
    options = parser.parse_args(given)
    return exit_status(lambda: _run(options))
