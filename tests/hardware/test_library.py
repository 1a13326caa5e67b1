"""Libraries of programs: shared blocks, files, and a cache that damage, parallel starts and read-only disks can't spoil."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

from prema_gym.config import NPUConfig
from prema_gym.hardware import library as module
from prema_gym.hardware.layers import Gemm, Loop, Network, Vector
from prema_gym.hardware.library import ProgramLibrary, cached_library
from prema_gym.hardware.program import Program, compile_model
from prema_gym.workloads.predictor import predict_cycles


def recurrent(steps):
    body = (Gemm(1, 48, 128, name="gemm", inputs=("input", "h")), Vector(32, 10, name="h", inputs=("gemm",)))
    return Network("lstm", 16 * steps, (Loop("lstm", steps, body, collect=("h",)), Gemm(1, 32, 2, name="last", inputs=("h",))))


@pytest.fixture
def library():
    library = ProgramLibrary()
    for steps in (50, 60):
        library.add(compile_model(recurrent(steps)))
    library.add(Program.from_points(100, [10, 20], save_bytes=7, predicted_cycles=90))
    return library


def same(one, other):
    return all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_programs_of_different_lengths_share_their_blocks(library):
    lone = ProgramLibrary()
    lone.add(compile_model(recurrent(60)))
    assert len(library.blocks) <= len(lone.blocks) + 2
    assert library.programs["predicted_cycles"].tolist()[-1] == 90
    assert library.nbytes == sum(table.nbytes for table in library.arrays.values())


def test_tables_hold_what_the_programs_hold(library):
    program = compile_model(recurrent(60))
    record = library.programs[1]
    segments = library.segments[record["first_segment"] :][: record["segments"]]
    assert segments["repeats"].tolist() == program.segments["repeats"].tolist()
    for segment, own in zip(segments, program.segments, strict=True):
        block, other = library.blocks[segment["block"]], program.blocks[own["block"]]
        assert block["cycles"] == other["cycles"]
        runs = library.runs[block["first_run"] :][: block["runs"]]
        assert np.array_equal(runs, program.runs[other["first_run"] :][: other["runs"]])
    assert library.totals[record["first_total"]] == program.total_cycles


def test_a_saved_library_comes_back_and_goes_on_growing(library, tmp_path):
    library.save(tmp_path / "library.npz")
    loaded = ProgramLibrary.load(tmp_path / "library.npz")
    assert same(loaded, library)
    blocks = len(loaded.blocks)
    assert loaded.add(compile_model(recurrent(50))) == 3
    assert len(loaded.blocks) == blocks


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PREMA_GYM_CACHE", str(tmp_path))
    return tmp_path / "programs"


def counted(library):
    calls = []
    return calls, lambda: calls.append(1) or library


def test_the_cache_builds_once_per_key(library, cache):
    calls, build = counted(library)
    first, second = cached_library("key", build), cached_library("key", build)
    assert same(first, second)
    assert len(calls) == 1
    cached_library("another key", build)
    assert len(calls) == 2
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign", "pickled"])
def test_a_damaged_or_foreign_file_is_rebuilt(library, cache, damage):
    calls, build = counted(library)
    cached_library("key", build)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    if damage == "pickled":
        with path.open("wb") as file:
            np.savez(file, checksum=np.array([{}], object), **library.arrays)
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": whole[:middle], "flipped": flipped, "foreign": b"not a library"}[damage])
    assert same(cached_library("key", build), library)
    assert len(calls) == 2
    assert same(ProgramLibrary.load(path), library)


def test_the_key_sees_every_source(monkeypatch):
    before = module.library_key("key")
    monkeypatch.setattr(module, "_sources", lambda root: [])
    assert module.library_key("key") != before


def test_a_directory_that_cannot_be_written_is_done_without(library, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PREMA_GYM_CACHE", str(tmp_path / "file"))
    calls, build = counted(library)
    assert cached_library("key", build) is library
    assert len(calls) == 1


def _start(path):
    os.environ["PREMA_GYM_CACHE"] = path

    def build():
        library = ProgramLibrary()
        library.add(Program.from_points(100, [10, 20]))
        return library

    return int(cached_library("key", build).totals[0])


def test_parallel_starts_leave_one_whole_file(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_start, [str(tmp_path)] * 3) == [100] * 3
    files = list((tmp_path / "programs").iterdir())
    assert len(files) == 1
    assert len(ProgramLibrary.load(files[0])) == 1


def run(script, tmp_path, **variables):
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


JITTED = """
from prema_gym._jit import jit

@jit
def inner(x):
    return x + 1

@jit
def outer(x):
    return 2 * inner(x)

print(outer(20))
"""

COMPILED = """
from prema_gym.hardware.program import compile_model
from prema_gym.hardware.layers import Gemm
print(compile_model([Gemm(300, 300, 300), Gemm(300, 300, 20)]).total_cycles)
"""


def test_machine_code_is_cached_and_damage_to_it_is_survived(tmp_path):
    assert run(JITTED, tmp_path, PREMA_GYM_CACHE=tmp_path) == 42
    files = sorted((tmp_path / "numba").iterdir())
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    for suffix in (".nbi", ".nbc"):
        for path in (path for path in files if path.suffix == suffix):
            path.write_bytes(b"damaged")
        assert run(JITTED, tmp_path, PREMA_GYM_CACHE=tmp_path) == 42
    assert run(JITTED, tmp_path, PREMA_GYM_CACHE=files[0]) == 42  # a file where the directory should be


def test_everything_runs_as_plain_python(tmp_path):
    expected = compile_model([Gemm(300, 300, 300), Gemm(300, 300, 20)]).total_cycles
    assert run(COMPILED, tmp_path, PREMA_GYM_CACHE=tmp_path, NUMBA_DISABLE_JIT=1) == expected
    assert not (tmp_path / "numba").exists()


def test_algorithm_1_by_hand():
    # 300 = 2 * 128 + 44: 3 x 3 tiles of max(2*128 + 128 + 300 - 2, ceil((128*128 + 300*128) * 2 / 511.43)) = max(682, 215);
    # then 3 x 1 tiles of the same. Vector work: ceil(1000 * 3 / 128) = 24, five times.
    npu = NPUConfig(weight_loading="exposed")
    layers = (Gemm(300, 300, 300), Gemm(300, 300, 20), Loop("loop", 5, (Vector(1000, 3),)))
    assert predict_cycles(Network("n", 300 * 300, layers), 1, npu) == 9 * 682 + 3 * 682 + 5 * 24
    # 3000 rows are chunks of 2048 and 952.
    assert predict_cycles(Network("n", 3000, (Gemm(3000, 1, 1),)), 1, npu) == (382 + 2048) + (382 + 952)
    # The output loop runs as often as the caller believes.
    network = Network("n", 10, (Gemm(1, 10, 10), Loop("out", None, (Gemm(1, 10, 10),))))
    assert predict_cycles(network, 1, npu, output_length=7) == 8 * 383
