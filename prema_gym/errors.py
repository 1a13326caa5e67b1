"""Errors that prema-gym raises on purpose.

Each message names what was wrong, the value that was given and what is allowed. Every class derives from
:class:`PremaError`, and from the built-in a caller would expect, so both ``except PremaError`` and ``except ValueError`` work.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PremaError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(PremaError, ValueError):
    """A configuration field is unknown or its value is impossible."""


class ModelError(PremaError, ValueError):
    """A network is unknown, or its layers do not fit together."""


class TraceError(PremaError, ValueError):
    """An injected trace cannot be played."""


class ActionError(PremaError, ValueError):
    """An action is out of range, or illegal under ``strict=True``."""


class PolicyError(PremaError, ValueError):
    """A policy is unknown or cannot be used here."""


class BoundError(PremaError, ArithmeticError):
    """A policy reached more than any schedule can: what was measured can't be right."""


class FileError(PremaError, OSError):
    """A file can't be written, or a folder can't be used."""


class UsageError(PremaError, RuntimeError):
    """An environment was used in the wrong order, for example stepped before its first reset."""


class MissingPackage(PremaError, ImportError):  # noqa: N818  # it is an ImportError
    """What was asked for needs a package that is not installed."""


EXTRAS = {
    **dict.fromkeys(("cmaes", "sb3_contrib", "safetensors", "stable_baselines3", "tensorboard", "torch", "tqdm"), "rl"),
    **dict.fromkeys(("onnx", "onnxruntime"), "onnx"),
    "bokeh": "html",
    "pandas": "notebooks",
    "ray": "ray",
}
"""By optional package: the extra that brings it."""
APART = {"ray": "in an environment of its own, or make ray"}
"""By extra that ``make install`` leaves out, since its requirements exclude those of others: how else to get it."""


def missing_package(what: str, name: str | None, extra: str | None = None) -> MissingPackage:
    """Return the error to raise where ``what`` needs the package ``name``: one sentence that says how to install it."""
    brings = extra or EXTRAS.get((name or "").partition(".")[0])
    remedy = f": pip install 'prema-gym[{brings}]', {APART.get(brings, 'or make install')}." if brings else "."
    return MissingPackage(f"{what} needs {name}, which is not installed{remedy}")


_LONGEST_SHOWN = 200
"""Characters of a value that a message shows."""


def shown(value: object) -> str:
    """Return ``value`` as a message shows it: its repr, cut short where it is long; never an error of its own."""
    try:
        text = repr(value)
    except Exception:  # a number of more digits than Python writes out, or whatever stands behind __repr__
        return f"<a {type(value).__name__} that can't be shown>"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> str:
    """Return one sentence that says ``name`` is no ``kind``, what is allowed, and the nearest allowed name."""
    names = sorted(allowed)
    text = name[:_LONGEST_SHOWN] if isinstance(name, str) else ""
    in_other_case = [allowed_name for allowed_name in names if text and allowed_name.lower() == text.lower()]
    near = in_other_case or (difflib.get_close_matches(text, names, n=1) if text else [])
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {shown(name)}.{hint} Allowed: {', '.join(names)}."
