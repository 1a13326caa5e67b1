"""A recorded episode as plain data: what charts, exports and tables are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np

from prema_gym.config import EnvConfig
from prema_gym.errors import UsageError
from prema_gym.rendering.timeline import Context, Kind, Lookup, Timeline
from prema_gym.sim.programs import next_commit
from prema_gym.sim.simulator import Simulator
from prema_gym.types import NONE
from prema_gym.workloads.sizes import size_index

STREAM_TITLE_METRICS = {
    "antt": ("ANTT", "{:.2f}"),
    "ntt_p99": ("p99 NTT", "{:.1f}"),
    "deadline_misses": ("deadlines missed", "{:.1%}"),
    "goodput": ("goodput", "{:.1%}"),
}
"""The same of a stream; they are of its cohort."""
TITLE_METRICS = {
    "antt": ("ANTT", "{:.2f}"),
    "stp": ("STP", "{:.2f}"),
    "fairness": ("fairness", "{:.2g}"),
    "sla_violation": ("SLA violations", "{:.1%}"),
}
"""Metrics of a recording's title: what they are called there, and their form."""


def npu_labels(config: EnvConfig) -> tuple[str, ...]:
    """Return the NPUs' names: "NPU" where there is one, else number and configuration, as in "NPU 2 edge"."""
    npus = config.all_npus
    if len(npus) == 1:
        return ("NPU",)
    return tuple(f"NPU {index} {npu.label}" for index, npu in enumerate(npus))


def task_label(task: Mapping[str, Any]) -> str:
    """Return a task's name: model, batch, priority."""
    return f"{task['model']} b{task['batch']} p{task['priority']}"


def batch_names(task: int, members: Sequence[int]) -> tuple[str, ...]:
    """Return names of a task and those that run with it, the longest first: "#5+6+9" and "#5 ×3"; alone it is "#5"."""
    if not members:
        return (f"#{task}",)
    return (f"#{'+'.join(map(str, (task, *members)))}", f"#{task} ×{1 + len(members)}")


def batch_name(task: int, members: Sequence[int], most: int = 16) -> str:
    """Return the first of their names that has at most ``most`` characters, else the shortest."""
    names = batch_names(task, members)
    return next((name for name in names if len(name) <= most), names[-1])


def context_lookup(simulator: Simulator, tasks: np.ndarray, times: np.ndarray) -> Lookup:
    """Return what a preemption costs ``tasks`` (n,) TASK in row 0 of ``simulator``, on the NPU where they have committed.

    ``times`` (n, C) TIMES are the same on every configuration; C = 0 where there is one NPU.
    """
    state = simulator.state
    on_configuration = tasks["program"][:, None] if state.several is None else times["program"]
    programs = on_configuration[:, state.npus[0]["configuration"]].tolist()
    tables = simulator.tables

    def of_batch(members: Sequence[int], npu: int) -> int:
        """Return the program of ``members``: of the longest input, at the size that holds all samples."""
        own = [programs[member][npu] for member in members]
        longest = max(own, key=lambda program: int(tables.sized[program]["input_length"]))
        return int(tables.at_size[longest, size_index(int(tables.sized["samples"][own].sum()))])

    def lookup(task: int, executed_cycles: int, npu: int, *members: int) -> Context:
        program = of_batch((task, *members), npu) if members else programs[task][npu]
        _, save, restore, _ = next_commit(tables, program, executed_cycles)
        return Context(int(save), int(restore), simulator.config.all_npus[npu].context_cycles(int(restore)))

    return lookup


def _from_arrivals(events: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield a stream's events with every request from its arrival on: its log has one once it enters the table."""
    entered = set()
    for event in events:
        if event["event"] != "arrival":
            yield event
            continue
        entered.add(event["task"])
        yield {**event, "cycle": tasks[event["task"]]["arrival_cycles"]}
    for number, task in enumerate(tasks):
        if number not in entered:
            yield {"cycle": task["arrival_cycles"], "event": "arrival", "npu": NONE, "slot": NONE, "task": number}


@dataclasses.dataclass(frozen=True, repr=False)
class RecordedEpisode:
    """One episode as plain data, finished or so far. It holds no reference to the environment and pickles."""

    config: EnvConfig
    tasks: tuple[Mapping[str, Any], ...]
    """In order of arrival, truth included, as ``env.unwrapped.requests()`` gives them: of a stream those that have arrived."""
    events: tuple[Mapping[str, Any], ...]
    """The event log, as ``env.unwrapped.events()`` gives it. In that of a stream a request arrives when it enters the table."""
    timeline: Timeline
    """The same, as slices of time."""
    policy: str = ""
    seed: int | None = None
    """Of ``reset``; None where a trace was played."""
    episode: int = 0
    """Resets since that seed was given: 0 is the episode of the seed itself."""
    metrics: Mapping[str, Any] | None = None
    """``info["metrics"]``; None while the episode is being played."""
    decisions: tuple[Mapping[str, Any], ...] | None = None
    """One entry per asked decision; None where nobody noted them (:class:`~prema_gym.rendering.record.RecordDecisions`)."""
    learned: bool = False
    """Whether the policy is a learned one or the user's own: pictures name it in a colour of its own."""

    @classmethod
    def of(cls, env: gym.Env[Any, Any] | Self, policy: str = "") -> Self:
        """Return the recording of what ``env`` has played of its present episode; a recording is returned as it is."""
        if isinstance(env, cls):
            return env
        take: Callable[[str], Self] | None = getattr(getattr(env, "unwrapped", None), "recording", None)
        if take is None:
            raise UsageError(f"Recording.of({env!r}): must be a Prema-v0 environment or a Recording.")
        recording = take(policy)
        notes = _notes(env)
        return recording if notes is None else dataclasses.replace(recording, decisions=tuple(notes))

    @classmethod
    def of_simulator(
        cls,
        simulator: Simulator,
        events: list[dict[str, Any]],
        *,
        policy: str = "",
        metrics: Mapping[str, Any] | None = None,
        requests: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Self:
        """Return the recording of the episode in row 0 of ``simulator``; ``events`` is its log.

        ``requests`` are (n,) TASK and (n, C) TIMES of all that have arrived, where the episode is a stream.
        """
        config, machine, state = simulator.config, simulator.state.machine[0], simulator.state
        records, times = (state.tasks[0], state.times[0]) if requests is None else requests
        tasks = simulator.describe_tasks(0) if requests is None else simulator.describe(records)
        listed = config.stream and int(state.streams[0]["listed"]) > 0
        drawn = int(machine["episode_seed"]) != 0 and not listed
        return cls(
            config=config,
            tasks=tuple(tasks),
            events=tuple(events),
            timeline=Timeline.of(
                events if requests is None else _from_arrivals(events, tasks),
                tasks=len(tasks),
                end_cycles=int(simulator.state.status[0]["clock_cycles"]),
                latency_cycles=config.scheduler_latency_cycles,
                lookup=context_lookup(simulator, records, times),
                npus=len(config.all_npus),
            ),
            policy=policy,
            seed=int(machine["seed"]) if drawn else None,
            episode=int(machine["episode"]) - 1 if drawn else 0,
            metrics=metrics,
        )

    # --- Figures -------------------------------------------------------------------------------------------------------------

    @property
    def end_cycles(self) -> int:
        """How far the episode was played."""
        return self.timeline.end_cycles

    def ms(self, cycles: float) -> float:
        """Return ``cycles`` of this recording's NPU in milliseconds."""
        return self.config.npu.ms(cycles)

    @property
    def several(self) -> bool:
        """Whether there are several NPUs."""
        return len(self.timeline.npus) > 1

    @property
    def shows_npus(self) -> bool:
        """Whether pictures have a lane for each NPU beside those of tasks: where there are several, or tasks run in batches."""
        return self.several or self.config.batching > 1

    def utilisation(self, npu: int) -> float:
        """Return the share of the time in which an NPU was not idle."""
        return 1.0 - self.timeline.cycles(Kind.IDLE, npu=npu) / max(self.end_cycles, 1)

    def age_cycles(self, task: int) -> int:
        """Return the turnaround of a task, up to now where it is unfinished; 0 before it arrives."""
        entry = self.tasks[task]
        end = self.end_cycles if entry["completion_cycles"] == NONE else entry["completion_cycles"]
        return max(end - entry["arrival_cycles"], 0)

    def ntt(self, task: int) -> float:
        """Return a task's normalized turnaround time, so far where it is unfinished."""
        return self.age_cycles(task) / self.tasks[task]["isolated_cycles"]

    def misses(self, task: int) -> bool:
        """Return whether a task has passed its deadline, at its completion or so far; False where it has none."""
        entry = self.tasks[task]
        due: int = entry["deadline_cycles"]
        return due != NONE and entry["arrival_cycles"] + self.age_cycles(task) > due

    def title(self) -> str:
        """Return one line: policy, episode, ANTT, STP, fairness, violations; of a stream ANTT, p99, deadlines, goodput."""
        name = self.policy or ("a stream" if self.config.stream else "Prema-v0")
        where = "own trace" if self.seed is None else f"seed {self.seed}" + (f", episode {self.episode}" if self.episode else "")
        if self.metrics is None:
            return f"{name} ({where}): {self.ms(self.end_cycles):.1f} ms played"
        return f"{name} ({where}): {', '.join(f'{key} {value}' for key, value in self.headline().items())}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.tasks)} tasks: {self.title()}>"

    def headline(self) -> dict[str, str]:
        """Return the metrics that titles show, as text; none while the episode is being played."""
        if self.metrics is None:
            return {}
        shown = STREAM_TITLE_METRICS if self.config.stream else TITLE_METRICS
        return {name: form.format(value) for key, (name, form) in shown.items() if (value := self.metrics[key]) == value}


def kinds_in(recordings: Iterable[RecordedEpisode]) -> set[Kind]:
    """Return the kinds of slices that occur: what a legend explains."""
    return {
        part.kind for recording in recordings for lane in (*recording.timeline.npus, *recording.timeline.tasks) for part in lane
    }


def _notes(env: Any) -> list[dict[str, Any]] | None:
    """Return what a wrapper around the environment has noted of its decisions, None where none does."""
    while isinstance(env, gym.Wrapper):
        notes = env.__dict__.get("decisions")
        if notes is not None:
            return notes
        env = env.env
    return None
