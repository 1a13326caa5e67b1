"""Files that are written whole or not at all, and folders that belong to their owner alone."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from prema_gym.errors import FileError

PRIVATE = 0o700
"""Mode of folders whose files are run or trusted: nobody else may write there, or look."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a file to write, which becomes ``path`` at the end: readers see the old file or all of the new one, whatever happens.

    Folders are created. Raises :class:`FileError`, which names ``path``, where it can't be written; the old file then stays.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise FileError(f"{target}: can't be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _mode(target: Path) -> int:
    """Return the mode of the file that is replaced, or what the umask leaves of a new one's."""
    with contextlib.suppress(OSError):
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a file; of what can't be a file's name, or can't be looked at, no."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8; see :func:`replacing`."""
    write_bytes(path, text.encode("utf-8"))


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows``, alike in their keys, to ``path`` with a header; see :func:`replacing`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def save_figure(figure: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Save a matplotlib figure in the format of the path's suffix; see :func:`replacing`."""
    target = Path(path)
    kind = target.suffix.lstrip(".").lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        allowed = ", ".join(f".{name}" for name in sorted(figure.canvas.get_supported_filetypes()))
        raise FileError(f"{target}: pictures are saved as one of {allowed}.")
    with replacing(target) as file:
        figure.savefig(file, format=kind, **options)


def make_private(folder: Path) -> None:
    """Create ``folder`` for its owner alone.

    Raises :class:`FileError` where it can't be made, or where it exists and somebody else owns it or may write there: what lies in
    it would be run.
    """
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise FileError(f"{folder}: can't be used: {error.strerror or error}.") from error
    if not hasattr(os, "getuid"):
        return
    if found.st_uid != os.getuid():
        raise FileError(f"{folder}: belongs to another user: machine code from it is not run. Choose one with PREMA_GYM_CACHE.")
    if found.st_mode & 0o022:
        with contextlib.suppress(OSError):
            folder.chmod(found.st_mode & ~0o022)
            return
        raise FileError(f"{folder}: others may write there: machine code from it is not run. Choose one with PREMA_GYM_CACHE.")
