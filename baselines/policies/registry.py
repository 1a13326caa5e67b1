"""The registry of policies: built-in heuristics, and those that installed packages add (entry points ``prema_gym.policies``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from baselines.policies.batch_index import BatchIndex
from baselines.policies.chance import RandomPolicy
from baselines.policies.compiled import Compiled
from baselines.policies.dispatch import DISPATCHERS, DispatchedPolicy
from baselines.policies.heuristic import Heuristic
from baselines.policies.lookahead import DEFAULT_BASE, LOOKAHEADS, lookahead
from baselines.policies.policy import Policy
from baselines.policies.rules.gate import DEFAULTS as GATE_PARAMETERS
from baselines.policies.rules.gate import GATE
from baselines.policies.rules.registry import SELECTION_RULES
from prema_gym.checks import new_name
from prema_gym.errors import PolicyError, shown, unknown_name

ENTRY_POINTS = "prema_gym.policies"
"""Group whose entry points are functions returning a mapping from policy names to factories of no arguments."""
Factory = Callable[[], Policy]
_MOST_PARTS = 8
"""Slashes in the name of a policy that stands behind dispatchers."""

TUNED_FILE = Path(__file__).with_name("tuned.json")
"""The tuned rules: parameters, results, and the commands that found them (``agents.tune_index`` and ``tune_gate`` write it)."""

_PAPER = "Choi & Rhu, HPCA 2020"


def _paper_family() -> Iterator[Heuristic]:
    for selection in ("FCFS", "RRB", "HPF", "SJF", "TOKEN", "PREMA"):
        yield Heuristic(f"NP-{selection}", selection, "NONE")
        yield Heuristic(f"P-{selection}", selection, "CHECKPOINT")
        for mechanism in ("KILL", "DRAIN", "DYNAMIC"):
            yield Heuristic(f"P-{selection}-{mechanism}", selection, mechanism)


def _prema_variants() -> Iterator[Heuristic]:
    algorithms = f"{_PAPER}, Algorithms 2 and 3."
    yield Heuristic("PREMA", "PREMA", "DYNAMIC", source=algorithms)
    yield Heuristic("PREMA-CHECKPOINT", "PREMA", "CHECKPOINT", source=f"{_PAPER}, Algorithm 2 with the static mechanism.")
    yield Heuristic("PREMA-KILL", "PREMA", "KILL", source=f"{_PAPER}, Algorithm 2 with the static mechanism.")
    yield Heuristic("PREMA-COMMIT", "PREMA", "COMMIT", source=f"{algorithms} Reads 'drain' as a commitment.")
    yield Heuristic(
        "PREMA-WHOLE-WAIT", "PREMA", "DYNAMIC", whole_wait=True, source=f"{algorithms} Adds the whole wait to the token."
    )
    yield Heuristic("PREMA-ORACLE", "PREMA", "DYNAMIC", clairvoyant=True, source=f"{algorithms} With true times.")


def _relatives() -> Iterator[Heuristic]:
    yield Heuristic("SRPT", "SRPT", "CHECKPOINT", clairvoyant=True)
    yield Heuristic("INDEX-SIMPLE", "INDEX", "CHECKPOINT", source="Ours: the simplest index with a = d = 1, c = 1/4.")
    for selection in ("WSPT", "WSRPT", "HRRN", "WFQ", "LAS", "MLFQ"):
        yield Heuristic(selection, selection, "CHECKPOINT")
    for selection in ("EDF", "LLF", "EDF-FEASIBLE", "PLANARIA", "DYSTA", "WMRL", "GITTINS", "DEADLINE-RESIDUAL"):
        yield Heuristic(selection, selection, "CHECKPOINT")


def _batching() -> Iterator[Heuristic]:
    """Yield the rules for requests that run together: as servers play them, whole batches, and with preemption."""
    yield Heuristic("DENSITY", "DENSITY", "CHECKPOINT")
    yield Heuristic("NP-DENSITY", "DENSITY", "NONE")
    yield Heuristic("LAZY", "LAZY", "NONE")
    yield Heuristic("P-LAZY", "LAZY", "CHECKPOINT")


def rules_of(part: Mapping[str, Any]) -> list[Heuristic]:
    """Return the heuristics of a part of TUNED_FILE."""
    module = part["command"].split()[2]  # python -m MODULE
    source = f"Ours: tuned by {module}, see tuned.json."
    return [_rule_of(name, entry, source) for name, entry in part["rules"].items()]


def _rule_of(name: str, entry: Mapping[str, Any], source: str) -> Heuristic:
    if "networks" in entry:
        return BatchIndex(name, entry["mechanism"], entry["networks"], source=source, **entry["parameters"])
    return Heuristic(name, entry["selection"], entry["mechanism"], source=source, **entry["parameters"])


def _tuned() -> Iterator[Heuristic]:
    """Yield INDEX, INDEX-FRONT-00, -01, ..., GATE, TIMEOUT, BATCH-INDEX as frozen in TUNED_FILE; nothing where it is missing."""
    if not TUNED_FILE.exists():
        return
    for part in json.loads(TUNED_FILE.read_text(encoding="utf-8")).values():
        yield from rules_of(part)


class Registry(Mapping[str, Factory]):
    """Factories by policy name. Plug-ins are looked up once, on first use."""

    def __init__(self) -> None:
        self._factories: dict[str, Factory] = {}
        self._plugins_loaded = False
        self._plugins: list[str] = []

    def add(self, name: str, factory: Factory, *, replace: bool = False) -> None:
        """Register ``factory`` as ``name``; raises :class:`PolicyError` if the name is taken, unless it is to ``replace`` it."""
        new_name(f"register_policy({shown(name)}, ...)", name, error=PolicyError)
        if not callable(factory):
            raise PolicyError(
                f"policy {name!r}: {type(factory).__name__} object given: must be a function of no arguments that returns a policy "
                "(a class will do, or lambda: policy)."
            )
        if name in self._factories and not replace:
            raise PolicyError(f"policy {name!r} is registered already; choose another name, or say replace=True.")
        self._factories[name] = factory

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for entry in entry_points(group=ENTRY_POINTS):
            for name, factory in entry.load()().items():
                self.add(name, factory)
                self._plugins.append(name)

    def plugins(self) -> list[str]:
        """Return the names that installed packages added, published learned policies among them."""
        self._load_plugins()
        return list(self._plugins)

    def __getitem__(self, name: str) -> Factory:
        self._load_plugins()
        return self._factories[name]

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(self._factories)

    def __len__(self) -> int:
        self._load_plugins()
        return len(self._factories)


POLICIES = Registry()
"""Every policy by name: ``POLICIES["PREMA"]()`` makes one."""


def register_policy(name: str, factory: Factory, *, replace: bool = False) -> None:
    """Add a policy of your own: ``factory()`` returns an object with ``name``, ``clairvoyant`` and ``act(view)``.

    ``replace`` allows a name that is taken, as when a notebook's cell is run twice.
    Raises :class:`PolicyError` for a taken name and for what can't be called without arguments.
    """
    POLICIES.add(name, factory, replace=replace)


def is_built_in(name: str) -> bool:
    """Return whether ``name`` is a heuristic of this package, alone or behind a dispatcher or the gate."""
    return all(part in _BUILT_IN for part in name.split("/"))


def make_policy(name: str) -> Policy:
    """Return the policy called ``name``; raises :class:`PolicyError` naming the nearest for an unknown one.

    ``LEAST-LOADED/RULE`` and ``JSQ/RULE`` are a dispatcher in front of a policy or, by CHECKPOINT, of a selection rule;
    ``GATE/RULE`` is the gate over one, with the parameters that are frozen for GATE. ``LOOKAHEAD/POLICY`` and
    ``LOOKAHEAD-CLAIRVOYANT/POLICY`` are lookaheads over a compiled policy, without a slash over GATE.
    """
    if not isinstance(name, str):
        raise PolicyError(unknown_name("policy", name, POLICIES))
    if name in POLICIES:
        return POLICIES[name]()
    if name.count("/") > _MOST_PARTS:
        raise PolicyError(f"policy {shown(name)}: is put together from more than {_MOST_PARTS + 1} parts.")
    first, slash, rest = name.partition("/")
    if first in LOOKAHEADS:
        return lookahead(first, make_policy(rest if slash else DEFAULT_BASE), name=name)
    if not slash:
        raise PolicyError(unknown_name("policy", name, POLICIES))
    if first == GATE.name:
        return _gate_over(rest)
    if first not in DISPATCHERS:
        raise PolicyError(unknown_name("dispatcher", first, (*DISPATCHERS, GATE.name, *LOOKAHEADS)))
    behind = make_policy(rest) if "/" in rest else _policy_or_rule(rest)
    if not isinstance(behind, Compiled):
        raise PolicyError(f"{name}: {rest} is not a compiled policy, and only those can stand behind a dispatcher.")
    return DispatchedPolicy(DISPATCHERS[first], behind)


def _policy_or_rule(name: str) -> Policy:
    """Return the policy called ``name``; where there is none, the selection rule of that name, by CHECKPOINT."""
    if name in SELECTION_RULES and name not in POLICIES:
        return Heuristic(name, name, "CHECKPOINT")
    if name not in POLICIES:
        raise PolicyError(unknown_name("rule", name, {*SELECTION_RULES, *POLICIES}))
    return POLICIES[name]()


def _gate_over(base: str) -> Policy:
    """Return the gate over the heuristic or selection rule ``base``."""
    over = _policy_or_rule(base)
    if not isinstance(over, Heuristic) or over.allow_idle:
        raise PolicyError(f"{GATE.name}/{base}: the gate stands over a selection rule, and {base} is none.")
    gate = POLICIES[GATE.name]()
    assert isinstance(gate, Heuristic)
    frozen = {name: gate.parameters[name] for name in GATE_PARAMETERS}
    parameters: dict[str, Any] = {**over.parameters, **frozen}
    selection, name = f"{GATE.name}/{over.selection}", f"{GATE.name}/{base}"
    return Heuristic(name, selection, over.mechanism, clairvoyant=over.clairvoyant, **parameters)


def _returning(policy: Policy) -> Factory:
    return lambda: policy


_built_in: tuple[Policy, ...] = (*_paper_family(), *_prema_variants(), *_relatives(), *_batching(), RandomPolicy(), *_tuned())
for _policy in _built_in:
    register_policy(_policy.name, _returning(_policy))

_BUILT_IN = frozenset((*(policy.name for policy in _built_in), *SELECTION_RULES, *DISPATCHERS, *LOOKAHEADS))
