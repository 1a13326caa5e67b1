"""The soak finds what it looks for: memory that grows, metrics that are no numbers; and it plays what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tools.soak import BOUND_MB, WARM_UP, SoakError, Watch, check_metrics, policy_part, resident_mb

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read where Linux says it")


def test_memory_is_compared_with_that_of_the_last_round_of_the_warm_up() -> None:
    watch = Watch([{"RssAnon": 10.0 * k} for k in range(1, WARM_UP + 1)])
    assert watch.growth_mb("RssAnon") == 0
    watch.samples += [{"RssAnon": 10.0 * WARM_UP + BOUND_MB + 1}, {"RssAnon": 0.0}]
    assert watch.growth_mb("RssAnon") == BOUND_MB + 1


def test_what_is_held_on_to_shows() -> None:
    before = resident_mb()["RssAnon"]
    held = np.ones(8 << 20)
    assert 60 < resident_mb()["RssAnon"] - before < 70
    assert held.all()


def test_a_metric_that_is_no_number_is_an_error_but_for_deadlines_where_there_are_none() -> None:
    names, metrics = ("antt", "tardiness"), np.array([[1.0, np.nan]])
    check_metrics("PREMA", names, metrics, deadlines=False)
    with pytest.raises(SoakError, match="PREMA: tardiness = nan"):
        check_metrics("PREMA", names, metrics, deadlines=True)
    with pytest.raises(SoakError, match="PREMA: antt = inf"):
        check_metrics("PREMA", names, np.array([[np.inf, 0.0]]), deadlines=False)


def test_a_part_counts_the_decisions_that_it_plays() -> None:
    part = policy_part("P-SJF", "Prema-v0")
    assert part(0) == part(0)
    assert 10_000 < part(1) < 40_000
