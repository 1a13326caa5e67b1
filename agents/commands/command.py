"""What the command lines of this package share: how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from prema_gym.errors import PremaError

ERROR = 2
"""Exit status of a command that could not do what it was asked."""


def exit_status(action: Callable[[], int | None]) -> int:
    """Return what ``action`` does, 0 for None; an error of the project's becomes one line on stderr and :data:`ERROR`."""
    try:
        return action() or 0
    except PremaError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
