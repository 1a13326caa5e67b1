"""Sweeps on Ray: the numbers of local processes to the bit, killed workers, stopped and failed sweeps."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest
from scaling.on_ray import is_alive, needs_ray
from tools.kills.workers import below, kill_players, players, processes, results, start, whole

pytestmark = needs_ray
PATIENCE_S = 60.0
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own, which play nothing: after a kill -9 they notice within a minute or so that their head is gone."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of the same sweep on local processes."""
    return whole(tmp_path_factory.mktemp("local") / "out")


def started_by(sweep) -> list[int]:
    """Return the processes that a sweep has started, but for Ray's agents."""
    known = processes()
    return [number for number in below(sweep.pid) if not known.get(number, (0, ""))[1].startswith(AGENTS)]


def ended(sweep, started) -> bool:
    """Whether the sweep, and all that it has ``started``, ends within PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    sweep.communicate(timeout=PATIENCE_S)
    while time.monotonic() < end:
        if not any(map(is_alive, started)):
            return True
        time.sleep(0.1)
    return False


def wait_for_players(sweep) -> None:
    while not players(sweep.pid):
        assert sweep.poll() is None, sweep.stderr.read()
        time.sleep(0.05)


def test_workers_that_are_killed_change_nothing(tmp_path, undisturbed):
    sweep = start(tmp_path / "out", "--engine", "ray")
    killed = kill_players(sweep, 3, random.Random(0), longest_s=0.3)
    printed, said = sweep.communicate(timeout=300)
    assert (sweep.returncode, said) == (0, "")
    assert killed == 3
    assert "missed deadlines" in printed
    assert results(tmp_path / "out") == undisturbed


def test_a_cell_that_fails_for_good_is_named_the_rest_stands_and_the_next_run_plays_it(tmp_path, undisturbed):
    sweep = start(tmp_path / "out", "--engine", "ray", "--retries", "0")
    assert kill_players(sweep, 1, random.Random(0), longest_s=0.0) == 1
    _, said = sweep.communicate(timeout=300)
    assert sweep.returncode == 1
    (line,) = said.splitlines()
    assert line.startswith("failed: ")
    assert line.endswith("its process died 1 time (killed, or out of memory).")
    found = results(tmp_path / "out")
    cells = {name for name in undisturbed if name.startswith("cells/")}
    assert len(cells - found.keys()) == 1
    assert all(found[name] == undisturbed[name] for name in cells & found.keys())
    assert len(json.loads(found["sweep.json"])["cells"]) == len(cells) - 1
    assert whole(tmp_path / "out", "--engine", "ray") == undisturbed


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_sweep_that_is_stopped_leaves_no_process_and_goes_on(tmp_path, undisturbed, sent, code):
    sweep = start(tmp_path / "out", "--engine", "ray")
    wait_for_players(sweep)
    started = started_by(sweep)
    os.kill(sweep.pid, sent)
    assert ended(sweep, started)
    assert sweep.returncode == code
    assert whole(tmp_path / "out", "--engine", "ray") == undisturbed


def test_no_cluster_at_an_address_is_one_line(tmp_path):
    sweep = start(tmp_path / "out", "--engine", "ray", "--address", "auto")
    _, said = sweep.communicate(timeout=300)
    assert sweep.returncode == 2
    assert said.startswith("error: Ray at auto: ")
    assert said.count("\n") == 1
