"""``docs/baselines.md`` names every rule."""

from __future__ import annotations

import re
from pathlib import Path

from baselines import POLICIES
from baselines.policies.rules.registry import SELECTION_RULES

PAGE = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text(encoding="utf-8")


def test_every_rule_and_name_is_on_the_page():
    for rule in SELECTION_RULES:
        assert re.search(rf"^\| {rule} +\|", PAGE, flags=re.MULTILINE), rule
    for name in POLICIES:
        if not re.fullmatch(r"N?P-\w+(-KILL|-DRAIN|-DYNAMIC)?", name):
            assert f"`{name}`" in PAGE, name
