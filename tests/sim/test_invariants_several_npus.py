"""What holds on one to four NPUs, like and unlike, whatever the actions: random episodes, checked at every decision."""

from __future__ import annotations

import functools
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
from tools.cases import BYTES_PER_CYCLE, MANNERS, choose, listed_program, looped_program

from prema_gym import NPUConfig, register_program
from prema_gym.config import MECHANISMS
from prema_gym.types import BARRED, BOUND, CHECKPOINT, ELSEWHERE, EMPTY, NONE, READY, RUNNING, SAVING

UNIT = 10
MODELS = 12
MEMORIES = (1, 3)
"""Speed of the memory, which tells the two configurations apart."""


@functools.cache
def configurations() -> tuple[NPUConfig, ...]:
    base = {"clock_hz": 1000, "dram_latency_cycles": UNIT}
    return tuple(NPUConfig(**base, dram_bytes_per_second=1000 * BYTES_PER_CYCLE * speed) for speed in MEMORIES)


@functools.cache
def models() -> list[str]:
    """Register models that take their own time on either configuration; return their names."""
    rng = random.Random("several NPUs")
    names = [f"several {index}" for index in range(MODELS)]
    for name in names:
        make = listed_program if rng.random() < 0.7 else looped_program
        register_program(name, {npu: make(rng, UNIT) for npu in configurations()})
    return names


@functools.cache
def environment(number: int) -> Any:
    """Return the environment that episodes ``number`` * 5, ... play in."""
    rng = random.Random(f"environment {number}")
    npus = rng.choices(configurations(), k=1 + number % 4)
    mechanisms = rng.choice((MECHANISMS, MECHANISMS, ("CHECKPOINT",), ("KILL",), ("DRAIN",)))
    return gymnasium.make(
        "prema_gym:Prema-v0",
        disable_env_checker=True,
        npus=npus,
        workload={"models": models(), "batches": [1], "num_tasks": 1},
        slots=8,
        allow_idle=rng.random() < 0.4,
        scheduler_latency_cycles=rng.choice((0, 0, 1, UNIT)),
        quantum_cycles=rng.choice((4, 10, 25)) * UNIT,
        decision_every=rng.choice((1, 1, 2, None)),
        mechanisms=mechanisms,
    ).unwrapped


def trace(rng: random.Random) -> list[dict[str, Any]]:
    count = rng.randint(2, 8)
    arrivals = sorted(rng.choice((0, rng.randint(0, 60) * UNIT, rng.randint(0, 600))) for _ in range(count))
    return [{"arrival_cycles": at, "model": rng.choice(models()), "priority": rng.choice((1, 3, 9))} for at in arrivals]


# --- What is checked at a decision ---------------------------------------------------------------------------------------------


def check_accounts(env: Any) -> None:
    """Every cycle of every NPU is useful, wasted, overhead or idle."""
    state = env._core.simulator.state
    names = ("useful_cycles", "wasted_cycles", "overhead_cycles", "idle_cycles")
    shares = np.array([state.engines[0][name] for name in names])
    assert (shares >= 0).all()
    assert (shares.sum(axis=0) == state.status["clock_cycles"][0]).all()
    completed = [task for task in state.tasks[0][: state.machine[0]["tasks"]] if task["completion_cycles"] >= 0]
    assert len(completed) == state.status["finished"][0]


def check_places(env: Any) -> None:
    """A task is on one NPU at most, an NPU has one task at most, and both say so."""
    view = env.view()
    asked, table, npus = int(view.npu["npu"][0]), view.table[0], view.npus[0]
    for slot, entry in enumerate(table):
        on = [n for n, npu in enumerate(npus) if slot == npu["running_slot"]]
        bound_to = [n for n, npu in enumerate(npus) if slot == npu["bound_slot"]]
        assert len(on) + len(bound_to) <= 1
        if entry["state"] in (RUNNING, ELSEWHERE):
            assert on == [entry["npu"]]
            assert (entry["state"] == RUNNING) == (on == [asked])
            assert entry["configuration"] == npus[on[0]]["configuration"]
        elif entry["state"] == BOUND:
            assert bound_to == [entry["npu"]]
            assert npus[bound_to[0]]["switching"]
        else:
            assert on == bound_to == []
        if entry["state"] == SAVING:
            assert npus[entry["npu"]]["switching"]
        if entry["executed_cycles"] > 0:
            assert entry["configuration"] != NONE
    assert not npus[asked]["switching"] or view.npu["running_slot"][0] == NONE  # but for a stall after an idle keep
    assert view.npu["running_slot"][0] == npus[asked]["running_slot"]


def check_mask(env: Any, mask: np.ndarray) -> None:
    """Tasks that wait and may run here are open, by the mechanisms that may evict; keep is where something runs."""
    view = env.view()
    busy = view.npu["running_slot"][0] >= 0
    for slot, entry in enumerate(view.table[0]):
        assert entry["state"] != READY or entry["configuration"] in (NONE, view.npu["configuration"][0])
        columns = len(env.config.mechanisms)
        for column in range(columns):
            assert mask[1 + columns * slot + column] == (entry["state"] == READY and (busy or column == 0))
    assert mask[0] == (busy or view.npu["may_keep"][0])
    first_of_one = len(view.npus[0]) == 1 and env._core.simulator.state.machine[0]["decisions"] == 0
    assert mask.sum() >= 2 or first_of_one
    assert view.npu["ready"][0] == view.ready[0].sum()
    if not env.config.allow_idle and mask[0] and not busy:
        later = view.npus[0][view.npu["npu"][0] + 1 :]
        assert ((later["running_slot"] < 0) & ~later["switching"]).any()


def check_tokens(env: Any, before: dict[int, np.void]) -> dict[int, np.void]:
    """Tokens never fall, and those of bound tasks stand still; a wait is never longer than the time since arrival."""
    view = env.view()
    now = view.npu["clock_cycles"][0]
    present = {int(entry["task"]): entry.copy() for entry in view.table[0] if entry["state"] != EMPTY}
    for task, entry in present.items():
        assert entry["waited_cycles"] + entry["executed_cycles"] <= now - entry["arrival_cycles"]
        if entry["state"] in (READY, BARRED, BOUND, SAVING):
            assert entry["accounted_cycles"] <= now
        if task in before:
            assert entry["token"] >= before[task]["token"]
            if entry["state"] == before[task]["state"] == BOUND:
                assert entry["token"] == before[task]["token"]
    return present


# --- What is checked of a log --------------------------------------------------------------------------------------------------


def audit(env: Any) -> None:
    """Follow the log: tasks run whole on one configuration since their last kill, on one NPU at a time, drains undisturbed."""
    state, latency = env._core.simulator.state, env.config.scheduler_latency_cycles
    configuration = [env.config.configurations.index(npu) for npu in env.config.all_npus]
    several = len(configuration) > 1
    holder: dict[int, int] = {}
    since: dict[int, int | None] = {}
    executed: dict[int, int] = {}
    draining: set[int] = set()
    where: dict[int, int] = {}
    cycle = 0
    for event in env.events():
        name, n, task = event["event"], event["npu"], event["task"]
        assert event["cycle"] >= cycle
        cycle = event["cycle"]
        if n in draining:
            assert name == "completion"
        if name == "dispatch":
            assert n not in holder
            assert task not in holder.values()
            assert where.setdefault(task, configuration[n]) == configuration[n]
            holder[n], since[n] = task, None
        elif name == "run" and since[n] is None:
            since[n] = cycle
        elif name == "stall" and n in holder:
            since[n] = (since[n] or 0) + latency
        elif name == "drain":
            draining.add(n)
        elif name in ("commit", "kill", "completion"):
            assert holder.pop(n) == task
            executed[task] = executed.get(task, 0) + cycle - (since[n] or 0)
            draining.discard(n)
            if name == "kill":
                executed[task] = 0
                del where[task]
            if name == "completion":
                true = state.times[0, task, configuration[n]] if several else state.tasks[0, task]
                assert executed[task] == true["isolated_cycles"]


# --- Tests ----------------------------------------------------------------------------------------------------------------------


def play(number: int) -> str:
    """Play a random episode, checking everything; return how it ended."""
    env, rng = environment(number // 5), random.Random(number)
    manner = rng.choice(MANNERS)
    _, info = env.reset(options={"trace": trace(rng)})
    tokens: dict[int, np.void] = {}
    rewards, clock, over = 0.0, 0, False
    while not over:
        check_accounts(env)
        check_places(env)
        check_mask(env, info["action_mask"])
        tokens = check_tokens(env, tokens)
        assert env.observation_space.contains(env.view().observation[0])
        action = choose(rng, info["action_mask"].tolist(), manner, env.config.mechanisms)
        _, reward, terminated, truncated, info = env.step(action)
        over, rewards = terminated or truncated, rewards + reward
        assert env.view().npu["clock_cycles"][0] >= clock
        clock = env.view().npu["clock_cycles"][0]
    check_accounts(env)
    audit(env)
    assert abs(rewards + info["metrics"]["weighted_antt"]) < 1e-9
    if terminated:
        assert all(task["completion_cycles"] >= 0 for task in env.tasks())
    else:
        assert clock >= env._core.simulator.state.machine[0]["horizon_cycles"]
        assert not env.view().npus[0]["switching"].any()
    return "terminated" if terminated else "truncated"


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_episodes_on_one_to_four_npus_keep_the_invariants(first: int) -> None:
    for number in range(first, first + 50):
        play(number)


def test_a_single_npu_in_a_list_is_the_npu_alone() -> None:
    listed = environment(0)
    alone = gymnasium.make(
        "prema_gym:Prema-v0", disable_env_checker=True, **{**listed.config.to_dict(), "npus": None, "npu": listed.config.npu}
    ).unwrapped
    assert alone.config == listed.config
    assert listed.config.npus is None


# --- Partitioned tasks ----------------------------------------------------------------------------------------------------------


def by_priority(env: Any, mine: frozenset[int]) -> int:
    """Return the action of preemptive priority scheduling among the tasks ``mine``; ties by order of arrival."""
    view = env.view()
    table, running = view.table[0], int(view.npu["running_slot"][0])
    own = [slot for slot, entry in enumerate(table) if entry["state"] == READY and int(entry["task"]) in mine]
    best = min(own, key=lambda slot: (-table[slot]["priority"], table[slot]["task"]), default=None)
    if best is None or (running >= 0 and table[best]["priority"] <= table[running]["priority"]):
        return 0
    return 1 + 3 * best + CHECKPOINT


def completions(env: Any, entries: list[dict[str, Any]], share: int) -> list[int]:
    """Play ``entries`` with task i left to NPU i % ``share``; return when each completes."""
    env.reset(options={"trace": entries})
    over = False
    while not over:
        asked = int(env.view().npu["npu"][0])
        mine = frozenset(range(asked, len(entries), share))
        _, _, terminated, truncated, info = env.step(by_priority(env, mine))
        assert not info["illegal_action"]
        over = terminated or truncated
    return [task["completion_cycles"] for task in env.tasks()]


@pytest.mark.parametrize("npus", [2, 3, 4])
def test_like_npus_with_their_tasks_dealt_out_are_as_many_machines_of_one(npus: int) -> None:
    npu = configurations()[0]
    arguments = {
        "workload": {"models": models(), "batches": [1], "num_tasks": 1},
        "slots": 8,
        "decision_every": None,
        "mechanisms": ["CHECKPOINT", "KILL", "DRAIN"],
        "disable_env_checker": True,
    }
    together = gymnasium.make("prema_gym:Prema-v0", npus=[npu] * npus, allow_idle=True, **arguments).unwrapped
    alone = gymnasium.make("prema_gym:Prema-v0", npu=npu, **arguments).unwrapped
    rng = random.Random(npus)
    for _ in range(10):
        entries = trace(rng)
        expected = [0] * len(entries)
        for n in range(min(npus, len(entries))):
            expected[n::npus] = completions(alone, entries[n::npus], 1)
        assert completions(together, entries, npus) == expected


# --- Vectors --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_rows_of_several_npus_play_as_single_environments_do(mode: str) -> None:
    arguments = {**environment(2).config.to_dict(), "workload": {"models": models(), "batches": [1], "num_tasks": 4}}
    envs: Any = gymnasium.make_vec(
        "prema_gym:Prema-v0", 3, vectorization_mode="vector_entry_point", autoreset_mode=mode, **arguments
    )
    singles = [gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments).unwrapped for _ in range(3)]
    observations, info = envs.reset(seed=4)
    shown = [env.reset(seed=4 + row) for row, env in enumerate(singles)]
    over = [False] * 3
    rng = np.random.default_rng(0)
    for _ in range(60):
        for row, (observation, single) in enumerate(shown):
            np.testing.assert_array_equal(observations[row], observation)
            np.testing.assert_array_equal(info["action_mask"][row], single["action_mask"])
            assert info["npu"][row] == single["npu"]
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in info["action_mask"]])
        observations, rewards, _, _, info = envs.step(actions)
        for row, env in enumerate(singles):
            if over[row]:
                shown[row], over[row] = env.reset(), False
                continue
            observation, reward, terminated, truncated, single = env.step(int(actions[row]))
            assert rewards[row] == reward
            over[row] = terminated or truncated
            shown[row] = observation, single
            if over[row] and mode == "SameStep":
                np.testing.assert_array_equal(info["final_obs"][row], observation)
                shown[row], over[row] = env.reset(), False
    envs.close()
