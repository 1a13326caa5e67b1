"""Rewards: named terms over the interval of a step, each of which sums over an episode to its metric (costs with a minus sign).

A step covers [t0, t1]. With arrival a_i, completion d_i, isolated time I_i, priority p_i, n tasks, x_i(t) = min(t, d_i) - a_i and
f_i = I_i / max(I_i, x_i), the terms are

==================  ==================================================================  ==========================
term                value of a step                                                     sums to
==================  ==================================================================  ==========================
antt                -(1/n) sum of the time in [t0, t1] that i is in the system / I_i    -antt
weighted_antt       the same with p_i / sum p in place of 1/n                           -weighted_antt
sla                 -(1/19n) sum of SLA targets passed in the step                      -sla_violation
stp                 growth of sum f_i over arrived tasks (an arrival adds 1)            stp
fairness            min PP / max PP, paid at the end                                    fairness
fairness_shaped     growth of min (f_i / p_i) / max (f_i / p_i) over arrived tasks      fairness
hp_excess           -(1/n) sum over the highest p of time beyond 2.3 I_i, over I_i      -hp_excess
deadline_misses     -(1/m) number of deadlines passed in the step                       -deadline_misses
tardiness           -(1/m) sum of the time in [t0, t1] beyond a deadline, over I_i      -tardiness
goodput             (1/n) number of tasks completed by their deadline, if they have one goodput
==================  ==================================================================  ==========================

m of the tasks have a deadline; the highest p is the highest priority of the mix and the trace. Rewards may use the truth (isolated
times); what a policy sees may not. Each term is a function in :mod:`prema_gym.envs.reward_terms` and a line of
:data:`REWARD_TERMS`; :func:`register_reward_term` adds one of your own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prema_gym._jit import Compiled, in_turn, jit_borrowing
from prema_gym._jit.cache import depend_on
from prema_gym.checks import is_number, new_name, one_of
from prema_gym.envs.reward_terms import (
    antt,
    deadline_misses,
    fairness,
    fairness_shaped,
    goodput,
    hp_excess,
    sla,
    stp,
    tardiness,
    weighted_antt,
)
from prema_gym.errors import ConfigError, UsageError, shown

REWARD_TERMS: dict[str, Compiled] = {
    "antt": antt,
    "weighted_antt": weighted_antt,
    "sla": sla,
    "stp": stp,
    "fairness": fairness,
    "fairness_shaped": fairness_shaped,
    "hp_excess": hp_excess,
    "deadline_misses": deadline_misses,
    "tardiness": tardiness,
    "goodput": goodput,
}
"""The terms by name, in the order of the columns of the terms array: each takes a :class:`Step` and returns a float64."""
FAIRNESS_TERMS = ("fairness", "fairness_shaped")
"""Terms that compare the tasks of one episode: closed episodes only."""
BUILT_IN = tuple(REWARD_TERMS)
MOST_WEIGHT = 1e9
"""Largest weight of a term: with the largest episode, rewards are finite."""
_compiled_together = False


def register_reward_term(name: str, term: Compiled) -> None:
    """Let ``reward=`` name ``term``, a function that takes a :class:`Step` and returns a float.

    It is compiled together with all other terms. So it is written in the part of Python that numba compiles, in one module file,
    and registered before the process makes its first environment or imports ``baselines`` or ``agents``. Raises
    :class:`ConfigError` for a name that is taken or a term that is no function of a file, :class:`UsageError` if it is too late.
    """
    new_name(f"register_reward_term({shown(name)}, ...)", name)
    if name in BUILT_IN:
        raise ConfigError(f"register_reward_term({name!r}, ...): must differ from the built-in terms ({', '.join(BUILT_IN)}).")
    if not inspect.isfunction(term):
        raise ConfigError(f"register_reward_term({name!r}, {shown(term)}): must be a Python function of one argument, a Step.")
    file = Path(term.__code__.co_filename)
    if not file.is_file():
        raise ConfigError(f"register_reward_term({name!r}, ...): must be defined in a module file, not in {str(file)!r}.")
    if _compiled_together:
        raise UsageError(f"register_reward_term({name!r}, ...): too late: register terms before the first environment is made.")
    depend_on(file)
    REWARD_TERMS[name] = jit_borrowing(term)


def compiled_together() -> Compiled:
    """Return one compiled function that fills ``out`` (terms,) with every term of a step; from then on none can be registered."""
    global _compiled_together
    _compiled_together = True
    return in_turn(list(REWARD_TERMS.values()))


def reward_weights(reward: str | Mapping[str, float]) -> np.ndarray:
    """Return the (terms,) float64 weights of ``reward``: a term's name or a mapping from names to weights."""
    named = {reward: 1.0} if isinstance(reward, str) else reward
    if not isinstance(named, Mapping) or not named:
        raise ConfigError(f"reward = {shown(reward)}: must be a reward term's name or a non-empty mapping from names to weights.")
    weights = np.zeros(len(REWARD_TERMS))
    for name, weight in named.items():
        one_of("reward term", name, REWARD_TERMS)
        if not is_number(weight) or not abs(weight) <= MOST_WEIGHT:
            raise ConfigError(f"reward[{name!r}] = {shown(weight)}: must be a number from -10^9 to 10^9.")
        weights[list(REWARD_TERMS).index(name)] = float(weight)
    return weights
