"""Every public entry, called with hostile inputs: success or a typed error, and nothing else; ``make fuzz`` does it more often."""

from __future__ import annotations

import random

import pytest

from hostile.__main__ import fuzz
from hostile.entries import ENTRIES, prepared
from hostile.values import anything
from prema_gym.errors import shown

CASES = {"environment": 60, "command_line": 20, "evaluation": 60}
"""Of entries whose cases take their time."""
MANY = 500


@pytest.mark.parametrize("name", ENTRIES)
def test_every_hostile_input_is_taken_or_refused_with_a_typed_error(name: str) -> None:
    prepared()
    count = fuzz(name, CASES.get(name, MANY))
    assert not count.failures, "\n".join(count.failures[:10])
    assert count.refused > 0, "nothing was hostile"


def test_a_case_plays_again_by_its_number() -> None:
    drawn = [[shown(anything(random.Random(f"trace {case}"))) for case in range(50)] for _ in range(2)]
    same = [one == other for one, other in zip(*drawn, strict=True) if " object at " not in one and " at 0x" not in one]
    assert same
    assert all(same)


def test_what_is_no_typed_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(rng: random.Random) -> None:
        raise KeyError(rng.random())

    monkeypatch.setitem(ENTRIES, "broken", breaks)
    assert len(fuzz("broken", 3).failures) == 3
