"""What a run goes on from: one file that holds all of it, replaced as a whole, and read without running code from it.

State, log, best policy and the algorithm's own checkpoint are one file of arrays and JSON. Whenever a process is killed, that file
is as it was before a step or as it was after it; what else lies in the folder is written from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prema_gym.errors import FileError, PolicyError
from prema_gym.files import replacing

try:
    import fcntl
except ImportError:  # a system without file locks: two processes in one folder are then the user's to avoid
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_JSON = "json"
"""Name of the array that holds the JSON text."""
MOST_BYTES = 4 << 30
"""Of a checkpoint that is read."""


@dataclass
class Saved:
    """All of a run at one moment."""

    state: dict[str, Any]
    """Progress, as JSON types."""
    log: str
    """The lines of the log."""
    payload: bytes | None = None
    """The algorithm's own checkpoint."""
    best: np.ndarray | None = None
    """(size,) weights of the best policy."""
    card: dict[str, Any] | None = None
    """What its card says, and in ``"shape"`` the sizes of its network."""


def save(path: Path, saved: Saved) -> None:
    """Write ``saved`` to ``path`` in one step; raises :class:`FileError` where that can't be done."""
    arrays = {} if saved.payload is None else {"payload": np.frombuffer(saved.payload, np.uint8)}
    if saved.best is not None:
        arrays["best"] = saved.best
    save_arrays(path, arrays, {"state": saved.state, "log": saved.log, "card": saved.card})


def load(path: Path) -> Saved:
    """Return what :func:`save` wrote to ``path``; raises :class:`PolicyError` for anything else, and for a damaged file."""
    arrays, text = load_arrays(path)
    payload, best = arrays.get("payload"), arrays.get("best")
    try:
        return Saved(dict(text["state"]), str(text["log"]), None if payload is None else payload.tobytes(), best, text["card"])
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{path}: is no checkpoint of a run of this version ({error!r}).") from None


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], text: Any) -> None:
    """Write ``arrays`` and ``text`` (JSON types) to ``path`` in one step."""
    line = np.frombuffer(json.dumps(text, sort_keys=True).encode(), np.uint8)
    with replacing(path) as file:
        np.savez(file, **{_JSON: line}, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    """Return (arrays, JSON) that :func:`save_arrays` wrote; raises :class:`PolicyError`. Objects are refused, not unpickled."""
    try:
        if not path.is_file():
            raise PolicyError(f"{path}: is no file.")
        if path.stat().st_size > MOST_BYTES:
            raise PolicyError(f"{path}: has {path.stat().st_size} bytes: at most {MOST_BYTES} are read.")
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(arrays.pop(_JSON).tobytes())
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, NotImplementedError) as error:
        raise PolicyError(f"{path}: can't be read: truncated, damaged, or no checkpoint ({error}).") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, MemoryError, OverflowError, SyntaxError, RuntimeError) as error:
        raise PolicyError(f"{path}: can't be read: truncated or damaged ({error}).") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, created if need be, for this process alone; raises :class:`PolicyError` where another one holds it.

    The lock goes with the process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise FileError(f"{folder}: can't be used: {error.strerror or error}.") from error
    try:
        if fcntl is not None:
            _take(folder, handle)
        yield
    finally:
        os.close(handle)


def _take(folder: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
        raise PolicyError(f"{folder}: process {holder or 'another'} trains there; wait for it, or give another --output.") from None
    except OSError:  # a file system without locks
        return
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
