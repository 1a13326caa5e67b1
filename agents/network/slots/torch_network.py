"""The network in torch: the mathematics of :mod:`agents.network.slots.layout`, and a critic beside it."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softsign

from agents.network.slots.inputs import LOG_PRIORITIES, ROW_SOURCES, SLOT_SOURCES, TOLERANCE, R, S
from agents.network.slots.layout import (
    ADVANTAGE_SCALE,
    ELAPSED,
    HIGH,
    LEAST_PP,
    LN3,
    MEDIUM,
    MOST_PP,
    PREDICTED,
    PROJECTED,
    REMAINING,
    RUNNING,
    TIE,
    Shape,
)
from prema_gym.envs.observation import LOG_SCALE, F, G
from prema_gym.errors import PolicyError

CLOSED = -1e8
"""Logit of what can't be played; finite, so that gradients stay so."""
CRITIC_UNITS = 48


def slots_of(size: int) -> int:
    """Return T of observations of ``size`` numbers that are the group "base" alone; raises :class:`PolicyError` for others."""
    slots, rest = divmod(size - G, F)
    if rest or slots < 1:
        raise PolicyError(f"observations of {size} numbers: are not the group 'base' of any number of slots; say how many slots.")
    return slots


def read_observation(observations: torch.Tensor, slots: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ((B, T, S), (B, R)) inputs of slots and row of (B, D) observations, as ``fill_inputs`` does."""
    base = observations[:, : slots * F].reshape(-1, F, slots).transpose(1, 2)
    read = base[..., torch.from_numpy(SLOT_SOURCES)]
    flagged = torch.from_numpy(LOG_PRIORITIES).to(read)
    is_flag = ~torch.isnan(flagged)
    flags = ((read - torch.nan_to_num(flagged)).abs() < TOLERANCE).to(read) * base[..., :1]
    return torch.where(is_flag, flags, read), observations[:, slots * F + torch.from_numpy(ROW_SOURCES)]


def pool(values: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (B, U) mean and maximum of (B, T, U) values over present (B, T, 1) slots; 0 where none is present."""
    count = present.sum(dim=1).clamp(min=1.0)
    mean = (values * present).sum(dim=1) / count
    most = torch.where(present > 0, values, torch.full_like(values, CLOSED)).amax(dim=1)
    return mean, torch.where(present.amax(dim=1) > 0, most, torch.zeros_like(most))


class SlotNetwork(nn.Module):
    """The actor: (B, D) observations to (B, A) logits. The same weights serve any number of slots, in any order."""

    def __init__(self, shape: Shape, flat: np.ndarray, *, sharpness: float = 1.0, slots: int | None = None) -> None:
        """Take T, the number of ``slots``, where observations hold more than the group "base"."""
        super().__init__()
        self.shape, self.slots = shape, slots
        tensors = shape.unpack(flat)
        for name in ("scale", "bilinear", "head.weight", "head.bias", "keep_bias"):
            tensors[name] = tensors[name] * sharpness
        self.weights = nn.ParameterDict({_key(name): nn.Parameter(torch.from_numpy(tensor)) for name, tensor in tensors.items()})

    def _weight(self, name: str) -> torch.Tensor:
        return cast(torch.Tensor, self.weights[_key(name)])

    def flat(self) -> np.ndarray:
        """Return the (size,) float64 weights for :mod:`agents.network.slots.compiled`."""
        return self.shape.pack({name: self._weight(name).detach().cpu().numpy() for name in self.shape.tensors})

    def index(self, slots: torch.Tensor) -> torch.Tensor:
        """Return the (B, T) logarithmic index of the prior."""
        prior = self._weight("prior")
        priority = LN3 * slots[..., MEDIUM] + 2.0 * LN3 * slots[..., HIGH]
        elapsed = torch.exp(LOG_SCALE * slots[..., ELAPSED]) - 1.0  # ONNX knows neither expm1 nor log1p
        waited = torch.log(1.0 + torch.exp(prior[2]) * elapsed)
        return prior[0] * priority + waited - prior[1] * LOG_SCALE * slots[..., PREDICTED]

    def fairness(self, slots: torch.Tensor, common: torch.Tensor) -> torch.Tensor:
        """Return the (B, T, 4) inputs that tell who is above the cap, and who is near the lowest; 0 for empty slots."""
        floor, room, near = self._weight("hold")
        log_pp = -LOG_SCALE * slots[..., PROJECTED] - LN3 * slots[..., MEDIUM] - 2.0 * LN3 * slots[..., HIGH]
        least, most = LOG_SCALE * common[:, LEAST_PP], LOG_SCALE * common[:, MOST_PP]
        finished = (least != 0) | (most != 0)
        lowest = torch.where(slots[..., 0] > 0, log_pp, torch.full_like(log_pp, -CLOSED)).amin(dim=1)
        lowest = torch.minimum(lowest, torch.where(finished, torch.minimum(least, floor), floor))
        cap = torch.where(finished, torch.maximum(most, lowest + room), lowest + room).unsqueeze(1)
        held = (log_pp > cap + TIE).float()
        lagging = torch.relu(lowest.unsqueeze(1) + near - log_pp)
        parts = [torch.relu(log_pp - cap), held, held * LOG_SCALE * slots[..., REMAINING], lagging]
        return torch.stack(parts, dim=-1) * slots[..., :1]

    def slot_logits(self, slots: torch.Tensor, common: torch.Tensor) -> torch.Tensor:
        """Return the (B, T, M) logits of giving the NPU to each slot; those of empty slots mean nothing."""
        weight, present = self._weight, slots[..., :1]
        index = self.index(slots).unsqueeze(-1)
        largest = torch.where(present > 0, index, torch.full_like(index, CLOSED)).amax(dim=1, keepdim=True)
        advantage = (index - largest) / ADVANTAGE_SCALE * present
        inputs = torch.cat([slots, advantage, self.fairness(slots, common)], dim=-1)
        mean = (inputs * present).sum(dim=1) / present.sum(dim=1).clamp(min=1.0)
        context = torch.cat([torch.ones_like(common[:, :1]), common, mean], dim=-1)
        bent = weight("scale") * index + (inputs * (context @ weight("bilinear").T).unsqueeze(1)).sum(dim=-1, keepdim=True)
        shared = (common @ weight("encoder.global").T + weight("encoder.bias")).unsqueeze(1)
        encoded = softsign(inputs @ weight("encoder.slot").T + shared)
        mean, most = pool(encoded, present)
        shared = (mean @ weight("decoder.mean").T + most @ weight("decoder.max").T + weight("decoder.bias")).unsqueeze(1)
        hidden = softsign(encoded @ weight("decoder.own").T + shared)
        return bent + hidden @ weight("head.weight").T + weight("head.bias")

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return (B, A) logits; CLOSED where the observation tells that an action is illegal."""
        slots, common = read_observation(observations, self.slots or slots_of(int(observations.shape[1])))
        logits = self.slot_logits(slots, common)
        running = slots[..., RUNNING : RUNNING + 1]
        kept = (logits[..., :1] * running).sum(dim=1) + self._weight("keep_bias")
        busy = running.amax(dim=1)
        keep = torch.where(busy > 0, kept, torch.full_like(kept, CLOSED))
        ready = (slots[..., :1] > 0) & (running == 0)
        columns = torch.where(ready, logits, torch.full_like(logits, CLOSED))
        if self.shape.mechanisms > 1:
            evicting = torch.where(busy.unsqueeze(1) > 0, columns[..., 1:], torch.full_like(columns[..., 1:], CLOSED))
            columns = torch.cat([columns[..., :1], evicting], dim=-1)
        return torch.cat([keep, columns.flatten(1)], dim=1)


class SlotCritic(nn.Module):
    """(B, D) observations to (B, CRITIC_UNITS) features of a state's value: sums and maxima over present slots."""

    def __init__(self, slots: int, units: int = CRITIC_UNITS) -> None:
        super().__init__()
        self.slots = slots
        self.encoder = nn.Sequential(nn.Linear(S + R, units), nn.Tanh(), nn.Linear(units, units), nn.Tanh())
        self.after = nn.Sequential(nn.Linear(2 * units + R, units), nn.Tanh())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the features."""
        slots, common = read_observation(observations, self.slots)
        present = slots[..., :1]
        inputs = torch.cat([slots, common.unsqueeze(1).expand(-1, slots.shape[1], -1)], dim=-1)
        encoded = self.encoder(inputs)
        _, most = pool(encoded, present)
        total = (encoded * present).sum(dim=1) / 4.0
        return cast(torch.Tensor, self.after(torch.cat([total, most, common], dim=-1)))


def _key(name: str) -> str:
    """Return a tensor's name as a ParameterDict takes it."""
    return name.replace(".", "_")
