"""How a command ends: its exit code, and one line for an error that its user can do something about."""

from __future__ import annotations

import sys
from collections.abc import Callable

from prema_gym.errors import PremaError

OK, ERROR, INTERRUPTED = 0, 2, 130
"""Exit codes."""


def one_line(error: BaseException) -> str:
    """Return what is printed of an error the user can do something about."""
    return "error: " + " ".join(str(error).split())


def guarded(run: Callable[[], int | None]) -> int:
    """Run a command; return its exit code. Errors that its user can do something about become one line."""
    try:
        return run() or OK
    except (PremaError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # whoever read the output has seen enough
            sys.stderr.close()
            return OK
        print(one_line(error), file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
