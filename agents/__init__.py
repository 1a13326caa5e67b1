"""Learned policies: training, evaluation, published weights. The top of the stack: nothing below imports it.

* ``network/``: the network that scores slots, in compiled code (``compiled``, ``rollouts``) and in torch (``torch_network``);
* ``policies/``: agents of other libraries as policies, by ``policy_from_sb3``, ``policy_from_torch`` and ``policy_from_onnx``;
* ``publishing/``: weights as files with cards, and learned policies behind the interface of all policies;
* ``pretrained/``: the published weights;
* ``learning/``: training, that is, the run and its folder, the objective, the episodes of selection, the registries;
* ``learning/algorithms/``: one file per training algorithm, with its options and its function ``train(run, options)``;
* ``learning/sb3/``: what the algorithms of stable-baselines3 share, the adapter of the environment among it;
* ``learning/rllib/``: masked PPO of RLlib;
* ``learning/networks/``: one file per network that gradients train, with its options and its function ``build``;
* ``commands/``: the command lines.

The modules beside this file are the entry points of ``python -m agents.X``; each hands over to ``commands/X.py``:

* ``train``: train a scheduler and publish its weights; ``publish``: make the best network of a run a policy with a name;
* ``evaluate``: compare a policy with others; ``pictures``: draw the learning curves of runs; ``export``: write a policy as ONNX;
* ``tune_index``: tune the index rules that learning starts from; ``tune_gate``: tune the rule for unlike NPUs;
* ``rllib``: train on Ray, with RLlib's PPO; ``front``: train and measure a family along a front.

A training algorithm of your own: ``docs/extending/agent.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.policies.onnx_file import policy_from_onnx
    from agents.policies.sb3 import policy_from_sb3
    from agents.policies.torch_module import policy_from_torch

__all__ = ["policy_from_onnx", "policy_from_sb3", "policy_from_torch"]

_HOMES = {
    "policy_from_onnx": "policies.onnx_file",
    "policy_from_sb3": "policies.sb3",
    "policy_from_torch": "policies.torch_module",
}
"""Public names by the module that defines them; they are imported when they are first used."""

if not TYPE_CHECKING:  # a type checker reads the imports above

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
