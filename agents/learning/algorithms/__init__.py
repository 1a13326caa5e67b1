"""The training algorithms: one file each, with the algorithm's options and its function ``train(run, options)``.

A new one is a file beside these and a line below. One of your own needs no change here: ``register_algorithm`` in a module that
``python -m agents.train --import MODULE`` names does the same.
"""

from agents.learning.algorithms import cma, dqn, maskable_ppo, masked_ppo, ppo
from agents.learning.registry import ALGORITHMS, register_algorithm

__all__ = ["ALGORITHMS"]

register_algorithm("maskable_ppo", maskable_ppo.train, maskable_ppo.Options, streams=True)
register_algorithm("ppo", ppo.train, ppo.Options, streams=True)
register_algorithm("dqn", dqn.train, dqn.Options, streams=True)
register_algorithm("masked_ppo", masked_ppo.train, masked_ppo.Options, streams=True)
register_algorithm("cma", cma.train, cma.Options)
