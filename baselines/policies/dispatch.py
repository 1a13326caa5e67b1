"""Dispatchers: each task is assigned to one NPU when it arrives, and a rule schedules each NPU's own tasks.

``LEAST-LOADED/PREMA`` is PREMA on each NPU, behind a dispatcher that sends a task to the NPU with the least predicted work. This is
how clusters are mostly built: a queue for each server. A policy without a dispatcher sees one common queue.

The assignment depends on what was there when the task arrived, and cannot be told from a later table. So it is noted in the table,
in ``assigned_npu``: the machine clears it when a task arrives, never reads it, and copies it with the rest of a row. The policy
itself remembers nothing, and one policy plays any number of environments in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from baselines.policies.compiled import Chooser, Compiled, CompiledPolicy, call, seen_at, specialised
from prema_gym._jit import JitEntry, jit_borrowing
from prema_gym.config import MECHANISMS, EnvConfig
from prema_gym.envs.actions import KEEP, may_keep
from prema_gym.envs.observation import remaining_on
from prema_gym.errors import PolicyError
from prema_gym.sim.borrow import borrowed
from prema_gym.types import EMPTY, NONE, READY

BEHIND = np.dtype([("entry", np.int64), ("params", np.int64)], align=True)
"""What the entry of a dispatcher gets as its ``params``: the addresses of the entry behind it and of that one's parameters."""
_behind = borrowed(BEHIND, 1)
HIDDEN = -1
"""State of a task that the rule is not to see: it could be chosen here, but is another NPU's. Only while the rule is asked."""


# --- Loads --------------------------------------------------------------------------------------------------------------------


@jit_borrowing
def one_task(seen, slot, n):
    """Return 1: every task counts alike."""
    return 1.0


@dataclass(frozen=True)
class Dispatcher:
    """Which NPU a task goes to: the one with the least load, on ties the lowest index."""

    name: str
    words: str
    """What it does, as the end of a sentence: "A task goes, when it arrives, to ..."."""
    load: Callable[..., Any]
    """Jitted ``load(seen, slot, n) -> float``: what the task in ``slot``, assigned to NPU ``n``, adds to the load of it."""

    @cached_property
    def entry(self) -> JitEntry:
        """The compiled dispatcher: takes a BEHIND record and returns an action."""
        return specialised(_dispatched, f"dispatch_{self.name}", (self.load,), _load=self.load)


LEAST_LOADED = Dispatcher("LEAST-LOADED", "the NPU with the least predicted work outstanding", remaining_on)
JSQ = Dispatcher("JSQ", "the NPU with the fewest tasks", one_task)

DISPATCHERS: dict[str, Dispatcher] = {}
"""Every dispatcher by name."""


def register_dispatcher(dispatcher: Dispatcher) -> None:
    """Add a dispatcher of your own; raises :class:`PolicyError` if its name is taken."""
    if dispatcher.name in DISPATCHERS:
        raise PolicyError(f"dispatcher {dispatcher.name!r} is registered already; choose another name.")
    DISPATCHERS[dispatcher.name] = dispatcher


for _dispatcher in (LEAST_LOADED, JSQ):
    register_dispatcher(_dispatcher)


# --- Compiled -----------------------------------------------------------------------------------------------------------------


@jit_borrowing
def _note_where_tasks_are(seen):
    """Note that what an NPU has is its own, also where the machine had no other move than to give it to that one."""
    for slot in range(seen.table.shape[0]):
        task = seen.table[slot]
        if task.state != EMPTY and task.npu != NONE:
            task.assigned_npu = task.npu


@jit_borrowing
def _first_unassigned(seen):
    """Return the slot of the earliest task that is assigned to no NPU; NONE where there is none."""
    first = NONE
    for slot in range(seen.table.shape[0]):
        task = seen.table[slot]
        if task.state == EMPTY or task.assigned_npu != NONE:
            continue
        if first == NONE or task.task < seen.table[first].task:
            first = slot
    return first


@jit_borrowing
def _can_run(task, npu):
    """Whether the task, which waits, may run on ``npu``: one with progress stays on its configuration."""
    return task.configuration == NONE or task.configuration == npu.configuration


@jit_borrowing
def _hide_tasks_of_others(seen):
    """Hide from the rule what it could choose here but is another NPU's."""
    for slot in range(seen.table.shape[0]):
        task = seen.table[slot]
        if task.state == READY and task.assigned_npu != seen.npu.npu:
            task.state = HIDDEN


@jit_borrowing
def _show_again(seen):
    for slot in range(seen.table.shape[0]):
        if seen.table[slot].state == HIDDEN:
            seen.table[slot].state = READY


def _dispatched(at: Any, row: Any, params: Any, slot: Any) -> Any:
    """Template of a dispatcher's entry: assign what has arrived, then ask the rule behind about the asked NPU's own tasks."""
    seen, behind = seen_at(at, row), _behind(params, (1,))[0]
    _note_where_tasks_are(seen)
    arrived = _first_unassigned(seen)
    while arrived != NONE:
        best, least = NONE, np.inf
        for n in range(seen.npus.shape[0]):
            load = 0.0
            for i in range(seen.table.shape[0]):
                if seen.table[i].state != EMPTY and seen.table[i].assigned_npu == n:
                    load += _load(seen, i, n)  # type: ignore[name-defined]  # noqa: F821
            if load < least and _can_run(seen.table[arrived], seen.npus[n]):
                best, least = n, load
        seen.table[arrived].assigned_npu = best
        arrived = _first_unassigned(seen)
    _hide_tasks_of_others(seen)
    action = call(behind.entry, at, row, behind.params, 0)
    _show_again(seen)
    if action == KEEP and not may_keep(seen.npu):  # it has none of its own, and has to take one
        action = call(behind.entry, at, row, behind.params, 0)
    return action


# --- The policy ---------------------------------------------------------------------------------------------------------------


class DispatchedPolicy(CompiledPolicy):
    """A dispatcher in front of a compiled policy, which then schedules each NPU's own tasks."""

    def __init__(self, dispatcher: Dispatcher, policy: Compiled) -> None:
        """Take a dispatcher and what plays behind it; raises :class:`PolicyError` for one that has to choose the NPU itself."""
        if getattr(policy, "allow_idle", False):
            raise PolicyError(f"{policy.name} chooses the NPU itself: it can't stand behind the dispatcher {dispatcher.name}.")
        self.dispatcher, self.policy = dispatcher, policy
        self.name = f"{dispatcher.name}/{policy.name}"
        self.clairvoyant = policy.clairvoyant
        self._made: tuple[Chooser, Chooser] | None = None

    @property
    def asked_every(self) -> int | None:
        """Quanta between the decisions that it needs: those of the policy behind."""
        every: int | None = getattr(self.policy, "asked_every", None)
        return every

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Mechanisms that it may play: those of the policy behind."""
        return getattr(self.policy, "mechanisms", MECHANISMS)

    @property
    def allow_idle(self) -> bool:
        """True: an NPU without tasks of its own stays idle."""
        return True

    @property
    def rule(self) -> str:
        """What it does, in words."""
        return f"A task goes, when it arrives, to {self.dispatcher.words}. There: {getattr(self.policy, 'rule', self.policy.name)}"

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return what plays on ``config``; it is asked while tasks run too, since it has to see arrivals."""
        behind, made = self.policy.chooser(config), self._made
        if made is None or made[0] is not behind:
            params = np.zeros(1, BEHIND)
            params["entry"], params["params"] = behind.entry.address, behind.params.ctypes.data
            made = self._made = (behind, Chooser(self.dispatcher.entry, params, holds=(behind,)))
        return made[1]
