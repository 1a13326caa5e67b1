"""``python -m agents.export NAME_OR_PATH out.onnx``: a learned policy as an ONNX graph, observations (B, D) to logits (B, A)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from agents.commands.command import exit_status
from agents.network.slots.inputs import base_size
from agents.network.slots.layout import Shape
from agents.policies.card import Card, write_card
from agents.policies.onnx_file import write_onnx
from agents.publishing.policies import LearnedPolicy
from baselines.policies.kinds import policy_of
from prema_gym.errors import PolicyError
from prema_gym.exits import Parser


def export_onnx(policy: LearnedPolicy, path: Path, slots: int = 8) -> Path:
    """Write the network for ``slots`` slots, and a card beside it; the batch is free. Return ``path``.

    Closed actions have logits of -1e8: mask, then take the largest.
    """
    from agents.network.slots.torch_network import SlotNetwork

    if not isinstance(policy.shape, Shape):
        raise PolicyError(f"{policy.name}: is no network over slots: only these are written as ONNX.")
    write_onnx(SlotNetwork(policy.shape, policy.flat, slots=slots).eval(), base_size(slots), path)
    write_card(path, Card(policy.mechanisms, policy.asked_every))
    return path


def _run(options: argparse.Namespace) -> None:
    policy = policy_of(options.policy)
    if not isinstance(policy, LearnedPolicy):
        raise PolicyError(f"{options.policy} is no learned policy: there is no network to export.")
    export_onnx(policy, options.output, options.slots)
    print(f"{options.output}: written")


def main(given: Sequence[str] | None = None) -> int:
    """Export; return the exit status."""
    parser = Parser("python -m agents.export", description="Write a learned policy as ONNX.")
    parser.add_argument("policy", help="A registered name, the path of published weights, or a run's folder.")
    parser.add_argument("output", type=Path, help="The ONNX file to write; its card is written beside it.")
    parser.add_argument("--slots", type=int, default=8, help="Number of slots of the environment (default 8).")
    options = parser.parse_args(given)
    return exit_status(lambda: _run(options))
