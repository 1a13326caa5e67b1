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


def test_a_library_with_sizes_of_batches_takes_from_them_what_they_have(monkeypatch):
    config = EnvConfig(batching=4, workload={"models": ["CNN-MN", "RNN-SA"], "batches": [1]})
    compiled = []
    compile_one = ProgramTable._compile
    monkeypatch.setattr(ProgramTable, "_compile", lambda table, key, npu: compiled.append(key) or compile_one(table, key, npu))
    table = ProgramTable((config.npu,), config.workload, config.batching)
    built = table.build(config.npu)
    assert {key.batch for key in compiled} == {2}
    for row, key in enumerate(table.keys[: table.stride]):
        assert_same_program(built.stored(row), compile_one(table, key, config.npu))


def assert_same_program(stored, program):
    """Both have the same segments of the same blocks, and the same totals and predictions."""
    np.testing.assert_array_equal(stored.totals, program.totals)
    assert (stored.predicted_cycles, stored.length_estimated) == (program.predicted_cycles, program.length_estimated)
    for name in stored.segments.dtype.names:
        if name != "block":
            np.testing.assert_array_equal(stored.segments[name], program.segments[name])
    assert [block_of(stored, row) for row in stored.segments["block"]] == [
        block_of(program, row) for row in program.segments["block"]
    ]


def block_of(program, row):
    block = program.blocks[row]
    first = int(block["first_run"])
    return int(block["cycles"]), int(block["points"]), program.runs[first : first + int(block["runs"])].tobytes()
