"""The fair comparison: every policy on the same episodes, metrics per episode."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from baselines.evaluation.bounds import check_against_bounds
from baselines.evaluation.episodes import Played, play_policy
from baselines.evaluation.measures import EPISODE_MEASURES
from baselines.evaluation.results import BOUNDS, Results
from baselines.evaluation.streams import StreamResults
from baselines.policies.kinds import policies_of
from baselines.policies.needs import config_for
from baselines.policies.policy import Policy
from prema_gym.checks import as_whole, whole
from prema_gym.config import EnvConfig, WorkloadConfig
from prema_gym.config.requests import ArrivalsConfig
from prema_gym.envs.core import Core, checked_trace
from prema_gym.errors import ConfigError, shown
from prema_gym.workloads.jsonl import MOST_TASKS, holds_more_than
from prema_gym.workloads.listing import trace_path, with_listing
from prema_gym.workloads.seeding import split_index
from prema_gym.workloads.trace import TraceTask


def _check(policy: Policy, config: EnvConfig) -> None:
    """Let ``policy`` look at its environment, if it wants to, before anything is played."""
    check = getattr(policy, "check", None)
    if check is not None:
        check(Core(config.to_dict(), 1).view())


def _trained_elsewhere(policy: Policy, config: EnvConfig) -> bool:
    """Whether ``policy`` says what NPUs it was trained on, and these are others than those of ``config``."""
    trained_on = getattr(policy, "trained_on", None)
    return trained_on is not None and config.all_npus != trained_on


MOST_EPISODES = 1 << 31
TRACE_SPLIT = "trace"
"""What results of injected traces have in place of a split."""


def _checked_traces(given: Sequence[Any], config: EnvConfig) -> list[list[TraceTask]]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence) or not given:
        raise ConfigError(f"traces = {shown(given)}: must be a list of traces, each a list of tasks or a JSONL file's name.")
    traces = [checked_trace(trace, config) for trace in given]
    sizes = sorted({len(trace) for trace in traces})
    if len(sizes) > 1:
        raise ConfigError(f"traces hold {', '.join(map(str, sizes))} tasks: must all hold as many, since metrics are per episode.")
    return traces


def _streamed(config: EnvConfig, traces: Sequence[Any], given: Mapping[str, Any]) -> EnvConfig | None:
    """Return ``config`` for playing the one file of ``traces`` as a stream; None where traces are closed episodes.

    A file is a stream where ``config`` is one, or where it holds more requests than a table without a backlog can.
    """
    if isinstance(traces, str) or not isinstance(traces, Sequence):
        return None  # checked with those of closed episodes
    files = [trace for trace in traces if isinstance(trace, (str, os.PathLike))]
    if not config.stream and not any(holds_more_than(MOST_TASKS, file) for file in files):
        return None
    if len(traces) != 1 or not files:
        raise ConfigError(f"traces holds {len(traces)} traces: a stream plays one, the name of a JSONL file.")
    arrivals = ArrivalsConfig(process="trace", path=os.fspath(files[0]))
    workload = dataclasses.replace(config.workload, arrivals=arrivals, window=WorkloadConfig.window)
    return with_listing(dataclasses.replace(config, workload=workload, horizon_requests=given.get("horizon_requests")))


def sized_for(config: EnvConfig, num_tasks: int) -> EnvConfig:
    """Return ``config`` for episodes of ``num_tasks``."""
    return dataclasses.replace(config, workload=dataclasses.replace(config.workload, num_tasks=num_tasks))


def _warn_of_illegal(results: Results) -> None:
    """Warn where a policy played illegal actions: the environment replaced them, so its figures are partly another policy's."""
    if not results.illegal:
        return
    shares = (
        f"{name} {results.mean(name, 'illegal_actions') / max(results.mean(name, 'decisions'), 1):.1%}" for name in results.illegal
    )
    warnings.warn(
        f"illegal actions were replaced (by keep, on an idle NPU by the earliest ready task): {', '.join(shares)} of decisions. "
        "The figures are partly those of the replacements; view.mask and info['action_mask'] say what is legal.",
        UserWarning,
        stacklevel=3,
    )


def evaluate(
    policies: Sequence[Any],
    episodes: int = 1000,
    seed: int = 0,
    *,
    split: str = "eval",
    threads: int | None = None,
    progress: Callable[[str, int], None] | None = None,
    traces: Sequence[Any] | None = None,
    **arguments: Any,
) -> Results:
    """Play the same ``episodes`` under every policy and return their metrics.

    Of streams the results are :class:`StreamResults`: the cohort's metrics and quantiles.
    Raises :class:`prema_gym.errors.ActionError` where a policy answers with an action out of range (or, under ``strict=True``,
    with an illegal one), and :class:`prema_gym.errors.BoundError` if it does better than any schedule can; that is known for one
    NPU only.

    Parameters
    ----------
    policies: names of the registry, policy objects, functions of a view, models of stable-baselines3, torch modules, and paths of
        agents: everything that :func:`baselines.policy_of` takes. What is named twice is played once.
    episodes, seed, split: which episodes; "eval" is for figures that are reported, "valid" for choosing between policies.
    threads: of compiled policies; None uses every core.
    progress: called as ``progress(policy name, episodes just finished)``.
    traces: play these in place of drawn episodes: lists of tasks or names of JSONL files, all of as many tasks. One file of more
        than 4096 requests is played as a stream, and so is any where the arguments are a stream's.
    arguments: the environment's (``npu`` or ``npus``, ``workload``, ``mechanisms``, ...), as ``gym.make("Prema-v0")`` takes them.
        Where ``decision_every``, ``mechanisms`` or ``allow_idle`` is left out, every policy is asked as often as it needs, plays
        the mechanisms that it states, and may leave NPUs idle if it wants to (see :mod:`baselines.policies.needs`); a value given
        here holds for all.

    """
    made = policies_of(policies)
    episodes = whole("episodes", episodes, 1, MOST_EPISODES)
    number = as_whole(seed)
    if number is None:
        raise ConfigError(f"seed = {shown(seed)}: must be a whole number.")
    seed = number
    split_index(split)  # raises for an unknown one
    workers = whole("threads", threads, 1) if threads is not None else os.cpu_count() or 1
    config = with_listing(EnvConfig.coerce(arguments))
    tasks = None
    if traces is not None:
        stream = _streamed(config, traces, arguments)
        if stream is None:
            tasks = _checked_traces(traces, config)
        config = sized_for(config, len(tasks[0])) if tasks is not None else stream or config
        episodes = len(traces)
    if traces is not None or trace_path(config) is not None:
        split = TRACE_SPLIT
    if trace_path(config) is not None:
        episodes = 1  # all would be the same
    played: dict[str, Played] = {}
    configs = {policy.name: config_for(policy, config, arguments) for policy in made}
    for policy in made:
        _check(policy, configs[policy.name])
    for policy in made:

        def report(count: int, name: str = policy.name) -> None:
            if progress is not None:
                progress(name, count)

        played[policy.name] = play_policy(
            policy, configs[policy.name], episodes, seed, split="env" if split == TRACE_SPLIT else split,
            threads=workers, progress=report, traces=tasks,
        )  # fmt: skip
    clairvoyant = tuple(policy.name for policy in made if policy.clairvoyant)
    elsewhere = tuple(policy.name for policy in made if _trained_elsewhere(policy, config))
    asked = {name: own.decision_every for name, own in configs.items()}
    kind = StreamResults if config.stream else Results
    results = kind(
        config=config, episodes=episodes, seed=seed, split=split, played=played,
        clairvoyant=clairvoyant, trained_elsewhere=elsewhere, asked_every=asked,
    )  # fmt: skip
    _warn_of_illegal(results)
    if config.stream:
        return results
    columns = [EPISODE_MEASURES.index(measure) for measure in BOUNDS]
    for name, values in results.values.items():
        check_against_bounds(name, BOUNDS, values[:, columns], results.bounds)
    return results
