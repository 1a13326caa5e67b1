"""A recording: one episode as plain data, with the pictures, files and tables that are made of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prema_gym.errors import ConfigError, MissingPackage, UsageError, unknown_name
from prema_gym.rendering.episode import RecordedEpisode
from prema_gym.rendering.timeline import ACCOUNTS, Kind, Slice
from prema_gym.types import NONE
from prema_gym.workloads.jsonl import write_trace

if TYPE_CHECKING:
    import pandas

    from prema_gym.rendering.charts.lanes import Axes

TABLES = ("tasks", "npus", "decisions", "events", "slices")
"""Tables of :meth:`Recording.to_pandas`."""
BUSY = tuple(kind for kind in Kind if kind not in (Kind.IDLE, Kind.WAIT))
TASK_ACCOUNTS = {"wait": (Kind.WAIT,), "execute": (Kind.EXECUTE,), "killed": (Kind.KILLED,), "overhead": ACCOUNTS["overhead"]}
BATCHED_ACCOUNTS = {**TASK_ACCOUNTS, "joined": (Kind.JOINED,)}
"""What a task's time went into; together it is the turnaround. The latter where tasks run in batches."""


@dataclasses.dataclass(frozen=True, repr=False)
class Recording(RecordedEpisode):
    """One episode, finished or so far, as plain data that draws itself, writes itself to a file and makes tables of itself."""

    def gantt(self, **arguments: Any) -> Axes:
        """Draw it: see :func:`prema_gym.rendering.charts.gantt.gantt`."""
        from prema_gym.rendering.charts.gantt import gantt

        return gantt(self, **arguments)

    def save_trace(self, path: str | Path) -> None:
        """Write it for Perfetto: see :func:`prema_gym.rendering.export.perfetto.save_trace`."""
        from prema_gym.rendering.export.perfetto import save_trace

        save_trace(path, [self])

    def save_requests(self, path: str | Path) -> None:
        """Write its requests as JSON Lines: ``reset(options={"trace": path})`` plays them again, to the cycle under one policy."""
        write_trace(path, self.tasks)

    def rows(self, table: str = "tasks") -> list[dict[str, Any]]:
        """Return a table as plain dicts, times in cycles and milliseconds: "tasks", "npus", "decisions", "events" or "slices"."""
        if table not in TABLES:
            raise ConfigError(f"to_pandas: {unknown_name('table', table, TABLES)}")
        if table == "tasks":
            return [self._task_row(task) for task in range(len(self.tasks))]
        if table == "npus":
            return [self._npu_row(npu) for npu in range(len(self.timeline.npus))]
        if table == "events":
            return [{"ms": self.ms(event["cycle"]), **event} for event in self.events]
        if table == "slices":
            tracks = [*(("npu", lane) for lane in self.timeline.npus), *(("task", lane) for lane in self.timeline.tasks)]
            return [row for name, track in tracks for row in self._slice_rows(name, track)]
        if self.decisions is None:
            raise UsageError(
                "the decisions were not noted: play the episode with record(), or wrap the environment in RecordDecisions."
            )
        return [dict(decision) for decision in self.decisions]

    def to_pandas(self, table: str = "tasks") -> pandas.DataFrame:
        """Return a table as a data frame: "tasks", "npus", "decisions", "events" or "slices"."""
        rows = self.rows(table)
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingPackage("to_pandas() needs pandas: pip install pandas. rows() gives the same as plain dicts.") from error
        return pd.DataFrame(rows)

    def _task_row(self, task: int) -> dict[str, Any]:
        entry, of = self.tasks[task], partial(self.timeline.cycles, task=task)
        spent = {f"{name}_cycles": of(*kinds) for name, kinds in self._task_accounts.items()}
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
            "preemptions": self._preemptions[task],
            **self._deadline(task),
            **spent,
            **self._where(task),
        }

    @property
    def _task_accounts(self) -> dict[str, tuple[Kind, ...]]:
        return BATCHED_ACCOUNTS if self.config.batching > 1 else TASK_ACCOUNTS

    @cached_property
    def _preemptions(self) -> Counter[int]:
        """How often each task was evicted."""
        return Counter(event["task"] for event in self.events if event["event"] in ("commit", "kill"))

    @cached_property
    def _entered(self) -> dict[int, int]:
        """When each task entered the table."""
        return {event["task"]: event["cycle"] for event in self.events if event["event"] == "arrival"}

    def _deadline(self, task: int) -> dict[str, Any]:
        """Return whether a task has missed its deadline, and of a stream how long it was in the backlog."""
        missed = {"deadline_missed": self.misses(task)}
        if not self.config.stream:
            return missed
        entered, arrived = self._entered.get(task, self.end_cycles), self.tasks[task]["arrival_cycles"]
        return {**missed, "backlog_cycles": entered - arrived}

    def _where(self, task: int) -> dict[str, Any]:
        """Return where a task was: the NPUs in order, and the cycles that it had each; nothing where there is one NPU."""
        npus = range(len(self.timeline.npus))
        if len(npus) == 1:
            return {}
        visits = tuple(dict.fromkeys(part.npu for part in self.timeline.tasks[task] if part.npu != NONE))
        return {"npus": visits, **{f"npu{npu}_cycles": self.timeline.cycles(*BUSY, task=task, npu=npu) for npu in npus}}

    def _npu_row(self, npu: int) -> dict[str, Any]:
        accounts = {f"{name}_cycles": cycles for name, cycles in self.timeline.accounts(npu).items()}
        completions = sum(event["npu"] == npu and event["event"] == "completion" for event in self.events)
        return {
            "npu": npu,
            "configuration": self.config.all_npus[npu].label,
            **accounts,
            "utilisation": self.utilisation(npu),
            "completions": completions,
        }

    def _slice_rows(self, name: str, track: tuple[Slice, ...]) -> list[dict[str, Any]]:
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
