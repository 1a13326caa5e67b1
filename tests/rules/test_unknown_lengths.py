"""Rules for lengths that are unknown: what is public of them, and what the rules make of it."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from baselines import make_policy
from baselines.policies import heuristic
from baselines.policies.heuristic import Heuristic
from prema_gym import Program, register_program
from prema_gym.types import EMPTY
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.residual import STEP, STEPS, Residuals, output_chances, steps_of

CHANCES, TOTALS = np.array([0.5, 0.5]), np.array([20, 180])
"""A guess of 100 cycles: it ends after 20 or after 180, and nobody knows which. A known task takes 80."""


def residuals(table) -> Residuals:
    """Return what is known of the programs."""
    steps = np.zeros(2, STEP)
    steps[:] = steps_of(CHANCES, TOTALS, 1)
    steps["ratio"], steps["mean_ratio"] = steps["ratio"] / 5, steps["mean_ratio"] / 5  # of 100 cycles, where TOTALS[0] are 20
    programs = np.zeros(len(table.keys), STEPS)
    programs[[key.model == "guess" for key in table.keys]] = 0, 2
    return Residuals(programs, steps)


@pytest.fixture(autouse=True)
def public(monkeypatch):
    """Let heuristics know the distribution above."""
    known: dict[int, Residuals] = {}
    monkeypatch.setattr(heuristic, "residuals_of", lambda table: known.setdefault(id(table), residuals(table)))


def play(policy, true_cycles=180, known_cycles=80, due=(None, None), quantum=10):
    """Play a guess (named G) and a known task (K) that arrive at 0; return the decisions that chose a task, as (cycle, name)."""
    points = {"guess": np.arange(10, true_cycles + 1, 10), "known": np.arange(10, known_cycles + 1, 10)}
    for name, cycles in points.items():
        program = Program.from_points(int(cycles[-1]), cycles, predicted_cycles=100 if name == "guess" else known_cycles)
        register_program(name, dataclasses.replace(program, length_estimated=name == "guess"))
    trace = [{"arrival_cycles": 0, "model": name} for name in points]
    for task, deadline in zip(trace, due, strict=True):
        task |= {} if deadline is None else {"deadline_cycles": deadline}
    env = gym.make(
        "Prema-v0", quantum_cycles=quantum, decision_every=1, strict=True, disable_env_checker=True,
        workload={"models": list(points), "batches": [1]},
    ).unwrapped  # fmt: skip
    env.reset(options={"trace": trace})
    decisions, ended = [], False
    while not ended:
        view = env.view()
        action = int(policy.act(view)[0])
        if action > 0:
            slot = view.table[0][(action - 1) // len(view.config.mechanisms)]
            assert slot["state"] != EMPTY
            decisions.append((int(view.npu[0]["clock_cycles"]), "GK"[slot["task"]]))
        *_, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
    return decisions


# --- By hand ------------------------------------------------------------------------------------------------------------------


def test_mean_residual_times_send_the_known_task_first():
    # 1 / (predicted * mean residual): G 1 / (100 * 100), K 1 / (80 * 80).
    assert play(make_policy("WMRL")) == [(0, "K")]
    # K is 110 long: 1 / 110^2. At 20 the guess has not ended, so it takes 180: 1 / (100 * 160).
    assert play(make_policy("WMRL"), known_cycles=110) == [(0, "G"), (20, "K")]


def test_the_gittins_index_tries_the_guess_for_as_long_as_it_may_be_short():
    # Cycles per completion: G min(20 / 0.5, 100 / 1) = 40, K 80. With the weights 1 / (100 * 40) > 1 / (80 * 80).
    # At 20 it hasn't ended, so it takes 180: 1 / (100 * 160) < 1 / (80 * 80).
    assert play(make_policy("GITTINS")) == [(0, "G"), (20, "K")]
    assert play(Heuristic("PLAIN", "GITTINS", "CHECKPOINT", weighted=False)) == [(0, "G"), (20, "K")]
    assert play(make_policy("GITTINS"), true_cycles=20) == [(0, "G")]


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        ((50, 70), [(0, "G"), (20, "K")]),  # G 0.5 / 100, K has no chance. At 20 neither has: K is left 80, G 160
        ((50, 90), [(0, "K")]),  # K 1 / 80
        ((180, 70), [(0, "G")]),  # G 1 / 100 at first, later 1 / (180 - executed)
    ],
)
def test_the_chance_to_be_in_time_per_mean_residual_cycle(due, expected):
    assert play(make_policy("DEADLINE-RESIDUAL"), due=due) == expected


# --- What is known ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["WMRL", "GITTINS", "DEADLINE-RESIDUAL"])
def test_what_has_not_happened_yet_is_not_known(name):
    policy = make_policy(name)
    short, long = (play(policy, true_cycles=cycles, due=(50, 70)) for cycles in (20, 180))
    assert [move for move in short if move[0] < 20] == [move for move in long if move[0] < 20]


def test_the_chances_of_output_lengths_are_those_of_the_draw():
    spec = LengthSpec(min=5, max=50, median=20, sigma=0.5, ratio=0.8, output_sigma=0.4, max_output=30)
    drawn = spec.output_lengths(np.full(200_000, 20), np.random.default_rng(1).standard_normal(200_000))
    chances = output_chances(spec, 20)
    assert chances.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(np.bincount(drawn, minlength=31)[1:] / len(drawn), chances, atol=0.004)


def test_steps_tell_how_long_what_has_not_ended_takes_on_average():
    steps = steps_of(np.array([0.25, 0.0, 0.25, 0.5]), np.array([10, 20, 40, 80]), 3)
    assert steps["ratio"].tolist() == [0.25, 1.0, 2.0]
    assert steps["chance"].tolist() == [0.25, 0.25, 0.5]
    assert steps["at_least"].tolist() == pytest.approx([1.0, 0.75, 0.5])
    assert steps["mean_ratio"].tolist() == pytest.approx([0.0625 + 0.25 + 1.0, 1.25 / 0.75, 2.0])
