"""Whoever waits for the compiler is told what for, once."""

from __future__ import annotations

import functools
import multiprocessing
import sys

NOTICE = (
    "prema-gym: compiling for this machine, the first time only: half a minute until a first step, a minute or two for a first "
    "comparison or stream (prema-gym warmup does it ahead)."
)


@functools.cache
def tell_of_the_wait() -> None:
    """Print :data:`NOTICE` on stderr, once; worker processes leave it to the one that started them."""
    if multiprocessing.parent_process() is None:
        print(NOTICE, file=sys.stderr, flush=True)
