"""The command line: ``prema-gym COMMAND``, or ``python -m prema_gym COMMAND``. The top layer; nothing imports it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from prema_gym import __version__
from prema_gym.cli.commands import COMMANDS, run_command
from prema_gym.cli.parser import PROG, examples
from prema_gym.errors import UsageError
from prema_gym.exits import ERROR, OK, Parser, guarded

DESCRIPTION = """\
Schedule DNN inference on a preemptible NPU: simulate, compare, train, look inside."""

EPILOG = (
    examples(
        ("compare --episodes 200", "the paper's schedulers on the same 200 episodes"),
        (
            "simulate --policy PREMA --versus P-SJF --seed 3 --gantt out.png --trace out.json",
            "one episode, two policies: metrics, chart, trace",
        ),
        ("inspect CNN-AN --batch 4 --picture roofline.png", "AlexNet's layers, and what bounds each"),
        ("--import my_models inspect MyNet", "a network that my_models.py registers"),
        ("COMMAND --help", "options and examples of a command"),
    )
    + "\n\nexit codes: 0 all is well, 2 a wrong command line or a file that cannot be written, 130 stopped by Ctrl-C"
)


def build_parser() -> Parser:
    """Return the parser of what comes before the command."""
    listed = "\n".join(f"  {name:<11} {command.summary}" for name, command in COMMANDS.items())
    parser = Parser(
        PROG,
        usage=f"{PROG} [--help] [--version] [--import MODULE] COMMAND ...",
        description=f"{DESCRIPTION}\n\ncommands:\n{listed}",
        epilog=EPILOG,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="print this, and stop")
    parser.add_argument("--version", action="store_true", help="print the version, and stop")
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE",
        help="import a module first, which may register models and policies of yours (the present folder counts)")  # fmt: skip
    return parser


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (what comes before the command, the command and its arguments)."""
    taken = 0
    while taken < len(arguments) and arguments[taken].startswith("-"):
        taken += 2 if arguments[taken] == "--import" else 1
    return list(arguments[:taken]), list(arguments[taken:])


def import_modules(names: Sequence[str]) -> None:
    """Import the user's modules, those of the present folder included."""
    if names and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise UsageError(f"--import {name}: {error}.") from error


def start(arguments: Sequence[str]) -> int | None:
    """Do what the command line asks for."""
    before, command = split(arguments)
    parser = build_parser()
    options = parser.parse_args(before)
    if options.version:
        print(f"{PROG} {__version__}")
        return OK
    if options.help or not command:
        parser.print_help(None if options.help else sys.stderr)
        return OK if options.help else ERROR
    import_modules(options.modules)
    return run_command(command[0], command[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return guarded(lambda: start(given))
