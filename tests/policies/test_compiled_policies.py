"""Rules and policies of one's own in compiled code: they play what they answer in Python, and can't break the machine."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import evaluate
from baselines.policies.compiled import Chooser, CompiledPolicy, policy_entry
from baselines.policies.heuristic import Heuristic
from baselines.policies.rules.registry import SELECTION_RULES, SWITCHING_RULES, register_rule
from baselines.policies.rules.rule import SelectionRule, SwitchingRule
from prema_gym._jit import jit_borrowing
from prema_gym.envs.actions import encode
from prema_gym.errors import PolicyError
from prema_gym.types import CHECKPOINT, KILL, READY

SMALL = {"workload": {"num_tasks": 3, "models": ("CNN-AN", "CNN-MN", "RNN-SA"), "window": 0.2}}
PARAMS = np.dtype([("answer", np.int64)])


@jit_borrowing
def longest_first(seen, params):
    if seen.npu.running_slot >= 0:
        return 0
    longest = -1
    for i in range(seen.table.shape[0]):
        waits = seen.table[i].state == READY
        if waits and (longest < 0 or seen.table[i].predicted_cycles > seen.table[longest].predicted_cycles):
            longest = i
    return encode(longest, CHECKPOINT)


@jit_borrowing
def always_the_same(seen, params):
    return params.answer


@jit_borrowing
def most_overdue(seen, slot, mean_wait, params):
    return mean_wait - params.weight * seen.table[slot].waited_cycles


@jit_borrowing
def mean_wait(seen, params):
    total = 0.0
    for i in range(seen.table.shape[0]):
        total += seen.table[i].waited_cycles
    return total / seen.table.shape[0]


@jit_borrowing
def kill_the_young(seen, chosen, params):
    young = seen.table[seen.npu.running_slot].executed_cycles < params.young_cycles
    return encode(chosen, KILL if young else CHECKPOINT)


class Own(CompiledPolicy):
    """A policy that only plays what its compiled function says."""

    def __init__(self, name, choose, answer=0):
        self.name, self._answer = name, answer
        self._entry = policy_entry(name, choose, PARAMS)

    def chooser(self, config):
        return Chooser(self._entry, np.array([(self._answer,)], PARAMS))


class InPython:
    """The same policy, asked in Python at every decision."""

    clairvoyant = False

    def __init__(self, policy):
        self.name, self._policy = f"{policy.name} in Python", policy

    def act(self, view, truth=None):
        return self._policy.act(view)


def both_ways(policy):
    compiled, python = evaluate([policy, InPython(policy)], episodes=20, seed=1, **SMALL).played.values()
    np.testing.assert_array_equal(compiled.episodes, python.episodes)
    np.testing.assert_array_equal(compiled.tasks, python.tasks)
    return compiled


@pytest.fixture
def own_rules(monkeypatch):
    """Take rules that a test registers out of the registry again."""
    for rules in (SELECTION_RULES, SWITCHING_RULES):
        for name in ("OVERDUE", "KILL-THE-YOUNG"):
            monkeypatch.setitem(rules, name, None)
            monkeypatch.delitem(rules, name)


def test_a_compiled_policy_plays_what_it_answers():
    assert not both_ways(Own("LONGEST-FIRST", longest_first)).episodes["illegal_actions"].any()


@pytest.mark.parametrize("answer", [10_000, -5])
def test_illegal_answers_of_a_compiled_policy_are_replaced_and_counted(answer):
    played = both_ways(Own("OUT-OF-RANGE", always_the_same, answer))
    np.testing.assert_array_equal(played.episodes["illegal_actions"], played.episodes["decisions"])


def test_rules_of_ones_own_are_put_together_like_all_others(own_rules):
    register_rule(SelectionRule("OVERDUE", "longest wait", most_overdue, mean_wait, defaults={"weight": 1.0}))
    register_rule(SwitchingRule("KILL-THE-YOUNG", "drops little progress", kill_the_young, defaults={"young_cycles": 1e5}))
    patient = Heuristic("PATIENT", "OVERDUE", "KILL-THE-YOUNG", young_cycles=0.0)
    eager = Heuristic("EAGER", "OVERDUE", "KILL-THE-YOUNG", young_cycles=1e12)
    assert patient.parameters == {"weight": 1.0, "young_cycles": 0.0}
    assert patient.rule == "Runs: longest wait. Switching: drops little progress."
    assert (both_ways(patient).metrics != both_ways(eager).metrics).any()


def test_a_rule_of_a_taken_name_is_an_error():
    with pytest.raises(PolicyError, match="rule 'SJF' is registered already"):
        register_rule(SelectionRule("SJF", "mine", most_overdue))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"selection": "SJFF"}, "unknown selection rule 'SJFF'. Did you mean 'SJF'?"),
        ({"selection": "SJF", "mechanism": "STOP"}, "unknown switching rule 'STOP'"),
        ({"selection": "INDEX", "wait_wait": 1.0}, "unknown parameter 'wait_wait'. Did you mean 'wait_weight'?"),
    ],
)
def test_a_heuristic_of_unknown_parts_is_an_error(arguments, message):
    with pytest.raises(PolicyError) as error:
        Heuristic("MINE", **arguments)
    assert message in str(error.value)
