"""Options: the fields of a frozen dataclass, each with a sentence of help, become options of a command line.

    @dataclass(frozen=True)
    class Options:
        population: int = option(16, "Candidates of each generation.")

``add_options(parser, Options)`` adds ``--population``. A field's type is ``int``, ``float``, ``str``, ``bool`` (a switch, off by
default) or ``Path``, or one of these ``| None``.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any


def option(
    default: Any,
    text: str,
    *,
    choices: Sequence[str] | None = None,
    changes_weights: bool = True,
    aliases: Sequence[str] = (),
    words: Callable[[Sequence[str]], Any] | None = None,
    said: Callable[[Any], Sequence[str]] = lambda value: (str(value),),
) -> Any:
    """Return a dataclass field with ``default`` that :func:`add_options` makes an option of.

    Parameters
    ----------
    default: what the field is where nothing is given.
    text: a sentence that says what the option does; the default is added to it.
    choices: the values that are allowed, if not all are.
    changes_weights: whether another value can give other weights. Such options are recorded in a policy's card.
    aliases: further spellings, as ``("--former-name",)``.
    words: returns the field's value from the words that follow the option, where there may be several.
    said: returns the words for a value.

    """
    about = {
        "help": text,
        "choices": choices,
        "changes_weights": changes_weights,
        "aliases": tuple(aliases),
        "words": words,
        "said": said,
    }
    return dataclasses.field(default=default, metadata=about)


def option_fields(options: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass, or of an instance, that were made by :func:`option`."""
    return [entry for entry in dataclasses.fields(options) if "help" in entry.metadata]


def flag(name: str) -> str:
    """Return the option of a field: ``decision_every`` is ``--decision-every``."""
    return "--" + name.replace("_", "-")


class _Words(argparse.Action):
    """An option that several words may follow; its ``const`` makes the value of them."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        assert self.const is not None
        setattr(namespace, self.dest, self.const(values))


def add_options(parser: argparse.ArgumentParser, options: type, title: str) -> None:
    """Add an option for each field of the dataclass ``options``, under ``title``; the namespace has only those that are given."""
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(options)
    for entry in option_fields(options):
        about = entry.metadata
        kind = _without_none(hints[entry.name])
        if kind is bool:
            details: dict[str, Any] = {"action": "store_true", "help": about["help"]}
        elif about["words"] is not None:
            details = {"action": _Words, "nargs": "+", "const": about["words"], "metavar": "NAME", "help": about["help"]}
        else:
            default = "none" if entry.default in (None, "") else entry.default
            details = {"type": kind, "choices": about["choices"], "help": f"{about['help']} (default {default})"}
        details["help"] = details["help"].replace("%", "%%")
        group.add_argument(flag(entry.name), *about["aliases"], dest=entry.name, default=argparse.SUPPRESS, **details)


def _without_none(hint: Any) -> Any:
    """Return ``X`` of ``X | None``."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def recorded(options: Any) -> dict[str, Any]:
    """Return the options that can change weights as JSON types, by name."""
    values = {entry.name: getattr(options, entry.name) for entry in option_fields(options) if entry.metadata["changes_weights"]}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def changed_words(options: Any) -> Iterator[str]:
    """Yield the words of a command line that sets the options which can change weights and differ from their defaults."""
    fields = {entry.name: entry for entry in option_fields(options)}
    for name, value in recorded(options).items():
        if value == fields[name].default:
            continue
        yield flag(name)
        if value is not True:
            yield from fields[name].metadata["said"](value)
