"""Golden episodes of one NPU: what the machine did when they were last reviewed, as digests and a few readable event logs.

``make golden`` writes them anew into ``tests/golden``; do so only where a change of the machine is meant, and say in the commit
what changed. Programs, worlds and actions are made by whole-number arithmetic, so nothing depends on a mathematics library, on the
compiler of networks or on the environment's defaults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines import make_policy
from prema_gym import NPUConfig, Program, register_program
from prema_gym.envs.core import Core
from prema_gym.envs.step import DISABLED, reset_rows, step_rows
from prema_gym.envs.view import View
from prema_gym.metrics import METRICS
from prema_gym.types import ASKING, EVENT_NAMES

FOLDER = Path(__file__).parents[1] / "golden"
DIGESTS, LOGS = FOLDER / "episodes.json", FOLDER / "episodes.log"

POLICIES = ("NP-FCFS", "P-RRB-KILL", "P-SJF-DRAIN", "P-HPF", "PREMA")
RANDOM = "random legal actions"
PLAYERS = (*POLICIES, RANDOM)
ROWS = 250
"""Episodes of a world, played side by side."""
LOG_ENTRIES = 3000
MOST_STEPS = 200
"""Decisions after which an episode is left as it is: random players kill each other's tasks for ever."""
SHOWN = ((1, "PREMA", 3), (2, "P-RRB-KILL", 5), (3, RANDOM, 7))
"""World, player and row of the episodes whose logs are kept in full."""

_SETTINGS: tuple[dict[str, Any], ...] = (
    {"quantum_cycles": 10**9, "decision_every": None, "scheduler_latency_cycles": 0},
    {"quantum_cycles": 700, "decision_every": 1, "scheduler_latency_cycles": 0},
    {"quantum_cycles": 450, "decision_every": 2, "scheduler_latency_cycles": 35},
    {"quantum_cycles": 1100, "decision_every": 1, "scheduler_latency_cycles": 3, "slots": 12},
)
"""What tells the worlds apart."""


class World(NamedTuple):
    """An environment's arguments, and the first of its episodes' seeds."""

    arguments: dict[str, Any]
    seed: int


def _numbers(seed: int) -> Iterator[int]:
    """Yield whole numbers below 2^31 that look random (Lehmer's generator)."""
    state = seed + 1
    while True:
        state = state * 48271 % 2147483647
        yield state


def register_programs() -> list[str]:
    """Register twelve synthetic programs and return their names."""
    names = []
    for index in range(12):
        number = _numbers(1000 + index)
        steps = [next(number) % 190 + 10 for _ in range(next(number) % 30 + 2)]
        commits = np.cumsum(steps)
        saves = [next(number) % 40_000 * (next(number) % 4 > 0) for _ in steps]
        restores = [save + next(number) % 20_000 * (next(number) % 3 == 0) for save in saves]
        refills = [next(number) % 60 for _ in steps]
        total = int(commits[-1]) + next(number) % 2 * (next(number) % 50)
        predicted = total * (next(number) % 100 + 50) // 100
        names.append(f"golden {index}")
        register_program(names[-1], Program.from_points(total, commits, saves, restores, refills, predicted_cycles=predicted))
    return names


def worlds() -> list[World]:
    """Return the worlds: every setting that the machine knows, at one NPU."""
    workload = {"models": register_programs(), "batches": [1], "num_tasks": 8, "priorities": [1, 3, 9], "window": 0.5}
    npu = NPUConfig(clock_hz=700_000_000, dram_bytes_per_second=358_000_000_000, dram_latency_cycles=100)
    common = {"npu": npu, "workload": workload, "mechanisms": ["CHECKPOINT", "KILL", "DRAIN"], "reward": "weighted_antt"}
    return [World({**common, **setting}, 77 + index) for index, setting in enumerate(_SETTINGS)]


def _random_legal(view: View, step: int) -> np.ndarray:
    """Return a legal action per row, from a hash of row and step."""
    mask = view.mask.astype(np.int64)
    word = np.arange(view.rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(step * 0xBF58476D1CE4E5B9 % (1 << 64))
    word = (word ^ (word >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    nth = (word >> np.uint64(33)).astype(np.int64) % mask.sum(axis=1)
    return (np.cumsum(mask, axis=1) > nth[:, None]).argmax(axis=1)


def _actions(player: str, view: View, step: int) -> np.ndarray:
    return _random_legal(view, step) if player == RANDOM else make_policy(player).act(view)


LATER_METRICS = ("deadline_misses", "tardiness", "goodput", "impossible_deadlines")
"""Not in the digests: they came after the episodes had been reviewed."""


class Played(NamedTuple):
    """A world's episodes under one player."""

    digest: str
    """SHA-256 of every token at every decision, of all event logs, completions and metrics."""
    core: Core


def play(world: World, player: str, *, by_events: bool = False, rows: int = ROWS) -> Played:
    """Play ``rows`` episodes of ``world``, on request with the driver that is meant for several NPUs."""
    core = Core(world.arguments, rows, log_entries=LOG_ENTRIES)
    if by_events:
        core.simulator.state = core.simulator.state._replace(several=1)
        core.simulator._bind()
    for row in range(rows):
        core.simulator.seed(row, world.seed + 1000 * row)
    words, state = core.simulator.words, core.simulator.state
    reset_rows(words, np.ones(rows, np.bool_), core.split, core.outcomes, core.observations, core.masks)
    digest = hashlib.sha256()
    metrics = np.full_like(core.outcomes["metrics"], np.nan)
    for step in range(MOST_STEPS):
        playing = state.machine["outcome"] == ASKING
        if not playing.any():
            break
        view = core.view()
        for name in ("token", "token_whole_wait", "waited_cycles", "executed_cycles"):
            digest.update(np.ascontiguousarray(view.table[name][playing]).tobytes())
        actions = np.where(playing, _actions(player, view, step), 0)
        step_rows(
            words, 0, rows, actions, core.weights, DISABLED, core.split, core.outcomes, core.observations, core.masks,
            core.observations[:0],
        )  # fmt: skip
        digest.update(core.outcomes["reward"][playing].tobytes())
        ended = playing & (state.machine["outcome"] != ASKING)
        metrics[ended] = core.outcomes["metrics"][ended]
    digest.update(np.delete(metrics, [METRICS.index(name) for name in LATER_METRICS], axis=1).tobytes())
    digest.update(state.tasks["completion_cycles"].tobytes())
    for row in range(rows):
        digest.update("\n".join(log_lines(core, row)).encode())
    return Played(digest.hexdigest(), core)


def log_lines(core: Core, row: int) -> list[str]:
    """Return the event log of ``row``: cycle, event, slot and task in each line."""
    state = core.simulator.state
    count = int(state.machine[row]["events"])
    assert count < LOG_ENTRIES, "the log is full"
    log = state.log[row, :count]
    columns = (log[name].tolist() for name in ("cycle", "event", "slot", "task"))
    return [f"{cycle} {EVENT_NAMES[event]} {slot} {task}" for cycle, event, slot, task in zip(*columns, strict=True)]


def compute(*, by_events: bool = False) -> tuple[dict[str, list[str]], str]:
    """Return the digests, by player one for each world, and the text of the logs."""
    digests: dict[str, list[str]] = {player: [] for player in PLAYERS}
    shown = []
    for number, world in enumerate(worlds()):
        for player in PLAYERS:
            played = play(world, player, by_events=by_events)
            digests[player].append(played.digest)
            shown += [
                "\n".join([f"# world {number}, {player}, row {row}: cycle event slot task", *log_lines(played.core, row)])
                for of_world, of_player, row in SHOWN
                if (of_world, of_player) == (number, player)
            ]
    return digests, "\n".join(shown) + "\n"


if __name__ == "__main__":
    new_digests, new_logs = compute()
    DIGESTS.write_text(json.dumps(new_digests, indent=2) + "\n")
    LOGS.write_text(new_logs)
    print(f"wrote {DIGESTS} and {LOGS}")
