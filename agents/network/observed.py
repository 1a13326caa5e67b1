"""What networks that read whole observations share: the groups that they know, and the compiled code that shows them a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.network.form import Form, fingerprint, whole
from agents.network.workspace import fill_record, record_dtype
from prema_gym._jit import jit_borrowing
from prema_gym.config import MECHANISMS, EnvConfig, mechanism_bits
from prema_gym.envs.actions import KEEP, count_actions, fill_mask
from prema_gym.envs.observation import GROUPS, Layout, Visible, observe
from prema_gym.errors import PolicyError, shown

MOST_NPUS = 64
CAUSES = ("completion", "arrival", "quantum")
"""Features that tell why an NPU is asked, as they lie; without one it is because an evicted task may be chosen again."""
WHERE_EVICTED_TASKS_ASK = "npus"
"""The group of observations of rows on which evicted tasks ask again as soon as they are saved."""
_CAUSES = len(CAUSES)
ENTRIES = ("npus", "groups", "mechanisms")
"""What cards of all these networks say."""


@dataclass(frozen=True)
class Observed(Form):
    """A network that reads every group of the observation that it was trained on."""

    npus: int
    """M: NPUs of a row."""
    groups: tuple[str, ...]
    """Groups of the observation, in their order."""
    mechanisms: tuple[str, ...]
    """Preemption mechanisms that it has columns for."""

    @property
    def described(self) -> dict[str, Any]:
        """What a card says of the form."""
        return {"npus": self.npus, "groups": list(self.groups), "mechanisms": list(self.mechanisms)}

    @property
    def schema(self) -> dict[str, Any]:
        """The features of the groups, with their bounds and scales."""
        read = [
            (block.group, block.of, [feature[:1] + feature[2:] for feature in block.features]) for block in self.layout(1).blocks
        ]
        return {"fingerprint": fingerprint(read)}

    @property
    def mechanism_names(self) -> tuple[str, ...]:
        """Those that it has columns for."""
        return self.mechanisms

    def layout(self, slots: int) -> Layout:
        """Return where features lie in observations of T ``slots``."""
        return Layout(slots, self.npus, self.groups)

    def refusal(self, config: EnvConfig) -> str | None:
        """Return why the network can't play on ``config``: another layout; None where it can."""
        layout = Layout.of(config)
        if (layout.npus, layout.groups) == (self.npus, self.groups):
            return None
        return (
            f"the network reads {', '.join(self.groups)} of {self.npus} NPUs, this environment shows "
            f"{', '.join(layout.groups)} of {layout.npus}: play it on the kind of environment that it was trained on."
        )

    def check_plays(self, config: EnvConfig) -> Layout:
        """Return the layout of ``config``; raises :class:`PolicyError` where the network can't play there."""
        refused = self.refusal(config)
        if refused is not None:
            raise PolicyError(refused)
        if set(config.mechanisms) != set(self.mechanisms):
            raise PolicyError(
                f"the network has columns for {', '.join(self.mechanisms)}, this environment for {', '.join(config.mechanisms)}: "
                "leave mechanisms out, and it plays with its own."
            )
        return Layout.of(config)


def observed_entries(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``npus``, ``groups`` and ``mechanisms`` of a card's network; raises :class:`PolicyError` for impossible ones."""
    found: dict[str, Any] = {"npus": whole(described, "npus", MOST_NPUS)}
    for name, known in (("groups", tuple(GROUPS)), ("mechanisms", MECHANISMS)):
        given = described.get(name)
        names = tuple(each for each in known if isinstance(given, list) and each in given)
        if not names or list(names) != given:
            raise PolicyError(f"network {name} = {shown(given)}: must be names among {', '.join(known)}, in this order.")
        found[name] = names
    return found


# --- A decision, shown ------------------------------------------------------------------------------------------------------------

ARRAYS = {"observation": np.float32, "mask": np.int8, "weights": np.float32, "scratch": np.float32, "logits": np.float32}
"""Weights and work space of a network, by name."""


def observed_dtype(*numbers: str, arrays: tuple[str, ...] = ()) -> np.dtype:
    """Return the dtype of a network's ``params``: what all have, and its own int64 ``numbers`` and ``arrays``."""
    return record_dtype((*ARRAYS, *arrays), ("stream", "running", "cause", *numbers))


def observed_params(
    dtype: np.dtype, layout: Layout, config: EnvConfig, weights: np.ndarray, scratch: int, **own: Any
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return (``params``, the arrays that it points to) of a network on ``config``, which shows ``layout``.

    ``weights`` are those that the compiled network takes, ``scratch`` how many numbers it works in; ``own`` are its numbers and
    arrays.
    """
    actions = int(count_actions(config.num_slots, mechanism_bits(config.mechanisms)))
    sizes = {"observation": layout.size, "mask": actions, "scratch": scratch, "logits": actions}
    arrays = {name: np.zeros(size, ARRAYS[name]) for name, size in sizes.items()}
    arrays["weights"] = np.ascontiguousarray(weights, np.float32)
    arrays |= {name: np.ascontiguousarray(value) for name, value in own.items() if isinstance(value, np.ndarray)}
    numbers = {name: value for name, value in own.items() if not isinstance(value, np.ndarray)}
    numbers |= {"stream": config.stream, "running": layout["running"].start}
    numbers["cause"] = layout[CAUSES[0]].start if WHERE_EVICTED_TASKS_ASK in layout.groups else -1
    return fill_record(dtype, arrays, numbers), tuple(arrays.values())


@jit_borrowing
def see(seen, params, observation, mask):
    """Fill the (D,) ``observation`` and the (A,) ``mask`` of a decision."""
    fill_mask(seen.npu, seen.table, seen.rules.mechanisms, True, mask)
    visible = Visible(seen.npu, seen.npus, seen.table, seen.predictions, seen.batches, seen.rules)
    if params.stream:
        observe(visible, observation, True, True)
    else:
        observe(visible, observation, True, None)


@jit_borrowing
def only_keeps(observation, seen, params):
    """Whether the network keeps what runs whatever its logits: where evicted tasks ask, it evicts when something has happened."""
    if params.cause < 0 or seen.npu.running_slot < 0:
        return False
    happened = np.float32(0.0)
    for k in range(_CAUSES):
        happened = max(happened, observation[params.cause + k])
    return happened == 0.0


@jit_borrowing
def largest(logits, mask):
    """Return the legal action of the largest logit, the first among equals."""
    best = -1
    for action in range(logits.shape[0]):
        if mask[action] and (best < 0 or logits[action] > logits[best]):
            best = action
    return max(best, KEEP)


@jit_borrowing
def copy(values, out):
    """Fill ``out`` (U,) with ``values``: as a slice it would be copied through memory that borrowing code can't have."""
    for u in range(out.shape[0]):
        out[u] = values[u]


@jit_borrowing
def add_product(weights, inputs, outputs):
    """Add to ``outputs`` (U,) the product of ``inputs`` (K,) and the (K, U) ``weights``, a row for each input."""
    for k in range(inputs.shape[0]):
        value = inputs[k]
        if value != 0.0:
            row = weights[k]
            for u in range(outputs.shape[0]):
                outputs[u] += value * row[u]
