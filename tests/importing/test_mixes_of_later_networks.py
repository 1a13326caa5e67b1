"""The mixes of later networks draw what they say, on a small machine's clock and in plain JSON."""

from __future__ import annotations

import json

import pytest

from prema_gym.config import EnvConfig
from prema_gym.config.requests import MIXES
from prema_gym.workloads.models import MODELS


@pytest.mark.parametrize("name", ["vision", "datacentre"])
def test_a_mix_names_networks_of_the_library_with_priorities_and_targets(name):
    config = EnvConfig.coerce({"workload": json.loads(json.dumps({"mix": name}))})
    classes = config.workload.classes
    assert {entry.model for entry in classes} <= set(MODELS)
    assert len(classes) == len(MIXES[name])
    assert max(level for entry in classes for level, _ in entry.levels) == 9
    assert any(entry.sla is None for entry in classes)
    assert any(entry.sla == 4.0 for entry in classes)
