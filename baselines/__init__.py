"""Baseline schedulers for prema-gym: the paper's and their relatives, one registry, and the fair comparison of them.

The names below are imported when they are first used: a command of this package answers Ctrl-C from its first moment.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.evaluation.evaluate import evaluate
    from baselines.evaluation.results import Results
    from baselines.policies.kinds import policy_of
    from baselines.policies.policy import Policy
    from baselines.policies.registry import POLICIES, make_policy, register_policy

__all__ = ["POLICIES", "Policy", "Results", "evaluate", "make_policy", "policy_of", "register_policy"]

_HOMES = {
    "evaluation.evaluate": ("evaluate",),
    "evaluation.results": ("Results",),
    "policies.kinds": ("policy_of",),
    "policies.policy": ("Policy",),
    "policies.registry": ("POLICIES", "make_policy", "register_policy"),
}
"""Public names by the module that defines them."""

if not TYPE_CHECKING:  # a type checker reads the imports above

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
