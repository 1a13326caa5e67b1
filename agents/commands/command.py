"""What the command lines of this package share: how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from prema_gym.errors import PremaError

ERROR = 2
"""Exit status of a command that could not do what it was asked."""


def exit_status(action: Callable[[], None]) -> int:
    """Carry out ``action`` and return 0; an error of the project's becomes one line on stderr and :data:`ERROR`."""
    try:
        action()
    except PremaError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    return 0
