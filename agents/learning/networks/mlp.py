"""One perceptron over the features of all slots: the usual network, which has to learn each slot by itself."""

from __future__ import annotations

from typing import Any

from agents.learning.arguments import Arguments

HIDDEN_UNITS = (128, 128)
"""Units of the hidden layers."""


def build(arguments: Arguments, *, masked: bool) -> tuple[Any, dict[str, Any]]:
    """Return stable-baselines3's own perceptron; it starts from random weights."""
    return "MlpPolicy", {"net_arch": list(HIDDEN_UNITS)}
