"""What networks of other libraries share as policies: needs by a card, sizes that are checked, the largest legal logit."""

from __future__ import annotations

import numpy as np

from agents.policies.card import Card
from baselines.policies.needs import StatesNeeds, tell_of_starts
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError


class NetworkPolicy(StatesNeeds):
    """A network that was trained elsewhere, on a number of slots that it can't change."""

    clairvoyant = False
    actions: int | None = None
    """How many actions it was trained with; None where that isn't known before it is asked."""
    features: int | None = None
    """How many numbers its observations have; None where that isn't known before it is asked."""

    def __init__(self, name: str, card: Card) -> None:
        self.name, self.card = name, card

    @property
    def asked_every(self) -> int | None:
        """Quanta between decisions asked by the quantum, as in training."""
        return self.card.asked_every

    @property
    def mechanisms(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """Those that it was trained with: its actions have no columns for others. None: as many as its actions have columns."""
        return self.card.mechanisms

    @property
    def allow_idle(self) -> bool:
        """Whether it was trained to leave NPUs idle though tasks wait."""
        return self.card.allow_idle

    def check(self, view: View) -> None:
        """Raise :class:`PolicyError` where the view's sizes are not those of training."""
        shown, actions = view.observation.shape[1], view.mask.shape[1]
        if self.features is not None and self.features != shown:
            raise PolicyError(
                f"{self.name}: takes observations of {self.features} numbers, these have {shown}: play it on as many slots as in "
                f"training (here {view.config.num_slots}), and on the same kind of environment."
            )
        if self.actions is not None and self.actions != actions:
            allowed = ", ".join(view.config.mechanisms)
            raise PolicyError(
                f"{self.name}: has {self.actions} actions, this environment has {actions} ({view.config.num_slots} slots by "
                f"{allowed}): state its mechanisms=..., and play it on as many slots as in training."
            )


class LogitPolicy(NetworkPolicy):
    """A network that turns (N, D) float32 observations into (N, A) logits; the largest legal one is played."""

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """Return (N, A) float logits."""
        raise NotImplementedError

    def check(self, view: View) -> None:
        """Raise :class:`PolicyError` where the network doesn't take such observations, or has other actions."""
        super().check(view)
        tell_of_starts(self, np.ones(view.rows, np.bool_))
        self._answer(view)

    def _answer(self, view: View) -> np.ndarray:
        found = np.asarray(self.logits(view.observation))
        if found.shape != view.mask.shape:
            raise PolicyError(
                f"{self.name}: returned {found.shape} for {view.rows} rows, must be {view.mask.shape}, a logit for each action: "
                f"state its mechanisms=... (here {', '.join(view.config.mechanisms)}), and play it on as many slots as in training."
            )
        if np.isnan(found).any():
            raise PolicyError(f"{self.name}: returned logits that are no numbers (NaN).")
        return found

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions: the largest legal logits."""
        self.warn_if_it_lacks(view.config)
        return np.where(view.mask != 0, self._answer(view), -np.inf).argmax(axis=1).astype(np.int64)
