"""The observation: a flat float32 vector, computed from what a policy may see.

Times enter as logarithms, divided so that typical values lie within [-1, 1]; every feature is clipped to its finite bounds.
``Layout.of(config)`` says where each feature lies, and :data:`BLOCKS` what it means.
"""

from prema_gym.envs.observation.base import F, G, observe_base, predicted_remaining
from prema_gym.envs.observation.batching import would_remain
from prema_gym.envs.observation.features import (
    BASE_FLAGS,
    BASE_LOGS,
    BASE_ROW,
    BASE_ROW_LOGS,
    BLOCKS,
    CONTEXT_SCALE_CYCLES,
    GROUPS,
    REFERENCE_CYCLES,
    REMAINING_FLOOR,
    Block,
    Feature,
    Layout,
    groups_of,
)
from prema_gym.envs.observation.lanes import LOG_SCALE
from prema_gym.envs.observation.npus import remaining_on
from prema_gym.envs.observation.observe import Visible, observe

__all__ = [
    "BASE_FLAGS",
    "BASE_LOGS",
    "BASE_ROW",
    "BASE_ROW_LOGS",
    "BLOCKS",
    "CONTEXT_SCALE_CYCLES",
    "GROUPS",
    "LOG_SCALE",
    "REFERENCE_CYCLES",
    "REMAINING_FLOOR",
    "Block",
    "F",
    "Feature",
    "G",
    "Layout",
    "Visible",
    "groups_of",
    "observe",
    "observe_base",
    "predicted_remaining",
    "remaining_on",
    "would_remain",
]
