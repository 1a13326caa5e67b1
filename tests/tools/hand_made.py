"""Synthetic programs of round numbers, and a way to play a few decisions on them and read the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from prema_gym import Program, register_program
from prema_gym.config import MECHANISMS, mechanism_bits
from prema_gym.envs.actions import encode
from prema_gym.types import CHECKPOINT, DRAIN, KILL

ALL_MECHANISMS = mechanism_bits(MECHANISMS)

SAVE_BYTES = 5114
"""Takes 10 cycles at 511.43 bytes per cycle, 110 with the latency of 100."""
CONTEXT_CYCLES = 110
REFILL_CYCLES = 7
BATCH_BYTES = 10228
"""Of a batch of ``echo``: takes 20 cycles, 120 with the latency."""
KEEP = 0

THREE: dict[str, Any] = {"npus": ["prema", "prema", "edge"], "slots": 6}
"""Arguments of an environment of two like NPUs and one that is not, with room for the tasks of :func:`play_three`."""

BATCHES: dict[str, Any] = {
    "batching": 4,
    "slots": 8,
    "horizon_requests": 60,
    "quantum_cycles": 150,
    "workload": {
        "models": ["echo", "lone"],
        "batches": [1],
        "sla": 4.0,
        "arrivals": {"process": "poisson", "utilisation": 1.4},
    },
}
"""Arguments of a stream of requests that run together."""

Log = list[tuple[int, str, int]]


def register_round_programs() -> None:
    """Register ``long`` (1000 cycles) and ``short`` (300 cycles): a point every 100 cycles, each with the same context."""
    for name, total in (("long", 1000), ("short", 300)):
        points = np.arange(100, total + 1, 100)
        program = Program.from_points(
            total_cycles=total,
            commit_cycles=points,
            save_bytes=SAVE_BYTES,
            restore_bytes=SAVE_BYTES,
            refill_cycles=REFILL_CYCLES,
            predicted_cycles=total,
        )
        register_program(name, program)


def register_sized_programs() -> None:
    """Register ``echo`` (300 cycles for one sample, 400 for two, 600 for up to four), and ``lone`` (1000, for one sample only).

    All have a point every 100 cycles.
    """

    def program(total: int, nbytes: int) -> Program:
        return Program.from_points(total, np.arange(100, total + 1, 100), nbytes, refill_cycles=REFILL_CYCLES)

    register_program("echo", {1: program(300, SAVE_BYTES), 2: program(400, BATCH_BYTES), 4: program(600, BATCH_BYTES)})
    register_program("lone", program(1000, SAVE_BYTES))


def task(arrival: int, model: str, priority: int = 1) -> dict[str, Any]:
    """Return an entry of a trace."""
    return {"arrival_cycles": arrival, "model": model, "batch": 1, "priority": priority}


def checkpoint(slot: int) -> int:
    """Return the action that evicts by CHECKPOINT, or dispatches on an idle NPU."""
    return int(encode(slot, CHECKPOINT, ALL_MECHANISMS))


def kill(slot: int) -> int:
    """Return the action that evicts by KILL."""
    return int(encode(slot, KILL, ALL_MECHANISMS))


def drain(slot: int) -> int:
    """Return the action that lets the running task complete first."""
    return int(encode(slot, DRAIN, ALL_MECHANISMS))


def make_env(**arguments: Any) -> gym.Env[Any, Any]:
    """Return an environment whose quantum never expires, strict, with room for 4 tasks, unless told otherwise."""
    defaults = {
        "quantum_cycles": 10**9,
        "decision_every": 1,
        "slots": 4,
        "strict": True,
        "workload": {"models": ["long"], "batches": [1], "num_tasks": 1},
    }
    return gym.make("Prema-v0", **{**defaults, **arguments})


def play_three(env: gym.Env[Any, Any], steps: int = 100) -> gym.Env[Any, Any]:
    """Play a trace of six tasks by one legal action after another, for ``steps`` or to the end."""
    trace = [
        task(0, "long"),
        task(0, "short", 3),
        task(0, "long", 9),
        task(40, "short", 9),
        task(220, "long", 3),
        task(330, "short"),
    ]
    _, info = env.reset(options={"trace": trace})
    for step in range(steps):
        legal = np.flatnonzero(info["action_mask"])
        *_, terminated, truncated, info = env.step(int(legal[step % len(legal)]))
        if terminated or truncated:
            break
    return env


def play(trace: Sequence[dict[str, Any]], actions: Sequence[int], **arguments: Any) -> tuple[Log, gym.Env[Any, Any]]:
    """Play exactly ``actions`` on ``trace``; the episode must end with the last. Return the whole event log and the environment."""
    env = make_env(**arguments)
    env.reset(options={"trace": list(trace)})
    ended = False
    for action in actions:
        assert not ended, "the episode ended before its last action"
        _, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
    assert ended, "the episode asks for more actions"
    return [(event["cycle"], event["event"], event["slot"]) for event in env.unwrapped.events()], env


def accounts(env: gym.Env[Any, Any]) -> dict[str, int]:
    """Return useful, wasted, overhead, idle and elapsed cycles of row 0."""
    state = env.unwrapped._core.simulator.state  # type: ignore[attr-defined]
    named = {name: int(state.engines[0, 0][f"{name}_cycles"]) for name in ("useful", "wasted", "overhead", "idle")}
    return {**named, "elapsed": int(state.status[0]["clock_cycles"])}
