"""Playing an episode to watch it: :func:`record` with a policy, :class:`RecordDecisions` around a loop of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from prema_gym.checks import as_whole, whole
from prema_gym.config import MECHANISMS, mechanism_bits
from prema_gym.envs.actions import KEEP, decode
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.view import View, read_only
from prema_gym.errors import PolicyError
from prema_gym.rendering.live.scene import cause_name
from prema_gym.rendering.recording import Recording
from prema_gym.types import EMPTY, NONE, READY


class Acts(Protocol):
    """A policy, as far as :func:`record` is concerned."""

    def act(self, view: View) -> np.ndarray:
        """Return (N,) int64 actions."""
        ...


def note_decision(view: View, action: int) -> dict[str, Any]:
    """Return what is decided and what the scheduler knew: the row of a recording's table of decisions.

    ``npu`` is the asked NPU, ``running`` its task and ``waiting`` what it may take: tasks by order of arrival, NONE where there is
    none. ``tokens`` are those of the tasks present.
    """
    npu, table = view.npu[0], view.table[0]
    slot, mechanism = decode(action, mechanism_bits(view.config.mechanisms))
    running = int(npu["running_slot"])
    now = int(npu["clock_cycles"])
    move = "KEEP" if action == KEEP else "DISPATCH" if running < 0 else MECHANISMS[mechanism]
    present = table[table["state"] != EMPTY]
    return {
        "cycle": now,
        "ms": view.config.npu.ms(now),
        "npu": int(npu["npu"]),
        "cause": cause_name(int(npu["cause"])),
        "running": NONE if running < 0 else int(table[running]["task"]),
        "waiting": tuple(sorted(table["task"][table["state"] == READY].tolist())),
        "tokens": {int(entry["task"]): float(entry["token"]) for entry in np.sort(present, order="task")},
        "action": action,
        "move": move,
        "chosen": NONE if slot == NONE else int(table[slot]["task"]),
    }


class RecordDecisions(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Notes every decision of the present episode in ``decisions``, so that ``Recording.of(env)`` has them."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self.decisions: list[dict[str, Any]] = []

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode, and a new list of decisions."""
        self.decisions = []
        return super().reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Note the decision, then play it."""
        view, index = self.env.unwrapped.view(), as_whole(action)  # type: ignore[attr-defined]
        if index is None or not 0 <= index < view.mask.shape[1]:
            return super().step(action)  # it says what is wrong with it
        note = note_decision(view, index)
        result = super().step(action)
        info = result[-1]
        note |= {"illegal": info["illegal_action"], "reward": float(result[1]), "elapsed_ms": info["elapsed_ms"]}
        self.decisions.append(note)
        return result


def record(
    policy: Acts,
    *,
    seed: int = 0,
    trace: Sequence[dict[str, Any]] | str | None = None,
    name: str | None = None,
    requests: int | None = None,
    **arguments: Any,
) -> Recording:
    """Play one episode under ``policy``, any object with ``act(view)``, and return its recording, decisions included.

    Parameters
    ----------
    policy: also gets ``truth`` if it has ``clairvoyant`` set, and is told by ``start_episodes`` that one begins if it has that
        method, as in ``baselines``; one with ``on_rows(core)`` is asked what plays here. ``record`` of
        ``baselines.evaluation.recording`` takes names and other agents too.
    seed: of ``reset``: the same episode as ``gym.make("Prema-v0", **arguments).reset(seed=seed)`` plays.
    trace: tasks of your own in place of that episode, or the name of a JSONL file.
    name: of the recording; the policy's ``name`` by default.
    requests: of a stream, stop once this many have arrived; the episode then has no metrics. By default it is played to its end.
    arguments: the environment's (``npu``, ``npus``, ``workload``, ``mechanisms``, ...).

    """
    if not callable(getattr(policy, "act", None)):
        raise PolicyError(f"policy = {policy!r}: must be an object with act(view).")
    most = None if requests is None else whole("requests", requests, 1)
    env = PremaEnv(**arguments)
    simulator = env._core.simulator
    noted = RecordDecisions(env)
    noted.reset(seed=seed, options=None if trace is None else {"trace": trace})
    clairvoyant = bool(getattr(policy, "clairvoyant", False))
    plays = policy.on_rows(env._core) if hasattr(policy, "on_rows") else policy
    begin = getattr(policy, "start_episodes", None)
    if begin is not None:
        begin(np.ones(1, np.bool_))
    ended = False
    while not ended and (most is None or simulator.state.machine[0]["next_task"] < most):
        view = env.view()
        told = (read_only(simulator.true_totals()),) if clairvoyant else ()
        answer = np.asarray(plays.act(view, *told))
        if answer.shape != (1,) or answer.dtype.kind not in "iu":
            called = getattr(policy, "name", type(policy).__name__)
            what = f"actions of shape {answer.shape} and type {answer.dtype}"
            raise PolicyError(f"policy {called!r} returned {what}: must be (1,) whole numbers.")
        *_, terminated, truncated, _ = noted.step(int(answer[0]))
        ended = terminated or truncated
    return Recording.of(noted, name if name is not None else getattr(policy, "name", type(policy).__name__))
