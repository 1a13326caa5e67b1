"""What all configurations share: checks of fields, presets, construction from plain JSON, and back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from prema_gym.checks import one_of, plain
from prema_gym.errors import ConfigError, shown, unknown_name

ConfigT = TypeVar("ConfigT", bound="Config")


def check(cls_name: str, field: str, value: object, ok: bool, rule: str) -> None:
    """Raise :class:`ConfigError` naming field, value and rule unless ``ok``."""
    if not ok:
        raise ConfigError(f"{cls_name}.{field} = {shown(value)}: must be {rule}.")


def _refuse(cls: type[Config], key: str, value: object) -> None:
    """Raise :class:`ConfigError` for a field that ``cls`` doesn't have; one that it had gets its new name."""
    given = f"{cls.__name__}({key}={shown(value)})"
    for part, kind in cls.PARTS.items():
        if key in _field_names(kind):
            raise ConfigError(f"{given}: {key!r} is a field of {part!r}: write {part}={{{key!r}: {shown(value)}}}.")
    if key not in cls.RENAMED:
        raise ConfigError(f"{given}: {unknown_name('field', key, _field_names(cls))}")
    name, values = cls.RENAMED[key]
    if isinstance(value, bool):
        raise ConfigError(f"{given}: {key!r} is now {name!r}: write {name}={values[value]!r}.")
    equivalents = ", ".join(f"{new!r} for {old!r}" for old, new in values.items())
    raise ConfigError(f"{given}: {key!r} is now {name!r}: write {equivalents}.")


def _field_names(cls: type[Config]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]


def refuses_unknown_fields(cls: type[ConfigT]) -> type[ConfigT]:
    """Make ``cls(typo=1)`` a :class:`ConfigError` that lists the fields, in place of Python's bare ``TypeError``."""
    original: Callable[..., None] = cls.__init__
    names = _field_names(cls)

    @functools.wraps(original)
    def checked_init(self: Config, *args: Any, **kwargs: Any) -> None:
        for key, value in kwargs.items():
            if key not in names:
                _refuse(cls, key, value)
        original(self, *map(plain, args), **{key: plain(value) for key, value in kwargs.items()})

    cls.__init__ = checked_init  # type: ignore[assignment]
    return cls


def _plain(value: Any) -> Any:
    """Return ``value`` with tuples as lists and mappings as dicts, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (tuple, list)) else value


class Config:
    """What the configurations share: presets, construction from plain JSON, and back."""

    PRESETS: ClassVar[dict[str, Mapping[str, Any]]] = {}
    """Fields of the presets by name; what is not named has its default."""
    PARTS: ClassVar[Mapping[str, type[Config]]] = {}
    """Fields that are configurations themselves: whoever gives one of their fields is told where it goes."""
    RENAMED: ClassVar[Mapping[str, tuple[str, Mapping[bool, str]]]] = {}
    """Switches of earlier versions: the field that each has become, and what to write for True and False."""

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the preset ``name``; raises :class:`ConfigError` for an unknown one."""
        return cls(**cls.PRESETS[one_of(f"{cls.__name__} preset", name, cls.PRESETS)])

    @classmethod
    def coerce(cls, value: Self | str | Mapping[str, Any] | None) -> Self:
        """Return ``value`` as a configuration: an instance, a preset's name, a mapping of fields, or None for the default.

        A mapping may name a ``"preset"`` whose fields it changes.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and not cls.PRESETS:
            first = _field_names(cls)[0]
            raise ConfigError(
                f"{cls.__name__} = {shown(value)}: must be an instance or a mapping of its fields, such as {{{first!r}: ...}}."
            )
        if isinstance(value, str):
            return cls.preset(value)
        if not isinstance(value, Mapping):
            raise ConfigError(f"{cls.__name__} = {shown(value)}: must be an instance, a preset's name or a mapping of its fields.")
        fields = dict(value)
        base = cls.preset(fields.pop("preset")) if "preset" in fields else cls()
        names = _field_names(cls)
        for key, given in fields.items():
            if key not in names:
                _refuse(cls, key, given)
        return dataclasses.replace(base, **fields)  # type: ignore[type-var]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types, nested configurations included."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}  # type: ignore[call-overload]
