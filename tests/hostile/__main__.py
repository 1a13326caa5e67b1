"""``make fuzz``: call every public entry with CASES=10000 hostile inputs each, and print the table of what came of them.

    cd tests && python -m hostile 10000                all entries
    cd tests && python -m hostile 10000 trace network  some of them
    cd tests && python -m hostile 1 trace --first 4711 one case again

A case that ends otherwise than in success or a ``PremaError``, or takes longer than 30 seconds, is printed; the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
import warnings
from typing import NamedTuple

from hostile.entries import ENTRIES
from prema_gym.errors import PremaError

LONGEST_S = 30


class Count(NamedTuple):
    """What came of the cases of an entry."""

    taken: int
    refused: int
    failures: list[str]
    seconds: float


class HangError(Exception):
    """A case took longer than LONGEST_S."""


def _hangs(*_: object) -> None:
    raise HangError(f"longer than {LONGEST_S} s")


def fuzz(name: str, cases: int, first: int = 0, *, details: bool = False) -> Count:
    """Call an entry ``cases`` times; return what came of it. Overflows and invalid operations of NumPy count as failures."""
    taken, refused, failures, began = 0, 0, [], time.monotonic()
    previous = signal.signal(signal.SIGALRM, _hangs)
    try:
        for case in range(first, first + cases):
            rng = random.Random(f"{name} {case}")
            signal.alarm(LONGEST_S)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", RuntimeWarning)
                    ENTRIES[name](rng)
                taken += 1
            except PremaError:
                refused += 1
            except Exception as error:
                failures.append(f"{name} {case}: {type(error).__name__}: {str(error)[:200]}")
                if details:
                    traceback.print_exc()
            finally:
                signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    return Count(taken, refused, failures, time.monotonic() - began)


def main() -> int:
    """Fuzz, and print the table; return the exit status."""
    parser = argparse.ArgumentParser("python -m hostile", description="Call every public entry with hostile inputs.")
    parser.add_argument("cases", type=int, help="of each entry")
    parser.add_argument("entries", nargs="*", help=f"some of {', '.join(ENTRIES)} (default all)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    print("| entry | cases | taken | refused | failures | seconds |\n|---|---|---|---|---|---|")
    failures: list[str] = []
    for name in options.entries or ENTRIES:
        count = fuzz(name, options.cases, options.first, details=options.cases == 1)
        failures += count.failures
        cells = (name, options.cases, count.taken, count.refused, len(count.failures), round(count.seconds))
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    for failure in failures[:100]:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
