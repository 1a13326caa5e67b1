"""Rules and policies of one's own in compiled code: they play what they answer in Python, and can't break the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from baselines import evaluate, make_policy
from baselines.policies.compiled import Chooser, CompiledPolicy, policy_entry
from baselines.policies.heuristic import Heuristic
from baselines.policies.rules.registry import SELECTION_RULES, SWITCHING_RULES, register_rule
from baselines.policies.rules.rule import SelectionRule, SwitchingRule
from prema_gym._jit import jit_borrowing
from prema_gym.envs.actions import dispatch, encode
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.view import View
from prema_gym.errors import ActionError, PolicyError
from prema_gym.types import CHECKPOINT, KILL, READY

SMALL = {"workload": {"num_tasks": 3, "models": ("CNN-AN", "CNN-MN", "RNN-SA"), "window": 0.2}}
ASKED = {"decision_every": 1, "mechanisms": ("CHECKPOINT", "KILL", "DRAIN")}
"""For both ways alike, whatever the policy needs."""
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
    return dispatch(longest, seen.rules.mechanisms)


@jit_borrowing
def always_the_same(seen, params):
    return params.answer


@jit_borrowing
def never_legal(seen, params):
    if seen.npu.running_slot < 0:
        return 0  # an idle NPU can't keep
    return dispatch(seen.npu.running_slot, seen.rules.mechanisms)  # what runs waits for nobody


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
    return encode(chosen, KILL if young else CHECKPOINT, seen.rules.mechanisms)


class Own(CompiledPolicy):
    """A policy that only plays what its compiled function says."""

    def __init__(self, name, choose, answer=0, evicts=True):
        self.name = name
        self._chooser = Chooser(policy_entry(name, choose, PARAMS), np.array([(answer,)], PARAMS), evicts=evicts)

    def chooser(self, config):
        return self._chooser


class InPython:
    """The same policy, asked in Python at every decision."""

    clairvoyant = False

    def __init__(self, policy):
        self.name, self._policy = f"{policy.name} in Python", policy

    def act(self, view, truth=None):
        return self._policy.act(view)


def both_ways(policy):
    compiled, python = evaluate([policy, InPython(policy)], episodes=20, seed=1, **ASKED, **SMALL).played.values()
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


@pytest.mark.filterwarnings("ignore:illegal actions were replaced")
def test_illegal_answers_of_a_compiled_policy_are_replaced_and_counted():
    played = both_ways(Own("NEVER-LEGAL", never_legal))
    np.testing.assert_array_equal(played.episodes["illegal_actions"], played.episodes["decisions"])


@pytest.mark.parametrize("answer", [10_000, -5])
def test_an_answer_out_of_range_ends_the_evaluation(answer):
    with pytest.raises(ActionError, match=f"'OUT-OF-RANGE' answered with action {answer}: must be a whole number from 0 to 9"):
        evaluate([Own("OUT-OF-RANGE", always_the_same, answer)], 3, **SMALL, **ASKED)


@pytest.mark.filterwarnings("ignore:illegal actions were replaced")
def test_a_policy_that_never_evicts_is_asked_on_an_idle_npu_only():
    always, idle = (both_ways(Own("NEVER-LEGAL", never_legal, evicts=evicts)) for evicts in (True, False))
    np.testing.assert_array_equal(always.metrics, idle.metrics)  # while a task runs, an illegal answer is replaced by keeping
    # It is asked for the first task, and for the second where the third waits as well by then; the last is alone.
    assert set(idle.episodes["illegal_actions"].tolist()) <= {1, 2}
    assert (always.episodes["illegal_actions"] == always.episodes["decisions"]).all()


def test_a_policy_answers_for_the_view_that_it_is_shown_whatever_it_was_shown_before():
    policy, envs = make_policy("P-SJF"), [PremaEnv(), PremaEnv()]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    for _ in range(10):
        for env in envs:
            action = policy.act(env.view())
            assert action == make_policy("P-SJF").act(env.view())
            env.step(action[0])


def test_a_policy_sees_what_has_changed_in_arrays_that_are_not_contiguous():
    env = PremaEnv()
    env.reset(seed=1)
    shown = env.view()
    npu, table = (np.repeat(array, 4, axis=0)[::2] for array in (shown.npu, shown.table))
    strided = View(shown.config, npu, table, shown.mask, shown.observation, shown.npus, shown.predictions, shown.batches)
    policy = Own("LONGEST-FIRST", longest_first)
    assert (policy.act(strided) == policy.act(shown)).all()
    strided.npu["running_slot"] = 0
    assert policy.act(strided).tolist() == [0, 0]


def test_without_numba_policies_play_the_same_episodes():
    models = {"workload": {"num_tasks": 3, "models": ("CNN-AN", "CNN-MN"), "window": 0.2}}
    code = f"from baselines import evaluate; print(evaluate(['PREMA'], episodes=2, **{models}).played['PREMA'].metrics.tolist())"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(json.loads(printed), evaluate(["PREMA"], episodes=2, **models).played["PREMA"].metrics, rtol=1e-12)


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
