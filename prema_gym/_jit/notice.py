"""Whoever waits for the compiler is told what for, once."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys

NOTICE = (
    "prema-gym: compiling for this machine, the first time only: half a minute until a first step, a minute or two for a first "
    "comparison or stream (prema-gym warmup does it ahead)."
)


@functools.cache
def tell_of_the_wait() -> None:
    """Print :data:`NOTICE` on stderr, once; worker processes leave it to the one that started them.

    ``PREMA_GYM_QUIET=1`` in the environment leaves it out.
    """
    if multiprocessing.parent_process() is None and os.environ.get("PREMA_GYM_QUIET", "0") == "0":
        print(NOTICE, file=sys.stderr, flush=True)
