"""Dispatchers assign each task to an NPU when it arrives; behind them a rule schedules each NPU's own tasks."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from tools.hand_made import register_round_programs, task

from baselines import make_policy
from baselines.evaluation.episodes import play_policy
from baselines.policies.dispatch import DISPATCHERS, JSQ, register_dispatcher
from baselines.policies.needs import config_for
from prema_gym import Program, register_program
from prema_gym.config import EnvConfig
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import PolicyError

LIKE, UNLIKE = ["prema", "prema"], ["prema", "edge"]
BEHIND = ("LEAST-LOADED/PREMA", "LEAST-LOADED/WSRPT", "JSQ/NP-FCFS", "JSQ/P-SJF-KILL", "LEAST-LOADED/P-HPF-DRAIN", "JSQ/MLFQ")


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    register_round_programs()
    for name, cycles in (("small", 200), ("large", 900)):
        points = range(50, cycles + 1, 50)
        slow = [3 * point for point in points]
        register_program(
            name, {"prema": Program.from_points(cycles, points, 512), "edge": Program.from_points(3 * cycles, slow, 512)}
        )


def made(npus: list[str], models: tuple[str, ...], **arguments: Any) -> Any:
    workload = {"models": list(models), "batches": [1], "num_tasks": 8, "window": 0.2}
    settings = {"npus": npus, "workload": workload, "allow_idle": True, "strict": True, **arguments}
    return gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **settings).unwrapped


def play(policy_name: str, npus: list[str], trace: list[dict[str, Any]], **arguments: Any) -> tuple[list[int], list[int]]:
    """Play ``trace``; return the NPU of each task, in order of arrival, and its cycle of completion."""
    policy = make_policy(policy_name)
    env = made(npus, tuple({entry["model"] for entry in trace}), **{**policy.env_arguments, **arguments})
    env.record_events = True
    env.reset(options={"trace": trace})
    over = False
    homes: dict[int, int] = {}
    ends: dict[int, int] = {}
    while not over:
        _, _, terminated, truncated, _ = env.step(int(policy.act(env.view())[0]))
        over = terminated or truncated
    for task_of in env.tasks():
        ends[len(ends)] = task_of["completion_cycles"]
    for event in env.events():
        if event["event"] == "run":
            homes[event["task"]] = event["npu"]
    return [homes[index] for index in range(len(trace))], [ends[index] for index in range(len(trace))]


# --- By hand ------------------------------------------------------------------------------------------------------------------


THREE = [task(0, "long"), task(0, "short"), task(10, "short")]
"""At cycle 10 NPU 0 has 990 cycles left, NPU 1 has 290; one task each."""


def test_without_a_dispatcher_the_npu_that_is_free_first_takes_the_next_task() -> None:
    assert play("NP-FCFS", LIKE, THREE) == ([0, 1, 1], [1000, 300, 600])


def test_the_shortest_queue_is_joined_and_ties_go_to_the_lower_index() -> None:
    # One task each when the third arrives: NPU 0. It waits there though NPU 1 is idle from cycle 300 on.
    assert play("JSQ/NP-FCFS", LIKE, THREE) == ([0, 1, 0], [1000, 300, 1300])


def test_the_least_loaded_npu_is_the_one_with_the_least_predicted_work() -> None:
    assert play("LEAST-LOADED/NP-FCFS", LIKE, THREE) == ([0, 1, 1], [1000, 300, 600])


def test_work_counts_as_predicted_for_the_npu_that_it_is_assigned_to() -> None:
    # When the third and fourth arrive at 20, NPU 0 has 180 left, then 380; NPU 1 (three times slower) has 590.
    trace = [task(0, "small"), task(10, "small"), task(20, "small"), task(20, "small")]
    assert play("LEAST-LOADED/NP-FCFS", UNLIKE, trace) == ([0, 1, 0, 0], [200, 610, 400, 600])
    assert play("JSQ/NP-FCFS", UNLIKE, trace) == ([0, 1, 0, 1], [200, 610, 400, 1210])


def test_a_rule_behind_a_dispatcher_evicts_for_the_npus_own_tasks_only() -> None:
    # The short one (priority 9) is sent to NPU 0 and evicts the long one there at its point of 100; 110 cycles save its context.
    trace = [task(0, "long"), task(0, "long"), task(30, "short", 9)]
    homes, ends = play("JSQ/P-HPF", LIKE, trace)
    assert homes == [0, 1, 0]
    assert ends == [1000 + 110 + 300 + 110 + 7, 1000, 100 + 110 + 300]


def test_a_task_never_moves_to_another_npu() -> None:
    # NPU 1 is idle from 300 on; the evicted long task comes back to NPU 0 at 510.
    trace = [task(0, "long"), task(0, "short"), task(30, "short", 9)]
    homes, _ = play("JSQ/P-HPF", LIKE, trace)
    assert homes == [0, 1, 0]


# --- What holds ---------------------------------------------------------------------------------------------------------------


WORKLOAD = {"models": ("small", "large"), "batches": (1,), "num_tasks": 12, "window": 0.25}


def configured(policy: Any, npus: list[str], **arguments: Any) -> EnvConfig:
    given = {"npus": npus, "workload": WORKLOAD, "quantum_cycles": 100, **arguments}
    return config_for(policy, EnvConfig.coerce(given), given)


class ByAct:
    """Plays a policy through its act(), a batch of rows at once."""

    clairvoyant = False

    def __init__(self, policy: Any) -> None:
        self.name, self._policy = policy.name, policy

    def act(self, view: Any) -> np.ndarray:
        actions: np.ndarray = self._policy.act(view)
        return actions


@pytest.mark.parametrize("name", BEHIND)
@pytest.mark.parametrize("npus", [["prema"] * 3, ["prema", "edge", "edge"]])
def test_act_and_compiled_play_decide_alike(name: str, npus: list[str]) -> None:
    policy = make_policy(name)
    config = configured(policy, npus)
    compiled, acted = (play_policy(one, config, 40, seed=3, split="valid") for one in (policy, ByAct(policy)))
    np.testing.assert_array_equal(compiled.episodes, acted.episodes)
    np.testing.assert_array_equal(compiled.tasks, acted.tasks)
    assert not compiled.episodes["illegal_actions"].any()


@pytest.mark.parametrize("behind", ["NP-FCFS", "PREMA", "WSRPT", "P-RRB", "CAP-INDEX"])
def test_on_one_npu_a_dispatcher_changes_nothing(behind: str) -> None:
    plain = make_policy(behind)
    config = configured(plain, ["prema"])
    for dispatcher in DISPATCHERS:
        policy = make_policy(f"{dispatcher}/{behind}")
        with_one, without = (play_policy(one, config, 30, seed=4, split="valid") for one in (policy, plain))
        np.testing.assert_array_equal(with_one.episodes, without.episodes)
        np.testing.assert_array_equal(with_one.tasks, without.tasks)


@pytest.mark.parametrize("name", ["LEAST-LOADED/WSRPT", "JSQ/P-FCFS", "JSQ/P-HPF-DRAIN"])
def test_like_npus_behind_a_dispatcher_are_as_many_single_ones(name: str) -> None:
    """Under rules that use neither tokens nor quanta."""
    policy = make_policy(name)
    whole = made(["prema"] * 3, ("small", "large"), **policy.env_arguments)
    single = made(["prema"], ("small", "large"), **make_policy(name.partition("/")[2]).env_arguments)
    alone = make_policy(name.partition("/")[2])
    met = 0
    for seed in range(8):
        whole.reset(seed=seed)
        assigned: dict[int, int] = {}
        over = False
        while not over:
            action = int(policy.act(whole.view())[0])
            table = whole.view().table[0]
            assigned |= {int(entry["task"]): int(entry["assigned_npu"]) for entry in table if entry["task"] >= 0}
            _, _, over, _, _ = whole.step(action)
        tasks = whole.tasks()
        trace = [{key: entry[key] for key in ("arrival_cycles", "model", "batch", "priority")} for entry in tasks]
        for npu in range(3):
            own = [index for index in range(len(trace)) if assigned[index] == npu]
            if not own:
                continue
            single.reset(options={"trace": [trace[index] for index in own]})
            over = False
            while not over:
                _, _, over, _, _ = single.step(int(alone.act(single.view())[0]))
            assert [entry["completion_cycles"] for entry in single.tasks()] == [tasks[index]["completion_cycles"] for index in own]
            met += len(own) > 1
    assert met > 10


def test_one_policy_plays_two_environments_in_turn() -> None:
    policy = make_policy("JSQ/P-SJF")
    envs = [made(["prema"] * 2, ("small", "large"), **policy.env_arguments) for _ in range(2)]
    alone = [made(["prema"] * 2, ("small", "large"), **policy.env_arguments) for _ in range(2)]
    for seed, (env, other) in enumerate(zip(envs, alone, strict=True)):
        env.reset(seed=seed)
        other.reset(seed=seed)
    for _ in range(6):
        for env in envs:
            env.step(int(policy.act(env.view())[0]))
    for env, other in zip(envs, alone, strict=True):
        for _ in range(6):
            other.step(int(policy.act(other.view())[0]))
        np.testing.assert_array_equal(env.view().table, other.view().table)


def test_rows_of_a_vector_environment_have_their_own_assignments() -> None:
    policy = make_policy("LEAST-LOADED/P-SJF")
    arguments: dict[str, Any] = {"npus": ["prema", "prema"], "workload": WORKLOAD, **policy.env_arguments}
    rows = PremaVectorEnv(3, **arguments)
    rows.reset(seed=7)
    single = [gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments).unwrapped for _ in range(3)]
    for index, env in enumerate(single):
        env.reset(seed=7 + index)
    for _ in range(8):
        rows.step(policy.act(rows.view()))
        for env in single:
            env.step(int(policy.act(env.view())[0]))
    for index, env in enumerate(single):
        np.testing.assert_array_equal(rows.view().table[index], env.view().table[0])


def test_where_npus_may_not_idle_a_task_goes_to_the_npu_that_has_to_take_it_and_a_warning_says_so() -> None:
    policy = make_policy("JSQ/NP-FCFS")
    policy._warned.discard(f"{policy.name} idle")
    env = made(LIKE, ("long", "short"), allow_idle=False)
    env.reset(options={"trace": THREE})
    over = False
    with pytest.warns(UserWarning, match=r"JSQ/NP-FCFS leaves NPUs idle while tasks wait, and this environment doesn't let it"):
        policy.act(env.view())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while not over:
            _, _, over, _, _ = env.step(int(policy.act(env.view())[0]))
    assert [entry["completion_cycles"] for entry in env.tasks()] == [1000, 300, 600]


# --- Names --------------------------------------------------------------------------------------------------------------------


def test_a_dispatcher_stands_before_any_policy_or_rule_and_needs_what_that_needs() -> None:
    assert make_policy("JSQ/PREMA").env_arguments == {"decision_every": 1, "mechanisms": ("CHECKPOINT",), "allow_idle": True}
    assert make_policy("JSQ/FCFS").policy.name == "FCFS"  # type: ignore[attr-defined]  # a rule: by CHECKPOINT
    assert make_policy("LEAST-LOADED/SRPT").clairvoyant
    assert make_policy("LEAST-LOADED/WSRPT").env_arguments["decision_every"] is None  # type: ignore[attr-defined]
    assert "fewest tasks" in make_policy("JSQ/WSRPT").rule  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("LEAST-LODED/PREMA", "unknown dispatcher 'LEAST-LODED'. Did you mean 'LEAST-LOADED'?"),
        ("JSQ/WSRP", "unknown rule 'WSRP'. Did you mean 'WSRPT'?"),
        ("JSQ/GATE", "GATE chooses the NPU itself: it can't stand behind the dispatcher JSQ."),
        ("JSQ/LEAST-LOADED/PREMA", "LEAST-LOADED/PREMA chooses the NPU itself"),
    ],
)
def test_a_wrong_name_is_an_error_of_one_line(name: str, message: str) -> None:
    with pytest.raises(PolicyError) as error:
        make_policy(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dispatcher_of_a_taken_name_is_an_error() -> None:
    with pytest.raises(PolicyError, match="dispatcher 'JSQ' is registered already"):
        register_dispatcher(JSQ)
