"""The kernel plays what the reference plays: every event, view, observation, mask, reward and metric."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.machine import Machine
from reference.parts import Task
from tools import twin
from tools.cases import EVEN, ONLY, PER_WORLD, RESTLESS, Manner, choose, reference_program, reference_tasks, rules_of, world
from tools.cases import episode as drawn_episode

from prema_gym import MODELS, Program, register_program
from prema_gym.workloads.programs import compile_program

BLOCK = 50
SMALL_MODELS = ("CNN-MN", "RNN-SA", "RNN-MT1")


@pytest.mark.parametrize("first", range(0, 200, BLOCK))
def test_kernel_and_reference_agree_on_the_first_200_random_episodes(first: int) -> None:
    found, steps = twin.differences(first, BLOCK)
    assert found == []
    assert steps > BLOCK


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=10**9))
def test_kernel_and_reference_agree_on_any_random_episode(number: int) -> None:
    assert twin.differences(number, 1)[0] == []


def _outcomes(number: int) -> Counter[str]:
    """Play an episode on the reference alone; count what it met."""
    place = world(number // PER_WORLD)
    drawn = drawn_episode(number, place)
    machine = Machine(place.rules, reference_tasks(drawn.trace, place.library.programs))
    rng, met = random.Random(number), Counter[str]()
    for _ in range(drawn.manner.most_steps):
        if machine.over:
            break
        met["/".join(sorted(machine.causes))] += 1
        met["legal" if machine.step(choose(rng, machine.mask(), drawn.manner, machine.rules.mechanisms)) else "illegal"] += 1
    met.update(event.event for event in machine.log)
    met["terminated"] += machine.terminated
    met["truncated"] += machine.truncated
    met["switching at the horizon"] += machine.clock > machine.horizon
    met[f"{place.slots} slots"] += 1
    return met


def test_random_episodes_meet_everything_that_can_happen() -> None:
    met: Counter[str] = sum((_outcomes(number) for number in range(1000)), Counter())
    events = {"arrival", "completion", "quantum", "dispatch", "run", "commit", "saved", "kill", "drain", "stall"}
    causes = {"arrival", "completion", "quantum", "arrival/completion", "arrival/quantum"}
    wanted = events | causes | {"illegal", "terminated", "truncated", "switching at the horizon", "1 slots", "64 slots"}
    assert {name for name in wanted if met[name] == 0} == set()


# --- Real programs --------------------------------------------------------------------------------------------------------------


def _make(**arguments: Any) -> Any:
    return gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments).unwrapped


def _true_task(index: int, task: dict[str, Any], npu: Any) -> Task:
    """Return the reference's twin of a drawn task: its program written out, cut at its true output length."""
    program = compile_program(MODELS[task["model"]], task["batch"], npu, task["input_length"])
    points = reference_program(program)
    true = {"total": int(program.totals[task["output_length"] - 1]), "predicted": task["predicted_cycles"]}
    return Task(index, task["arrival_cycles"], task["priority"], {ONLY: type(points)(**{**vars(points), **true})})


@pytest.mark.parametrize("model", SMALL_MODELS)
def test_kernel_and_reference_agree_on_drawn_episodes_of_real_networks(model: str) -> None:
    env = _make(workload={"models": [model], "batches": [1], "num_tasks": 3}, scheduler_latency_cycles=50, quantum_cycles=100_003)
    for seed in range(2):
        shown = env.reset(seed=seed)
        tasks = [_true_task(index, task, env.config.npu) for index, task in enumerate(env.tasks())]
        machine = Machine(rules_of(env.config), tasks)
        manner = Manner(keep=0.7, illegal=0.0, weights=(4, 1, 1), most_steps=150)
        twin.play(env, machine, shown, manner, random.Random(seed))


# --- Vectors --------------------------------------------------------------------------------------------------------------------


def test_rows_of_a_vector_play_what_the_reference_plays() -> None:
    place = world(3)
    drawn = [drawn_episode(3 * PER_WORLD + row, place) for row in range(6)]
    envs: Any = gymnasium.make_vec(
        "prema_gym:Prema-v0", 6, vectorization_mode="vector_entry_point", autoreset_mode="Disabled", **place.arguments
    )
    observations, info = envs.reset(options={"trace": [episode.trace for episode in drawn]})
    machines = [Machine(place.rules, reference_tasks(episode.trace, place.library.programs)) for episode in drawn]
    rng = random.Random(0)
    while not any(machine.over for machine in machines):
        for row, machine in enumerate(machines):
            twin.compare_shown(envs.unwrapped, observations[row], info["action_mask"][row], machine)
        actions = [choose(rng, machine.mask(), EVEN, machine.rules.mechanisms) for machine in machines]
        for machine, action in zip(machines, actions, strict=True):
            machine.step(action)
        observations, _, terminated, truncated, info = envs.step(actions)
        assert terminated.tolist() == [machine.terminated for machine in machines]
        assert truncated.tolist() == [machine.truncated for machine in machines]


# --- Faults that the twin has found ---------------------------------------------------------------------------------------------


def test_a_program_without_points_completes_before_it_yields() -> None:
    register_program("seamless", Program.from_points(70, []))
    register_program("divisible", Program.from_points(40, [10, 20, 30, 40]))
    env = _make(workload={"models": ["seamless", "divisible"], "num_tasks": 2})
    env.reset(options={"trace": [{"arrival_cycles": at, "model": "seamless"} for at in (0, 5)]})
    env.step(1)
    env.step(4)
    happened = [(event["cycle"], event["event"]) for event in env.events()]
    assert (70, "completion") in happened
    assert "commit" not in {name for _, name in happened}


def test_waits_are_counted_up_to_the_horizon() -> None:
    register_program("brief", Program.from_points(10, [10]))
    env = _make(workload={"models": ["brief"], "num_tasks": 2}, quantum_cycles=7, decision_every=1, mechanisms=["KILL"])
    env.reset(options={"trace": [{"arrival_cycles": 0, "model": "brief"}] * 2})
    env.step(1)
    other, truncated = 1, False
    while not truncated:
        _, _, _, truncated, _ = env.step(1 + other)
        other = 1 - other
    table, clock = env.view().table[0], env.view().npu["clock_cycles"][0]
    assert clock == 400
    waiting = int(env.view().ready[0].argmax())
    assert table["waited_cycles"].sum() == clock
    assert table["accounted_cycles"][waiting] == clock


def test_moving_at_every_decision_ends_where_the_reference_ends() -> None:
    place = world(11)
    env, _ = twin.environment(11)
    drawn = drawn_episode(11 * PER_WORLD, place)
    machine = Machine(place.rules, reference_tasks(drawn.trace, place.library.programs))
    twin.play(env, machine, env.reset(options={"trace": drawn.trace}), RESTLESS, random.Random(1))
