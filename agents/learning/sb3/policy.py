"""Where ``policy_from_sb3`` was at first: write ``from agents import policy_from_sb3``."""

from __future__ import annotations

from agents.policies.sb3 import SB3Policy, policy_from_sb3

__all__ = ["SB3Policy", "policy_from_sb3"]
