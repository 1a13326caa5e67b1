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


@dataclass(frozen=True)
class MaskedPPOOptions(OnPolicyOptions):
    """Options of the project's own PPO, ``masked_ppo``."""

    rollout: int = option(128, "Decisions of each row between two updates.")
    gamma: float = option(1.0, "Discount of each decision, whatever time it covers.")
    schedule: str = option(
        "linear", "The learning rate over the run: linear, down to 0, or constant.", choices=("linear", "constant")
    )
    clip: float = option(0.2, "How far the probability ratio of an action may move from 1 before it counts no more.")
    value_weight: float = option(0.5, "Weight of the critic's loss.")
    most_gradient: float = option(0.5, "Largest norm of a gradient; longer ones are shortened to it.")
    commitment: float = option(
        3.0,
        "By how much the perceptron's first logits favour to keep what runs, and to leave no NPU idle; without it an untrained"
        " policy evicts at every decision.",
    )
    loads: str | None = option(
        None, "Utilisations of a stream's arrivals that rows train at, as in 0.5,0.7,0.9; without it the workload's own."
    )
    horizon_requests: int | None = option(None, "Requests of a stream in training; short ones come to an end before they drown.")
    device: str = option("cpu", "Where the networks compute: cpu, or cuda.", choices=("cpu", "cuda"))
    torch_threads: int | None = option(
        None, "Threads of torch. Without it a short measurement chooses, but in runs of --steps it is one, so that they repeat."
    )
