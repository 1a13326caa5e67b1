"""The commands by name: what each is for, and the module that does it, imported when it is called.

A command's module has ``main(arguments) -> exit code`` and ``build_parser()``, from which help and completion are made.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from prema_gym.cli.parser import PROG
from prema_gym.errors import UsageError, missing_package, unknown_name


class Command(NamedTuple):
    """One command."""

    summary: str
    module: str
    extra: str = ""
    """Optional dependencies that it needs, as in ``pip install "prema-gym[rl]"``."""


COMMANDS = {
    "compare": Command("play the same episodes under every scheduler and compare their metrics", "baselines.commands.compare"),
    "simulate": Command("play one episode under one policy or several: metrics, Gantt chart, trace", "prema_gym.cli.simulate"),
    "train": Command("train a policy", "agents.commands.train", "rl"),
    "evaluate": Command("play a trained policy beside the baselines", "agents.commands.evaluate", "rl"),
    "inspect": Command("look into a network: layers, cycles, what bounds each, its context", "prema_gym.cli.inspect_model"),
    "sweep": Command("play policies on streams over a range of loads", "baselines.commands.sweep"),
    "warmup": Command("compile ahead what a first step or comparison would wait for", "baselines.commands.warmup"),
    "bench": Command("measure speed beside CartPole-v1", "baselines.commands.bench"),
    "reproduce": Command("repeat the paper's study with intervals", "baselines.commands.reproduce"),
    "completion": Command("print the completion script of bash, zsh or fish", "prema_gym.cli.completion"),
}
"""In the order of the help."""


def load(name: str) -> Any:
    """Import the module of command ``name``."""
    command = COMMANDS[name]
    try:
        return import_module(command.module)
    except ModuleNotFoundError as error:
        raise missing_package(f"{PROG} {name}", error.name, command.extra) from error


def parser_of(name: str) -> argparse.ArgumentParser | None:
    """Return the parser of a command, named as the command is; None where its module does not say."""
    module = load(name)
    build: Callable[[], argparse.ArgumentParser] | None = getattr(module, "build_parser", None)
    if build is None:
        return None
    parser = build()
    for text in ("description", "epilog"):
        setattr(parser, text, _renamed(getattr(parser, text) or "", name))
    parser.prog = f"{PROG} {name}"
    return parser


def _renamed(text: str, name: str) -> str:
    """Return ``text`` with the module's command line replaced by this one's, columns of examples kept."""
    lines, module = [], COMMANDS[name].module.replace(".commands.", ".")
    for line in text.split("\n"):
        before, old, after = line.partition(f"python -m {module}")
        if not old:
            lines.append(line)
            continue
        new = f"{PROG} {name}"
        gap = after.find("   ")
        padding = " " * (len(old) - len(new))
        lines.append(before + new + (after[:gap] + padding + after[gap:] if gap >= 0 else after))
    return "\n".join(lines)


def print_help(name: str, arguments: Sequence[str]) -> None:
    """Print the help of a command that was called with ``arguments``: some commands have options that depend on others."""
    parser = parser_of(name)
    if parser is not None:
        parser.print_help()
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        load(name).main(list(arguments))
    print(_renamed(printed.getvalue(), name), end="")


def run_command(name: str, arguments: Sequence[str]) -> int | None:
    """Run a command; return its exit code."""
    if name not in COMMANDS:
        raise UsageError(unknown_name("command", name, COMMANDS))
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "-h" in own or "--help" in own:
        print_help(name, own)
        return 0
    return load(name).main(list(arguments))
