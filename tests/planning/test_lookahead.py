"""LOOKAHEAD: what it decides by hand, that it knows no truth and its clairvoyant twin does, and that it plays at the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from planning.worlds import CLOSED, STREAM, WORLDS, asked, made, planner, play_on, register_programs

from baselines import evaluate, make_policy, policy_of
from baselines.evaluation.recording import record
from baselines.policies.dispatch import DispatchedPolicy
from baselines.policies.lookahead import DEFAULT_BASE, LookaheadPolicy, Search, lookahead
from baselines.policies.registry import is_built_in
from baselines.policies.rollouts import best_action
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.errors import ConfigError, PolicyError
from prema_gym.types import EMPTY, IN_COMMIT, IN_RUN_OUT

PLAIN: dict[str, Any] = {"workload": {"models": ["one", "two", "three"], "batches": [1], "num_tasks": 2, "window": 0.2}}


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    register_programs()


def task(arrival: int, model: str, priority: int = 1) -> dict[str, Any]:
    return {"arrival_cycles": arrival, "model": model, "batch": 1, "priority": priority}


# --- By hand ------------------------------------------------------------------------------------------------------------------


def test_where_the_rule_is_wrong_the_better_action_is_found():
    # First come, first served: three, then one. Weighted NTT: (1 * 1 + 9 * 400 / 100) / 10 = 3.7; the other way round
    # (9 * 1 + 1 * 400 / 300) / 10.
    env = made(PLAIN)
    env.reset(options={"trace": [task(0, "three", 1), task(0, "one", 9)]})
    action, returns = asked(env, planner(env, "NP-FCFS"))
    assert int(make_policy("NP-FCFS").act(env.view())[0]) == 1
    assert action == 2
    np.testing.assert_allclose(returns[0], -3.7)
    np.testing.assert_allclose(returns[1], -(9 + 4 / 3) / 10)


def test_where_the_rule_is_right_it_is_followed():
    env = made(PLAIN)
    env.reset(options={"trace": [task(0, "three", 1), task(0, "one", 9)]})
    action, returns = asked(env, planner(env, "WSRPT"))
    assert action == 2
    np.testing.assert_allclose(returns[0, :8], -(9 + 4 / 3) / 10)
    np.testing.assert_allclose(returns[1, :8], -3.7)
    assert np.isnan(returns[1, 8:]).all()  # no better over half of the futures


def test_what_is_to_become_large_is_chosen():
    # Both are due at 350: the task of 300 first, and one deadline is missed; the task of 100 first, and the other is, by 50.
    env = made(PLAIN)
    trace = [{**task(0, "three", 9), "deadline_cycles": 350_000}, {**task(0, "one", 1), "deadline_cycles": 350_000}]
    env.reset(options={"trace": trace})
    _, misses = asked(env, planner(env, "NP-FCFS", objective="deadline_misses"))
    _, late = asked(env, planner(env, "NP-FCFS", objective="tardiness"))
    np.testing.assert_allclose(misses[:2, :8], -0.5)
    np.testing.assert_allclose(late[0], -0.5 / 2)
    np.testing.assert_allclose(late[1], -0.5 / 3 / 2)


def test_it_waits_for_the_better_npu():
    # On edge the task takes half as long again; prema is idle too, and is asked next. The rule takes what it is asked about.
    env = made({**PLAIN, "npus": ["edge", "prema"], "allow_idle": True})
    env.reset(options={"trace": [task(0, "three"), task(10, "one")]})
    assert int(make_policy("WSRPT").act(env.view())[0]) == 1
    action, _ = asked(env, planner(env, "WSRPT"))
    assert action == 0


@pytest.mark.parametrize(
    ("gains", "best"),
    [
        # Means 1, 1.5 and 3; standard errors 1 / sqrt(3) = 0.58, 0.5 / sqrt(3) = 0.29 and sqrt(12 / 3 / 4) * ... = 1.73.
        ([[0, 2, 0, 2], [1, 2, 1, 2], [0, 6, 0, 6]], 2),
        ([[0, 2, 0, 2]], 0),
        ([[0, 6, 0, 6]], 0),
        ([[-1, -2, -1, -2]], 0),
        ([[0, 0, 0, 0]], 0),
    ],
)
def test_only_gains_beyond_two_standard_errors_count(gains, best):
    base = np.array([-10.0, -20.0, -5.0, -8.0])
    returns = np.vstack([base, *(base + np.array(gain) for gain in gains)])
    assert best_action(returns, len(returns), 4, 2.0) == best


# --- No truth -----------------------------------------------------------------------------------------------------------------


def scramble(env: PremaEnv, rng: np.random.Generator) -> None:
    """Change everything about the row that no scheduler could know; what it sees stays."""
    simulator = env._core.simulator
    state, slots = simulator.state, simulator.slots
    machine, status, table = state.machine[0], state.status[0], state.table[0]
    now, totals, records = int(status["clock_cycles"]), simulator.draws.totals, simulator.tables.programs
    machine["episode_seed"] = rng.integers(1 << 60)
    stream = env._core.config.stream
    for slot in np.flatnonzero((table["state"] != EMPTY) & table["length_estimated"]).tolist():
        at = slot if stream else int(table[slot]["task"])
        programs = [int(state.tasks[0, at]["program"])] if state.several is None else state.times[0, at]["program"].tolist()
        long = [totals[records[p]["first_total"] :][: records[p]["totals"]] for p in programs]
        own = 0 if state.several is None else max(int(table[slot]["configuration"]), 0)
        possible = np.flatnonzero(long[own] > table[slot]["executed_cycles"])
        length = int(rng.choice(possible))
        state.tasks[0, at]["output_length"] = length + 1
        state.tasks[0, at]["isolated_cycles"] = min(int(times[length]) for times in long)
        for c in range(state.times.shape[2]):
            state.times[0, at, c]["isolated_cycles"] = long[c][length]
        for n in np.flatnonzero(state.npus[0]["running_slot"] == slot).tolist():
            state.engines[0, n]["total_cycles"] = long[own][length]
            if state.engines[0, n]["phase"] in (IN_COMMIT, IN_RUN_OUT):
                state.engines[0, n]["phase_end_cycles"] += int(rng.integers(1 << 20))
    if not stream:
        first, count = int(machine["next_task"]), int(machine["tasks"])
        for i in range(first, count):
            state.tasks[0, i] = state.tasks[0, rng.integers(count)]
            state.times[0, i] = state.times[0, rng.integers(count)]
            state.tasks[0, i]["arrival_cycles"] = now + 1 + rng.integers(10_000_000)
        machine["horizon_cycles"] += int(rng.integers(1 << 30))
        machine["priority_sum"] += 5 if first < count else 0
        machine["deadlines"] += 1 if first < count and machine["deadlines"] else 0
        return
    memory, at = state.streams[0], slots
    gap = int(rng.integers(1, 10_000_000))
    memory["next_arrival_cycles"] = now + gap
    state.tasks[0, at] = state.tasks[0, rng.integers(slots)]
    state.tasks[0, at + 1]["isolated_cycles"] *= 3
    state.tasks[0, at + 1]["priority"] += 1
    state.arrivals[0]["cycles"] = now + gap
    state.arrivals[0]["bursting"] = not state.arrivals[0]["bursting"]
    state.heads[0]["cycles"] += gap
    for name in ("backlog_share", "backlog_weight", "late_share", "late_weight"):
        memory[name] *= 1.5


@pytest.mark.parametrize("world", WORLDS)
def test_the_truth_is_not_looked_at(world):
    rng, looked, differs = np.random.default_rng(0), 0, 0
    env = made(WORLDS[world])
    for seed in range(4):
        env.reset(seed=seed)
        while play_on(env, 2):
            kept = env.get_state()
            open_minded, clairvoyant = planner(env, futures=3, requests=6), planner(env, clairvoyant=True, requests=6)
            before, known = asked(env, open_minded), asked(env, clairvoyant)
            scramble(env, rng)
            after, other = asked(env, open_minded), asked(env, clairvoyant)
            assert before[0] == after[0]
            np.testing.assert_array_equal(before[1], after[1])
            looked += not np.isnan(before[1]).all()
            differs += not np.array_equal(known[1], other[1])
            env.set_state(kept)
    assert looked > 10
    assert differs > looked / 2


@pytest.mark.parametrize("world", WORLDS)
def test_looking_changes_nothing(world):
    env, other = made(WORLDS[world]), made(WORLDS[world])
    for one in (env, other):
        one.reset(seed=1)
    planning = planner(env, futures=2, actions=3, requests=2)
    going = True
    while going:
        planning.act(env.view())
        going = play_on(env, 1)
        assert play_on(other, 1) == going
        assert env.view().table.tobytes() == other.view().table.tobytes()
    assert env.get_state().memory.tobytes() == other.get_state().memory.tobytes()


# --- The true future ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["weighted_antt", "deadline_misses", "tardiness"])
@pytest.mark.parametrize("world", WORLDS)
def test_the_true_future_pays_what_the_episode_pays(world, objective):
    """What a decision pays and what the rest pays then is what was foreseen, all requests of the episode taken together."""
    env = made(WORLDS[world], reward=objective)
    planning, rule = planner(env, clairvoyant=True, futures=2, requests=1000), make_policy("WSRPT")
    added = 0
    for seed in range(3):
        env.reset(seed=seed)
        before, reward, over = np.nan, 0.0, False
        while not over:
            _, returns = asked(env, planning)
            if not np.isnan(before + returns[0, 0]):  # both decisions were looked at
                assert before == pytest.approx(reward + returns[0, 0], rel=1e-9, abs=1e-9)
                added += 1
            before = returns[0, 0]
            _, reward, terminated, truncated, _ = env.step(int(rule.act(env.view())[0]))
            over = terminated or truncated
    assert added > 1


@pytest.mark.parametrize("world", [name for name in WORLDS if name.startswith("closed")])
def test_what_an_action_pays_is_what_a_clone_is_paid_for_it(world):
    env = made(WORLDS[world])
    planning, rule, compared = planner(env, clairvoyant=True, futures=2), make_policy("WSRPT"), 0
    for seed in range(3):
        env.reset(seed=seed)
        going = True
        while going:
            _, returns = asked(env, planning)
            for action, foreseen in zip(planning.tried[0].tolist(), returns[:, 0].tolist(), strict=True):
                if np.isnan(foreseen):
                    break
                clone = env.clone()
                _, total, terminated, truncated, _ = clone.step(action)
                while not (terminated or truncated):
                    _, reward, terminated, truncated, _ = clone.step(int(rule.act(clone.view())[0]))
                    total += reward
                assert foreseen == pytest.approx(total, rel=1e-9)
                compared += 1
            going = play_on(env, 1)
    assert compared > 30


def test_with_the_true_future_no_episode_gets_worse_by_much_and_most_get_better():
    results = evaluate(["NP-FCFS", "LOOKAHEAD-CLAIRVOYANT/NP-FCFS", "LOOKAHEAD/NP-FCFS"], episodes=30, split="valid", **CLOSED)
    for name in ("LOOKAHEAD-CLAIRVOYANT/NP-FCFS", "LOOKAHEAD/NP-FCFS"):
        assert results.difference(name, "NP-FCFS", "weighted_antt").better
    assert results.mean("LOOKAHEAD-CLAIRVOYANT/NP-FCFS", "weighted_antt") < results.mean("LOOKAHEAD/NP-FCFS", "weighted_antt")


# --- At the table -------------------------------------------------------------------------------------------------------------


def test_a_seed_decides_once_and_for_all():
    env = made(STREAM)
    env.reset(seed=2)
    play_on(env, 20)
    _, one = asked(env, planner(env, seed=5))
    _, again = asked(env, planner(env, seed=5))
    _, other = asked(env, planner(env, seed=6))
    assert not np.isnan(one).all()
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_table_says_who_knows_the_future():
    results = evaluate(
        ["WSRPT", "LOOKAHEAD/WSRPT", "LOOKAHEAD-CLAIRVOYANT/WSRPT"], episodes=2, **{**STREAM, "horizon_requests": 20}
    )
    assert results.clairvoyant == ("LOOKAHEAD-CLAIRVOYANT/WSRPT",)
    again = evaluate(["LOOKAHEAD/WSRPT"], episodes=2, **{**STREAM, "horizon_requests": 20})
    np.testing.assert_array_equal(results.values["LOOKAHEAD/WSRPT"], again.values["LOOKAHEAD/WSRPT"])
    assert "†" in results.table()
    assert "is told true times, or the future" in results.table()


def test_a_recording_plans_too():
    recording = record("LOOKAHEAD/NP-FCFS", seed=3, **CLOSED)
    results = evaluate([lookahead("LOOKAHEAD", make_policy("NP-FCFS"))], episodes=1, seed=3, split="env", **CLOSED)
    assert recording.metrics is not None
    assert recording.metrics["weighted_antt"] == pytest.approx(results.mean("LOOKAHEAD/NP-FCFS", "weighted_antt"))


@pytest.mark.parametrize("base", ["LEAST-LOADED/WSRPT", "GATE/EDF", "PREMA", "RANDOM", "DEADLINE-RESIDUAL"])
def test_any_compiled_policy_can_be_the_base(base):
    policy = make_policy(f"LOOKAHEAD/{base}")
    assert isinstance(policy, LookaheadPolicy)
    assert policy.name == f"LOOKAHEAD/{base}"
    world = {**WORLDS["cluster"], "horizon_requests": 20}
    results = evaluate([policy, base], episodes=2, strict=True, **world)
    assert results.mean(policy.name, "illegal_actions") == 0


def test_names_and_what_they_stand_for():
    plain = policy_of("LOOKAHEAD")
    assert isinstance(plain, LookaheadPolicy)
    assert (plain.name, plain.base.name, plain.clairvoyant) == ("LOOKAHEAD", DEFAULT_BASE, False)
    twin = policy_of("LOOKAHEAD-CLAIRVOYANT/PREMA")
    assert isinstance(twin, LookaheadPolicy)
    assert (twin.asked_every, twin.clairvoyant, twin.mechanisms) == (1, True, ("CHECKPOINT",))
    assert is_built_in("LOOKAHEAD/GATE/EDF")
    assert isinstance(make_policy("LOOKAHEAD/JSQ/WSRPT").base, DispatchedPolicy)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: make_policy("LOOKAHEAD/SRPT"), PolicyError, "SRPT is told true times"),
        (lambda: make_policy("LOOKAHEAD/LOOKAHEAD"), PolicyError, "is not a compiled policy"),
        (lambda: make_policy("LOOKAHEAD/WSRTP"), PolicyError, "WSRPT"),
        (lambda: make_policy("LOOKAHED/WSRPT"), PolicyError, "LOOKAHEAD"),
        (lambda: Search(futures=1), PolicyError, "futures = 1"),
        (lambda: Search(errors=-1.0), PolicyError, "errors = -1.0"),
        (lambda: Search(objective="speed"), ConfigError, "speed"),
        (lambda: make_policy("LOOKAHEAD").act(made(CLOSED).view()), PolicyError, "act\\(\\) alone cannot"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(ask, error, message):
    with pytest.raises(error, match=message) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_requests_that_run_together_are_refused():
    with pytest.raises(PolicyError, match="batching = 4: plans where requests run one by one"):
        evaluate(["LOOKAHEAD"], episodes=1, **STREAM, batching=4)


def test_clients_that_wait_for_answers_are_refused():
    world = {**STREAM, "workload": {**STREAM["workload"], "arrivals": {"process": "closed", "clients": 3, "think_ms": 1.0}}}
    with pytest.raises(PolicyError, match="clients"):
        evaluate(["LOOKAHEAD"], episodes=1, **world)
