"""A torch module at the table: ``evaluate(["PREMA", policy_from_torch(module, mechanisms=["CHECKPOINT"])])``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.policies.card import Card
from agents.policies.network import LogitPolicy
from baselines.policies.needs import tell_of_starts
from prema_gym.errors import PolicyError, shown


class TorchPolicy(LogitPolicy):
    """A module as a policy; :func:`policy_from_torch` makes one."""

    def __init__(self, module: Any, name: str, card: Card) -> None:
        super().__init__(name, card)
        self.module = module

    def start_episodes(self, starts: np.ndarray) -> None:
        """Hand on where episodes start, in which of the rows (N,) bool, to a module that has a method of this name."""
        tell_of_starts(self.module, starts)

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """Return the module's (N, A) logits; it is in evaluation mode meanwhile, and in that which it had afterwards."""
        import torch

        training = self.module.training
        self.module.eval()
        try:
            device = next((parameter.device for parameter in self.module.parameters()), None)
            with torch.no_grad():
                found = self.module(torch.tensor(observations, device=device))
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise PolicyError(
                f"{self.name}: can't be asked about observations of {observations.shape} ({reason}): must take (N, D) float32 and "
                "return (N, A) logits; play it on as many slots as in training."
            ) from error
        finally:
            self.module.train(training)
        if not isinstance(found, torch.Tensor):
            raise PolicyError(f"{self.name}: returned a {type(found).__name__}, must be a tensor of (N, A) logits.")
        return np.asarray(found.detach().cpu().numpy())


def is_torch_module(thing: object) -> bool:
    """Whether ``thing`` is a torch module; torch is not imported for it: whoever has a module has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def policy_from_torch(
    module: Any, name: str | None = None, *, mechanisms: Sequence[str] | None = None, asked_every: int | None = None
) -> TorchPolicy:
    """Return a torch module as a policy: (N, D) float32 observations to (N, A) logits, of which the largest legal one is played.

    Raises :class:`prema_gym.errors.PolicyError` for anything else.

    Parameters
    ----------
    module: where it has a method ``start_episodes(starts)``, that is called before a decision that is the first of an episode in
        some rows, with (N,) bool: a recurrent one forgets then.
    name: in tables; the module's class by default.
    mechanisms, asked_every: of the environment that it was trained on; by default its attributes of these names, else all
        mechanisms, and arrivals and completions only.

    """
    if not is_torch_module(module):
        raise PolicyError(f"policy_from_torch({shown(module)}): must be a torch.nn.Module.")
    card = Card(getattr(module, "mechanisms", None), getattr(module, "asked_every", None))
    return TorchPolicy(module, name or type(module).__name__, card.stated("policy_from_torch", mechanisms, asked_every))
