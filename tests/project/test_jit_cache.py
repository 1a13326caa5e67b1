"""Machine code on disk never outlives the source it came from, and parallel starts don't disturb each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import prema_gym._jit

INNER = """
from prema_gym._jit import jit

@jit
def inner():
    return {value}
"""
OUTER = """
from prema_gym._jit import jit
from prema_gym.inner import inner

@jit
def outer():
    return inner() + 1
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of two modules, one of which calls the other's compiled function."""
    package = tmp_path / "prema_gym"
    package.mkdir()
    shutil.copy(prema_gym._jit.__file__, package / "_jit.py")
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(INNER.format(value=1))
    (package / "outer.py").write_text(OUTER)
    return tmp_path


def start(project: Path) -> subprocess.Popen[str]:
    code = "from prema_gym.outer import outer; print(outer(), sum(outer.stats.cache_hits.values()))"
    environment = {
        **os.environ,
        "PREMA_GYM_CACHE": str(project / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_DISABLE_JIT": "0",
    }
    return subprocess.Popen([sys.executable, "-c", code], cwd=project, env=environment, stdout=subprocess.PIPE, text=True)


def run(project: Path) -> tuple[int, int]:
    """Return (result, cache hits) of a fresh interpreter."""
    out, _ = start(project).communicate(timeout=120)
    result, hits = map(int, out.split())
    return result, hits


def test_a_second_start_loads_the_machine_code(project: Path) -> None:
    assert run(project) == (2, 0)
    assert run(project) == (2, 1)


def test_an_edit_in_another_module_is_seen(project: Path) -> None:
    assert run(project) == (2, 0)
    (project / "prema_gym" / "inner.py").write_text(INNER.format(value=41))
    assert run(project) == (42, 0)


def test_parallel_first_starts_agree(project: Path) -> None:
    started = [start(project) for _ in range(4)]
    assert [process.communicate(timeout=120)[0].split()[0] for process in started] == ["2"] * 4


def test_a_damaged_cache_is_compiled_again(project: Path) -> None:
    run(project)
    for path in (project / "cache").rglob("*.nb?"):
        path.write_bytes(b"not machine code")
    assert run(project)[0] == 2
