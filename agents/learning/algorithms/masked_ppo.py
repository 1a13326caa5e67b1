"""Masked PPO by the project's own trainer, :mod:`agents.learning.gradients.ppo`: its options, and the run.

torch is loaded when the algorithm runs, not before.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.learning.gradients.options import OnPolicyOptions
from agents.learning.options import option
from agents.learning.run import Run


@dataclass(frozen=True)
class Options(OnPolicyOptions):
    """Options of masked PPO."""

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


def train(run: Run, options: Options) -> None:
    """Train until the run is finished."""
    from agents.learning.gradients.ppo import Trainer

    trainer = Trainer(run, options)
    if run.last_checkpoint is not None:
        trainer.load(run.last_checkpoint)
    run.start_clock()
    while not run.finished:
        trainer.collect()
        trainer.learn()
        run.checkpoint(trainer.done, trainer.save)
        if run.evaluation_due:
            trainer.evaluate()
            run.checkpoint(trainer.done, trainer.save)
