"""What lies around the kernel: seeds, drawn predictions, injected traces, copies."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest

from prema_gym import Program, register_program
from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, TraceError
from prema_gym.hardware.program import compile_model
from prema_gym.sim.programs import context_cycles, next_commit
from prema_gym.sim.simulator import Simulator
from prema_gym.types import RULES
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.trace import TraceTask


def _make(**workload: Any) -> Any:
    for name, cycles in (("long", 900), ("short", 70)):
        register_program(name, Program.from_points(cycles, range(10, cycles + 1, 10), 512))
    workload = {"models": ["long", "short"], "num_tasks": 4, **workload}
    return gymnasium.make("prema_gym:Prema-v0", workload=workload, quantum_cycles=40, disable_env_checker=True).unwrapped


def _episode(env: Any, seed: int | None = None) -> list[tuple[int, str, int]]:
    """Return (arrival, model, priority) of the tasks that a reset draws."""
    env.reset(seed=seed)
    return [(task["arrival_cycles"], task["model"], task["priority"]) for task in env.tasks()]


def test_a_seed_starts_its_own_sequence_of_episodes() -> None:
    env = _make()
    first, second = _episode(env, 5), _episode(env)
    assert first != second
    assert [_episode(env, 5), _episode(env)] == [first, second]
    assert _episode(env, 6) != first


def test_seeds_count_modulo_two_to_the_64() -> None:
    simulator = Simulator(_make().config)
    simulator.seed(0, (1 << 64) + 7)
    assert simulator.state.machine[0]["seed"] == 7


def test_an_error_of_the_predictor_scatters_predictions_but_not_lengths() -> None:
    env = _make(models=["long"], predictor_error=0.5)
    env.reset(seed=1)
    assert {task["isolated_cycles"] for task in env.tasks()} == {900}
    assert len({task["predicted_cycles"] for task in env.tasks()}) == 4


def test_a_trace_keeps_the_output_lengths_that_it_gives() -> None:
    env = gymnasium.make(
        "prema_gym:Prema-v0", workload={"models": ["RNN-MT1"], "batches": [1], "num_tasks": 2}, disable_env_checker=True
    ).unwrapped
    task = {"model": "RNN-MT1", "batch": 1, "input_length": 12}
    env.reset(options={"trace": [{"arrival_cycles": 0, "output_length": length} | task for length in (7, 19)]})
    assert [task["output_length"] for task in env.tasks()] == [7, 19]
    assert env.tasks()[0]["isolated_cycles"] < env.tasks()[1]["isolated_cycles"]
    assert env.tasks()[0]["predicted_cycles"] == env.tasks()[1]["predicted_cycles"]


def test_a_copy_plays_on_as_the_original_does() -> None:
    env = _make()
    env.reset(seed=3)
    env.step(env.action_masks().argmax())
    copy = pickle.loads(pickle.dumps(env))
    over = False
    while not over:
        action = env.action_masks().argmax()
        (expected, reward, over, _, _), (got, copied_reward, *_) = env.step(action), copy.step(action)
        np.testing.assert_array_equal(got, expected)
        assert copied_reward == reward
    assert copy.tasks() == env.tasks()


def test_a_wider_window_spreads_arrivals() -> None:
    def last_arrival(window: float) -> int:
        return max(arrival for arrival, _, _ in _episode(_make(window=window), 5))

    assert 0 < last_arrival(0.25) < last_arrival(2.0)


def test_a_simulator_knows_its_size_and_starts_with_the_first_episode_of_a_seed() -> None:
    config = _make().config
    simulator = Simulator(config, rows=3)
    simulator.state.machine["episode"] = 9
    simulator.seed(1, 7)
    assert simulator.state.machine["episode"].tolist() == [9, 0, 9]
    assert (simulator.rows, simulator.slots, simulator.config) == (3, 4, config)
    assert len(Simulator(config).state.machine) == 1
    assert Simulator(config).state.log.shape == (1, 0)


def test_a_model_may_be_another_program_on_each_configuration() -> None:
    programs = {"prema": Program.from_points(70, [10]), "edge": Program.from_points(90, [10])}
    register_program("either", programs)
    workload = {"models": ["either"], "num_tasks": 2}
    for npu, cycles in (("prema", 70), ("edge", 90)):
        env = gymnasium.make("prema_gym:Prema-v0", npu=npu, workload=workload, disable_env_checker=True).unwrapped
        env.reset(seed=1)
        assert {task["isolated_cycles"] for task in env.tasks()} == {cycles}
    with pytest.raises(ConfigError, match="'either' is registered for 2 NPU configurations, and NPUConfig"):
        gymnasium.make("prema_gym:Prema-v0", npu="tpu_v1", workload=workload, disable_env_checker=True)
    with pytest.raises(ConfigError, match="or a mapping from NPU configurations to programs"):
        register_program("nothing", {})


def test_programs_of_several_configurations_lie_in_one_table() -> None:
    for name, cycles in (("one", 70), ("other", 50)):
        register_program(
            name, {"prema": Program.from_points(cycles, [10, 20]), "edge": Program.from_points(3 * cycles, [7, 9, 30])}
        )
    config = EnvConfig.coerce({"npus": ["prema", "edge", "prema"], "workload": {"models": ["one"], "num_tasks": 2}})
    simulator = Simulator(config)
    entry = TraceTask(arrival_cycles=0, model="one", batch=1, priority=1, input_length=None, output_length=None)
    simulator.load_trace(0, [entry, dataclasses.replace(entry, model="other")])  # "other" comes into the table now
    assert simulator.state.npus["configuration"].tolist() == [[0, 1, 0]]
    assert simulator.state.times["isolated_cycles"].tolist() == [[[70, 210], [50, 150]]]
    assert simulator.state.tasks["isolated_cycles"].tolist() == [[70, 50]]
    for program, commits in zip(simulator.state.times["program"].ravel().tolist(), [(10, 20), (7, 9, 30)] * 2, strict=True):
        assert next_commit(simulator.tables, program, 1)[0] == commits[0]
        assert next_commit(simulator.tables, program, commits[-1])[0] == commits[-1]


def test_a_drawn_task_is_the_same_request_on_every_configuration() -> None:
    register_program("slower there", {"prema": Program.from_points(70, [10]), "edge": Program.from_points(90, [10])})
    workload = {"models": ["slower there"], "num_tasks": 3, "predictor_error": 0.5}
    env = gymnasium.make("prema_gym:Prema-v0", npus=["prema", "edge"], workload=workload, disable_env_checker=True).unwrapped
    env.reset(seed=1)
    times = env._core.simulator.state.times[0]
    assert times["isolated_cycles"].tolist() == [[70, 90]] * 3
    factors = times["predicted_cycles"] / times["isolated_cycles"]
    assert np.abs(factors[:, 0] - factors[:, 1]).max() < 0.02  # one error for both; whole cycles
    assert len(set(factors[:, 0])) == 3


def test_true_totals_are_those_of_the_present_tasks() -> None:
    env = _make()
    env.reset(
        options={"trace": [{"arrival_cycles": cycle, "model": model} for cycle, model in ((0, "long"), (0, "short"), (9, "long"))]}
    )
    assert env._core.simulator.true_totals().tolist() == [[900, 70, 0, 0]]


def test_a_trace_of_more_tasks_than_slots_is_refused() -> None:
    simulator = Simulator(_make().config)
    task = TraceTask(arrival_cycles=0, model="long", batch=1, priority=1, input_length=None, output_length=None)
    with pytest.raises(TraceError, match="trace has 5 tasks, the table 4 slots"):
        simulator.load_trace(0, [task] * 5)


@pytest.mark.parametrize("model", ["CNN-GN", "CNN-MN"])
def test_the_next_commit_is_found_in_any_of_many_segments(model: str) -> None:
    config = EnvConfig.coerce({"workload": {"models": [model], "batches": [4], "num_tasks": 1}})
    tables, program = Simulator(config).tables, compile_model(MODELS[model], batch=4)
    commits = program.commit_cycles
    first, count = tables.programs[0]["first_segment"], tables.programs[0]["segments"]
    assert count >= 4
    starts = tables.segments["start_cycles"][first : first + count]
    drawn = np.random.default_rng(0).integers(1, program.total_cycles, 300)
    for position in np.concatenate([drawn, starts + 1, starts[1:], commits[::50], commits[:-1:50] + 1]).tolist():
        at = int(np.searchsorted(commits, position))
        expected = commits[at], program.save_bytes[at], program.restore_bytes[at], program.refill_cycles[at]
        assert next_commit(tables, 0, position) == expected, position


def test_context_times_round_up_by_any_remainder() -> None:
    rules = np.zeros(1, RULES).view(np.recarray)
    rules["clock_hz"], rules["dram_bytes_per_second"], rules["dram_latency_cycles"] = 1, 3, 100
    assert [context_cycles(rules[0], nbytes) for nbytes in (0, 1, 2, 3, 4)] == [0, 101, 101, 101, 102]


def test_the_log_of_an_episode_holds_nothing_of_the_one_before() -> None:
    env = _make()
    env.reset(seed=1)
    over = False
    while not over:
        *_, over, _, _ = env.step(env.action_masks().argmax())
    env.reset(seed=2)  # the first episode's log has not been asked for
    assert env.events() == _fresh_events(2)


def _fresh_events(seed: int) -> list[dict[str, Any]]:
    env = _make()
    env.reset(seed=seed)
    return env.events()


def test_an_episode_depends_on_nothing_that_the_one_before_left() -> None:
    env, fresh = _make(), _make()
    env.reset(seed=1)
    state = env._core.simulator.state
    for record in (state.machine, state.engines, state.status, state.npus, state.table, state.reward):
        for name in set(record.dtype.names) - ({"configuration"} if record is state.npus else set()):
            record[name] = 3
    (first, _), (fresh_first, _) = env.reset(seed=2), fresh.reset(seed=2)
    np.testing.assert_array_equal(first, fresh_first)
    for name in ("machine", "engines", "status", "npus", "table", "reward"):
        np.testing.assert_array_equal(getattr(state, name), getattr(fresh._core.simulator.state, name), err_msg=name)
    over = False
    while not over:
        action = env.action_masks().argmax()
        (got, reward, over, _, info), (expected, fresh_reward, _, _, fresh_info) = env.step(action), fresh.step(action)
        np.testing.assert_array_equal(got, expected)
        assert (reward, info.get("metrics")) == (fresh_reward, fresh_info.get("metrics"))
    assert env.events() == fresh.events()
    assert env.tasks() == fresh.tasks()
