"""A recording: one episode as plain data, to be drawn, exported or put into tables after the environment has moved on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import gymnasium as gym

from prema_gym.config import EnvConfig
from prema_gym.errors import ConfigError, PremaError, UsageError, unknown_name
from prema_gym.rendering.timeline import ACCOUNTS, Context, Kind, Lookup, Slice, Timeline
from prema_gym.sim.kernel import next_commit
from prema_gym.sim.simulator import Simulator
from prema_gym.types import NONE

if TYPE_CHECKING:
    import pandas

    from prema_gym.rendering.charts.gantt import Axes

TABLES = ("tasks", "decisions", "events", "slices")
"""Tables of :meth:`Recording.to_pandas`."""


TITLE_METRICS = {
    "antt": ("ANTT", "{:.2f}"),
    "stp": ("STP", "{:.2f}"),
    "fairness": ("fairness", "{:.2g}"),
    "sla_violation": ("SLA violations", "{:.1%}"),
}
"""Metrics of a recording's title: what they are called there, and their form."""
TASK_ACCOUNTS = {"wait": (Kind.WAIT,), "execute": (Kind.EXECUTE,), "killed": (Kind.KILLED,), "overhead": ACCOUNTS["overhead"]}
"""What a task's time went into; together it is the turnaround."""


class MissingPackage(PremaError, ImportError):  # noqa: N818  # it is an ImportError
    """A package that only this call needs is not installed."""


def task_label(task: Mapping[str, Any]) -> str:
    """Return a task's name: model, batch, priority."""
    return f"{task['model']} b{task['batch']} p{task['priority']}"


def context_lookup(simulator: Simulator) -> Lookup:
    """Return what a preemption costs the tasks that row 0 of ``simulator`` plays now."""
    programs = simulator.state.tasks[0]["program"].tolist()

    def lookup(task: int, executed_cycles: int) -> Context:
        _, save, restore, refill = next_commit(simulator.tables, programs[task], executed_cycles)
        return Context(int(save), int(restore), int(refill))

    return lookup


@dataclasses.dataclass(frozen=True)
class Recording:
    """One episode, finished or so far. It holds no reference to the environment and pickles."""

    config: EnvConfig
    tasks: tuple[Mapping[str, Any], ...]
    """In order of arrival, truth included, as ``env.unwrapped.tasks()`` gives them."""
    events: tuple[Mapping[str, Any], ...]
    """The event log, as ``env.unwrapped.events()`` gives it."""
    timeline: Timeline
    """The same, as slices of time."""
    policy: str = ""
    seed: int | None = None
    """Of ``reset``; None where the trace was injected."""
    episode: int = 0
    """Resets since that seed was given: 0 is the episode of the seed itself."""
    metrics: Mapping[str, Any] | None = None
    """``info["metrics"]``; None while the episode is being played."""
    decisions: tuple[Mapping[str, Any], ...] | None = None
    """One entry per asked decision; None where nobody noted them (:class:`~prema_gym.rendering.record.RecordDecisions`)."""

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
    ) -> Self:
        """Return the recording of the episode in row 0 of ``simulator``; ``events`` is its log."""
        config, machine = simulator.config, simulator.state.machine[0]
        tasks = simulator.describe_tasks(0)
        drawn = int(machine["episode_seed"]) != 0
        return cls(
            config=config,
            tasks=tuple(tasks),
            events=tuple(events),
            timeline=Timeline.of(
                events,
                tasks=len(tasks),
                end_cycles=int(simulator.state.status[0]["clock_cycles"]),
                latency_cycles=config.scheduler_latency_cycles,
                lookup=context_lookup(simulator),
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

    def age_cycles(self, task: int) -> int:
        """Return the turnaround of a task, up to now where it is unfinished; 0 before it arrives."""
        entry = self.tasks[task]
        end = self.end_cycles if entry["completion_cycles"] == NONE else entry["completion_cycles"]
        return max(end - entry["arrival_cycles"], 0)

    def ntt(self, task: int) -> float:
        """Return a task's normalized turnaround time, so far where it is unfinished."""
        return self.age_cycles(task) / self.tasks[task]["isolated_cycles"]

    def title(self) -> str:
        """Return one line: policy, episode, ANTT, STP, fairness, violations."""
        name = self.policy or "Prema-v0"
        where = "own trace" if self.seed is None else f"seed {self.seed}" + (f", episode {self.episode}" if self.episode else "")
        if self.metrics is None:
            return f"{name} ({where}): {self.ms(self.end_cycles):.1f} ms played"
        return f"{name} ({where}): {', '.join(f'{key} {value}' for key, value in self.headline().items())}"

    def headline(self) -> dict[str, str]:
        """Return the metrics that titles show, as text; none while the episode is being played."""
        if self.metrics is None:
            return {}
        return {name: form.format(self.metrics[key]) for key, (name, form) in TITLE_METRICS.items()}

    # --- Elsewhere -----------------------------------------------------------------------------------------------------------

    def gantt(self, **arguments: Any) -> Axes:
        """Draw it: see :func:`prema_gym.rendering.charts.gantt.gantt`."""
        from prema_gym.rendering.charts.gantt import gantt

        return gantt(self, **arguments)

    def save_trace(self, path: str | Path) -> None:
        """Write it for Perfetto: see :func:`prema_gym.rendering.export.perfetto.save_trace`."""
        from prema_gym.rendering.export.perfetto import save_trace

        save_trace(path, [self])

    def rows(self, table: str = "tasks") -> list[dict[str, Any]]:
        """Return a table as plain dicts: "tasks", "decisions", "events" or "slices"; times in cycles and milliseconds."""
        if table not in TABLES:
            raise ConfigError(f"to_pandas: {unknown_name('table', table, TABLES)}")
        if table == "tasks":
            return [self._task_row(task) for task in range(len(self.tasks))]
        if table == "events":
            return [{"ms": self.ms(event["cycle"]), **event} for event in self.events]
        if table == "slices":
            return [row for track in (self.timeline.npu, *self.timeline.tasks) for row in self._slice_rows(track)]
        if self.decisions is None:
            raise UsageError(
                "the decisions were not noted: play the episode with record(), or wrap the environment in RecordDecisions."
            )
        return [dict(decision) for decision in self.decisions]

    def to_pandas(self, table: str = "tasks") -> pandas.DataFrame:
        """Return a table as a data frame: "tasks", "decisions", "events" or "slices"."""
        rows = self.rows(table)
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingPackage("to_pandas() needs pandas: pip install pandas. rows() gives the same as plain dicts.") from error
        return pd.DataFrame(rows)

    def _task_row(self, task: int) -> dict[str, Any]:
        entry, of = self.tasks[task], partial(self.timeline.cycles, task=task)
        spent = {f"{name}_cycles": of(*kinds) for name, kinds in TASK_ACCOUNTS.items()}
        commits = sum(event["task"] == task and event["event"] in ("commit", "kill") for event in self.events)
        times = {f"{name}_ms": self.ms(entry[f"{name}_cycles"]) for name in ("arrival", "isolated", "predicted")}
        done = entry["completion_cycles"] != NONE
        return {
            "task": task,
            **entry,
            **times,
            "completion_ms": self.ms(entry["completion_cycles"]) if done else float("nan"),
            "done": done,
            "turnaround_ms": self.ms(self.age_cycles(task)),
            "ntt": self.ntt(task),
            "preemptions": commits,
            **spent,
        }

    def _slice_rows(self, track: tuple[Slice, ...]) -> list[dict[str, Any]]:
        name = "npu" if track is self.timeline.npu else "task"
        return [
            {
                "track": name,
                **part._asdict(),
                "kind": str(part.kind),
                "ms": self.ms(part.start_cycles),
                "length_ms": self.ms(part.cycles),
            }
            for part in track
        ]

    def _repr_html_(self) -> str:
        """Return the summary that notebooks show."""
        from prema_gym.rendering.export.html import render_html

        return render_html(self)


def _notes(env: Any) -> list[dict[str, Any]] | None:
    """Return what a wrapper around the environment has noted of its decisions, None where none does."""
    while isinstance(env, gym.Wrapper):
        notes = env.__dict__.get("decisions")
        if notes is not None:
            return notes
        env = env.env
    return None
