"""``docs/baselines.md`` says what is so: its code runs, its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from baselines import POLICIES
from baselines.registry import Registry
from baselines.selection import SELECTIONS
from baselines.tables import isolated_times
from prema_gym.config import EnvConfig

PAGE = (Path(__file__).parents[1] / "docs" / "baselines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_code_runs(block, monkeypatch, capsys):
    if "to_pandas" in block:
        pytest.importorskip("pandas")
    fresh = Registry()
    fresh._plugins_loaded = True  # POLICIES has them already
    for name in POLICIES:
        fresh.add(name, POLICIES[name])
    monkeypatch.setattr("baselines.registry.POLICIES", fresh)
    exec(compile(block, "docs/baselines.md", "exec"), {})


def test_every_rule_and_name_is_on_the_page():
    for rule in SELECTIONS:
        assert re.search(rf"^\| {rule} +\|", PAGE, flags=re.MULTILINE), rule
    for name in POLICIES:
        if not re.fullmatch(r"N?P-\w+(-KILL|-DRAIN|-DYNAMIC)?", name):
            assert f"`{name}`" in PAGE, name


def test_isolated_times_on_the_page_are_todays():
    times = isolated_times(EnvConfig())
    for model in EnvConfig().workload.models:
        cells = " | ".join(f"{row.ms:.3f}" for row in times if row.model == model)
        assert f"| {model} | {cells} |" in PAGE, f"{model}: {cells}"
