"""Every priority from 1 to 64 has a colour, a hatch and a glyph."""

from __future__ import annotations

import pytest

from prema_gym.rendering.style import SHADES, shade_of


def test_the_papers_three_levels_look_as_they_always_have():
    assert [(shade_of(priority).name, shade_of(priority).color) for priority in (1, 3, 9)] == [
        ("low", "#56B4E9"),
        ("medium", "#009E73"),
        ("high", "#0072B2"),
    ]


@pytest.mark.parametrize("priority", range(1, 65))
def test_a_priority_belongs_to_the_band_that_it_has_reached(priority):
    expected = "low" if priority < 3 else "medium" if priority < 9 else "high"
    assert shade_of(priority).name == expected


def test_bands_differ_in_colour_and_glyph():
    assert len({shade.color for shade in SHADES}) == len({shade.glyph for shade in SHADES}) == len(SHADES)
