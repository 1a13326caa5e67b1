"""Planning with clones: ``python examples/plan_one_step.py``.

At every decision each legal action is tried on a clone of the environment, which a rule then plays to the end of the episode; the
action with the best return is taken. That is one step of policy improvement: a planner over WSRPT is hardly ever worse than WSRPT.
A clone knows the tasks to come and their true times, so the planner is clairvoyant: a mark for schedulers, none itself.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym
import numpy as np

from baselines import make_policy
from prema_gym.envs.prema_env import PremaEnv

ENVIRONMENT = {"mechanisms": ["CHECKPOINT"], "reward": "weighted_antt"}


def return_of(env: PremaEnv, action: int, rule: str) -> float:
    """Return what ``action`` pays on a clone, and ``rule`` after it until the end."""
    clone, policy = env.clone(), make_policy(rule)
    _, total, terminated, truncated, _ = clone.step(action)
    while not (terminated or truncated):
        _, reward, terminated, truncated, _ = clone.step(int(policy.act(clone.view())[0]))
        total += reward
    return total


def planned(env: PremaEnv, rule: str) -> int:
    """Return the legal action with the best return; of equal ones the rule's own, if it is among them."""
    legal = np.flatnonzero(env.action_masks()).tolist()
    own = int(make_policy(rule).act(env.view())[0])
    returns = {action: return_of(env, action, rule) for action in legal} if len(legal) > 1 else {own: 0.0}
    return own if returns[own] >= max(returns.values()) - 1e-9 else max(returns, key=lambda action: returns[action])


def weighted_antt(name: str, seed: int, base: str) -> float:
    """Play the episode of ``seed`` by the policy called ``name``, or by the planner over ``base``; return its weighted ANTT."""
    policy = make_policy(base if name == "PLAN" else name)
    env = gym.make("prema_gym:Prema-v0", **{**ENVIRONMENT, **policy.env_arguments})
    inner = env.unwrapped
    assert isinstance(inner, PremaEnv)
    env.reset(seed=seed)
    over, info = False, dict[str, Any]()
    while not over:
        action = planned(inner, base) if name == "PLAN" else int(policy.act(inner.view())[0])
        _, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return float(info["metrics"]["weighted_antt"])


def main() -> None:
    """Compare the planner with PREMA and the rule that it rolls out, episode by episode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--rule", default="WSRPT", help="what the planner rolls out")
    arguments = parser.parse_args()
    names = ["PREMA", arguments.rule, "PLAN"]
    values = np.array([[weighted_antt(name, seed, arguments.rule) for name in names] for seed in range(arguments.episodes)])
    print(f"weighted ANTT, mean of {arguments.episodes} episodes")
    for name, column in zip(names, values.T, strict=True):
        print(f" {name:<8} {column.mean():.3f}")
    gain = values[:, 1] - values[:, 2]
    print(f"PLAN is better than {arguments.rule} in {(gain > 1e-9).sum()} episodes, worse in {(gain < -1e-9).sum()}")


if __name__ == "__main__":
    main()
