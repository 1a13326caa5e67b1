"""Play random episodes on the kernel and on the reference, and count those that differ: ``make differential EPISODES=100000``.

Episodes are numbered, and a number fixes everything about its episode: ``--first`` plays a failure again. Each number stands for an
episode of an environment, for a case of one to four NPUs that every further implementation in ``PLAYERS`` plays, and for a stream;
every other case and stream forms batches. With ``--batching`` a number stands for a case and a stream that do, five in six of them.
The last line reads ``N episodes, D differences``; the exit status is 1 if D > 0.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from streams import random_streams
from streams.random_streams import StreamCase

from tools import duel
from tools.several_cases import Case, draw_any, draw_batching
from tools.several_npus import PLAYERS
from tools.twin import differences

BLOCK = 100
"""Episodes that a process takes at a time."""
SHOWN = 20
"""Differences that are told in full."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=int, nargs="?", default=2000, help="how many to play (default: 2000)")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="number of the first episode (default: 0)")
    parser.add_argument("--batching", action="store_true", help="play only cases and streams that form batches")
    parser.add_argument("--processes", type=int, default=2, help="processes to use (default: 2; 0 plays in this one)")
    return parser.parse_args()


def _blocks(first: int, episodes: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + episodes, BLOCK):
        yield start, min(BLOCK, first + episodes - start)


def _play(block: tuple[int, int]) -> tuple[int, list[str], int]:
    found, steps = differences(*block)
    more, decisions = _play_several(block, draw_any, random_streams.draw_any)
    return block[1], found + more, steps + decisions


def _play_batching(block: tuple[int, int]) -> tuple[int, list[str], int]:
    return block[1], *_play_several(block, draw_batching, random_streams.draw_batching)


def _play_several(
    block: tuple[int, int], case: Callable[[int], Case], stream: Callable[[int], StreamCase]
) -> tuple[list[str], int]:
    found, steps = random_streams.differences(*block, stream)
    for name, player in PLAYERS.items():
        if name != "twin":
            more, decisions = duel.differences(*block, player, PLAYERS["twin"], case)
            found, steps = found + more, steps + decisions
    return found, steps


def main() -> int:
    """Run the command; return its exit status."""
    arguments = _arguments()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    found: list[str] = []
    steps = 0
    play = _play_batching if arguments.batching else _play
    with contextlib.ExitStack() as stack:
        imap: Any = map
        if arguments.processes:
            imap = stack.enter_context(multiprocessing.get_context("spawn").Pool(arguments.processes)).imap_unordered
        progress = stack.enter_context(Progress(*columns, console=console))
        bar = progress.add_task("0 differences", total=arguments.episodes)
        for count, differing, played in imap(play, _blocks(arguments.first, arguments.episodes)):
            found += differing
            steps += played
            progress.update(bar, advance=count, description=f"{len(found)} differences")
    for line in found[:SHOWN]:
        print(line)
    if len(found) > SHOWN:
        print(f"... and {len(found) - SHOWN} more")
    print(f"{steps} decisions compared")
    print(f"{arguments.episodes} episodes, {len(found)} differences")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
