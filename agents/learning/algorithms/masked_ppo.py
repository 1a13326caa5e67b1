"""Masked PPO by the project's own trainer, :mod:`agents.learning.gradients.ppo`: its options, and the run.

torch is loaded when the algorithm runs, not before.
"""

from __future__ import annotations

from agents.learning.gradients.options import MaskedPPOOptions as Options
from agents.learning.run import Run

__all__ = ["Options", "train"]


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
