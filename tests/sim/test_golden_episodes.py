"""One NPU does to the bit what it did when its golden episodes were reviewed: 1 000 for each of six players."""

from __future__ import annotations

import json

import pytest
from numba import config
from tools import golden_episodes

compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="6 000 episodes take too long uncompiled")


@compiled_only
def test_one_npu_plays_its_golden_episodes_to_the_bit() -> None:
    digests, logs = golden_episodes.compute()
    assert logs == golden_episodes.LOGS.read_text()
    assert digests == json.loads(golden_episodes.DIGESTS.read_text())


@compiled_only
def test_the_driver_of_several_npus_plays_them_to_the_bit_on_one() -> None:
    digests, logs = golden_episodes.compute(by_events=True)
    assert logs == golden_episodes.LOGS.read_text()
    assert digests == json.loads(golden_episodes.DIGESTS.read_text())


@pytest.mark.parametrize("player", ["P-SJF-DRAIN", "PREMA"])
@pytest.mark.parametrize("world", range(4))
def test_both_drivers_play_a_few_of_them_alike(world: int, player: str) -> None:
    # Few enough to be played uncompiled, where mutants of the driver of several NPUs are put to them.
    chosen = golden_episodes.worlds()[world]
    once, again = (golden_episodes.play(chosen, player, by_events=by_events, rows=3).digest for by_events in (False, True))
    assert once == again


@compiled_only
def test_an_episode_that_goes_otherwise_changes_its_digest() -> None:
    world = golden_episodes.worlds()[1]
    later = golden_episodes.World({**world.arguments, "quantum_cycles": 701}, world.seed)
    expected = json.loads(golden_episodes.DIGESTS.read_text())["PREMA"]
    assert golden_episodes.play(later, "PREMA").digest not in expected
