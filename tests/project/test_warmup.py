"""prema-gym warmup compiles what others would wait for."""

from __future__ import annotations

import pytest

from baselines.commands import warmup
from baselines.commands.warmup import PARTS, WORLDS, main


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Let nothing be compiled but the list of what would be."""
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(warmup, "PARTS", {"a part": asked.append})
    return asked


def test_one_npu_unless_told_otherwise(compiled, capsys):
    assert main([]) == 0
    assert compiled == [WORLDS["one"]]
    assert capsys.readouterr().out.startswith("one: a part 0.0 s\nkept in ")


def test_worlds_by_name_and_in_silence(compiled, capsys):
    assert main(["several", "streams", "--quiet"]) == 0
    assert compiled == [WORLDS["several"], WORLDS["streams"]]
    assert capsys.readouterr().out == ""


def test_an_unknown_world_is_one_line(compiled, capsys):
    assert main(["one", "Two"]) == 2
    assert compiled == []
    error = capsys.readouterr().err
    assert "'Two'" in error
    assert error.count("\n") == 1
    assert all(world in error for world in WORLDS)


def test_environments_take_their_first_steps():
    PARTS["the environment"](WORLDS["one"])
    PARTS["the vector environment"](WORLDS["one"])
