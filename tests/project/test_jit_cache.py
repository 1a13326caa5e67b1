"""Machine code on disk never outlives the source it came from, and parallel starts don't disturb each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import prema_gym._jit.cache
from prema_gym._jit.notice import NOTICE
from prema_gym.errors import FileError
from prema_gym.files import make_private

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
    source = Path(prema_gym._jit.cache.__file__).parents[1]
    shutil.copytree(source / "_jit", package / "_jit")
    for name in ("files.py", "errors.py"):
        shutil.copy(source / name, package / name)
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
        "PREMA_GYM_QUIET": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(project: Path) -> tuple[int, int]:
    """Return (result, cache hits) of a fresh interpreter."""
    out, _ = start(project).communicate(timeout=120)
    result, hits = map(int, out.split())
    return result, hits


def test_a_second_start_loads_the_machine_code(project: Path) -> None:
    assert run(project) == (2, 0)
    assert run(project) == (2, 1)


def test_whoever_waits_is_told_what_for_once(project: Path) -> None:
    said = [start(project).communicate(timeout=120)[1] for _ in range(2)]
    assert said == [NOTICE + "\n", ""]


def test_an_edit_in_another_module_is_seen(project: Path) -> None:
    assert run(project) == (2, 0)
    (project / "prema_gym" / "inner.py").write_text(INNER.format(value=41))
    assert run(project) == (42, 0)


def test_parallel_first_starts_agree(project: Path) -> None:
    started = [start(project) for _ in range(4)]
    assert [process.communicate(timeout=120)[0].split()[0] for process in started] == ["2"] * 4


def test_flipped_bits_are_noticed_before_anything_runs(project: Path) -> None:
    run(project)
    for path in (project / "cache").rglob("*.nb?"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    assert run(project) == (2, 0)
    assert run(project) == (2, 1)


def test_one_functions_code_does_not_pass_for_anothers(project: Path) -> None:
    run(project)
    (project / "prema_gym" / "outer.py").write_text(OUTER.replace("+ 1", "+ 7"))
    old = {path.name: path.read_bytes() for path in (project / "cache").rglob("*.nbc")}
    shutil.rmtree(project / "cache")
    assert run(project) == (8, 0)
    for path in (project / "cache").rglob("*.nbc"):
        path.write_bytes(old[path.name])
    assert run(project) == (8, 0)


def test_machine_code_lies_in_a_folder_of_its_owner_alone(project: Path) -> None:
    run(project)
    folder = project / "cache" / "numba"
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    assert run(project) == (2, 1)
    assert folder.stat().st_mode & 0o022 == 0


def test_another_users_machine_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(FileError, match="another user"):
        make_private(tmp_path)
    prema_gym._jit.cache._may_be_run.cache_clear()
    with pytest.warns(UserWarning, match="compiled anew"):
        assert not prema_gym._jit.cache._may_be_run(tmp_path)
    prema_gym._jit.cache._may_be_run.cache_clear()


def test_a_damaged_cache_is_compiled_again(project: Path) -> None:
    run(project)
    for path in (project / "cache").rglob("*.nb?"):
        path.write_bytes(b"not machine code")
    assert run(project)[0] == 2
