"""Machine code on disk, under a key that sees all that a function depends on.

numba's own ``cache=True`` watches only the file of the cached function, so an edit to a function that it calls in another file goes
unnoticed. Here the stamp is a hash of the function's module and of all that it imports from this project, directly or not.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator

from prema_gym._jit.notice import tell_of_the_wait
from prema_gym._jit.parts import as_data, from_data
from prema_gym.errors import FileError
from prema_gym.files import make_private

_IMPORT = re.compile(r"^\s*(?:from|import)\s+((?:prema_gym|baselines|agents)(?:\.\w+)*)", re.MULTILINE)
_ROOT = Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    """Return the directory of all caches: ``PREMA_GYM_CACHE``, else ``prema-gym`` under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = os.environ.get("PREMA_GYM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prema-gym"


def _module_file(module: str) -> Path | None:
    """Return the file of ``module`` if it lies beside this package, else None."""
    place = _ROOT.parent.joinpath(*module.split("."))
    found = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    return found[0] if found else None


@functools.cache
def _imported(path: Path) -> frozenset[Path]:
    """Return the files of this project that the module in ``path`` imports from."""
    modules = _IMPORT.findall(path.read_text(encoding="utf-8"))
    return frozenset(file for file in map(_module_file, modules) if file is not None)


@functools.cache
def sources_hash(path: Path) -> str:
    """Return a hash of the module in ``path`` and of everything of this project that it imports, directly or not."""
    reached, waiting = {path}, [path]
    while waiting:
        new = _imported(waiting.pop()) - reached
        reached |= new
        waiting += new
    digest = hashlib.sha256()
    for file in sorted(reached):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


_DEPENDED_ON: list[Path] = []
"""Files of users whose functions are compiled into the package's own."""


def depend_on(path: Path) -> None:
    """Let the machine code of all functions that are defined from now on depend on the module in ``path`` as well."""
    if path not in _DEPENDED_ON:
        _DEPENDED_ON.append(path)


class _Locator(_CacheLocator):
    """Where a function's machine code lies, and what it depends on."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._module = py_func.__module__
        self._others = (*getattr(py_func, "sources", ()), *_DEPENDED_ON)

    def get_cache_path(self) -> str:
        return str(cache_dir() / "numba")

    def ensure_cache_path(self) -> None:
        make_private(cache_dir() / "numba")

    def get_source_stamp(self) -> str:
        hashes = [sources_hash(Path(self._py_file)), *sorted(map(sources_hash, self._others))]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    def get_disambiguator(self) -> str:
        # The paths keep two checkouts with one cache directory, or runs with different files of users, from evicting each other.
        place = hashlib.sha256("\0".join([self._py_file, self._module, *map(str, self._others)]).encode()).hexdigest()[:12]
        return f"{self._lineno}-{place}"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _CheckedFiles(IndexDataCacheFile):
    """Index and machine code with a checksum before the content: a damaged file, or one of another function, is not run.

    The checksum is of the file's name and of what the function depends on as well, so that no file passes for another.
    """

    def _digest(self, path: str, content: bytes) -> bytes:
        return hashlib.sha256(f"{os.path.basename(path)}\0{self._source_stamp}\0".encode() + content).digest()

    def _load_index(self) -> Any:
        try:
            return pickle.loads(self._checked(self._index_path))  # a private folder, and checked
        except FileNotFoundError:
            return {}

    def _load_data(self, name: str) -> Any:
        return pickle.loads(self._checked(self._data_path(name)))

    def _save_index(self, overloads: Any) -> None:
        self._write(self._index_path, self._dump(overloads))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), self._dump(data))

    def _write(self, path: str, content: bytes) -> None:
        with self._open_for_write(path) as file:
            file.write(self._digest(path, content) + content)

    def _checked(self, path: str) -> bytes:
        with open(path, "rb") as file:
            stored = file.read()
        size = hashlib.sha256().digest_size
        if stored[:size] != self._digest(path, stored[size:]):
            raise ValueError(f"{path}: damaged, or of other sources.")
        return stored[size:]


class _Impl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012  # numba's own name and form


@functools.cache
def _may_be_run(folder: Path) -> bool:
    """Return whether machine code from ``folder`` may be run; warn, once, where it belongs to somebody else."""
    try:
        make_private(folder)
    except FileError as error:
        warnings.warn(f"{error} Everything is compiled anew in every process.", stacklevel=2)
        return False
    return True


class Cache(FunctionCache):
    """A cache that never stands in the way: what cannot be read or written is compiled again."""

    _impl_class = _Impl

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        stamp = f"{numba.__version__} {self._impl.locator.get_source_stamp()}"
        self._cache_file = _CheckedFiles(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = self._load(sig, target_context)
        if found is None:
            tell_of_the_wait()
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        if not _may_be_run(cache_dir() / "numba"):
            return None
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            # A truncated or foreign file raises whatever unpickling it raises; the answer is the same.
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception:
            # Unwritable directory, or a damaged index: start the index afresh, and give up where that fails too.
            try:
                self.flush()
                super().save_overload(sig, data)
            except Exception:
                self.disable()


class _PartImpl(_Impl):
    """How a function that is only part of others lies on disk: as LLVM's bitcode, with no machine code."""

    def reduce(self, cres: Any) -> Any:
        return as_data(cres)

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        return from_data(target_context, payload)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"part.{super().get_filename_base(fullname, abiflags)}"


class PartCache(Cache):
    """The cache of functions as parts of others."""

    _impl_class = _PartImpl
