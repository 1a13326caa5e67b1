"""Reading small text files that users write, with one sentence for whatever may be wrong with them."""

from __future__ import annotations

from pathlib import Path

from prema_gym.errors import ModelError
from prema_gym.files import is_file

MOST_BYTES = 64 << 20
"""Of a text file."""


def read_text(path: Path) -> str:
    """Return a file's text (UTF-8); raises :class:`ModelError` where it is no file, too large, or no text."""
    if not is_file(path):
        raise ModelError(f"{path}: is no file.")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ModelError(f"{path}: has {size} bytes: at most {MOST_BYTES} are read.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is no UTF-8 text: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}.") from None
