"""Faults that are really injected: kills while files are written, full disks, unwritable folders, processes side by side."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tools.kills import commands

from prema_gym import Program
from prema_gym.errors import FileError
from prema_gym.files import write_text
from prema_gym.hardware.library import ProgramLibrary, cached_library

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="faults are injected into forked children")


def library(size: int = 200) -> ProgramLibrary:
    """Return a library of some programs."""
    made = ProgramLibrary()
    for k in range(size):
        made.add(Program.from_points(1000 + k, range(1, 900, 1 + k % 7), save_bytes=k))
    return made


def child(action: Callable[[], object]) -> int:
    """Run ``action`` in a forked child; return the child's process id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        action()
        status = 0
    finally:
        os._exit(status)


def status_of(process: int) -> int:
    """Return how a child has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def forever(action: Callable[[], object]) -> Callable[[], None]:
    """Return what does ``action`` again and again."""

    def repeat() -> None:
        while True:
            action()

    return repeat


def test_a_library_whose_writer_is_killed_is_whole_every_time(tmp_path: Path) -> None:
    path, made, rng = tmp_path / "programs.npz", library(), random.Random(0)
    made.save(path)
    for _ in range(50):
        writer = child(forever(lambda: made.save(path)))
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        assert len(ProgramLibrary.load(path)) == 200


def test_a_result_whose_writer_is_killed_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path, rng = tmp_path / "compare.json", random.Random(1)
    texts = ["a" * 300_000, "b" * 200_000]
    write_text(path, texts[0])

    def both() -> None:
        for text in texts:
            write_text(path, text)

    for _ in range(50):
        writer = child(forever(both))
        time.sleep(rng.uniform(0.0, 0.03))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        assert path.read_text() in texts


def test_a_full_disk_is_a_typed_error_and_leaves_the_old_result(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    write_text(path, "old")

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(FileError, match="can't be written"):
            write_text(path, "new" * 1000)

    assert status_of(child(fill)) == 0
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["compare.json"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setattr("prema_gym.hardware.library.cache_dir", lambda: tmp_path / "file" / "cache")
    assert len(cached_library("key", lambda: library(3))) == 3


def test_two_processes_on_one_cache_both_get_whole_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prema_gym.hardware.library.cache_dir", lambda: tmp_path)

    def use() -> None:
        for k in range(10):
            assert len(cached_library(f"key{k}", lambda: library(20))) == 20

    both = [child(use), child(use)]
    assert [status_of(process) for process in both] == [0, 0]
    for k in range(10):
        assert len(ProgramLibrary.load(tmp_path / "programs" / f"key{k}.npz")) == 20


@pytest.mark.parametrize("command", commands.SMALL)
def test_commands_that_are_killed_lose_nothing_and_end_as_undisturbed_ones(command: str, tmp_path: Path) -> None:
    tally = commands.check(command, 2, tmp_path, each=1)
    assert tally.kills == 2
    assert tally.wrong == []


def test_a_killed_command_that_damages_a_file_loses_one_or_undoes_one_is_found_out() -> None:
    old, new = {"a": b"1", "cells/c": b"0"}, {"a": b"2", "b": b"3"}
    tally = commands.Tally(old, new)
    assert list(tally.after_a_kill(old, {"a": b"2", "cells/c": b"0", ".b.x.tmp": b""})) == []
    assert (tally.kills, tally.amid, tally.temporary) == (1, 1, 1)
    assert list(tally.after_a_kill(old, {"a": b"", "cells/c": b"0"})) == ["a damaged"]
    assert list(tally.after_a_kill(old, {"a": b"1"})) == ["cells/c lost"]
    assert list(tally.after_a_kill({"a": b"2"}, {"a": b"1"})) == ["a undone"]
    assert list(tally.at_the_end({**old, **new})) == []
    assert list(tally.at_the_end({**old, "a": b"2"})) == ["b differs from the undisturbed run's"]
