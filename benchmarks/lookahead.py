"""How fast a lookahead decides: ``python benchmarks/lookahead.py``.

Plays the first requests of a stream of PremaCluster-v0 once to compile and once to measure, on one thread; seconds are those of the
processor, so that it may be shared. Decisions with one tried action, and those that the quantum alone asks, are not counted.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from baselines.policies.lookahead import LookaheadPolicy, Search
from baselines.policies.registry import make_policy
from prema_gym.envs.prema_env import PremaEnv


def play(env: PremaEnv, policy: LookaheadPolicy, requests: int) -> tuple[int, int, float]:
    """Play the first ``requests``; return decisions that were looked at, rollouts, and seconds of planning."""
    planning = policy.on_rows(env._core)
    env.reset(seed=0)
    looked, rollouts, seconds = 0, 0, 0.0
    while env._core.simulator.state.machine[0]["next_task"] < requests:
        planning.returns[:] = np.nan
        begin = time.process_time()
        action = int(planning.act(env.view())[0])
        seconds += time.process_time() - begin
        tried = int((~np.isnan(planning.returns)).sum())
        looked += tried > 0
        rollouts += tried
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return looked, rollouts, seconds


def main() -> None:
    """Measure, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="GATE")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--futures", type=int, default=16)
    parser.add_argument("--actions", type=int, default=10)
    options = parser.parse_args()
    search = Search(futures=options.futures, actions=options.actions, objective="deadline_misses")
    policy = LookaheadPolicy(make_policy(options.base), search=search)
    env = PremaEnv(scenario="PremaCluster-v0", decision_every=policy.asked_every)
    play(env, policy, 8)
    looked, rollouts, seconds = play(env, policy, options.requests)
    print(f"{policy.name}: {looked} decisions, {rollouts / looked:.0f} rollouts each, {looked / seconds:.0f} decisions/s")
    print(f"a rollout takes {1e6 * seconds / rollouts:.0f} microseconds")


if __name__ == "__main__":
    main()
