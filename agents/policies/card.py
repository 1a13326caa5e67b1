"""A card: what an agent needs of its environment, as a JSON file beside the agent's own.

``mine.zip.json`` beside ``mine.zip``, ``mine.onnx.json`` beside ``mine.onnx``. It holds ``mechanisms`` (names), ``asked_every``
(quanta, or null for arrivals and completions only) and ``allow_idle``; what is missing is not known, other entries are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prema_gym.checks import as_whole
from prema_gym.config import MECHANISMS
from prema_gym.errors import PolicyError, shown, unknown_name
from prema_gym.files import is_file, write_text

FORMAT = "prema-gym agent"
_LARGEST = 1 << 24


@dataclass(frozen=True)
class Card:
    """What an agent needs of its environment."""

    mechanisms: tuple[str, ...] | None = None
    """Those that it was trained with; None where that isn't known."""
    asked_every: int | None = None
    """Quanta between decisions asked by the quantum; None: arrivals and completions only."""
    allow_idle: bool = False
    """Whether it was trained to leave an NPU idle though tasks wait."""

    @classmethod
    def checked(cls, where: str, mechanisms: Any, asked_every: Any, allow_idle: Any = False) -> Card:
        """Return a card of these values; raises :class:`PolicyError`, which begins with ``where``, for an impossible one."""
        if mechanisms is not None:
            given = (mechanisms,) if isinstance(mechanisms, str) else mechanisms
            if not isinstance(given, Sequence) or not given:
                raise PolicyError(f"{where}: mechanisms = {shown(mechanisms)}: must be names among {', '.join(MECHANISMS)}.")
            for mechanism in given:
                if mechanism not in MECHANISMS:
                    raise PolicyError(f"{where}: {unknown_name('mechanism', mechanism, MECHANISMS)}")
            mechanisms = tuple(mechanism for mechanism in MECHANISMS if mechanism in given)
        every = as_whole(asked_every)
        if asked_every is not None and (every is None or every < 1):
            raise PolicyError(f"{where}: asked_every = {shown(asked_every)}: must be None or a whole number of at least 1.")
        return cls(mechanisms, every, allow_idle is True)

    def stated(self, where: str, mechanisms: Any, asked_every: Any) -> Card:
        """Return the card with what a caller states in place of what it says."""
        chosen = self.mechanisms if mechanisms is None else mechanisms
        every = self.asked_every if asked_every is None else asked_every
        return Card.checked(where, chosen, every, self.allow_idle)


def card_path(path: Path) -> Path:
    """Return where the card of the agent at ``path`` lies."""
    return path.with_name(f"{path.name}.json")


def read_card(path: Path) -> Card | None:
    """Return the card beside the agent at ``path``; None where there is none. Raises :class:`PolicyError` for a damaged one."""
    place = card_path(path)
    if not is_file(place):
        return None
    try:
        found = json.loads(place.read_bytes()[:_LARGEST])
    except (OSError, ValueError, RecursionError) as error:
        raise PolicyError(f"{place}: is no card: no JSON ({error}).") from error
    if not isinstance(found, dict):
        raise PolicyError(f"{place}: is no card: must be a JSON object, it is a {type(found).__name__}.")
    return Card.checked(str(place), found.get("mechanisms"), found.get("asked_every"), found.get("allow_idle", False))


def write_card(path: Path, card: Card, about: Mapping[str, Any] | None = None) -> Path:
    """Write ``card`` beside the agent at ``path``, and the entries ``about`` how it was made; return its place."""
    content = {
        "format": FORMAT,
        "mechanisms": None if card.mechanisms is None else list(card.mechanisms),
        "asked_every": card.asked_every,
        "allow_idle": card.allow_idle,
        **(about or {}),
    }
    write_text(card_path(path), json.dumps(content, indent=1) + "\n")
    return card_path(path)
