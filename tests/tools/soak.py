"""Play a great many decisions in one process and watch what they leave behind: ``make soak DECISIONS=100000000``.

Every registered policy plays every scenario, round after round, compiled policies on their loop and the others in Python; so do the
single and the vector environment under random legal actions. Metrics have to be finite, actions legal, and memory may not grow
after the first rounds. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from baselines import POLICIES, make_policy
from baselines.evaluation.episodes import play_policy
from baselines.policies.compiled import Compiled
from baselines.policies.needs import config_for
from prema_gym.config import EnvConfig
from prema_gym.config.scenarios import SCENARIOS, with_scenario
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import PremaError
from prema_gym.metrics import METRICS
from prema_gym.sim.streams.metrics import STREAM_METRICS

BOUND_MB = 16.0
"""Most that memory may grow after the warm-up, however long the run."""
WARM_UP = 2
"""Rounds before memory is compared: compiled code is loaded, caches and allocators have filled."""
SHARE_COMPILED, SHARE_PYTHON, SHARE_ENVIRONMENT = 20_000, 400, 200
"""Decisions that each policy plays of each scenario in a round, and each environment."""
UNDEFINED = ("deadline_misses", "tardiness", "impossible_deadlines")
"""Metrics that are NaN where nothing has a deadline."""

Part = Callable[[int], int]
"""Plays a part of a round, which has a number; returns the decisions made."""


class SoakError(AssertionError):
    """Something is wrong with what was played."""


@dataclass
class Watch:
    """Resident memory, as the kernel of the machine counts it, by round."""

    samples: list[dict[str, float]] = field(default_factory=list)
    decisions: int = 0

    def sample(self) -> None:
        """Take a sample."""
        gc.collect()
        self.samples.append(resident_mb())

    def growth_mb(self, name: str) -> float:
        """Return the most that ``name`` has grown by since the warm-up."""
        values = [sample[name] for sample in self.samples[WARM_UP - 1 :]]
        return max(values) - values[0] if values else 0.0


def resident_mb() -> dict[str, float]:
    """Return resident memory in MB: all of it, and what belongs to no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}


# --- What is played -----------------------------------------------------------------------------------------------------------


def check_metrics(who: str, names: tuple[str, ...], metrics: np.ndarray, *, deadlines: bool) -> None:
    """Raise where a metric of (E, K) is no finite number, but for those that need a deadline where there is none."""
    for column, name in enumerate(names):
        if not deadlines and name in UNDEFINED:
            continue
        if not np.isfinite(metrics[:, column]).all():
            raise SoakError(f"{who}: {name} = {metrics[~np.isfinite(metrics[:, column]), column][0]}")


def policy_part(name: str, scenario: str) -> Part:
    """Return what plays the policy ``name`` on ``scenario``; raises :class:`PremaError` where it can't."""
    arguments = with_scenario({"scenario": scenario})
    policy = make_policy(name)
    config = config_for(policy, EnvConfig.coerce(arguments), arguments)
    names = STREAM_METRICS if config.stream else METRICS
    share = SHARE_COMPILED if isinstance(policy, Compiled) else SHARE_PYTHON
    per_episode = play_policy(policy, config, 2, 0, split="env").episodes["decisions"].mean()
    episodes = max(1, round(share / per_episode))

    def part(number: int) -> int:
        played = play_policy(policy, config, episodes, number, split="env")
        who = f"{name} on {scenario}, seed {number}"
        check_metrics(who, names, played.metrics, deadlines=config.workload.has_deadlines)
        if played.episodes["illegal_actions"].any():
            raise SoakError(f"{who}: {played.episodes['illegal_actions'].sum()} illegal actions")
        return int(played.episodes["decisions"].sum())

    return part


def vector_part(scenario: str) -> Part:
    """Return what plays the vector environment of ``scenario`` under random legal actions, observations and rewards checked."""

    def part(number: int) -> int:
        rows, rng = 16, np.random.default_rng(number)
        env = PremaVectorEnv(rows, **with_scenario({"scenario": scenario}))
        _, info = env.reset(seed=number)
        for _ in range(SHARE_ENVIRONMENT):
            actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in info["action_mask"]])
            observations, rewards, _, _, info = env.step(actions)
            if not (np.isfinite(observations).all() and np.isfinite(rewards).all()):
                raise SoakError(f"vector environment, {scenario}, seed {number}: an observation or a reward is no number")
        env.close()
        return rows * SHARE_ENVIRONMENT

    return part


def single_part(scenario: str) -> Part:
    """Return what plays one environment of ``scenario`` for good, its log and its recording read now and then."""
    env: Any = gymnasium.make(f"prema_gym:{scenario}", disable_env_checker=True).unwrapped

    def part(number: int) -> int:
        rng = np.random.default_rng(number)
        _, info = env.reset(seed=number)
        for _ in range(SHARE_ENVIRONMENT):
            observation, reward, terminated, truncated, info = env.step(int(rng.choice(np.flatnonzero(info["action_mask"]))))
            if not (np.isfinite(observation).all() and np.isfinite(reward)) or info["illegal_action"]:
                raise SoakError(f"environment, {scenario}, seed {number}: {reward}, {info}")
            if terminated or truncated:
                _, info = env.reset()
        env.recording()
        return SHARE_ENVIRONMENT

    return part


def parts(scenario: str) -> Iterator[tuple[str, Part | str]]:
    """Yield what a round has of ``scenario``, by name; in place of a policy that it is not for, the reason."""
    yield f"environment, {scenario}", single_part(scenario)
    yield f"vector environment, {scenario}", vector_part(scenario)
    for name in POLICIES:
        try:
            part: Part | str = policy_part(name, scenario)
        except PremaError as error:
            part = str(error)
        yield f"{name}, {scenario}", part


# --- The run ------------------------------------------------------------------------------------------------------------------


def soak(decisions: int, seconds: float, tell: Callable[[str], None]) -> Watch:
    """Play ``decisions``, for ``seconds`` at most."""
    began, watch = time.monotonic(), Watch()
    given: dict[str, Part | str] = {}
    for scenario in SCENARIOS:
        given |= parts(scenario)
        tell(f"{scenario}: {time.monotonic() - began:.0f} s to make ready")
    played = {name: part for name, part in given.items() if not isinstance(part, str)}
    tell(f"{len(played)} parts; not for its scenario: {len(given) - len(played)}")
    number = 0
    while watch.decisions < decisions and time.monotonic() - began < seconds:
        for part in played.values():
            watch.decisions += part(number)
        watch.sample()
        number += 1
        last = watch.samples[-1]
        memory = ", ".join(f"{name} {value:.1f} MB" for name, value in last.items())
        tell(f"round {number}: {watch.decisions:,} decisions, {time.monotonic() - began:.0f} s, {memory}")
    return watch


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser("python -m tools.soak", description=__doc__)
    parser.add_argument("decisions", type=int, nargs="?", default=100_000_000, help="how many to play (default: 100000000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long (default: never)")
    options = parser.parse_args()
    watch = soak(options.decisions, options.seconds, lambda line: print(line, file=sys.stderr, flush=True))
    grown = {name: watch.growth_mb(name) for name in watch.samples[0]}
    print(f"{watch.decisions:,} decisions in {len(watch.samples)} rounds; grown since round {WARM_UP}: "
          + ", ".join(f"{name} {value:.1f} MB" for name, value in grown.items()) + f" (allowed: {BOUND_MB:g})")  # fmt: skip
    return int(max(grown.values()) > BOUND_MB)


if __name__ == "__main__":
    sys.exit(main())
