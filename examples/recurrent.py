"""A recurrent policy with masks: PPO on a GRU, its loop written out: ``python examples/recurrent.py``.

sb3-contrib has a recurrent PPO and a masked one, but not both in one. Its own loop has to know three things:

* the memory of a row is cleared where an episode begins, in acting, in learning and at the table;
* minibatches are whole rows in order of time, so that the memory is computed anew with the weights of now;
* a policy at the table is told no starts of episodes: it sees them, since the count of finished tasks, or the clock, goes back.

The context table already holds what has happened: on the default world a memory gains nothing over ``ppo_cleanrl.py``. The example
shows how one is kept.
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from baselines import evaluate

ROWS, ROLLOUT, EPOCHS, PARTS = 64, 64, 4, 4
LEARNING_RATE, GAE_LAMBDA, CLIP, MOST_GRADIENT = 1e-3, 0.95, 0.2, 0.5
WIDTH = 64
MECHANISMS = ("CHECKPOINT",)


class Agent(nn.Module):
    """Encoder, memory and actor; a critic that reads the memory and doesn't teach it."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.memory = nn.GRUCell(WIDTH, WIDTH)
        self.actor = nn.Linear(2 * WIDTH, actions)
        self.critic = nn.Sequential(
            nn.Linear(inputs + WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)
        )

    def step(self, observations, masks, starts, memory):
        """Return (distribution over legal actions, values, memory) of one step; ``starts`` says whose memory is cleared."""
        encoded = self.encoder(observations)
        memory = self.memory(encoded, memory * ~starts[:, None])
        logits = self.actor(torch.cat([encoded, memory], dim=1))  # past the memory too: what is seen now needs none
        values = self.critic(torch.cat([observations, memory.detach()], dim=1)).squeeze(1)
        return Categorical(logits=logits.masked_fill(~masks, -1e9)), values, memory

    def replay(self, observations, masks, starts, memory, actions):
        """Return (log-probabilities, values) of a rollout (steps, rows), with the memory computed anew."""
        logprobs, values = [], []
        for t in range(len(observations)):
            distribution, value, memory = self.step(observations[t], masks[t], starts[t], memory)
            logprobs.append(distribution.log_prob(actions[t]))
            values.append(value)
        return torch.stack(logprobs), torch.stack(values)


class AtTheTable:
    """The agent as a policy that :func:`baselines.evaluate` plays: rows stay in their places, so each has its memory."""

    name, clairvoyant, mechanisms, asked_every = "GRU", False, MECHANISMS, None

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.memory, self.clock, self.finished = torch.zeros(0, WIDTH), np.zeros(0), np.zeros(0)

    @torch.no_grad()
    def act(self, view, truth=None) -> np.ndarray:
        """Return an action for each row."""
        clock, finished = view.npu["clock_cycles"].copy(), view.npu["finished"].copy()
        if len(self.memory) != view.rows:
            self.memory, self.clock, self.finished = torch.zeros(view.rows, WIDTH), clock, finished
        starts = torch.from_numpy((clock < self.clock) | (finished < self.finished))
        self.clock, self.finished = clock, finished
        observations, masks = torch.tensor(view.observation), torch.tensor(view.mask).bool()
        distribution, _, self.memory = self.agent.step(observations, masks, starts, self.memory)
        return distribution.probs.argmax(dim=1).numpy()


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
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE)
    seen, legal = torch.zeros(ROLLOUT, ROWS, inputs), torch.zeros(ROLLOUT, ROWS, actions, dtype=torch.bool)
    played, starts = torch.zeros(ROLLOUT, ROWS, dtype=torch.long), torch.zeros(ROLLOUT + 1, ROWS, dtype=torch.bool)
    logprobs, rewards, values = torch.zeros(3, ROLLOUT, ROWS)
    observation, info = envs.reset(seed=seed)
    memory, starts[0] = torch.zeros(ROWS, WIDTH), True
    updates = max(steps // (ROLLOUT * ROWS), 1)
    for update in range(updates):
        begun = memory  # before the rollout
        for t in range(ROLLOUT):
            seen[t], legal[t] = torch.from_numpy(observation), torch.from_numpy(info["action_mask"])
            with torch.no_grad():
                distribution, values[t], memory = agent.step(seen[t], legal[t], starts[t], memory)
            played[t] = distribution.sample()
            logprobs[t] = distribution.log_prob(played[t])
            observation, reward, terminated, truncated, info = envs.step(played[t].numpy())
            rewards[t], starts[t + 1] = torch.from_numpy(reward), torch.from_numpy(terminated | truncated)

        with torch.no_grad():
            legal_now = torch.from_numpy(info["action_mask"]).bool()
            _, following, _ = agent.step(torch.from_numpy(observation), legal_now, starts[ROLLOUT], memory)
        advantages, advantage = torch.zeros_like(rewards), torch.zeros(ROWS)
        for t in reversed(range(ROLLOUT)):
            going_on = ~starts[t + 1]
            advantage = rewards[t] + going_on * (following + GAE_LAMBDA * advantage) - values[t]
            advantages[t], following = advantage, values[t]
        returns, advantages = advantages + values, (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        for _ in range(EPOCHS):
            for rows in torch.randperm(ROWS).chunk(PARTS):
                new, value = agent.replay(seen[:, rows], legal[:, rows], starts[:-1, rows], begun[rows], played[:, rows])
                ratio = (new - logprobs[:, rows]).exp()
                gain = torch.min(advantages[:, rows] * ratio, advantages[:, rows] * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
                loss = 0.5 * (value - returns[:, rows]).square().mean() - gain
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MOST_GRADIENT)
                optimizer.step()
        starts[0] = starts[ROLLOUT]
        if update % 10 == 0 or update == updates - 1:
            print(f"{(update + 1) * ROLLOUT * ROWS:8} steps, mean reward of a step {rewards.mean():.4f}")
    envs.close()
    return agent


def main() -> None:
    """Train, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150_000, help="of training, over all rows (default 150000: some 40 seconds)")
    parser.add_argument("--episodes", type=int, default=300, help="of the comparison (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    options = parser.parse_args()
    print(evaluate(["PREMA", "WSRPT", AtTheTable(train(options.steps, options.seed))], options.episodes))


if __name__ == "__main__":
    main()
