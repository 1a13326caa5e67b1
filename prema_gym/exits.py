"""How a command begins and ends: a parser, exit codes, and one line for an error that its user can do something about."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from prema_gym.errors import EXTRAS, PremaError, missing_package

OK, FAILED, ERROR, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
"""Exit codes: all is well; a part of the work could not be done; nothing could; stopped by Ctrl-C, and by SIGTERM."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose description and examples keep their lines; options can't be abbreviated."""

    def __init__(self, prog: str, **kwargs: Any) -> None:
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print ``error: message`` and exit with 2."""
        self.exit(ERROR, f"error: {' '.join(message.split())} ({self.prog} --help lists the options)\n")


def one_line(error: BaseException) -> str:
    """Return what is printed of an error the user can do something about."""
    return "error: " + " ".join(str(error).split())


def told(error: BaseException) -> str | None:
    """Return the line for an error that a command's user can do something about, a missing extra among them; None for any other."""
    if isinstance(error, (PremaError, OSError)):
        return one_line(error)
    if isinstance(error, MemoryError):
        return "error: there is not enough memory."
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRAS:
        return one_line(missing_package("this command", error.name))
    return None


def guarded(run: Callable[[], int | None], interrupted: str = "stopped") -> int:
    """Run a command; return its exit code. Errors that its user can do something about become one line.

    ``interrupted`` is what is said after Ctrl-C.
    """
    try:
        return run() or OK
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        line = told(error)
        if line is None:
            raise
        print(line, file=sys.stderr)
        return ERROR
