"""Masked PPO in one file, on the native vector environment: ``python examples/ppo_cleanrl.py``.

In the manner of CleanRL: no classes to look up, the whole algorithm from top to bottom. What is particular to this environment:

* illegal actions get no probability (``info["action_mask"]``), in acting as in learning;
* steps cover different times, so nothing is discounted;
* ``SameStep``: a row whose episode ends shows the first observation of the next one, so no step is wasted between episodes.
"""

from __future__ import annotations

import argparse
import time

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from baselines import evaluate

ROWS, ROLLOUT, EPOCHS, MINIBATCH = 64, 128, 10, 2048
LEARNING_RATE, GAE_LAMBDA, CLIP, VALUE_WEIGHT, MOST_GRADIENT = 1e-3, 0.95, 0.2, 0.5, 0.5
MECHANISMS = ("CHECKPOINT",)  # one column for each slot: far easier to explore than three


def layer(inputs: int, outputs: int, scale: float = 2**0.5) -> nn.Linear:
    """Return a linear layer with orthogonal weights."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, scale)
    nn.init.zeros_(made.bias)
    return made


class Agent(nn.Module):
    """Actor and critic, apart."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.actor = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, actions, 0.01))
        self.critic = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))

    def actions(self, observations: torch.Tensor, masks: torch.Tensor) -> Categorical:
        """Return the distribution over the legal actions."""
        return Categorical(logits=self.actor(observations).masked_fill(~masks, -1e9))

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the value of each observation."""
        return self.critic(observations).squeeze(-1)


class AtTheTable:
    """The agent as a policy that :func:`baselines.evaluate` plays: the likeliest legal action, asked as in training."""

    name, clairvoyant, mechanisms, asked_every = "PPO", False, MECHANISMS, None

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    @torch.no_grad()
    def act(self, view, truth=None) -> np.ndarray:
        """Return an action for each row."""
        observations, masks = torch.tensor(view.observation), torch.tensor(view.mask).bool()
        return self.agent.actions(observations, masks).probs.argmax(dim=1).numpy()


def train(steps: int, seed: int) -> Agent:
    """Train for ``steps`` steps, counted over all rows."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # so small a network is not worth a second thread
    envs = gym.make_vec(
        "prema_gym:Prema-v0", num_envs=ROWS, vectorization_mode="vector_entry_point",
        autoreset_mode="SameStep", split="train", mechanisms=MECHANISMS,
    )  # fmt: skip
    inputs, actions = envs.single_observation_space.shape[0], int(envs.single_action_space.n)
    agent = Agent(inputs, actions)
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=1e-5)

    seen = torch.zeros(ROLLOUT, ROWS, inputs)
    legal = torch.zeros(ROLLOUT, ROWS, actions, dtype=torch.bool)
    played = torch.zeros(ROLLOUT, ROWS, dtype=torch.long)
    logprobs, rewards, values, going_on = torch.zeros(4, ROLLOUT, ROWS)

    observation, info = envs.reset(seed=seed)
    began, antts = time.monotonic(), []
    updates = max(steps // (ROLLOUT * ROWS), 1)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / updates)

        for t in range(ROLLOUT):
            seen[t], legal[t] = torch.from_numpy(observation), torch.from_numpy(info["action_mask"])
            with torch.no_grad():
                distribution = agent.actions(seen[t], legal[t])
                played[t], values[t] = distribution.sample(), agent.values(seen[t])
                logprobs[t] = distribution.log_prob(played[t])
            observation, reward, terminated, truncated, info = envs.step(played[t].numpy())
            rewards[t], going_on[t] = torch.from_numpy(reward), torch.from_numpy(~(terminated | truncated))
            if "final_info" in info:  # rows whose episode goes on hold NaN
                antts.extend(info["final_info"]["metrics"]["antt"][terminated | truncated])

        with torch.no_grad():
            following, advantage = agent.values(torch.from_numpy(observation)), torch.zeros(ROWS)
            advantages = torch.zeros_like(rewards)
            for t in reversed(range(ROLLOUT)):
                surprise = rewards[t] + going_on[t] * following - values[t]
                advantages[t] = advantage = surprise + GAE_LAMBDA * going_on[t] * advantage
                following = values[t]
            returns = advantages + values

        batch = [part.flatten(0, 1) for part in (seen, legal, played, logprobs, advantages, returns)]
        for _ in range(EPOCHS):
            for chosen in torch.randperm(ROLLOUT * ROWS).split(MINIBATCH):
                x, mask, action, old_logprob, advantage, target = (part[chosen] for part in batch)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (agent.actions(x, mask).log_prob(action) - old_logprob).exp()
                policy_loss = -torch.min(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
                value_loss = (agent.values(x) - target).square().mean()
                optimizer.zero_grad()
                (policy_loss + VALUE_WEIGHT * value_loss).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MOST_GRADIENT)
                optimizer.step()

        if update % 5 == 0 or update == updates - 1:
            done = (update + 1) * ROLLOUT * ROWS
            print(
                f"{done:8} steps, {done / (time.monotonic() - began):7.0f}/s, ANTT of the last episodes {np.mean(antts[-200:]):.2f}"
            )
    envs.close()
    return agent


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300_000, help="of training, over all rows (default 300000: some 20 seconds)")
    parser.add_argument("--episodes", type=int, default=300, help="of the comparison (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    options = parser.parse_args()
    print(evaluate(["PREMA", "WSRPT", AtTheTable(train(options.steps, options.seed))], options.episodes))


if __name__ == "__main__":
    main()
