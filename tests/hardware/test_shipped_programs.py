"""The programs that come with the package are those that its sources compile."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from tools.shipped_programs import compile_default

from prema_gym.config import EnvConfig
from prema_gym.hardware import library as module
from prema_gym.hardware.library import SHIPPED, ProgramLibrary, cached_library
from prema_gym.hardware.program import Program
from prema_gym.workloads.programs import ProgramTable

REMEDY = "the sources that decide what a program is have changed: make programs"


def test_they_are_of_todays_sources():
    config = EnvConfig()
    assert ProgramTable.of((config.npu,), config.workload).library_key(config.npu) == module._shipped_key(), REMEDY


def test_they_are_what_the_sources_compile():
    _, compiled = compile_default()
    shipped = ProgramLibrary.load(SHIPPED)
    for name, rows in compiled.arrays.items():
        np.testing.assert_array_equal(shipped.arrays[name], rows, err_msg=REMEDY)


def test_equal_libraries_are_equal_files(tmp_path):
    library = ProgramLibrary()
    library.add(Program.from_points(100, [10, 20]))
    for name in ("one", "other"):
        library.save_small(tmp_path / name, "key")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    np.testing.assert_array_equal(ProgramLibrary.load(tmp_path / "one").totals, library.totals)


def test_damage_behind_the_key_is_survived(tmp_path, monkeypatch):
    library = ProgramLibrary()
    library.add(Program.from_points(100, [10, 20]))
    library.save_small(tmp_path / "programs.npz", "key")
    with zipfile.ZipFile(tmp_path / "programs.npz") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "programs.npz", "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part[:-1] + b"?" if name == "totals.npy" else part)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "programs.npz")
    monkeypatch.setenv("PREMA_GYM_CACHE", str(tmp_path / "cache"))
    module._shipped_key.cache_clear()
    assert module._shipped_key() == "key"
    assert cached_library("key", lambda: library) is library
    assert ProgramLibrary.load(tmp_path / "cache" / "programs" / "key.npz").totals[0] == 100
    module._shipped_key.cache_clear()


@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_without_them_programs_are_compiled(content, tmp_path, monkeypatch):
    if content is not None:
        (tmp_path / "programs.npz").write_bytes(content)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "programs.npz")
    monkeypatch.setenv("PREMA_GYM_CACHE", str(tmp_path / "cache"))
    module._shipped_key.cache_clear()
    library = ProgramLibrary.load(SHIPPED)
    assert cached_library("key", lambda: library) is library
    module._shipped_key.cache_clear()
