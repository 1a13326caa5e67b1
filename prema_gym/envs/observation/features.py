"""What an observation holds: features by name, in groups, and where each lies.

An observation is a flat float32 vector of blocks. A block holds some features of every slot, of every NPU, or of the row as a
whole, feature by feature: of 8 slots the first 8 numbers are the first feature of each. The group "base" comes first and always;
the others follow where the environment has what they tell of.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from prema_gym.config import EnvConfig, NPUConfig
from prema_gym.envs.observation.lanes import CLIP
from prema_gym.errors import ConfigError, unknown_name


class Feature(NamedTuple):
    """One feature: its meaning with the scale, and the bounds it is clipped to."""

    name: str
    meaning: str
    low: float
    high: float


REFERENCE_CYCLES = 1_000_000.0
"""Absolute times are taken relative to this (1.43 ms at 700 MHz) before the logarithm."""
CONTEXT_SCALE_CYCLES = float(NPUConfig().context_cycles(NPUConfig().ubuf_bytes))
"""Context times are divided by this: the save of a full activation buffer on the default NPU, 16 503 cycles."""
REMAINING_FLOOR = 0.01
"""predicted_remaining is at least this share of the predicted total."""
MOST_SHARE, MOST_CONTEXT = 4.0, 8.0
"""Bounds of shares of a predicted total, and of context times."""


def _flag(name: str, meaning: str) -> Feature:
    return Feature(name, meaning, 0, 1)


def _log(name: str, meaning: str, low: float = -CLIP) -> Feature:
    return Feature(name, meaning, low, CLIP)


@dataclass(frozen=True)
class Block:
    """Features of every slot, of every NPU, or of the row, which lie together."""

    group: str
    of: str
    """"slot", "npu" or "row"."""
    features: tuple[Feature, ...]

    @cached_property
    def at(self) -> Any:
        """The number of each feature within the block, by name: a named tuple, which compiled code reads as constants."""
        names = [feature.name for feature in self.features]
        return namedtuple("Numbers", names)(*range(len(names)))


BASE_FLAGS = Block(
    "base",
    "slot",
    (
        _flag("present", "1 if a task holds the slot; every other feature of an empty slot is 0"),
        _flag("ready", "1 if the task waits and the asked NPU may take it"),
        _flag("running", "1 if the task is on the asked NPU"),
        _flag("rank", "levels of priority below its own / (levels - 1); 1 where there is one level"),
        Feature("executed", "executed / predicted total", 0, MOST_SHARE),
        _flag("overrun", "1 if executed has passed the predicted total"),
        _flag("length_estimated", "1 if the output length is a guess"),
        Feature("saved_context", f"DMA time of the saved context / {CONTEXT_SCALE_CYCLES:.0f} cycles", 0, MOST_CONTEXT),
    ),
)
BASE_LOGS = Block(
    "base",
    "slot",
    (
        _log("log_priority", "ln(priority) / 4", 0),
        _log("log_token", "ln(token) / 4", 0),
        _log("log_elapsed", "ln(1 + elapsed / predicted total) / 4; elapsed = now - arrival", 0),
        _log("log_waited", "ln(1 + waited / predicted total) / 4", 0),
        _log("log_predicted", "ln(predicted total / 10^6 cycles) / 4"),
        _log("log_remaining", "ln(predicted remaining / 10^6 cycles) / 4"),
        _log("log_projected_ntt", "ln((elapsed + predicted remaining) / predicted total) / 4"),
    ),
)
BASE_ROW_LOGS = Block(
    "base",
    "row",
    (
        _log("log_work", "ln(1 + predicted remaining of all tasks / 10^6 cycles) / 4", 0),
        _log("log_since_switch", "ln(1 + time since the asked NPU's last switch / 10^6 cycles) / 4", 0),
        _log("log_since_arrival", "ln(1 + time since the last arrival / 10^6 cycles) / 4", 0),
    ),
)
BASE_ROW = Block(
    "base",
    "row",
    (
        _flag("ready_share", "ready tasks / T"),
        Feature("min_log_pp", "smallest ln(1 / (NTT * priority)) of finished tasks / 4; 0 if none has finished", -CLIP, CLIP),
        Feature("max_log_pp", "largest ln(1 / (NTT * priority)) of finished tasks / 4; 0 if none has finished", -CLIP, CLIP),
        _flag("completion", "1 if a completion is among the causes of this invocation"),
        _flag("arrival", "1 if an arrival is among the causes of this invocation"),
        _flag("quantum", "1 if an expired quantum is among the causes of this invocation"),
    ),
)
NPUS_FLAGS = Block(
    "npus",
    "slot",
    (
        _flag("elsewhere", "1 if the task is on another NPU"),
        _flag("bound", "1 if an NPU that is switching will run it"),
        _flag("saving", "1 if it was evicted and its context is not in memory yet"),
    ),
)
NPUS_LOGS = Block(
    "npus",
    "slot",
    (
        _log("log_fastest", "ln(predicted remaining / 10^6 cycles) / 4 on the fastest NPU, or on its own if it has progress"),
        _log("log_slowdown", "ln(predicted total here / on the fastest NPU) / 4", 0),
    ),
)
NPU_LOGS = Block(
    "npus",
    "npu",
    (
        _log("npu_log_slowdown", "ln(mean over tasks of predicted total on this NPU / on the fastest) / 4; 0 without tasks", 0),
        _log("npu_log_work", "ln(1 + predicted remaining of the tasks that it runs or is bound to run / 10^6 cycles) / 4", 0),
        _log("npu_log_priority", "ln(priority) / 4 of the task that it runs or is bound to run; 0 without one", 0),
    ),
)
NPU_FLAGS = Block(
    "npus",
    "npu",
    (
        _flag("npu_idle", "1 if it runs nothing and is not switching"),
        _flag("npu_next", "1 if its index is above the asked NPU's and it is not switching: it may be asked at this cycle still"),
    ),
)
NPUS_ROW = Block(
    "npus",
    "row",
    (
        _flag(
            "fastest_here",
            "share of the work on the fastest NPUs that none does faster than the asked one",
        ),
        _flag("became_ready", "1 if a task became choosable at this invocation"),
    ),
)
DEADLINE_FLAGS = Block(
    "deadlines",
    "slot",
    (
        _flag("has_deadline", "1 if the task has a deadline"),
        _flag("late", "1 if by its prediction it misses the deadline even if the asked NPU runs it to the end from now on"),
        _flag("late_everywhere", "the same for the fastest NPU, or its own if it has progress"),
    ),
)
SLACKS = Block(
    "deadlines",
    "slot",
    (
        _log("slack", "asinh((deadline - now - predicted remaining) / predicted total) / 4; 0 without a deadline"),
        _log("slack_fastest", "the same with the times on the fastest NPU, or on its own if it has progress"),
    ),
)
STREAM_ROW = Block(
    "streams",
    "row",
    (
        _log("log_backlog", "ln(1 + requests in the backlog) / 4", 0),
        _log("log_oldest", "ln(1 + age of the oldest request in the backlog / 10^6 cycles) / 4; 0 where it is empty", 0),
        _log("log_gap", "ln(recent mean time between arrivals / 10^6 cycles) / 4; 0 before the second"),
    ),
)
BATCH_LOGS = Block(
    "batching",
    "slot",
    (
        _log("log_batch_predicted", "ln(predicted remaining / 10^6 cycles) / 4 of the batch, if the slot were dispatched now"),
        _log(
            "log_batch_density",
            "ln(10^12 * sum over that batch of priority / predicted total on the fastest NPU / its predicted remaining) / 4",
        ),
        _log("log_batch_wait", "ln(1 + age of its oldest member / 10^6 cycles) / 4", 0),
    ),
)
BATCH_SHARES = Block(
    "batching",
    "slot",
    (
        _flag("leads", "1 if the task leads a batch of two or more"),
        _flag("joined", "1 if it is in a batch that another one leads"),
        _flag("batch_members", "members of the batch that it is in / T; 0 where it is in none"),
        Feature("batch_samples", "samples that would run together, if the slot were dispatched now / B", 0, MOST_SHARE),
    ),
)

BLOCKS = (
    BASE_FLAGS, BASE_LOGS, BASE_ROW_LOGS, BASE_ROW,
    NPUS_LOGS, NPU_LOGS, NPUS_FLAGS, NPU_FLAGS, NPUS_ROW,
    SLACKS, DEADLINE_FLAGS,
    STREAM_ROW,
    BATCH_LOGS, BATCH_SHARES,
)  # fmt: skip
"""All blocks in the order in which they lie; a group that an environment lacks is left out."""
GROUPS = {
    "base": "always",
    "npus": "where a row is several NPUs",
    "deadlines": "where requests of the workload have deadlines",
    "streams": "where requests keep coming",
    "batching": "where requests run together",
}
"""When each group is shown."""


def groups_of(config: EnvConfig) -> tuple[str, ...]:
    """Return the groups that the environment of ``config`` shows, in their order."""
    shown = {
        "base": True,
        "npus": len(config.all_npus) > 1,
        "deadlines": config.workload.has_deadlines,
        "streams": config.stream,
        "batching": config.batching > 1,
    }
    return tuple(group for group in GROUPS if shown[group])


@dataclass(frozen=True)
class Layout:
    """Where every feature lies in the observation of T slots and M NPUs."""

    slots: int
    npus: int = 1
    groups: tuple[str, ...] = ("base",)

    @classmethod
    def of(cls, config: EnvConfig) -> Layout:
        """Return the layout that the environment of ``config`` shows."""
        return cls(config.num_slots, len(config.all_npus), groups_of(config))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are shown."""
        return tuple(block for block in BLOCKS if block.group in self.groups)

    def width(self, block: Block) -> int:
        """Return how many numbers a feature of ``block`` is."""
        return {"slot": self.slots, "npu": self.npus, "row": 1}[block.of]

    @cached_property
    def _places(self) -> dict[str, slice]:
        """Where each feature lies, by name."""
        features = [(feature.name, self.width(block)) for block in self.blocks for feature in block.features]
        ends = list(accumulate(width for _, width in features))
        return {name: slice(end - width, end) for (name, width), end in zip(features, ends, strict=True)}

    @property
    def size(self) -> int:
        """D: the length of the vector."""
        return max(place.stop for place in self._places.values())

    def __getitem__(self, name: str) -> slice:
        """Return where the feature called ``name`` lies: ``observation[:, layout["log_token"]]`` is (N, T).

        Raises :class:`ConfigError` for a name that is not shown.
        """
        if name not in self._places:
            raise ConfigError(unknown_name("feature", name, self._places))
        return self._places[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the features."""
        return iter(self._places)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The (D,) float32 bounds (low, high)."""
        low, high = np.zeros(self.size, np.float32), np.zeros(self.size, np.float32)
        for block in self.blocks:
            for feature in block.features:
                low[self[feature.name]], high[self[feature.name]] = feature.low, feature.high
        return low, high

    def names(self) -> list[str]:
        """Return the name of each element: ``"slot0.present"``, ``"slot1.present"``, ..., ``"log_work"``, ..."""
        found: list[str] = []
        for block in self.blocks:
            prefixes = [""] if block.of == "row" else [f"{block.of}{i}." for i in range(self.width(block))]
            found += [prefix + feature.name for feature in block.features for prefix in prefixes]
        return found
