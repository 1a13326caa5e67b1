"""The networks that gradients train: one file each, with the network's options and what makes it.

That is ``build(arguments, masked)`` for stable-baselines3, and ``module(arguments, config)`` for ``masked_ppo``.

A new one is a file beside these and a line below, or a module of your own that calls ``register_network``.
"""

from agents.learning.networks import mlp, slots, table
from agents.learning.registry import NETWORKS, register_network

__all__ = ["NETWORKS"]

register_network("slots", slots.build, slots.Options, module=slots.module)
register_network("table", options=table.Options, module=table.module)
register_network("mlp", mlp.build, module=mlp.module)
