"""What the command lines of this package share: how they end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from prema_gym.errors import PremaError

ERROR, INTERRUPTED, TERMINATED = 2, 130, 143
"""Exit statuses: of a command that could not do what it was asked, and of those that Ctrl-C and SIGTERM have stopped."""


def exit_status(action: Callable[[], int | None]) -> int:
    """Return what ``action`` does, 0 for None.

    An error of the project's, or of the system (a full disk, a folder that can't be written), becomes one line on stderr and
    :data:`ERROR`; Ctrl-C and SIGTERM become :data:`INTERRUPTED` and :data:`TERMINATED`.
    """
    try:
        signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # not the main thread: whoever started it answers signals
        return _status_of(action)
    try:
        return _status_of(action)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Terminated(KeyboardInterrupt):
    """SIGTERM: answered as Ctrl-C is."""


def _terminate(*_: object) -> None:
    raise Terminated


def _status_of(action: Callable[[], int | None]) -> int:
    try:
        return action() or 0
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()
        return 0
    except (PremaError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except MemoryError:
        print("error: there is not enough memory.", file=sys.stderr)
        return ERROR
    except Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
