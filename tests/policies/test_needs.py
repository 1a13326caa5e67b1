"""What policies say of themselves: how often they need to be asked, and by which mechanisms they switch."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import POLICIES, make_policy
from baselines.evaluation.episodes import play_policy
from baselines.policies.heuristic import Heuristic
from baselines.policies.rules.registry import SELECTION_RULES
from prema_gym.config import MECHANISMS, EnvConfig

BUSY = {"num_tasks": 6, "window": 0.3}
RECURRENT = {"models": ("RNN-MT1", "RNN-MT2", "RNN-ASR"), "window": 0.2}
"""Tasks that overrun their prediction: EDF changes its mind in between for these alone."""
HEURISTICS = [name for name in POLICIES if isinstance(make_policy(name), Heuristic)]
SHOWN_BY_HAND = {"DYSTA", "GITTINS", "WMRL"}
"""Rules that change their mind in between where deadlines or distributions are other than in these episodes: see
``test_deadlines_by_hand.py`` and ``test_unknown_lengths.py`` in tests/rules."""
CHANGE_ONLY_AT_EVENTS = {"FCFS", "HPF", "SJF", "SRPT", "WSPT", "WSRPT", "GATE", "DENSITY", "TIMEOUT", "LAZY", "BATCH-INDEX"}


def played(policy, every: int | None, workload=BUSY, episodes: int = 60):
    return play_policy(policy, EnvConfig(workload=workload, decision_every=every), episodes, seed=4, split="valid")


def needs(name: str) -> tuple[int | None, tuple[str, ...]]:
    policy = make_policy(name)
    return policy.asked_every, policy.mechanisms  # type: ignore[attr-defined]


def test_every_policy_says_what_it_needs():
    assert needs("NP-FCFS") == needs("NP-PREMA") == (None, ())
    assert needs("P-SJF") == needs("SRPT") == needs("WSRPT") == needs("P-HPF-DYNAMIC") == (None, ("CHECKPOINT",))
    assert needs("P-SJF-KILL") == (None, ("KILL",))
    assert needs("P-SJF-DRAIN") == (None, ("DRAIN",))
    assert needs("PREMA") == needs("PREMA-CHECKPOINT") == needs("PREMA-ORACLE") == (1, ("CHECKPOINT",))
    assert needs("PREMA-COMMIT") == (1, ("CHECKPOINT", "DRAIN"))
    for name in ("P-RRB", "P-TOKEN", "INDEX", "CAP-INDEX", "LAS", "MLFQ", "WFQ", "HRRN", "EDF", "LLF"):
        assert needs(name) == (1, ("CHECKPOINT",))
    assert needs("RANDOM") == (1, MECHANISMS)


def test_the_gate_is_asked_at_every_quantum_if_it_weighs_slack():
    gate, weighing = (Heuristic("MINE", "GATE", "CHECKPOINT", slack_weight=weight, doomed_penalty=1.0) for weight in (0.0, 1.0))
    assert (gate.asked_every, weighing.asked_every) == (None, 1)


def test_the_rules_whose_choice_changes_only_at_arrivals_and_completions():
    assert {name for name, rule in SELECTION_RULES.items() if not rule.changes_between_events} == CHANGE_ONLY_AT_EVENTS


@pytest.mark.parametrize("name", [name for name in HEURISTICS if make_policy(name).asked_every is None])
def test_a_policy_that_needs_events_only_plays_the_same_when_it_is_asked_more_often(name):
    policy = make_policy(name)
    often, seldom = played(policy, 1), played(policy, None)
    np.testing.assert_array_equal(often.tasks, seldom.tasks)
    assert (often.episodes["decisions"] >= seldom.episodes["decisions"]).all()


@pytest.mark.parametrize("rule", sorted(set(SELECTION_RULES) - CHANGE_ONLY_AT_EVENTS - SHOWN_BY_HAND))
def test_a_rule_whose_choice_changes_in_between_plays_otherwise_when_it_is_asked_more_often(rule):
    policy = Heuristic(rule, rule, "CHECKPOINT")
    often, seldom = (played(policy, every, RECURRENT, 200) for every in (1, None))
    assert (often.tasks["ntt"] != seldom.tasks["ntt"]).any()


@pytest.mark.parametrize("name", HEURISTICS)
def test_a_policy_plays_no_other_mechanism_than_it_says(name):
    policy = make_policy(name)
    allowed = policy.mechanisms or ("CHECKPOINT",)  # one that never evicts plays any environment
    only = play_policy(policy, EnvConfig(workload=BUSY, mechanisms=allowed), 10, seed=4, split="valid")
    every = play_policy(policy, EnvConfig(workload=BUSY), 10, seed=4, split="valid")
    np.testing.assert_array_equal(only.tasks, every.tasks)
