"""What a rule is: a compiled function of a common signature, with its words, source and parameters beside it.

**Selection** says whom to run. Its ``key(seen, slot, shared, params)`` gives every candidate a float, and the smallest key runs.
Candidates are the tasks that the asked NPU may take and the one that it runs; on one NPU these are all that are present.
Ties go to the running task, then to the earlier arrival, then to the lower slot. A rule may also have ``prepare(seen, params)``. It
is called once per decision, before the keys, and returns what all keys get as ``shared``: a float (PREMA's threshold, for one) or a
tuple of floats. On several NPUs a rule may also say which tasks the asked NPU would start at all (``admits``), and weigh its keys
by where a task runs best (``weigh``): see :mod:`baselines.policies.rules.gate`. A rule may further ask for arrays that it looks
things up in (``knows``), as the distributions of output lengths: see :mod:`baselines.policies.rules.residual`.

**Switching** says how the running task makes room. Its ``switch(seen, chosen, params)`` returns the action to play when another
task than the running one is to run. An action that the environment forbids is not played: the heuristic keeps.

``seen`` is a :class:`baselines.policies.compiled.Seen`, ``params`` a record of the rule's named parameters (0 where it has none).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from baselines.policies.compiled import call, record_at, seen_at, specialised
from prema_gym._jit import JitEntry, jit_borrowing
from prema_gym.config import MECHANISMS
from prema_gym.envs.actions import KEEP, dispatch, is_legal, may_keep
from prema_gym.envs.observation import predicted_remaining
from prema_gym.errors import PolicyError, unknown_name
from prema_gym.sim.borrow import borrowed
from prema_gym.types import NONE, READY, RUNNING
from prema_gym.workloads.residual import Residuals

HEURISTIC = np.dtype(
    [
        ("selection_params", np.int64),  # address of the selection rule's record
        ("switch", np.int64),  # address of the switching rule's entry
        ("switching_params", np.int64),
    ],
    align=True,
)
"""What the entry of a selection rule gets as its ``params``."""
_heuristic = borrowed(HEURISTIC, 1)
LENGTHS = Residuals._fields
"""What a rule ``knows`` that goes by the distributions of output lengths."""
NETWORKS = ("networks",)
"""What a rule ``knows`` that has parameters for each network of the workload."""


@jit_borrowing
def total_cycles(seen, slot):
    """Return the total cycles of the task in ``slot`` as the policy believes them: predicted, or true if it is clairvoyant."""
    return float(seen.truth[slot]) if seen.truth.shape[0] > 0 else float(seen.table[slot].predicted_cycles)


@jit_borrowing
def remaining_cycles(seen, slot):
    """Return the remaining cycles of the task in ``slot`` as the policy believes them."""
    if seen.truth.shape[0] > 0:
        return float(seen.truth[slot] - seen.table[slot].executed_cycles)
    return predicted_remaining(seen.table[slot])


@jit_borrowing
def is_candidate(entry):
    """Whether the asked NPU may run the task of this slot, or does."""
    return entry.state == READY or entry.state == RUNNING


@jit_borrowing
def nothing_shared(seen, params):
    """Return 0: the ``prepare`` of rules whose keys need nothing that holds for the whole table."""
    return 0.0


@jit_borrowing
def admits_all(seen, slot, params):
    """Return True: the ``admits`` of rules that leave no NPU idle."""
    return True


@jit_borrowing
def unweighed(seen, slot, key, params):
    """Return the key as it is."""
    return key


@jit_borrowing
def _precedes(slot, other):
    """Whether ``slot`` wins a tie against ``other``, of a lower slot number."""
    if slot.state == RUNNING or other.state == RUNNING:
        return slot.state == RUNNING
    return slot.arrival_cycles < other.arrival_cycles


def _smallest_key(at: Any, row: Any, params: Any, slot: Any) -> Any:
    """Template of a selection rule's entry: return a heuristic's action, which lets the candidate of the smallest key run.

    A mechanism that the environment forbids is not played: the heuristic keeps. An idle NPU for which the rule admits no task stays
    idle; where it may not, the rule chooses among all candidates.
    """
    seen, heuristic = seen_at(at, row), _heuristic(params, (1,))[0]
    given = _params(heuristic.selection_params, (1,))[0]  # type: ignore[name-defined]  # noqa: F821
    shared = _prepare(seen, given)  # type: ignore[name-defined]  # noqa: F821
    best, best_key, from_all = NONE, np.inf, False
    while True:
        for i in range(seen.table.shape[0]):
            admitted = from_all or _admits(seen, i, given)  # type: ignore[name-defined]  # noqa: F821
            if not is_candidate(seen.table[i]) or not admitted:
                continue
            key = _weigh(seen, i, _key(seen, i, shared, given), given)  # type: ignore[name-defined]  # noqa: F821
            if best == NONE or key < best_key or (key == best_key and _precedes(seen.table[i], seen.table[best])):
                best, best_key = i, key
        if best != NONE or from_all or may_keep(seen.npu):
            break
        from_all = True
    running = seen.npu.running_slot
    if best == running:  # NONE, both of them, where there is no candidate
        return KEEP
    if running < 0:
        return dispatch(best, seen.rules.mechanisms)
    action = call(heuristic.switch, at, row, heuristic.switching_params, best)
    return action if is_legal(seen.npu, seen.table, seen.rules.mechanisms, action) else KEEP


def _switching_action(at: Any, row: Any, params: Any, slot: Any) -> Any:
    """Template of a switching rule's entry: return the action for wanting ``slot`` while another task runs."""
    seen = seen_at(at, row)
    return _switch(seen, slot, _params(params, (1,))[0])  # type: ignore[name-defined]  # noqa: F821


@dataclass(frozen=True)
class Rule:
    """What selection and switching rules have in common."""

    name: str
    words: str
    """What it does, as the end of a sentence: "Runs: ..." or "Switching: ..."."""
    defaults: Mapping[str, float | bool] = field(default_factory=dict, kw_only=True)
    """Its parameters with the values that hold unless a heuristic names others; a bool stays a bool, a number is a float."""

    @cached_property
    def dtype(self) -> np.dtype:
        """The record of its parameters."""
        return self._parameters_dtype

    @cached_property
    def _parameters_dtype(self) -> np.dtype:
        kinds = [(name, np.bool_ if isinstance(value, bool) else np.float64) for name, value in self.defaults.items()]
        if not kinds:
            return np.dtype([("none", np.int64)], align=True)
        # The last field tells records apart: numba would take one that begins with all fields of another for a kind of it.
        return np.dtype([*kinds, (f"of_{self.name}", np.int8)], align=True)

    def record(self, chosen: Mapping[str, float | bool]) -> np.ndarray:
        """Return the (1,) record of its parameters, those ``chosen`` in place of the defaults."""
        record = np.zeros(1, self.dtype)
        for name, value in self.defaults.items():
            record[name] = chosen.get(name, value)
        return record


@dataclass(frozen=True)
class SelectionRule(Rule):
    """Whom to run: the present task of the smallest key."""

    key: Callable[..., Any]
    """Jitted ``key(seen, slot, shared, params) -> float``."""
    prepare: Callable[..., Any] = nothing_shared
    """Jitted ``prepare(seen, params)``: what ``key`` gets as ``shared``, a float or a tuple of floats."""
    admits: Callable[..., Any] = admits_all
    """Jitted ``admits(seen, slot, params) -> bool``: whether the asked NPU would start the task, or go on with it."""
    weigh: Callable[..., Any] = unweighed
    """Jitted ``weigh(seen, slot, key, params) -> float``: what is compared in place of the key."""
    source: str = ""
    """Where the rule comes from."""
    changes_between_events: bool = True
    """Whether another task can come to have the smallest key while one runs and none arrives or completes: True where the keys of
    waiting tasks fall or the running task's rises. Such a rule is played as it is meant only if it is asked at every quantum."""
    changes_with: tuple[str, ...] = ()
    """Parameters that make it so where they are not 0."""
    knows: tuple[str, ...] = ()
    """Names of arrays that the rule looks things up in; ``params`` says where each lies (``NAME_at``) and its length (``NAME``)."""

    def changes(self, parameters: Mapping[str, float | bool]) -> bool:
        """Return whether its choice can change between events at these parameters."""
        return self.changes_between_events or any(parameters[name] for name in self.changes_with)

    @cached_property
    def dtype(self) -> np.dtype:
        """The record of its parameters, and of where its knowledge lies."""
        if not self.knows:
            return self._parameters_dtype
        kinds = [(name, self._parameters_dtype[name]) for name in self.defaults]
        return np.dtype(
            [*kinds, *((field, np.int64) for name in self.knows for field in (f"{name}_at", name)), (f"of_{self.name}", np.int8)],
            align=True,
        )

    @property
    def may_idle(self) -> bool:
        """Whether it may leave an NPU idle though tasks wait for it."""
        return self.admits is not admits_all

    def knowing(self, chosen: Mapping[str, float | bool], known: Sequence[np.ndarray]) -> np.ndarray:
        """Return the (1,) record of its parameters that points at what it ``knows``, which must be kept."""
        record = self.record(chosen)
        for name, array in zip(self.knows, known, strict=True):
            record[f"{name}_at"], record[name] = array.ctypes.data, len(array)
        return record

    @cached_property
    def entry(self) -> JitEntry:
        """The compiled rule: takes a HEURISTIC record and returns an action, so that most decisions are one call."""
        return specialised(
            _smallest_key, f"select_{self.name}", (self.key, self.prepare, self.admits, self.weigh),
            _key=self.key, _prepare=self.prepare, _admits=self.admits, _weigh=self.weigh, **record_at(self.dtype),
        )  # fmt: skip


@dataclass(frozen=True)
class SwitchingRule(Rule):
    """How the running task makes room for the chosen one."""

    switch: Callable[..., Any]
    """Jitted ``switch(seen, chosen, params) -> action``; ``chosen`` is a slot that isn't running."""
    evicts: bool = True
    """Whether it is asked at all while a task runs."""
    mechanisms: tuple[str, ...] = MECHANISMS
    """Those that it may play; all unless it says otherwise, and none where it does not evict."""

    @cached_property
    def entry(self) -> JitEntry:
        """The compiled rule: returns an action."""
        name = f"switch_{self.name}"
        return specialised(_switching_action, name, (self.switch,), _switch=self.switch, **record_at(self.dtype))


def parameters_of(rules: tuple[Rule, ...], chosen: Mapping[str, float | bool]) -> dict[str, float | bool]:
    """Return all parameters of ``rules``, those ``chosen`` in place of defaults; :class:`PolicyError` for one that none has."""
    defaults = {name: value for rule in rules for name, value in rule.defaults.items()}
    for name in chosen:
        if name not in defaults:
            listed = " and ".join(rule.name for rule in rules)
            raise PolicyError(f"{listed}: {unknown_name('parameter', name, defaults)}")
    return {**defaults, **chosen}
