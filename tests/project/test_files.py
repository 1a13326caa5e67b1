"""Files are written whole or not at all, and errors name them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from prema_gym.errors import FileError, PremaError
from prema_gym.files import replacing, save_figure, write_bytes, write_text


def test_a_file_and_its_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "é\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "é\n".encode()
    assert os.listdir(tmp_path / "a") == ["b.txt"]


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.json"
    write_text(path, "old")

    def fail():
        with replacing(path) as file:
            file.write(b"half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_the_mode_of_a_replaced_file_is_kept(tmp_path):
    path = tmp_path / "out"
    write_bytes(path, b"1")
    path.chmod(0o640)
    write_bytes(path, b"2")
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "folder", tmp_path / "file" / "x"):
        with pytest.raises(FileError, match=str(path)) as caught:
            write_text(path, "x")
        assert isinstance(caught.value, PremaError)


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path):
    path = tmp_path / "out"
    write_text(path, "old")
    code = (
        "import signal, resource, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from prema_gym.files import write_bytes\n"
        "from prema_gym.errors import FileError\n"
        "try:\n    write_bytes(sys.argv[1], b'x' * 100_000)\nexcept FileError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert f"{path}: can't be written" in done.stdout
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path):
    figure = Figure()
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    with pytest.raises(FileError, match=r"a\.doc.*\.png"):
        save_figure(figure, tmp_path / "a.doc")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["a.png"]
