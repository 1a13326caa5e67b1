"""A network over slots that reads all of an observation: every group, the asked NPU and the others among them.

With x_i the features of slot i and c those of the row and of every NPU (the asked one first):

    index_i = w . x_i                                          linear in logarithms: a rule such as WSRPT is weights w
    e_i = softsign(W x_i + V c + b)                                encoder, shared over slots
    z_i = softsign(P e_i + Q mean_j e_j + R max_j e_j + U c + d)   decoder, shared over slots
    logit(give the NPU to i by mechanism m) = index_i - max index + h_m . z_i + bias_m
    logit(keep) = that of the running task, without one 0, + k . softsign(means and maxima, c) + bias, one where idle, + commitment

Means and maxima run over present slots, the maximum of the index over those that the asked NPU may run or runs. The weights serve
any number of slots in any order. With h and k at zero it plays the rule w.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softsign

from agents.network.actor_critic import SMALL_GAIN, ActorCritic, Commitment, linear, tensors_of
from agents.network.form import Form
from agents.network.slots.layout import OTHER_MECHANISMS_BIAS
from agents.network.slots.torch_network import pool
from agents.network.table import CLOSED, TableShape, common_places, slot_places
from prema_gym.envs.observation import Layout

IDLE_BIAS = -3.0
"""Initial logit of leaving an NPU idle, where the best task's is 0."""


class Reader(nn.Module):
    """Takes (B, D) observations apart: (B, T, X) features of slots, (B, C) features of the row and of NPUs."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        first, common = torch.from_numpy(slot_places(layout)), torch.from_numpy(common_places(layout))
        of_slots = torch.arange(layout.slots).unsqueeze(1) + first
        self.register_buffer("slot_places", of_slots.reshape(-1), persistent=False)
        self.register_buffer("common_places", common, persistent=False)
        self.slots, self.features = layout.slots, len(first)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (features of slots, features of the row)."""
        places, common = cast(torch.Tensor, self.slot_places), cast(torch.Tensor, self.common_places)
        return observations[:, places].reshape(-1, self.slots, self.features), observations[:, common]


class Encoder(nn.Module):
    """Encodings of slots that know of the row, and their means and maxima."""

    def __init__(self, inputs: int, common: int, units: int) -> None:
        super().__init__()
        self.own, self.shared = linear(inputs, units), linear(common, units, 1.0)

    def forward(self, slots: torch.Tensor, common: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, T, E) encodings and (B, 2 E) means and maxima."""
        encoded = softsign(self.own(slots) + self.shared(common).unsqueeze(1))
        return encoded, torch.cat(pool(encoded, slots[..., :1]), dim=-1)


class TableNetwork(ActorCritic):
    """Actor and critic over the whole context table."""

    def __init__(self, layout: Layout, mechanisms: Sequence[str], units: int, prior: Mapping[str, float], sharpness: float) -> None:
        """Take the rule ``prior``, weights by the names of features, times ``sharpness``; none makes all actions alike."""
        super().__init__()
        self.shape = TableShape(layout.npus, layout.groups, tuple(mechanisms), units)
        self.reader = Reader(layout)
        names = self.shape.slot_features
        inputs, common = len(names), self.shape.common
        self.ready, self.running = names.index("ready"), names.index("running")
        self.rule = nn.Parameter(torch.tensor([sharpness * prior.get(name, 0.0) for name in names]))
        self.encoder = Encoder(inputs, common, units)
        self.own, self.pooled, self.shared = linear(units, units), linear(2 * units, units), linear(common, units, 1.0)
        self.head = linear(units, len(mechanisms), SMALL_GAIN)
        self.keep = nn.Sequential(linear(2 * units + common, units), nn.Softsign(), linear(units, 1, SMALL_GAIN))
        self.commitment, self.idle_bias = Commitment(layout), nn.Parameter(torch.full((1,), IDLE_BIAS))
        with torch.no_grad():
            self.head.bias[1:] = OTHER_MECHANISMS_BIAS
        self.critic = Encoder(inputs, common, units)
        self.value = nn.Sequential(linear(2 * units + common, units), nn.Softsign(), linear(units, 1, 1.0))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B, A) logits."""
        slots, common = self.reader(observations)
        running = slots[..., self.running : self.running + 1]
        choosable = running + slots[..., self.ready : self.ready + 1]
        index = (slots * self.rule).sum(dim=-1, keepdim=True)
        best = torch.where(choosable > 0, index, torch.full_like(index, CLOSED)).amax(dim=1, keepdim=True)
        index = torch.where(choosable > 0, index - best, torch.zeros_like(index))
        encoded, pooled = self.encoder(slots, common)
        known = self.pooled(pooled) + self.shared(common)
        logits = index + self.head(softsign(self.own(encoded) + known.unsqueeze(1)))
        busy = running.amax(dim=1)
        kept = (logits[..., :1] * running).sum(dim=1) + (1.0 - busy) * self.idle_bias
        kept = kept + self.commitment(observations).unsqueeze(1)
        return torch.cat([kept + self.keep(torch.cat([pooled, common], dim=-1)), logits.flatten(1)], dim=1)

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B,) values."""
        slots, common = self.reader(observations)
        _, pooled = self.critic(slots, common)
        return cast(torch.Tensor, self.value(torch.cat([pooled, common], dim=-1))).squeeze(-1)

    def published(self) -> tuple[Form, np.ndarray]:
        """Return what decides, without the critic."""
        return self.shape, self.shape.pack(tensors_of(self, self.shape.tensors))
