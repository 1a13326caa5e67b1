"""``docs/baselines.md`` names every rule."""

from __future__ import annotations

import re
from pathlib import Path

from baselines import POLICIES
from baselines.evaluation.episodes import Played
from baselines.evaluation.results import Results
from baselines.policies.rules.registry import SELECTION_RULES
from prema_gym.config import EnvConfig

PAGE = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text(encoding="utf-8")


def test_every_rule_and_name_is_on_the_page():
    for rule in SELECTION_RULES:
        assert re.search(rf"^\| {rule} +\|", PAGE, flags=re.MULTILINE), rule
    for name in POLICIES:
        if not re.fullmatch(r"N?P-\w+(-KILL|-DRAIN|-DYNAMIC)?", name):
            assert f"`{name}`" in PAGE, name


def test_what_a_claim_of_fairer_needs_is_defined_on_the_page():
    played = Played.empty(1, 1)
    played.tasks["priority"] = 9
    results = Results(config=EnvConfig(), episodes=1, seed=0, split="eval", played={"ANY": played})
    for name in results.fairness_measures:
        assert f"| `{name}` |" in PAGE, name
