"""The networks that gradients train: one file each, with the network's options and its function ``build(arguments, masked)``.

A new one is a file beside these and a line below, or a module of your own that calls ``register_network``.
"""

from agents.learning.networks import mlp, slots
from agents.learning.registry import NETWORKS, register_network

__all__ = ["NETWORKS"]

register_network("slots", slots.build, slots.Options)
register_network("mlp", mlp.build)
