"""Options that algorithms which learn by gradients have in common. Importing them loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from agents.learning.options import option


@dataclass(frozen=True)
class GradientOptions:
    """Options of every algorithm that learns by gradients."""

    rows: int = option(64, "Number of environments that are stepped together.")
    learning_rate: float = option(1e-3, "Learning rate of Adam.")
    reward: str | None = option(
        None,
        "'dominance' rewards all headline measures and adapts their weights to the weakest improvement; else a reward term's name,"
        " or JSON from names to weights. Without it what the best policy is chosen by: dominance, or with a measure weighted_antt.",
    )


@dataclass(frozen=True)
class OnPolicyOptions(GradientOptions):
    """Options of PPO, with masks or without."""

    network: str = option("slots", "The network: 'slots' shares its weights over all slots, 'mlp' is one perceptron.")
    rollout: int = option(512, "Decisions of each row between two updates.")
    batch: int = option(4096, "Decisions in the batch of a gradient step.")
    epochs: int = option(4, "Passes over a rollout in each update.")
    entropy: float = option(0.0, "Weight of the entropy bonus.")
    gae_lambda: float = option(0.97, "Lambda of the generalised advantage estimate, per decision.")
    horizon_ms: float | None = option(None, "Time constant of the discount in ms; without it rewards are not discounted.")
    target_kl: float | None = option(0.02, "Stop an update where the policy has moved this far (KL divergence).")
