"""Every priority from 1 to 64 has a colour, a hatch and a glyph."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from prema_gym.rendering.style import KIND_COLORS, LEARNED_COLORS, SHADES, learned_look, shade_of


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


def test_learned_policies_look_like_nothing_else_and_unlike_each_other():
    from baselines.report import load, plots
    from baselines.studies import style as studies

    others = {*load._COLORS, *studies.CYCLE, *studies.POLICY_COLOURS.values(), *KIND_COLORS.values(), *(s.color for s in SHADES)}
    others |= {color for name, color in plots.GROUPS.items() if not name.startswith("learned")}
    assert others.isdisjoint(LEARNED_COLORS)
    assert len({learned_look(number) for number in range(8)}) == 8


def test_a_load_sweep_tells_learned_policies_from_heuristics():
    from baselines.report.load import looks

    names = ("PREMA", "MINE", "WSRPT", "LEARNED-CMA")
    assert [look.color in LEARNED_COLORS for look in looks(names).values()] == [False, True, False, True]
    assert len(set(looks(names).values())) == 4


def test_a_gantt_chart_names_a_learned_policy_in_its_colour():
    from baselines.evaluation.recording import record
    from prema_gym.rendering import gantt

    small = {"workload": {"num_tasks": 2, "models": ["CNN-AN"], "batches": [1]}}
    titles = [gantt(record(name, seed=1, **small), ax=Figure().subplots())._left_title for name in ("PREMA", "LEARNED-CMA")]
    assert [title.get_color() for title in titles] == ["black", LEARNED_COLORS[0]]


def test_studies_draw_a_learned_policy_in_its_colour():
    from baselines.studies import npus, style

    assert style.policy_colour("MINE") == npus._colour("MINE") == LEARNED_COLORS[0]
    assert style.policy_colour("PREMA") == npus._colour("PREMA") == style.RED
    assert style.policy_colour("P-RRB") is None
