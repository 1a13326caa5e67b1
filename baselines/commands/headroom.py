"""``python -m baselines.headroom``: how much better than the best rule a scheduler could be, in every world (docs/tracks.md).

A world that is done is written to the file at once; run again, the command goes on with those that the file doesn't have.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.policies.lookahead import Search
from baselines.studies.headroom import RULES, WORLDS, measure
from prema_gym.checks import one_of
from prema_gym.errors import UsageError
from prema_gym.exits import Parser, guarded
from prema_gym.files import write_text

OUTPUT = Path("results") / "headroom.json"
_DEFAULTS = Search()


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("python -m baselines.headroom", description=__doc__)
    add = parser.add_argument
    add("--worlds", nargs="+", default=list(WORLDS), metavar="NAME", help=f"which of: {'; '.join(WORLDS)} (default all)")
    add("--rules", nargs="+", default=list(RULES), metavar="NAME", help=f"who may be the best rule (default {' '.join(RULES)})")
    add("--episodes", type=int, default=200, help="episodes, the same for all (default %(default)s)")
    add("--requests", type=int, metavar="N", help="requests of an episode (default: as many as the world has)")
    add("--seed", type=int, default=0, help="seed of the episodes (default %(default)s)")
    add("--tuning", type=int, default=32, metavar="N", help="episodes that gates are tuned on; 0: not at all (default %(default)s)")
    add("--futures", type=int, default=_DEFAULTS.futures, help="futures that are sampled (default %(default)s)")
    add("--actions", type=int, default=_DEFAULTS.actions, help="actions that are tried at most (default %(default)s)")
    add("--output", type=Path, default=OUTPUT, metavar="FILE", help="JSON file to write, and to go on from (default %(default)s)")
    add("--quiet", action="store_true", help="say nothing on the way")
    return parser


def _line(name: str, found: dict[str, Any]) -> str:
    """Return what was found in one world, in a line."""

    def said(policy: str) -> str:
        gained = found["gains"][policy]
        low, high = (float("nan") if end is None else 100 * end for end in gained["ci95"])
        return f"{100 * (gained['gain'] or 0.0):.1f} % [{low:.1f}, {high:.1f}]"

    best = found["policies"][found["best"]][found["measure"]]["mean"]
    what = f"{found['measure']} of {found['best']} {best:.4g}"
    track = "a track" if found["track"] else "no track"
    return (
        f"{name}: {what}; LOOKAHEAD {said(found['lookahead'])} better, its clairvoyant twin {said(found['clairvoyant'])}: {track}"
    )


def headroom(options: argparse.Namespace) -> None:
    """Measure, world by world."""
    for name in options.worlds:
        one_of("world", name, WORLDS, error=UsageError)
    path: Path = options.output
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in options.worlds:
        world = WORLDS[name].shortened(options.requests)
        asked = {"arguments": dict(world.arguments), "episodes": options.episodes, "seed": options.seed}
        if any(known.get(name, {}).get(key) != value for key, value in asked.items()):

            def report(policy: str, count: int, name: str = name) -> None:
                if not options.quiet:
                    print(f"{name}: {policy} {count}", file=sys.stderr, flush=True)

            known[name] = measure(
                world, options.rules, episodes=options.episodes, seed=options.seed, report=report, tuning=options.tuning,
                futures=options.futures, actions=options.actions,
            )  # fmt: skip
            write_text(path, json.dumps(known, indent=1, allow_nan=False) + "\n")
        print(_line(name, known[name]), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: headroom(options))
