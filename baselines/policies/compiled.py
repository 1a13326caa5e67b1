"""Policies in compiled code: what they see, how they are called, and how one of your own is made.

A compiled policy is a function ``choose(seen, params)`` that returns an action. It is called by its address, so the loop that plays
whole episodes is compiled once, for every policy alike, and a new policy costs the compilation of its own function only.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numba import config as numba_config
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from baselines.policies.needs import StatesNeeds
from baselines.policies.policy import Policy
from prema_gym._jit import JitEntry, jit_borrowing, jit_inline
from prema_gym.config import EnvConfig
from prema_gym.envs.actions import KEEP
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError
from prema_gym.sim.borrow import borrowed
from prema_gym.sim.simulator import rules_record
from prema_gym.types import BATCH, NPU, RULES, SLOT, STATUS


class Seen(NamedTuple):
    """What a compiled policy is shown of one row, as records and arrays of compiled code.

    It is the simulator's own memory: compiled code must only read it, but for a dispatcher's note, ``table[slot].assigned_npu``.
    (What :meth:`Policy.act` is handed cannot be written at all.)
    """

    npu: Any
    """STATUS record: clock, running slot, cause of the invocation, dispatch."""
    table: Any
    """(T,) SLOT: the context table."""
    rules: Any
    """RULES record: quantum, allowed mechanisms, clock and DMA rates; of the asked NPU."""
    npus: Any
    """(M,) NPU: every NPU of the row."""
    predictions: Any
    """(T, C) int64: predicted total cycles on each configuration; C = 0 on one NPU."""
    batches: Any
    """(T,) BATCH: who runs together, and who would; T = 0 where requests run one by one."""
    truth: Any
    """(T,) int64 true isolated cycles of the present tasks for a clairvoyant policy; (0,) for all others."""


_npu = borrowed(STATUS, 1)
_table = borrowed(SLOT, 2)
_rules_at = borrowed(RULES, 1)
_npus_at = borrowed(NPU, 2)
_cycles = borrowed(np.int64, 1)
_predictions_at = borrowed(np.int64, 2)
_batches_at = borrowed(BATCH, 2)

(
    _NPU_WORD,
    _TABLE_WORD,
    _SLOTS_WORD,
    _RULES_WORD,
    _TRUTH_WORD,
    _NPUS_WORD,
    _NPU_COUNT_WORD,
    _PREDICTIONS_WORD,
    _CONFIGURATIONS_WORD,
    _BATCHES_WORD,
    _BATCH_SLOTS_WORD,
    _PARAMS_WORD,
    _EVICTS_WORD,
    _OWN_WORD,
) = range(14)
"""The words that :func:`addresses` makes: addresses and extents of what N rows show (a truth of 0 is none), the policy's
``params``, whether it evicts, and the address of the words themselves."""
_WORDS = 14
_STATUS_BYTES, _SLOT_BYTES, _NPU_BYTES, _RULES_BYTES = STATUS.itemsize, SLOT.itemsize, NPU.itemsize, RULES.itemsize
_BATCH_BYTES, _CYCLE_BYTES = BATCH.itemsize, 8


def _seen_at(at: Any, row: Any) -> Seen:
    """Return what row ``row`` of the arrays behind the words at the address ``at`` shows."""
    words = _cycles(at, (_WORDS,))
    slots, npus, configurations = words[_SLOTS_WORD], words[_NPU_COUNT_WORD], words[_CONFIGURATIONS_WORD]
    status = _npu(words[_NPU_WORD] + row * _STATUS_BYTES, (1,))[0]
    batch_slots = words[_BATCH_SLOTS_WORD]
    known = slots if words[_TRUTH_WORD] != 0 else 0
    return Seen(
        status,
        _table(words[_TABLE_WORD] + row * slots * _SLOT_BYTES, (1, slots))[0],
        _rules_at(words[_RULES_WORD] + status.configuration * _RULES_BYTES, (1,))[0],
        _npus_at(words[_NPUS_WORD] + row * npus * _NPU_BYTES, (1, npus))[0],
        _predictions_at(words[_PREDICTIONS_WORD] + row * slots * configurations * _CYCLE_BYTES, (slots, configurations)),
        _batches_at(words[_BATCHES_WORD] + row * batch_slots * _BATCH_BYTES, (1, batch_slots))[0],
        _cycles(words[_TRUTH_WORD] + row * known * _CYCLE_BYTES, (known,)),
    )


seen_at: Callable[..., Seen] = _seen_at if numba_config.DISABLE_JIT else jit_inline(_seen_at)

ENTRY_ARGUMENTS = 4
"""Every entry takes the address of the words, a row, the address of params, and a slot."""
_SIGNATURE = types.int64(*[types.int64] * ENTRY_ARGUMENTS)

if numba_config.DISABLE_JIT:

    def call(entry: int, *arguments: int) -> int:
        """Call the entry at an address (see ENTRY_ARGUMENTS); return its int64 answer."""
        return int(JitEntry.at(entry)(*arguments))

else:

    @intrinsic
    def call(typingctx: Any, entry: Any, at: Any, row: Any, params: Any, slot: Any) -> Any:
        """Call the entry at an address (see ENTRY_ARGUMENTS); return its int64 answer."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = cgutils.intp_t
            kind = cgutils.ir.FunctionType(word, [word] * ENTRY_ARGUMENTS)
            return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

        return types.int64(*[types.int64] * (1 + ENTRY_ARGUMENTS)), codegen


def _python(function: Callable[..., Any]) -> FunctionType:
    """Return the Python function behind a jitted one."""
    python: FunctionType = getattr(function, "py_func", inspect.unwrap(function))
    return python


def specialised(template: Callable[..., Any], name: str, functions: Sequence[Callable[..., Any]], **given: Any) -> JitEntry:
    """Return ``template`` as an entry called ``name``, its globals replaced by those ``given``.

    ``functions`` are those of other files that it then calls: an edit in one of these files compiles the entry again. A function
    made inside another one is compiled in every process: what it encloses is not in its file.
    """
    behind = [_python(function) for function in functions]
    identity = [f"{function.__module__}.{function.__qualname__}:{function.__code__.co_firstlineno}" for function in behind]
    digest = hashlib.sha256("\0".join([name, *identity, *given.get("fields", ())]).encode()).hexdigest()[:12]
    unique = f"{re.sub(r'[^0-9A-Za-z]', '_', name)}_{digest}"  # the name is part of a file's name in the cache
    function = FunctionType(template.__code__, {**template.__globals__, **given}, unique)
    function.__qualname__ = unique
    enclosing = any(one.__closure__ for one in behind)
    return JitEntry(function, _SIGNATURE, None if enclosing else [Path(inspect.getfile(one)) for one in behind])


def record_at(dtype: np.dtype) -> dict[str, Any]:
    """Return what makes a template's ``_params`` a record of ``dtype``."""
    return {"_params": borrowed(dtype, 1), "fields": (str(dtype.descr),)}


def _answer(at: Any, row: Any, params: Any, slot: Any) -> Any:
    """Template of a policy's entry: show it what lies at the addresses."""
    return _choose(seen_at(at, row), _params(params, (1,))[0])  # type: ignore[name-defined]  # noqa: F821


def policy_entry(name: str, choose: Callable[..., Any], params: np.dtype) -> JitEntry:
    """Return the entry of a policy from its jitted ``choose(seen, params)`` and the dtype of its ``params`` record."""
    return specialised(_answer, f"choose_{name}", (choose,), _choose=choose, **record_at(params))


class Shown(NamedTuple):
    """The arrays of N rows that policies are shown."""

    npu: np.ndarray
    """(N,) STATUS."""
    table: np.ndarray
    """(N, T) SLOT."""
    npus: np.ndarray
    """(N, M) NPU."""
    predictions: np.ndarray
    """(N, T, C) int64."""
    batches: np.ndarray
    """(N, T) BATCH, or (N, 0)."""


class Asked(NamedTuple):
    """What a chooser was asked about, and the int64 words that :func:`ask` takes for it."""

    shown: Shown
    config: EnvConfig
    words: np.ndarray


@dataclass
class Chooser:
    """A compiled policy, ready to be called by one thread."""

    entry: JitEntry
    params: np.ndarray
    """(1,) record of named fields, handed to the policy as ``params``."""
    holds: tuple[Any, ...] = ()
    """Arrays whose addresses are in ``params``: kept as long as the chooser is."""
    evicts: bool = True
    """False for a policy that keeps whenever a task runs: it is then called on an idle NPU only."""
    last: Asked | None = field(default=None, init=False, repr=False, compare=False)
    """What was asked about last by :func:`act_compiled`: the next decision is mostly about the same arrays."""


@runtime_checkable
class Compiled(Policy, Protocol):
    """A policy that also plays in compiled code: whole episodes without returning to Python. Optional, and far faster."""

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return what plays on ``config``, for one thread: work space is not shared."""
        ...


def addresses(shown: Shown, rules: np.ndarray, truth: np.ndarray | None, chooser: Chooser) -> np.ndarray:
    """Return the int64 words that :func:`ask` takes. All arrays must be C-contiguous and outlive the words."""
    words = np.zeros(_WORDS, np.int64)
    words[_NPU_WORD], words[_RULES_WORD] = shown.npu.ctypes.data, rules.ctypes.data
    words[_TABLE_WORD], words[_SLOTS_WORD] = shown.table.ctypes.data, shown.table.shape[1]
    words[_NPUS_WORD], words[_NPU_COUNT_WORD] = shown.npus.ctypes.data, shown.npus.shape[1]
    words[_PREDICTIONS_WORD], words[_CONFIGURATIONS_WORD] = shown.predictions.ctypes.data, shown.predictions.shape[2]
    words[_BATCHES_WORD], words[_BATCH_SLOTS_WORD] = shown.batches.ctypes.data, shown.batches.shape[1]
    words[_TRUTH_WORD] = 0 if truth is None else truth.ctypes.data
    words[_PARAMS_WORD], words[_EVICTS_WORD] = chooser.params.ctypes.data, chooser.evicts
    words[_OWN_WORD] = words.ctypes.data
    return words


@jit_borrowing
def is_asked(npu, words):
    """Return whether the policy is called at a decision of the STATUS ``npu``; where it isn't, it keeps."""
    return npu.running_slot < 0 or words[_EVICTS_WORD] != 0


@jit_borrowing
def ask(entry, words, row):
    """Return the action of the policy at ``entry`` in ``row`` of the arrays behind ``words``, by calling it."""
    return call(entry, words[_OWN_WORD], row, words[_PARAMS_WORD], 0)


@jit_borrowing
def _ask_rows(entry, words, out):
    npu = _npu(words[_NPU_WORD], out.shape)
    for row in range(out.shape[0]):
        out[row] = ask(entry, words, row) if is_asked(npu[row], words) else KEEP


_RULES_BY_CONFIG: dict[int, tuple[EnvConfig, np.ndarray]] = {}


def _rules_of(config: EnvConfig) -> np.ndarray:
    """Return the (C,) RULES of ``config``, made once: a view is asked at every decision."""
    known = _RULES_BY_CONFIG.get(id(config))
    if known is None:
        if len(_RULES_BY_CONFIG) >= 64:
            _RULES_BY_CONFIG.clear()
        known = _RULES_BY_CONFIG[id(config)] = (config, rules_record(config))  # holding the configuration keeps its id its own
    return known[1]


def _asked(chooser: Chooser, view: View) -> Asked:
    """Return the words for ``view``, those of the last decision where they still hold; truth is not among them."""
    last = chooser.last
    if last is not None and last.shown.table is view.table and last.shown.npu is view.npu and last.config is view.config:
        return last
    given = Shown(view.npu, view.table, view.npus, view.predictions, view.batches)
    shown = Shown(*map(np.ascontiguousarray, given))
    asked = Asked(shown, view.config, addresses(shown, _rules_of(view.config), None, chooser))
    if all(one is other for one, other in zip(shown, given, strict=True)):  # copies would not show the next decision
        chooser.last = asked
    return asked


def act_compiled(chooser: Chooser, view: View, truth: np.ndarray | None = None) -> np.ndarray:
    """Return the (N,) int64 actions of a compiled policy; ``truth`` is (N, T) int64 or None."""
    asked = _asked(chooser, view)
    words, out = asked.words, np.empty(view.rows, np.int64)
    if truth is not None:
        known = np.ascontiguousarray(truth, np.int64)
        words = words.copy()
        words[_TRUTH_WORD], words[_OWN_WORD] = known.ctypes.data, words.ctypes.data
    _ask_rows(chooser.entry.address, words, out)
    return out


class CompiledPolicy(StatesNeeds):
    """Base of compiled policies: :meth:`act` asks the same compiled function. Subclasses have a ``name`` and :meth:`chooser`."""

    clairvoyant: bool = False

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return what plays on ``config``, for one thread."""
        raise NotImplementedError

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions."""
        if self.clairvoyant and truth is None:
            raise PolicyError(f"{self.name} knows true times: baselines.evaluate hands them over; act() alone cannot.")
        self.warn_if_it_lacks(view.config)
        return act_compiled(self.chooser(view.config), view, truth if self.clairvoyant else None)
