"""How the command lines of this package end: as all do, but SIGTERM is answered as Ctrl-C is, so that runs end in good order."""

from __future__ import annotations

import signal
from collections.abc import Callable

from prema_gym.exits import ERROR, INTERRUPTED, TERMINATED, guarded

__all__ = ["ERROR", "INTERRUPTED", "TERMINATED", "Terminated", "exit_status"]


def exit_status(action: Callable[[], int | None]) -> int:
    """Return what ``action`` does, 0 for None.

    Errors and Ctrl-C end as :func:`prema_gym.exits.guarded` says, SIGTERM as :data:`TERMINATED`.
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
    def answered() -> int | None:
        try:
            return action()
        except Terminated:
            return TERMINATED

    return guarded(answered)
