"""``Prema-v0`` keeps Gymnasium's contract and its own: spaces, seeds, masks, rewards, errors."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tools.hand_made import register_round_programs, task

from prema_gym import EnvConfig, Gemm, compile_model, register_program
from prema_gym.envs.observation import F, G, Layout
from prema_gym.envs.reward import REWARD_TERMS
from prema_gym.errors import ActionError, ConfigError, PremaError, TraceError, UsageError

CNNS = {"models": ["CNN-AN", "CNN-MN", "RNN-SA"], "batches": [1, 4], "num_tasks": 5}
SIGN = {"stp": 1, "fairness": 1, "fairness_shaped": 1, "goodput": 1}
METRIC = {"sla": "sla_violation", "fairness_shaped": "fairness"}


def make(**arguments: Any) -> gym.Env[Any, Any]:
    return gym.make("Prema-v0", **{"workload": CNNS, **arguments})


def random_episode(env: gym.Env[Any, Any], seed: int | None) -> tuple[list[float], list[dict[str, Any]]]:
    """Play uniformly random legal actions; return rewards and infos."""
    rng = np.random.default_rng(0 if seed is None else seed)
    _, info = env.reset(seed=seed)
    rewards, infos = [], [info]
    done = False
    while not done:
        action = rng.choice(np.flatnonzero(infos[-1]["action_mask"]))
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        infos.append(info)
        done = terminated or truncated
    return rewards, infos


def test_gymnasium_accepts_the_environment_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make().unwrapped)


def test_stable_baselines3_accepts_the_environment_without_a_warning() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(make().unwrapped, warn=True)


def test_the_observation_is_t_times_f_plus_g_and_every_element_is_named() -> None:
    env = make(slots=7)
    assert env.observation_space.shape == (7 * F + G,)
    names = Layout(7).names()
    assert len(names) == len(set(names)) == 7 * F + G


def test_the_same_seed_is_the_same_episode_and_the_next_one_differs() -> None:
    env, other = make(), make()
    first, again = random_episode(env, 7), random_episode(other, 7)
    assert first[0] == again[0]
    assert random_episode(env, None)[0] != first[0]
    assert random_episode(env, 7)[0] == first[0]


def test_resets_without_a_seed_play_the_successors_of_the_last_seed() -> None:
    env, other = make(), make()
    env.reset(seed=3)
    other.reset(seed=3)
    assert env.reset()[0].tolist() == other.reset()[0].tolist()
    assert env.unwrapped.tasks() == other.unwrapped.tasks()


def test_unseeded_environments_differ() -> None:
    env, other = make(), make()
    env.reset()
    other.reset()
    assert env.unwrapped.tasks() != other.unwrapped.tasks()


@pytest.mark.parametrize("reward", REWARD_TERMS)
def test_each_reward_term_sums_to_its_metric(reward: str) -> None:
    env = make(reward=reward, quantum_cycles=400_000)
    for seed in range(20):
        rewards, infos = random_episode(env, seed)
        metric = infos[-1]["metrics"][METRIC.get(reward, reward)]
        assert sum(rewards) == pytest.approx(SIGN.get(reward, -1) * metric, abs=1e-9)
        assert sum(info["reward_terms"][reward] for info in infos) == pytest.approx(sum(rewards), abs=1e-9)


def test_a_mapping_of_weights_mixes_the_terms() -> None:
    env = make(reward={"antt": 2.0, "stp": 0.5})
    _, infos = random_episode(env, 1)
    rewards, infos = random_episode(env, 1)
    for reward, info in zip(rewards, infos[1:], strict=True):
        assert reward == pytest.approx(2.0 * info["reward_terms"]["antt"] + 0.5 * info["reward_terms"]["stp"])


def test_the_elapsed_time_of_the_steps_is_the_episode() -> None:
    env = make()
    _, infos = random_episode(env, 2)
    clock = env.unwrapped.view().npu["clock_cycles"][0]
    assert sum(info["elapsed_ms"] for info in infos) == pytest.approx(env.unwrapped.config.npu.ms(clock))


def test_masks_are_never_empty_and_keep_alone_is_left_at_the_end() -> None:
    _, infos = random_episode(make(), 5)
    assert all(info["action_mask"].any() for info in infos)
    assert infos[-1]["action_mask"].tolist() == [1] + [0] * 15
    assert all(info["action_mask"].dtype == np.int8 for info in infos)


def test_the_mask_is_the_callers_to_keep() -> None:
    env = make()
    _, info = env.reset(seed=0)
    kept = info["action_mask"].copy()
    env.step(int(np.flatnonzero(kept)[0]))
    assert (info["action_mask"] == kept).all()


@pytest.mark.parametrize("mechanism", ["CHECKPOINT", "KILL", "DRAIN"])
def test_one_mechanism_leaves_one_column_and_an_idle_npu_can_always_dispatch(mechanism: str) -> None:
    env = make(mechanisms=[mechanism])
    assert env.action_space.n == 1 + env.unwrapped.config.num_slots
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=1)
    done = False
    while not done:
        legal = np.flatnonzero(info["action_mask"])
        running = env.unwrapped.view().npu["running_slot"][0] >= 0
        assert set(legal) - {0} == set(1 + np.flatnonzero(env.unwrapped.view().ready[0]))
        assert (0 in legal) == running
        _, _, terminated, truncated, info = env.step(rng.choice(legal))
        done = terminated or truncated


def test_an_illegal_action_is_replaced_and_flagged() -> None:
    env = make()
    env.reset(seed=0)
    _, _, _, _, info = env.step(0)
    assert info["illegal_action"]
    assert env.unwrapped.view().npu["running_slot"][0] >= 0


def test_strict_raises_on_an_illegal_action_and_lists_the_legal_ones() -> None:
    env = make(strict=True)
    env.reset(seed=0)
    with pytest.raises(ActionError, match=r"action = 0: illegal here. Legal: 1"):
        env.step(0)


@pytest.mark.parametrize("action", [-1, 16, 1.5, "first", None])
def test_an_action_out_of_range_names_the_range(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ActionError, match="must be a whole number from 0 to 15"):
        env.unwrapped.step(action)


def test_stepping_without_an_episode_says_what_to_do() -> None:
    env = make().unwrapped
    with pytest.raises(UsageError, match="call reset"):
        env.step(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workload": {"num_tasks": 0}}, r"WorkloadConfig.num_tasks = 0: must be a whole number from 1"),
        ({"workload": {"window": -1}}, r"WorkloadConfig.window = -1: must be a number from 0 to 10\^6"),
        ({"workload": {"windw": 1}}, r"WorkloadConfig\(windw=1\): unknown field 'windw'. Did you mean 'window'\?"),
        ({"workload": {"models": ["CNN-XX"]}}, r"unknown model 'CNN-XX'"),
        ({"workload": {"models": []}}, r"must be a non-empty list"),
        ({"npu": {"weight_prefetch": True}}, r"'weight_prefetch' is now 'weight_loading': write weight_loading='prefetched'"),
        ({"npu": {"weight_prefetch": False}}, r"'weight_prefetch' is now 'weight_loading': write weight_loading='exposed'"),
        ({"npu": {"weight_prefetch": 1}}, r"write 'prefetched' for True, 'exposed' for False"),
        ({"npu": {"weight_loading": "expossed"}}, r"NPUConfig.weight_loading: unknown mode 'expossed'. Did you mean 'exposed'\?"),
        ({"npu": {"weight_loading": ["exposed"]}}, r"NPUConfig.weight_loading: unknown mode"),
        ({"npu": "premma"}, r"unknown NPUConfig preset 'premma'. Did you mean 'prema'\?"),
        ({"npu": {"array_rows": 0}}, r"NPUConfig.array_rows = 0: must be a whole number from 1"),
        ({"npu": {"wbuf_bytes": 1000}}, r"at least two weight tiles"),
        ({"reward": "anttt"}, r"unknown reward term 'anttt'"),
        ({"reward": {"antt": "much"}}, r"EnvConfig.reward = .*: must be a reward term's name, or a mapping from names to numbers"),
        ({"mechanisms": ["STOP"]}, r"EnvConfig.mechanisms"),
        ({"slots": 0}, r"EnvConfig.slots = 0"),
        ({"decision_every": 0}, r"EnvConfig.decision_every = 0"),
        ({"quantum_cycles": 0}, r"EnvConfig.quantum_cycles = 0"),
        ({"npus": []}, r"EnvConfig.npus = \[\]: must be None, or a list of 1 to 64 NPU configurations"),
        ({"npus": 3}, r"EnvConfig.npus = 3: must be None, or a list"),
        ({"npus": ["prema", "egde"]}, r"unknown NPUConfig preset 'egde'. Did you mean 'edge'\?"),
        ({"npus": ["prema", {"clock_hz": 940_000_000}]}, r"clock_hz of \[700000000, 940000000\]: all NPUs must share one clock"),
        ({"npu": "edge", "npus": ["prema", "edge"]}, r"npu and npus are both given, and npu is not the first of npus"),
        ({"allow_idle": 1}, r"EnvConfig.allow_idle = 1: must be True or False"),
        ({"colour": "red"}, r"unknown field 'colour'"),
        ({"render_mode": "cinema"}, r"cinema"),
    ],
)
def test_a_bad_argument_is_one_clear_error(arguments: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ConfigError, PremaError), match=message):
            gym.make("Prema-v0", **arguments)


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (
            [{**task(0, "CNN-AN"), "arrival_cycles": -5}],
            r"trace\[0\]\['arrival_cycles'\] = -5: must be a whole number of at least 0",
        ),
        ([task(0, "CNN-AX")], r"trace\[0\]: unknown model 'CNN-AX'. Did you mean 'CNN-AN'\?"),
        ([{**task(0, "CNN-AN"), "batch": 0}], r"trace\[0\]\['batch'\] = 0"),
        ([{**task(0, "CNN-AN"), "priority": 65}], r"\['priority'\] = 65: must be a whole number from 1 to 64"),
        ([{**task(0, "CNN-AN"), "input_length": 5}], r"CNN-AN takes none"),
        ([{**task(0, "RNN-SA"), "input_length": 5}], r"must be from 10 to 80 for RNN-SA"),
        ([{**task(0, "CNN-AN"), "start": 5}], r"unknown key 'start'"),
        ([], r"must be a non-empty list"),
        ("CNN-AN", r"'CNN-AN': can't be read: No such file"),
        ([task(0, "CNN-AN")] * 9, r"trace has 9 tasks, the table 5 slots: make the environment with slots=9"),
    ],
)
def test_a_bad_trace_is_one_clear_error(trace: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        make().reset(options={"trace": trace})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key 'traces'"):
        make().reset(options={"traces": []})


def test_a_trace_plays_as_given_in_order_of_arrival() -> None:
    register_round_programs()
    env = make()
    trace = [task(900, "short", 9), task(0, "CNN-AN"), {**task(100, "RNN-SA"), "batch": 4, "input_length": 33}]
    env.reset(options={"trace": trace})
    played = env.unwrapped.tasks()
    assert [(t["arrival_cycles"], t["model"], t["batch"], t["input_length"]) for t in played] == [
        (0, "CNN-AN", 1, None),
        (100, "RNN-SA", 4, 33),
        (900, "short", 1, None),
    ]


def test_a_registered_program_is_told_as_predicted_not_as_it_is() -> None:
    program = compile_model([Gemm(m=4096, k=512, n=512)])
    register_program("my-gemm", program)
    env = make()
    env.reset(options={"trace": [task(0, "my-gemm")]})
    told = env.unwrapped.view().table["predicted_cycles"][0, 0]
    assert told != program.total_cycles
    assert told == pytest.approx(program.total_cycles, rel=0.15)


def test_one_task_episodes_work() -> None:
    env = make(workload={**CNNS, "num_tasks": 1})
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [0, 1, 0, 0]
    _, _, terminated, _, info = env.step(1)
    assert terminated
    assert info["metrics"]["antt"] == 1.0


def test_the_environment_works_without_an_import_in_a_fresh_interpreter() -> None:
    code = "import gymnasium as gym; env = gym.make('prema_gym:Prema-v0'); print(env.reset(seed=1)[0].shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(129,)"


def test_specs_and_environments_pickle_and_copy() -> None:
    env = make()
    assert pickle.loads(pickle.dumps(env.spec)).make().observation_space == env.observation_space
    env.reset(seed=4)
    env.step(int(np.flatnonzero(env.unwrapped.action_masks())[0]))
    twin = copy.deepcopy(env.unwrapped)
    done = False
    while not done:
        action = int(np.flatnonzero(env.unwrapped.action_masks())[0])
        ours, theirs = env.step(action), twin.step(action)
        assert ours[0].tolist() == theirs[0].tolist()
        assert ours[1] == theirs[1]
        done = bool(ours[2] or ours[3])


def test_ansi_shows_a_line_per_arrived_task() -> None:
    env = make(render_mode="ansi")
    env.reset(seed=0)
    assert "CNN" in env.render() or "RNN" in env.render()


def test_ppo_and_maskable_ppo_run() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    contrib = pytest.importorskip("sb3_contrib")
    sb3.PPO("MlpPolicy", "prema_gym:Prema-v0", device="cpu").learn(2048)
    contrib.MaskablePPO("MlpPolicy", gym.make("prema_gym:Prema-v0"), device="cpu").learn(2048)


def test_a_configuration_is_plain_json_all_the_way_down() -> None:
    config = EnvConfig.coerce({"workload": CNNS, "reward": {"antt": 1.0}})
    assert EnvConfig.coerce(json.loads(json.dumps(config.to_dict()))) == config


# --- The event log ------------------------------------------------------------------------------------------------------------


def test_an_event_log_that_dropped_something_says_so_once_an_episode(monkeypatch):
    monkeypatch.setattr("prema_gym.envs.prema_env.LOG_ENTRIES", 4)
    env = make(workload={"num_tasks": 6}, slots=6).unwrapped
    trace = {"trace": [task(0, "CNN-AN") for _ in range(6)]}
    for _ in range(2):
        env.reset(options=trace)
        with pytest.warns(UserWarning, match="event log is full: a step made more than 4 events, and the rest is missing"):
            events = env.events()
        assert [event["event"] for event in events] == ["arrival"] * 4
        assert env.events() == events  # without a second warning


def test_an_event_log_that_dropped_something_says_so_at_the_next_step_unasked(monkeypatch):
    monkeypatch.setattr("prema_gym.envs.prema_env.LOG_ENTRIES", 4)
    env = make(workload={"num_tasks": 6}, slots=6).unwrapped
    env.reset(options={"trace": [task(0, "CNN-AN") for _ in range(6)]})
    with pytest.warns(UserWarning, match="event log is full"):
        env.step(1)
