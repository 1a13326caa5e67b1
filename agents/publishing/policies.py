"""Learned policies behind the interface of all policies; they need neither torch nor stable-baselines3."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.network.form import Form
from agents.network.forms import chooser_of
from agents.network.slots.compiled import choose_rows, scratch_size
from agents.network.slots.inputs import base_size
from agents.network.slots.layout import Shape
from agents.policies.kinds import FOREIGN
from agents.policies.onnx_file import SUFFIX as ONNX
from agents.policies.onnx_file import OnnxPolicy, policy_from_onnx
from agents.publishing.weights import SUFFIX, load_weights
from baselines.policies.compiled import Chooser, act_compiled
from baselines.policies.kinds import Kind, register_kind
from baselines.policies.needs import StatesNeeds
from baselines.policies.policy import Policy
from prema_gym.config import EnvConfig, NPUConfig, mechanism_bits
from prema_gym.envs.observation import F, G
from prema_gym.envs.view import View, read_only
from prema_gym.errors import PolicyError
from prema_gym.files import is_file

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""The folder of published weights; a file's stem is its policy's name."""
BEST = "best"
"""Stem of the weights of a run's best policy."""
GRAPH = f"{BEST}{ONNX}"
"""File of a run's best policy whose network has no compiled form."""
FRONT = PRETRAINED / "front"
"""The folder of the family LEARNED-FRONT-00, -01, ..."""


@dataclass(frozen=True)
class LearnedPolicy(StatesNeeds):
    """A network that plays its largest legal logit."""

    name: str
    shape: Form
    flat: np.ndarray
    """(size,) float64 weights."""
    card: dict[str, Any] = field(default_factory=dict)
    clairvoyant: bool = False
    _asked: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def load(cls, path: str | Path) -> LearnedPolicy:
        """Return the policy published at ``path``; raises :class:`prema_gym.errors.PolicyError` if the file isn't one."""
        weights = load_weights(path)
        return cls(weights.name, weights.shape, weights.flat, weights.card)

    @property
    def rule(self) -> str:
        """What it is, in words."""
        summary = self.card.get("summary", "a network over the slots, on top of an index rule.")
        return f"Runs: the task of the largest logit, by CHECKPOINT. Learned: {summary}"

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions."""
        self.warn_if_it_lacks(view.config)
        if isinstance(self.shape, Shape):
            actions, _ = self.evaluate(view.observation, view.mask, view.config.mechanisms)
            return actions
        return act_compiled(self._own_chooser(view.config), view)

    def plays(self, config: EnvConfig) -> bool:
        """Return whether the network reads what ``config`` shows."""
        return self.shape.refusal(config) is None

    def check(self, view: View) -> None:
        """Raise :class:`PolicyError` where the network can't play what a view shows."""
        self.chooser(view.config)

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return the network in compiled code, for one thread (see :class:`baselines.policies.compiled.Compiled`).

        Raises :class:`prema_gym.errors.PolicyError` where it can't play on ``config``.
        """
        try:
            return chooser_of(self.shape, self.flat, config)
        except PolicyError as error:
            raise PolicyError(f"{self.name}: {error}") from error

    def _own_chooser(self, config: EnvConfig) -> Chooser:
        """Return the chooser that :meth:`act` asks; it is kept, as decisions come one by one."""
        if self._asked.get("config") is not config:
            self._asked.update(config=config, chooser=self.chooser(config))
        chooser: Chooser = self._asked["chooser"]
        return chooser

    @property
    def asked_every(self) -> int | None:
        """Quanta between its decisions: what its card says, else every quantum, as its choice on "valid" was made."""
        return self.card.get("asked_every", 1)

    @property
    def trained_on(self) -> tuple[NPUConfig, ...] | None:
        """The NPUs that its card says it was trained on; None where it says nothing."""
        training = self.card.get("training", {})
        found = training.get("npus") or [training.get("npu")]
        return None if None in found else tuple(map(NPUConfig.coerce, found))

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The preemption mechanisms that it knows."""
        return self.shape.mechanism_names

    @property
    def allow_idle(self) -> bool:
        """Whether it was trained to leave NPUs idle though tasks wait."""
        return self.card.get("allow_idle") is True

    def evaluate(
        self, observations: np.ndarray, masks: np.ndarray, mechanisms: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (N,) int64 actions and (N, A) float64 logits for (N, D) float32 observations and (N, A) int8 masks.

        ``mechanisms`` are those that the environment allows, by default those that the network knows; raises
        :class:`prema_gym.errors.PolicyError` where the masks have another number of actions than follows from them.
        """
        if not isinstance(self.shape, Shape):
            raise PolicyError(f"{self.name}: is no network over slots: play it, its logits are not handed out.")
        allowed = self.mechanisms if mechanisms is None else tuple(mechanisms)
        slots, rest = divmod(masks.shape[1] - 1, len(allowed))
        if rest or observations.shape[1] < base_size(slots):
            raise PolicyError(
                f"masks of {masks.shape[1]} actions and observations of {observations.shape[1]} numbers: with mechanisms "
                f"{list(allowed)}, T slots have 1 + {len(allowed)} * T actions and at least {F} * T + {G} numbers."
            )
        actions, logits = np.empty(len(masks), np.int64), np.empty(masks.shape)
        scratch = np.empty(scratch_size(self.shape, slots))
        # As a view's arrays are: read-only or not, numba compiles for one kind.
        choose_rows(
            read_only(observations),
            read_only(masks),
            self.shape.sizes(mechanism_bits(allowed), slots),
            self.flat,
            scratch,
            logits,
            actions,
        )
        return actions, logits


def pretrained(folder: Path = PRETRAINED) -> dict[str, Callable[[], Policy]]:
    """Return a factory for every published policy, by name: the entry point ``prema_gym.policies``."""
    return {path.stem: partial(LearnedPolicy.load, path) for path in sorted(folder.rglob(f"*{SUFFIX}"))}


def _lies_at(path: str) -> bool:
    """Whether weights lie at ``path``, which may have a suffix of its own."""
    return bool(Path(path).name) and is_file(Path(path).with_suffix(SUFFIX))


def _is_weights(thing: object) -> bool:
    return isinstance(thing, str) and (thing.endswith(SUFFIX) or _lies_at(thing))


def _is_folder(thing: object) -> bool:
    try:
        return isinstance(thing, str) and thing != "" and Path(thing).is_dir()
    except (OSError, ValueError):  # a name that no folder can have
        return False


def policy_from_weights(path: str | os.PathLike[str], name: str | None = None) -> LearnedPolicy:
    """Return the policy whose weights lie at ``path``, called as the file; the best of a run is called as the run's folder."""
    policy, place = LearnedPolicy.load(Path(path)), Path(path).absolute()
    return dataclasses.replace(policy, name=name or (place.parent.name if policy.name == BEST else policy.name))


def policy_from_run(folder: str | os.PathLike[str], name: str | None = None) -> LearnedPolicy | OnnxPolicy:
    """Return the best policy of the training run in ``folder``, called as the folder."""
    graph = Path(folder) / GRAPH
    if is_file(graph):
        return policy_from_onnx(graph, name or graph.absolute().parent.name)
    if not _lies_at(os.path.join(folder, BEST)):
        raise PolicyError(
            f"{folder}: holds no {BEST}{SUFFIX}, the best policy of a run of agents.train: the run has not evaluated yet, or its "
            "network has no form that can be published."
        )
    return policy_from_weights(os.path.join(folder, BEST), name)


for _kind in (
    *FOREIGN,  # before weights, whose path may have any suffix
    Kind("the path of published weights (.safetensors)", _is_weights, policy_from_weights),
    Kind("the folder of a run of agents.train", _is_folder, policy_from_run),
):
    register_kind(_kind)
