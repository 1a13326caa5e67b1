"""The fair comparison: every policy on the same episodes, metrics per episode."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from baselines.evaluation.bounds import check_against_bounds
from baselines.evaluation.episodes import Played, play_policy
from baselines.evaluation.measures import EPISODE_MEASURES
from baselines.evaluation.results import BOUNDS, Results
from baselines.policies.needs import config_for
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy
from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, PolicyError


def _whole(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} = {value!r}: must be a whole number of at least {least}.")
    return value


def _policies(given: Sequence[str | Policy]) -> list[Policy]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise PolicyError(f"policies = {given!r}: must be a non-empty list of policies or their names.")
    made = [make_policy(policy) if isinstance(policy, str) else policy for policy in given]
    for policy in made:
        if not isinstance(policy, Policy):
            raise PolicyError(f"policies: {policy!r}: must be a policy's name, or an object with name, clairvoyant and act(view).")
    names = [policy.name for policy in made]
    for name in names:
        if names.count(name) > 1:
            raise PolicyError(f"policies: {name!r} is named {names.count(name)} times; each policy once.")
    return made


def _trained_elsewhere(policy: Policy, config: EnvConfig) -> bool:
    """Whether ``policy`` says what it was trained on, and that is anything else than the one NPU of ``config``."""
    trained_on = getattr(policy, "trained_on", None)
    return trained_on is not None and config.all_npus != (trained_on,)


def evaluate(
    policies: Sequence[str | Policy],
    episodes: int = 1000,
    seed: int = 0,
    *,
    split: str = "eval",
    threads: int | None = None,
    progress: Callable[[str, int], None] | None = None,
    **arguments: Any,
) -> Results:
    """Play the same ``episodes`` under every policy and return their metrics.

    Raises :class:`prema_gym.errors.BoundError` if a policy does better than any schedule can; that is known for one NPU only.

    Parameters
    ----------
    policies: names of the registry, or policy objects.
    episodes, seed, split: which episodes; "eval" is for figures that are reported, "valid" for choosing between policies.
    threads: of compiled policies; None uses every core.
    progress: called as ``progress(policy name, episodes just finished)``.
    arguments: the environment's (``npu`` or ``npus``, ``workload``, ``mechanisms``, ...), as ``gym.make("Prema-v0")`` takes them.
        Where ``decision_every``, ``mechanisms`` or ``allow_idle`` is left out, every policy is asked as often as it needs, plays
        the mechanisms that it states, and may leave NPUs idle if it wants to (see :mod:`baselines.policies.needs`); a value given
        here holds for all.

    """
    made = _policies(policies)
    _whole("episodes", episodes, 1)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"seed = {seed!r}: must be a whole number.")
    workers = _whole("threads", threads, 1) if threads is not None else os.cpu_count() or 1
    config = EnvConfig.coerce(arguments)
    played: dict[str, Played] = {}
    configs: dict[str, EnvConfig] = {}
    for policy in made:

        def report(count: int, name: str = policy.name) -> None:
            if progress is not None:
                progress(name, count)

        configs[policy.name] = config_for(policy, config, arguments)
        played[policy.name] = play_policy(
            policy, configs[policy.name], episodes, seed, split=split, threads=workers, progress=report
        )  # fmt: skip
    clairvoyant = tuple(policy.name for policy in made if policy.clairvoyant)
    elsewhere = tuple(policy.name for policy in made if _trained_elsewhere(policy, config))
    asked = {name: own.decision_every for name, own in configs.items()}
    results = Results(
        config=config, episodes=episodes, seed=seed, split=split, played=played,
        clairvoyant=clairvoyant, trained_elsewhere=elsewhere, asked_every=asked,
    )  # fmt: skip
    columns = [EPISODE_MEASURES.index(measure) for measure in BOUNDS]
    for name, values in results.values.items():
        check_against_bounds(name, BOUNDS, values[:, columns], results.bounds)
    return results
