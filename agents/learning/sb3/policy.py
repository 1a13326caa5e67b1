"""A model of stable-baselines3 at the table: ``evaluate(["PREMA", policy_from_sb3(model)])``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sb3_contrib import MaskablePPO

from baselines.policies.needs import StatesNeeds
from prema_gym.config import MECHANISMS, EnvConfig
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError


class SB3Policy(StatesNeeds):
    """A trained model as a policy; :func:`policy_from_sb3` makes one."""

    clairvoyant = False

    def __init__(self, model: Any, name: str, mechanisms: tuple[str, ...], asked_every: int | None) -> None:
        self.model, self.name = model, name
        self._mechanisms, self._asked_every = mechanisms, asked_every
        self._masked = isinstance(model, MaskablePPO)

    @property
    def asked_every(self) -> int | None:
        """Quanta between decisions asked by the quantum, as in training."""
        return self._asked_every

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Those that it was trained with: its actions have no columns for others."""
        return self._mechanisms

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions: the most likely ones, of the legal ones where the model knows masks."""
        self._check(view)
        if self._masked:
            actions, _ = self.model.predict(view.observation, action_masks=view.mask.astype(bool), deterministic=True)
        else:
            actions, _ = self.model.predict(view.observation, deterministic=True)
        return np.asarray(actions, np.int64)

    def _check(self, view: View) -> None:
        wanted, shown = self.model.observation_space.shape, view.observation.shape[1:]
        if wanted != shown:
            raise PolicyError(
                f"{self.name}: was trained on observations of shape {wanted}, these have {shown}: play it on as many slots and on "
                "the same kind of environment as in training."
            )
        actions = int(self.model.action_space.n)
        if actions != view.mask.shape[1]:
            raise PolicyError(
                f"{self.name}: was trained with {actions} actions, this environment has {view.mask.shape[1]}: "
                f"give policy_from_sb3(..., mechanisms=...) those of training (now {list(self._mechanisms)})."
            )


def _environment_config(model: Any) -> EnvConfig | None:
    """Return the configuration that the model's environment was made with; None where the model has none, as after loading."""
    env = model.get_env()
    if env is None:
        return None
    native = getattr(env.unwrapped if hasattr(env, "unwrapped") else env, "native", None)
    if native is not None:
        return native.config
    try:
        return env.get_attr("unwrapped", 0)[0].config
    except AttributeError:
        return None


def policy_from_sb3(
    model: Any, name: str | None = None, *, mechanisms: Sequence[str] | None = None, asked_every: int | None = None
) -> SB3Policy:
    """Return a model of stable-baselines3 or sb3-contrib as a policy that ``evaluate`` plays as it was trained.

    Raises :class:`prema_gym.errors.PolicyError` where the model has no discrete actions or an unknown mechanism is given.

    Parameters
    ----------
    model: a trained model; MaskablePPO is given masks, others play without.
    name: in tables; the algorithm's by default.
    mechanisms, asked_every: of the environment that it was trained on; by default they are asked of ``model.get_env()``, and of a
        model that has no environment any more, all mechanisms and None are assumed.

    """
    if not hasattr(model, "predict") or not hasattr(getattr(model, "action_space", None), "n"):
        raise PolicyError(f"policy_from_sb3({model!r}): must be a model of stable-baselines3 with discrete actions.")
    trained = _environment_config(model)
    if mechanisms is None:
        mechanisms = trained.mechanisms if trained is not None else MECHANISMS
    if asked_every is None and trained is not None:
        asked_every = trained.decision_every
    for mechanism in mechanisms:
        if mechanism not in MECHANISMS:
            raise PolicyError(f"policy_from_sb3(..., mechanisms): {mechanism!r} must be one of {', '.join(MECHANISMS)}.")
    return SB3Policy(model, name or type(model).__name__, tuple(mechanisms), asked_every)
