"""Many programs in the tables that compiled code reads, and their cache on disk."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from prema_gym._jit.cache import cache_dir
from prema_gym.files import replacing
from prema_gym.types import BLOCK, PROGRAM, RUN, SEGMENT

if TYPE_CHECKING:
    from prema_gym.hardware.program import Program


class Stored(NamedTuple):
    """A program as a library holds it: the fields of a :class:`Program` that make its rows."""

    blocks: np.ndarray
    runs: np.ndarray
    segments: np.ndarray
    totals: np.ndarray
    predicted_cycles: int
    length_estimated: bool


TABLES = {"runs": RUN, "blocks": BLOCK, "segments": SEGMENT, "programs": PROGRAM, "totals": np.dtype(np.int64)}
"""The tables by name, with the type of their records."""

_POINTERS = {
    "blocks": (("first_run", "runs"),),
    "segments": (("block", "blocks"),),
    "programs": (("first_segment", "segments"), ("first_total", "totals")),
}
"""Fields that hold rows of another table, and which."""

log = logging.getLogger(__name__)


class _Growing:
    """An array that grows at its end."""

    def __init__(self, dtype: np.dtype) -> None:
        self.data = np.zeros(64, dtype)
        self.size = 0

    def extend(self, rows: np.ndarray) -> int:
        """Append ``rows`` and return the index of the first."""
        first = self.size
        needed = first + len(rows)
        if needed > len(self.data):
            larger = np.zeros(max(needed, 2 * len(self.data)), self.data.dtype)
            larger[:first] = self.data[:first]
            self.data = larger
        self.data[first:needed] = rows
        self.size = needed
        return first

    @property
    def rows(self) -> np.ndarray:
        return self.data[: self.size]


class ProgramLibrary:
    """Concatenated tables of programs. A block that several of them contain is stored once.

    Adding a program may move the tables: take them from the properties again afterwards.
    """

    def __init__(self) -> None:
        self._tables = {name: _Growing(dtype) for name, dtype in TABLES.items()}
        self._block_rows: dict[bytes, int] = {}

    def add(self, program: Program | Stored) -> int:
        """Append ``program`` and return its row."""
        rows = [self._add_block(program, block) for block in program.blocks]
        segments = program.segments.copy()
        segments["block"] = np.array(rows, np.int32)[segments["block"]] if rows else 0
        record = np.zeros(1, PROGRAM)
        record["first_segment"] = self._tables["segments"].extend(segments)
        record["segments"] = len(segments)
        record["first_total"] = self._tables["totals"].extend(program.totals)
        record["totals"] = len(program.totals)
        record["predicted_cycles"] = program.predicted_cycles
        record["length_estimated"] = program.length_estimated
        return self._tables["programs"].extend(record)

    def stored(self, row: int) -> Stored:
        """Return the program in ``row``, which another library can add."""
        record = self.programs[row]
        first, first_total = int(record["first_segment"]), int(record["first_total"])
        segments = self.segments[first : first + int(record["segments"])].copy()
        used, segments["block"] = np.unique(segments["block"], return_inverse=True)
        totals = self.totals[first_total : first_total + int(record["totals"])]
        return Stored(
            self.blocks[used], self.runs, segments, totals, int(record["predicted_cycles"]), bool(record["length_estimated"])
        )

    def _add_block(self, program: Program | Stored, block: np.void) -> int:
        first = int(block["first_run"])
        runs = program.runs[first : first + int(block["runs"])]
        key = _block_key(block, runs)
        row = self._block_rows.get(key)
        if row is None:
            moved = np.array([block], BLOCK)
            moved["first_run"] = self._tables["runs"].extend(runs)
            row = self._block_rows[key] = self._tables["blocks"].extend(moved)
        return row

    @classmethod
    def joined(cls, libraries: Sequence[Self]) -> Self:
        """Return one library of all programs of ``libraries``, in order; a single one is returned as it is."""
        if len(libraries) == 1:
            return libraries[0]
        whole = cls()
        for library in libraries:
            start = {name: table.size for name, table in whole._tables.items()}
            for name, table in library._tables.items():
                rows = table.rows.copy()
                for field, into in _POINTERS.get(name, ()):
                    rows[field] += start[into]
                whole._tables[name].extend(rows)
        whole._index_blocks()
        return whole

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The tables by name: ``runs``, ``blocks``, ``segments``, ``programs``, ``totals``."""
        return {name: table.rows for name, table in self._tables.items()}

    @property
    def runs(self) -> np.ndarray:
        """(R,) RUN."""
        return self._tables["runs"].rows

    @property
    def blocks(self) -> np.ndarray:
        """(B,) BLOCK."""
        return self._tables["blocks"].rows

    @property
    def segments(self) -> np.ndarray:
        """(S,) SEGMENT."""
        return self._tables["segments"].rows

    @property
    def programs(self) -> np.ndarray:
        """(P,) PROGRAM."""
        return self._tables["programs"].rows

    @property
    def totals(self) -> np.ndarray:
        """(lengths,) total cycles."""
        return self._tables["totals"].rows

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        return sum(table.rows.nbytes for table in self._tables.values())

    def __len__(self) -> int:
        return self._tables["programs"].size

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the library to ``path``, atomically: readers see the old file or the whole new one."""
        with replacing(path) as file:
            np.savez_compressed(file, **{"checksum": _checksum(self.arrays), **self.arrays})  # type: ignore[arg-type]

    def save_small(self, path: str | os.PathLike[str], key: str) -> None:
        """Write the library and its ``key`` to ``path`` as :meth:`save` does, slower and in less than half of the bytes."""
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in {"key": np.array(key), "checksum": _checksum(self.arrays), **self.arrays}.items():
                # The date is part of the file: a fixed one makes equal libraries equal files.
                entry_info = zipfile.ZipInfo(f"{name}.npy")
                entry_info.compress_type = zipfile.ZIP_LZMA
                with archive.open(entry_info, "w") as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a library that :meth:`save` wrote; raises ``ValueError`` or ``OSError`` for anything else."""
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
                arrays = {name: file[name] for name in TABLES}
                checksum = file["checksum"]
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"{path}: not a program library ({error}).") from error
        for name, dtype in TABLES.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                raise ValueError(f"{path}: table {name!r} has another form.")
        if checksum.tobytes() != _checksum(arrays).tobytes():
            raise ValueError(f"{path}: damaged.")
        library = cls()
        for name, table in library._tables.items():
            table.extend(arrays[name])
        library._index_blocks()
        return library

    def _index_blocks(self) -> None:
        for row, block in enumerate(self.blocks):
            first = int(block["first_run"])
            self._block_rows[_block_key(block, self.runs[first : first + int(block["runs"])])] = row


def _block_key(block: np.void, runs: np.ndarray) -> bytes:
    head = (int(block["cycles"]), int(block["points"]))
    return hashlib.blake2b(repr(head).encode() + runs.tobytes(), digest_size=16).digest()


def _checksum(arrays: dict[str, np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256()
    for name in TABLES:
        digest.update(name.encode() + b"\0" + arrays[name].tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


SHIPPED = Path(__file__).resolve().parent / "programs.npz"
"""The programs of the default environment, which come with the package: to compile them takes most of a first start."""


def cached_library(key: str, build: Callable[[], ProgramLibrary]) -> ProgramLibrary:
    """Return the library that ``build`` makes, from disk where it was made before.

    ``key`` is what :func:`library_key` returns. A damaged file is rebuilt; a directory that cannot be written is done without.
    Processes that start together may build twice, and each leaves a whole file.
    """
    path = cache_dir() / "programs" / f"{key}.npz"
    for kept in (SHIPPED, path) if comes_with_package(key) else (path,):
        try:
            return ProgramLibrary.load(kept)
        except (OSError, ValueError) as error:
            log.debug("%s is of no use: %s", kept, error)
    library = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        library.save(path)
    except OSError as error:
        log.info("the program library is not cached: %s", error)
    return library


def comes_with_package(key: str) -> bool:
    """Return whether the library of ``key`` is the one that comes with the package."""
    return key == _shipped_key()


@functools.cache
def _shipped_key() -> str | None:
    """Return the key of the library that comes with the package; None where there is none, or it can't be read."""
    try:
        with np.load(SHIPPED, allow_pickle=False) as file:
            return str(file["key"])
    except Exception as error:
        log.debug("no program library comes with the package: %s", error)
        return None


def library_key(material: str) -> str:
    """Return a hash of ``material`` and of everything here that a program depends on.

    A change of the hardware model or of a network so makes a new file.
    """
    digest = hashlib.sha256(material.encode())
    root = Path(__file__).resolve().parent.parent
    for path in _sources(root):
        # Lines end in another way where git is told so; the programs are the same.
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _sources(root: Path) -> Iterable[Path]:
    """Return the modules that decide what a program is: hardware, networks, lengths, predictor and the record types."""
    modules = [root / "types.py", *(root / "workloads" / f"{name}.py" for name in ("lengths", "predictor", "programs"))]
    return sorted([*modules, *root.glob("hardware/**/*.py"), *root.glob("workloads/models/**/*.py")])
