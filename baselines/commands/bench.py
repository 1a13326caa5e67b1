"""How fast it is: ``python -m baselines.bench``. Decisions per second beside CartPole-v1's in the same run, as medians.

Only :meth:`step` is timed; choosing the actions is not. These machines are shared, so compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import prema_gym
from baselines.evaluation.episodes import play_policy
from baselines.policies.needs import config_for, env_arguments
from baselines.policies.registry import make_policy
from prema_gym._jit import jit_borrowing
from prema_gym.config import EnvConfig
from prema_gym.envs.core import Core
from prema_gym.exits import Parser, guarded
from prema_gym.files import write_text

SCHEMA = 1
SIZES = (1, 64, 1024, 16384)
SLOTS = (8, 16, 32, 64)
CHECKPOINT_ONLY: dict[str, Any] = {"mechanisms": ["CHECKPOINT"]}
_FIRST_STEP = """
import time; start = time.perf_counter()
import gymnasium as gym, prema_gym; imported = time.perf_counter()
env = gym.make("Prema-v0"); env.reset(seed=0); env.step(1)
print(imported - start, time.perf_counter() - imported)
"""

EPILOG = """\
examples:
  python -m baselines.bench                     everything, in some minutes
  python -m baselines.bench --quick             to see that it works
  python -m baselines.bench --quick --json | jq .single_over_cartpole"""

Chooser = Callable[[Any, dict[str, Any]], np.ndarray]


@jit_borrowing
def _fill_random(mask, words, out):
    """Fill ``out`` (n,) with a uniformly random legal action per row; ``words`` (1,) uint64 is the generator's state."""
    for i in range(out.shape[0]):
        count = 0
        for k in range(mask.shape[1]):
            count += mask[i, k]
        words[0] = words[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        wanted = int((words[0] >> np.uint64(33)) % np.uint64(count))
        for k in range(mask.shape[1]):
            if mask[i, k]:
                if wanted == 0:
                    out[i] = k
                    break
                wanted -= 1


def random_chooser(rows: int) -> Chooser:
    """Return a masked uniformly random policy for ``rows`` rows."""
    out, words = np.zeros(rows, np.int64), np.array([12345], np.uint64)

    def choose(env: Any, info: dict[str, Any]) -> np.ndarray:
        _fill_random(info["action_mask"].reshape(rows, -1), words, out)
        return out

    return choose


def policy_chooser(name: str) -> Chooser:
    """Return the policy ``name`` as a chooser."""
    policy = make_policy(name)
    return lambda env, info: policy.act(env.unwrapped.view())


def step_rate(env: Any, choose: Chooser, steps: int, rows: int) -> float:
    """Return decisions per second of ``steps`` steps of ``env``, of ``rows`` rows (1: a single environment)."""
    _, info = env.reset(seed=0)
    single = not hasattr(env, "num_envs")
    spent = 0.0
    for _ in range(steps):
        actions = choose(env, info)
        action = actions[0] if single else actions
        start = time.perf_counter()
        _, _, terminated, truncated, info = env.step(action)
        spent += time.perf_counter() - start
        if single and (terminated or truncated):
            _, info = env.reset()
    return steps * rows / spent


def _steps(rows: int, quick: bool) -> int:
    decisions = 20_000 if quick else 200_000
    return max(decisions // rows // (8 if rows == 1 else 1), 20)


def prema_rate(rows: int | None, choose: Chooser, quick: bool, **arguments: Any) -> float:
    """Return decisions per second of ``Prema-v0`` with ``rows`` rows, or of the single environment for None."""
    count = rows or 1
    if rows is None:
        env: Any = gym.make("Prema-v0", **arguments)
    else:
        env = gym.make_vec("Prema-v0", rows, "vector_entry_point", **arguments)
    step_rate(env, choose, 5, count)
    rate = step_rate(env, choose, _steps(count, quick), count)
    env.close()
    return rate


def cartpole_rate(rows: int | None, quick: bool) -> float:
    """Return steps per second of CartPole-v1: its vector entry point with ``rows`` rows, or the single one for None."""
    env: Any = gym.make("CartPole-v1") if rows is None else gym.make_vec("CartPole-v1", rows, "vector_entry_point")
    actions = [np.atleast_1d(env.action_space.sample()) for _ in range(64)]
    turn = iter(range(1 << 60))
    return step_rate(env, lambda env, info: actions[next(turn) % 64], _steps(rows or 1, quick) * 2, rows or 1)


def median(measure: Callable[[], float], repeats: int) -> float:
    """Return the median of ``repeats`` measurements."""
    return statistics.median(measure() for _ in range(repeats))


def paired(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> dict[str, float]:
    """Measure in turn, ours then theirs, and return the medians of both and of the ratio ours / theirs."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return {
        "ours": statistics.median(a for a, _ in pairs),
        "theirs": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def evaluation_rate(threads: int, episodes: int) -> tuple[float, float]:
    """Return (milliseconds per episode, simulated cycles per second) of compiled evaluation under PREMA, trace to metrics."""
    policy = make_policy("PREMA")
    config = config_for(policy, EnvConfig(), {})
    play_policy(policy, config, 64, 0, split="valid", threads=threads)
    start = time.perf_counter()
    played = play_policy(policy, config, episodes, 0, split="valid", threads=threads)
    spent = time.perf_counter() - start
    cycles = float((played.tasks["isolated_cycles"].sum(axis=1)).sum())
    return 1e3 * spent / episodes, cycles / spent


def memory_per_row() -> int:
    """Return the bytes that one more row of 8 slots takes: state, observation, mask and outcome."""
    core = Core({}, 16)
    arrays = [*core.simulator.state.arrays, core.observations, core.masks, core.outcomes]
    return sum(array.nbytes for array in arrays) // 16


def start_seconds(cache: str | None) -> dict[str, float]:
    """Return seconds to import and from there to the first step, in a fresh interpreter with the cache directory ``cache``."""
    environment = {**os.environ, **({"PREMA_GYM_CACHE": cache} if cache else {})}
    done = subprocess.run([sys.executable, "-c", _FIRST_STEP], env=environment, capture_output=True, text=True, check=True)
    imported, stepped = map(float, done.stdout.split())
    return {"import": imported, "first_step": stepped}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What to measure with: how many steps and repeats."""

    quick: bool
    repeats: int

    def beside_cartpole(self, rows: int | None, policy: str | None, **arguments: Any) -> dict[str, float]:
        """Measure ``Prema-v0`` and CartPole-v1 in turn under ``policy`` (None: masked random)."""
        choose = random_chooser(rows or 1) if policy is None else policy_chooser(policy)
        if policy is not None:
            arguments = {**env_arguments(make_policy(policy)), **arguments}
        return paired(
            lambda: prema_rate(rows, choose, self.quick, **arguments), lambda: cartpole_rate(rows, self.quick), self.repeats
        )

    def rate(self, rows: int, policy: str | None = None, **arguments: Any) -> float:
        """Return the median decisions per second of ``rows`` rows."""
        choose = random_chooser(rows) if policy is None else policy_chooser(policy)
        if policy is not None:
            arguments = {**env_arguments(make_policy(policy)), **arguments}
        return median(lambda: prema_rate(rows, choose, self.quick, **arguments), self.repeats)

    def rates(self, **arguments: Any) -> dict[str, float]:
        """Return the rates of every size, as JSON keys them."""
        return {str(rows): self.rate(rows, **arguments) for rows in (SIZES[:3] if self.quick else SIZES)}

    def evaluation(self, threads: int) -> dict[str, float]:
        """Return the medians of compiled evaluation in turn on one thread and on ``threads``."""
        episodes = 1024 if self.quick else 8192
        pairs = [(evaluation_rate(1, episodes), evaluation_rate(threads, episodes)) for _ in range(self.repeats)]
        return {
            "evaluation_ms_per_episode": statistics.median(one for (one, _), _ in pairs),
            "evaluation_ms_per_episode_all_threads": statistics.median(every for _, (every, _) in pairs),
            "evaluation_speedup": statistics.median(one / every for (one, _), (every, _) in pairs),
            "simulated_cycles_per_second": statistics.median(cycles for (_, cycles), _ in pairs),
        }


def measure(quick: bool, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run every measurement and return the results as plain types."""
    bench = Bench(quick, 1 if quick else 5)
    threads = os.cpu_count() or 1
    say("single environment and CartPole-v1, in turn")
    single = bench.beside_cartpole(None, None, **CHECKPOINT_ONLY)
    single_prema = bench.beside_cartpole(None, "PREMA")
    say("vector environment of 1 024 rows and CartPole-v1's, in turn")
    vector = bench.beside_cartpole(1024, None, **CHECKPOINT_ONLY)
    vector_prema = bench.beside_cartpole(1024, "PREMA")
    say("vector environments of other sizes")
    rates = {
        "vector": bench.rates(**CHECKPOINT_ONLY),
        "vector_all_mechanisms": bench.rates(),
        "vector_prema": bench.rates(policy="PREMA"),
        "vector_all_threads": bench.rates(threads=threads, **CHECKPOINT_ONLY),
        "vector_1024_by_slots": {str(slots): bench.rate(1024, slots=slots, **CHECKPOINT_ONLY) for slots in SLOTS},
    }
    say("compiled evaluation under PREMA, on one thread and on all")
    evaluation = bench.evaluation(threads)
    say("imports and first steps")
    with tempfile.TemporaryDirectory() as cold:
        seconds = {"cold": start_seconds(cold), "warm": start_seconds(cold)}
    return {
        "schema": SCHEMA,
        "version": prema_gym.__version__,
        "threads": threads,
        "cartpole_single": single["theirs"],
        "cartpole_vector_1024": vector["theirs"],
        "single": single["ours"],
        "single_prema": single_prema["ours"],
        "single_over_cartpole": single["ratio"],
        "single_prema_over_cartpole": single_prema["ratio"],
        "vector_1024_over_cartpole": vector["ratio"],
        "vector_1024_prema_over_cartpole": vector_prema["ratio"],
        **rates,
        **evaluation,
        "bytes_per_row": memory_per_row(),
        "seconds": seconds,
    }


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        "python -m baselines.bench",
        description="Measure decisions per second beside CartPole-v1's in the same run, as medians. Prints and writes JSON.",
        epilog=EPILOG,
    )
    parser.add_argument("--quick", action="store_true", help="few steps and one repeat: to see that it works, not to quote")
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="folder of bench.json (default results)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON alone, and write no file")
    parser.add_argument("--quiet", action="store_true", help="say nothing of what is being measured")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write ``results/bench.json``; return the exit code."""
    chosen = build_parser().parse_args(arguments)
    return guarded(lambda: run(chosen))


def run(chosen: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if not chosen.json:
        chosen.output.mkdir(parents=True, exist_ok=True)
    results = measure(chosen.quick, (lambda message: None) if chosen.quiet or chosen.json else print)
    print(json.dumps(results, indent=2))
    if not chosen.json:
        path = chosen.output / "bench.json"
        write_text(path, json.dumps(results, indent=2) + "\n")
        print(f"wrote {path}")
