"""Actor and critic in torch, without any library of algorithms: what ``masked_ppo`` trains.

An :class:`ActorCritic` turns (B, D) observations into (B, A) logits, and into (B,) values. Whether an action is legal is the mask's
matter: the logits of closed actions may be anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import nn

from agents.network.form import Form
from agents.network.observed import CAUSES, WHERE_EVICTED_TASKS_ASK
from agents.network.perceptron import PerceptronShape
from agents.network.slots.layout import Shape
from agents.network.slots.torch_network import CRITIC_UNITS, SlotCritic, SlotNetwork
from prema_gym.envs.observation import Layout

SMALL_GAIN = 0.01
"""Gain of an actor's last layer: at first all actions are about as likely."""
KEPT = 1e3
"""Added to the logit of keep where it is the only choice."""


class ActorCritic(nn.Module):
    """What decides and what foresees."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B, A) logits."""
        raise NotImplementedError

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B,) values, in the trainer's units."""
        raise NotImplementedError

    def published(self) -> tuple[Form, np.ndarray] | None:
        """Return (form, (size,) flat weights) of what decides; None where it has no compiled form."""
        return None


def linear(inputs: int, outputs: int, gain: float = 2**0.5) -> nn.Linear:
    """Return a layer with orthogonal weights of ``gain``, and no bias at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def perceptron(units: Sequence[int], gain: float) -> nn.Sequential:
    """Return layers of ``units`` with tanh between them; the last has ``gain``."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(units[:-1]):
        layers += [linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers, linear(units[-2], units[-1], gain))


class Commitment(nn.Module):
    """What favours to keep, in the (B,) logit of keep, so that an untrained policy completes anything at all.

    ``size`` is added where a task runs on the asked NPU and taken off where it is idle: learned from there on. And where evicted
    tasks ask again as soon as they are saved (the group "npus"), a running task is evicted on arrivals, completions and quanta
    only: else two tasks can evict each other for ever, a thousand decisions in the time of one.
    """

    def __init__(self, layout: Layout, size: float = 0.0) -> None:
        super().__init__()
        self.running = layout["running"]
        self.causes = [layout[name].start for name in CAUSES] if WHERE_EVICTED_TASKS_ASK in layout.groups else []
        self.size = nn.Parameter(torch.full((1,), size))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return what to add to the logits of keep."""
        busy = observations[:, self.running].amax(dim=1)
        favour = self.size * (2.0 * busy - 1.0)
        if not self.causes:
            return favour
        return favour + KEPT * busy * (1.0 - observations[:, self.causes].amax(dim=1))


def tensors_of(module: nn.Module, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return those of the module's tensors that have ``names``."""
    state = module.state_dict()
    return {name: state[name].detach().cpu().numpy() for name in names}


class Perceptron(ActorCritic):
    """Two perceptrons over all features, and the commitment to keep."""

    def __init__(self, layout: Layout, mechanisms: Sequence[str], hidden: Sequence[int], commitment: float = 0.0) -> None:
        super().__init__()
        self.shape = PerceptronShape(layout.npus, layout.groups, tuple(mechanisms), layout.slots, tuple(hidden))
        self.actor = perceptron(self.shape.layers, SMALL_GAIN)
        self.critic = perceptron([layout.size, *hidden, 1], 1.0)
        self.commitment = Commitment(layout, commitment)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B, A) logits."""
        logits = self.actor(observations)
        return torch.cat([logits[:, :1] + self.commitment(observations).unsqueeze(1), logits[:, 1:]], dim=1)

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B,) values."""
        return cast(torch.Tensor, self.critic(observations)).squeeze(-1)

    def published(self) -> tuple[Form, np.ndarray]:
        """Return the actor and its commitment."""
        return self.shape, self.shape.pack(tensors_of(self, self.shape.tensors))


class SlotActorCritic(ActorCritic):
    """The network over slots of :mod:`agents.network.slots.layout`, which has a compiled form, and its critic."""

    def __init__(self, shape: Shape, flat: np.ndarray, slots: int, sharpness: float) -> None:
        super().__init__()
        self.actor = SlotNetwork(shape, flat, sharpness=sharpness, slots=slots)
        self.critic = SlotCritic(slots)
        self.value = linear(CRITIC_UNITS, 1, 1.0)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B, A) logits."""
        return cast(torch.Tensor, self.actor(observations))

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B,) values."""
        return cast(torch.Tensor, self.value(self.critic(observations))).squeeze(-1)

    def published(self) -> tuple[Form, np.ndarray]:
        """Return the actor."""
        return self.actor.shape, self.actor.flat()
