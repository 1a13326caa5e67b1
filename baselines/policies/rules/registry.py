"""Every rule by name: a rule of the project is its file's constant and one line here."""

from __future__ import annotations

from functools import cache

from baselines.policies.rules.arrival import FCFS, RRB
from baselines.policies.rules.attained import LAS, MLFQ, WFQ
from baselines.policies.rules.batching import BATCH_INDEX, DENSITY, LAZY, TIMEOUT
from baselines.policies.rules.cap import CAP_INDEX
from baselines.policies.rules.deadline import DYSTA, EDF, EDF_FEASIBLE, LLF, PLANARIA
from baselines.policies.rules.density import WSPT, WSRPT
from baselines.policies.rules.gate import GATE, gated
from baselines.policies.rules.index import HRRN, INDEX
from baselines.policies.rules.length import SJF, SRPT
from baselines.policies.rules.priority import HPF
from baselines.policies.rules.residual import DEADLINE_RESIDUAL, GITTINS, WMRL
from baselines.policies.rules.rule import Rule, SelectionRule, SwitchingRule
from baselines.policies.rules.switching import BY_CHECKPOINT, BY_DRAIN, BY_KILL, COMMIT, DYNAMIC, NONE
from baselines.policies.rules.token import PREMA, TOKEN
from prema_gym.errors import PolicyError, unknown_name

SELECTION_RULES: dict[str, SelectionRule] = {}
"""Whom to run, by name."""
SWITCHING_RULES: dict[str, SwitchingRule] = {}
"""How the running task makes room, by name."""


def register_rule(rule: Rule) -> None:
    """Add a rule of your own, for heuristics to name; raises :class:`PolicyError` if its name is taken."""
    known: dict[str, Rule] = SELECTION_RULES if isinstance(rule, SelectionRule) else SWITCHING_RULES  # type: ignore[assignment]
    if rule.name in known:
        raise PolicyError(f"rule {rule.name!r} is registered already; choose another name.")
    known[rule.name] = rule


def selection_rule(name: str) -> SelectionRule:
    """Return the selection rule called ``name``; ``GATE/BASE`` is the gate over the rule BASE. :class:`PolicyError` for others."""
    if name not in SELECTION_RULES and name.startswith(f"{GATE.name}/"):
        return _gate_over(name.removeprefix(f"{GATE.name}/"))
    if name not in SELECTION_RULES:
        raise PolicyError(unknown_name("selection rule", name, SELECTION_RULES))
    return SELECTION_RULES[name]


@cache
def _gate_over(base: str) -> SelectionRule:
    return gated(selection_rule(base))


for _rule in (
    FCFS,
    RRB,
    HPF,
    SJF,
    TOKEN,
    PREMA,
    SRPT,
    WSPT,
    WSRPT,
    LAS,
    MLFQ,
    WFQ,
    HRRN,
    INDEX,
    CAP_INDEX,
    EDF,
    LLF,
    EDF_FEASIBLE,
    PLANARIA,
    DYSTA,
    WMRL,
    GITTINS,
    DEADLINE_RESIDUAL,
    GATE,
    DENSITY,
    TIMEOUT,
    LAZY,
    BATCH_INDEX,
    NONE,
    BY_CHECKPOINT,
    BY_KILL,
    BY_DRAIN,
    DYNAMIC,
    COMMIT,
):
    register_rule(_rule)
