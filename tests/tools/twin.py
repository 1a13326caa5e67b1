"""The kernel beside the reference: both play the same episode, and the first difference is told."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from reference import observation as reference_observation
from reference import view, worth
from reference.batching import ProgramOf
from reference.machine import Machine
from reference.parts import Program, Task

from prema_gym import NPUConfig
from prema_gym.envs.observation import Layout
from prema_gym.types import SLOT, STATUS
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import compile_program
from tools.cases import PER_WORLD, Manner, World, choose, episode, reference_program, reference_tasks, world

LOOSE = {"min_log_pp", "max_log_pp", "token", "token_whole_wait"}
"""Fields of floating point: compared to 1e-9; all others exactly."""


class DifferenceError(AssertionError):
    """The kernel and the reference disagree."""


def _close(a: float, b: float, tolerance: float) -> bool:
    return a == b or math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def compare_fields(what: str, got: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float = 0.0) -> None:
    """Raise unless ``got`` has the ``expected`` entries, to ``tolerance`` (floating point fields of the view: 1e-9)."""
    for name, value in expected.items():
        if not _close(got[name], value, max(tolerance, 1e-9 if name in LOOSE else 0.0)):
            raise DifferenceError(f"{what}.{name}: kernel {got[name]}, reference {value}")


def compare_view(env: Any, machine: Machine) -> None:
    """Compare status and context table."""
    shown = env.view()
    compare_fields("status", dict(zip(STATUS.names or (), shown.npu[0].tolist(), strict=True)), view.status(machine))
    for index, record in enumerate(shown.table[0].tolist()):
        compare_fields(f"slot {index}", dict(zip(SLOT.names or (), record, strict=True)), view.slot(machine, index))


OBSERVATION_TOLERANCE = 1e-6
"""Of float32 and of its logarithm by a polynomial."""


def compare_shown(env: Any, observation: np.ndarray, mask: np.ndarray, machine: Machine) -> None:
    """Compare observation and mask."""
    if mask.tolist() != machine.mask():
        raise DifferenceError(f"mask: kernel {mask.tolist()}, reference {machine.mask()}")
    compare_observation(Layout.of(env.config), observation, machine)


def compare_observation(layout: Layout, observation: np.ndarray, machine: Machine) -> None:
    """Compare every feature of the observation."""
    expected = reference_observation.observation(machine, deadlines="deadlines" in layout.groups)
    if list(layout) != list(expected) or len(observation) != layout.size:
        raise DifferenceError(f"features: kernel {list(layout)}, {len(observation)} numbers; reference {list(expected)}")
    for name, wanted in expected.items():
        for index, (got, value) in enumerate(zip(observation[layout[name]].tolist(), wanted, strict=True)):
            if not _close(got, value, OBSERVATION_TOLERANCE):
                raise DifferenceError(f"observation: {name}[{index}]: kernel {got}, reference {value}")


def compare_step(
    step: tuple[Any, ...], machine: Machine, start: int, *, first: bool, legal: bool, weights: Mapping[str, float]
) -> None:
    """Compare what a step from cycle ``start`` returned: flags, reward and its terms, time, metrics where the episode ended."""
    _, reward, terminated, truncated, info = step
    flags = {"terminated": machine.terminated, "truncated": machine.truncated, "illegal_action": not legal}
    compare_fields("step", {"terminated": terminated, "truncated": truncated, "illegal_action": info["illegal_action"]}, flags)
    terms = worth.reward_terms(machine, start, first=first)
    compare_fields("reward", info["reward_terms"], terms, 1e-9)
    compare_fields("step", {"reward": reward}, {"reward": sum(weights[name] * terms[name] for name in weights)}, 1e-9)
    elapsed = 1e3 * (machine.clock - start) / machine.rules.clock_hz
    compare_fields("step", {"elapsed_ms": info["elapsed_ms"]}, {"elapsed_ms": elapsed}, 1e-12)
    if ("metrics" in info) != machine.over:
        raise DifferenceError(f"metrics: {'present' if 'metrics' in info else 'missing'}")
    if machine.over:
        compare_fields("metrics", flat_metrics(info["metrics"]), worth.metrics(machine), 1e-9)


def flat_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``info["metrics"]`` with the violation at each SLA target beside the others."""
    flat = {name: value for name, value in metrics.items() if name != "sla_violation_at"}
    return flat | {f"sla_violation_at_{target}": share for target, share in metrics["sla_violation_at"].items()}


def compare_history(env: Any, machine: Machine) -> None:
    """Compare event log, completions and the account of cycles."""
    for index, (got, wanted) in enumerate(itertools.zip_longest(env.events(), machine.log)):
        if wanted is None or got != vars(wanted):
            raise DifferenceError(f"event {index}: kernel {got}, reference {wanted}")
    for got, task in zip(env.tasks(), machine.tasks, strict=True):
        completion = -1 if task.completion is None else task.completion
        compare_fields(f"task {task.index}", got, {"completion_cycles": completion, "isolated_cycles": task.isolated})
    compare_fields("account", account(env), {f"{name}_cycles": value for name, value in vars(machine.account).items()})
    decided = machine.decisions - machine.asking  # the reference counts a decision when it is asked
    compare_fields("episode", {"decisions": int(env._core.simulator.state.machine[0]["decisions"])}, {"decisions": decided})


def account(env: Any) -> dict[str, int]:
    """Return the kernel's account of cycles: useful, wasted, overhead, idle."""
    record = env._core.simulator.state.engines[0, 0]
    return {f"{name}_cycles": int(record[f"{name}_cycles"]) for name in ("useful", "wasted", "overhead", "idle")}


def network_programs(npus: Mapping[str, NPUConfig]) -> ProgramOf:
    """Return what gives the programs of networks, alone and in batches, on ``npus`` by the names of their configurations.

    A program is compiled at its size and input length, written out, and cut at the true output length.
    """

    @functools.cache
    def compiled(model: str, configuration: str, size: int, input_length: int | None) -> Program:
        return reference_program(compile_program(MODELS[model], size, npus[configuration], input_length))

    def program_of(model: str, configuration: str, size: int, input_length: int | None, output_length: int) -> Program:
        return compiled(model, configuration, size, input_length).at(output_length)

    return program_of


def network_tasks(requests: Sequence[Mapping[str, Any]], program_of: ProgramOf, configurations: Sequence[str]) -> list[Task]:
    """Return the reference's tasks of ``requests`` to networks, as an environment's ``tasks()`` lists them in order of arrival."""
    tasks = []
    for index, request in enumerate(requests):
        model, samples, length, output = (request[name] for name in ("model", "batch", "input_length", "output_length"))
        factor, programs = request["prediction_factor"], {}
        for name in configurations:
            program = program_of(model, name, samples, length, output)
            assert program is not None
            programs[name] = program.misjudged(factor)
        deadline = request["deadline_cycles"]
        task = Task(index, request["arrival_cycles"], request["priority"], programs, model=model, samples=samples, factor=factor)
        task.input_length, task.output_length, task.deadline = length, output, None if deadline < 0 else deadline
        tasks.append(task)
    return tasks


def play(env: Any, machine: Machine, shown: tuple[Any, dict[str, Any]], manner: Manner, rng: random.Random) -> int:
    """Play the episode just begun on both sides; ``shown`` is what the reset returned. Return the steps; raises at a difference."""
    weights = env.config.reward if isinstance(env.config.reward, Mapping) else {env.config.reward: 1.0}
    compare_shown(env, shown[0], shown[1]["action_mask"], machine)
    compare_view(env, machine)
    steps = 0
    while not machine.over and steps < manner.most_steps:
        steps += 1
        action = choose(rng, machine.mask(), manner, machine.rules.mechanisms)
        start, first = machine.clock, machine.decisions == 1
        legal = machine.step(action)
        step = env.step(action)
        compare_step(step, machine, start, first=first, legal=legal, weights=weights)
        compare_shown(env, step[0], step[4]["action_mask"], machine)
        compare_view(env, machine)
    compare_history(env, machine)
    return steps


def play_number(number: int, env: Any, place: World) -> int:
    """Play episode ``number`` of ``place``; return its steps. Raises at a difference."""
    drawn = episode(number, place)
    shown = env.reset(options={"trace": drawn.trace})
    machine = Machine(place.rules, reference_tasks(drawn.trace, place.library.programs))
    return play(env, machine, shown, drawn.manner, random.Random(f"actions {number}"))


@functools.lru_cache(maxsize=1)
def environment(number: int) -> tuple[Any, World]:
    """Return the environment of world ``number``, and the world."""
    place = world(number)
    return gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **place.arguments).unwrapped, place


def differences(first: int, count: int) -> tuple[list[str], int]:
    """Play ``count`` episodes from number ``first`` on; return what differed, and the steps played."""
    found, steps = [], 0
    for number in range(first, first + count):
        try:
            steps += play_number(number, *environment(number // PER_WORLD))
        except Exception as error:
            found.append(f"episode {number}: {type(error).__name__}: {error}")
    return found, steps
