"""The compiled machine as a player: what the environment shows, in the words of the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reference.parts import MECHANISMS, Hardware
from reference.parts import Program as ReferenceProgram
from reference.player import Arrival, Setup

from prema_gym import NPUConfig, Program, register_program
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.types import (
    ASKING,
    BARRED,
    BOUND,
    CAUSE_ARRIVAL,
    CAUSE_COMPLETION,
    CAUSE_QUANTUM,
    CAUSE_READY,
    ELSEWHERE,
    EMPTY,
    EVENT,
    EVENT_NAMES,
    IN_COMMIT,
    IN_LATENCY,
    IN_RESTORE,
    IN_RUN_OUT,
    IN_SAVE,
    JOINED,
    NONE,
    READY,
    RUNNING,
    SAVING,
    TERMINATED,
    TRUNCATED,
)
from prema_gym.workloads.programs import ProgramTable
from tools.twin import flat_metrics

CAUSES = {"arrival": CAUSE_ARRIVAL, "completion": CAUSE_COMPLETION, "quantum": CAUSE_QUANTUM, "ready": CAUSE_READY}
PHASES = {IN_LATENCY: "latency", IN_COMMIT: "commit", IN_SAVE: "save", IN_RESTORE: "restore"}
STATES = {
    READY: "waiting",
    BARRED: "waiting",
    SAVING: "waiting",
    BOUND: "bound",
    RUNNING: "running",
    ELSEWHERE: "running",
    JOINED: "joined",
}
ACCOUNT = ("useful", "wasted", "overhead", "idle")
NPU_FIELDS = ("running_slot", "bound_slot", "last_slot", "dispatch_cycles", "last_switch_cycles")
SLOT_FIELDS = (
    "task",
    "priority",
    "arrival_cycles",
    "predicted_cycles",
    "deadline_cycles",
    "length_estimated",
    "executed_cycles",
    "waited_cycles",
    "token",
    "token_whole_wait",
    "last_dispatch_cycles",
    "preemptions",
    "saved_bytes",
    "restore_bytes",
    "refill_cycles",
)
"""Shown under the same names by both."""
BATCH_FIELDS = (
    "leader",
    "members",
    "samples",
    "would_members",
    "would_samples",
    "would_predicted_cycles",
    "would_weight",
    "would_oldest_cycles",
    "would_deadline_cycles",
)
"""The same of a slot's batch."""


def _configuration(hardware: Hardware, number: int) -> NPUConfig:
    """Return the hardware; ``number`` tells configurations apart that differ in their programs only."""
    return NPUConfig(
        clock_hz=hardware.clock_hz,
        dram_bytes_per_second=hardware.bytes_per_second,
        dram_latency_cycles=hardware.dram_latency,
        accumulator_rows=1000 + number,
    )


def _program(program: ReferenceProgram) -> Program:
    return Program.from_points(
        program.total,
        list(program.commits),
        list(program.saves),
        list(program.restores),
        list(program.refills),
        predicted_cycles=program.predicted,
    )


def _entry(arrival: Arrival) -> dict[str, Any]:
    """Return an entry of a trace."""
    entry = {"arrival_cycles": arrival.cycle, "model": f"duel {arrival.model}", "priority": arrival.priority}
    return {**entry, "batch": arrival.samples, "prediction_factor": arrival.factor}


def _registered(setup: Setup, model: str, npus: Mapping[str, NPUConfig]) -> dict[Any, Any]:
    """Return what ``model`` is registered as: its program on each configuration, by samples where it has sizes."""
    sizes = setup.sizes.get(model)
    if not sizes:
        return {npu: _program(setup.programs[model][name]) for name, npu in npus.items()}
    known = next(iter(sizes.values()))
    return {size: {npu: _program(sizes[name][size]) for name, npu in npus.items()} for size in known}


def _workload(setup: Setup, sla: float | None) -> dict[str, Any]:
    """Return a workload of all models, requests of each with the samples that it may have."""
    if not setup.samples:
        return {"models": [f"duel {model}" for model in setup.programs], "batches": [1], "sla": sla}
    priority = {str(level): 1.0 for level in setup.rules.levels}
    classes = [
        {"model": f"duel {model}", "batch": list(setup.samples.get(model, (1,))), "priority": priority} for model in setup.programs
    ]
    return {"mix": classes if sla is None else [{**each, "sla": sla} for each in classes]}


class KernelPlayer:
    """The kernel behind the environment."""

    def start(self, trace: Sequence[Arrival], setup: Setup) -> None:
        """Make the environment of ``setup`` and play to the first decision of ``trace``."""
        self._make(setup)
        self._begin({"options": {"trace": [_entry(arrival) for arrival in trace]}})

    def start_stream(self, setup: Setup, seed: int, *, gap_cycles: float, sla: float | None) -> None:
        """Make the environment of ``setup`` and play to the first decision of the stream of ``seed``."""
        self._make(setup, None if sla is None else 1.0, horizon_requests=setup.rules.horizon_requests)  # replaced below
        draws = self._env._core.simulator.draws
        draws.draw["gap_cycles"] = gap_cycles  # finer than a rate in whole milliseconds
        draws.classes["sla"] = sla or 0.0
        self._begin({"seed": seed})

    def start_listed(self, requests: list[dict[str, Any]], path: Path | None) -> None:
        """Begin anew with ``requests`` given at the reset: as a list, or in a file at ``path``."""
        if path is not None:
            path.write_text("".join(json.dumps(request) + "\n" for request in requests))
        self._begin({"options": {"trace": requests if path is None else str(path)}})

    def _make(self, setup: Setup, sla: float | None = None, **arguments: Any) -> None:
        rules = setup.rules
        names = list(dict.fromkeys(hardware.configuration for hardware in rules.npus))
        self._names = names
        npus = {hardware.configuration: _configuration(hardware, names.index(hardware.configuration)) for hardware in rules.npus}
        for model in setup.programs:
            register_program(f"duel {model}", _registered(setup, model, npus))
        self._env = PremaEnv(
            npus=[npus[hardware.configuration] for hardware in rules.npus],
            workload={**_workload(setup, sla), "num_tasks": 1},
            slots=rules.slots,
            quantum_cycles=rules.quantum,
            scheduler_latency_cycles=rules.latency,
            decision_every=rules.decision_every,
            mechanisms=list(rules.mechanisms),
            allow_idle=rules.allow_idle,
            batching=rules.batching,
            **arguments,
        )
        ProgramTable._tables.clear()  # each case has programs of its own

    def _begin(self, arguments: dict[str, Any]) -> None:
        _, self._info = self._env.reset(**arguments)
        self._logged = 0
        self._state = self._env._core.simulator.state
        self._batching = self._env.config.batching > 1

    def asked(self) -> tuple[int, int] | None:
        """Return (NPU, pass), None once the episode is over."""
        machine = self._state.machine[0]
        if machine["outcome"] != ASKING:
            return None
        return int(self._state.status[0]["npu"]), max(int(machine["asking_pass"]), 1)

    def mask(self) -> list[int]:
        """Return the environment's mask."""
        legal: list[int] = self._info["action_mask"].tolist()
        return legal

    def act(self, action: int) -> bool:
        """Carry out an action; return whether it was legal."""
        self._env._drain_log()
        self._logged = len(self._env._history)
        *_, self._info = self._env.step(action)
        return not self._info["illegal_action"]

    def snapshot(self) -> dict[str, Any]:
        """Return what shows."""
        machine, status = self._state.machine[0], self._state.status[0]
        asked = self.asked()
        cause = int(status["cause"])
        engines = self._state.engines[0]
        return {
            "clock_cycles": int(status["clock_cycles"]),
            "terminated": bool(machine["outcome"] == TERMINATED),
            "truncated": bool(machine["outcome"] == TRUNCATED),
            "asked_npu": NONE if asked is None else asked[0],
            "asking_pass": 0 if asked is None else asked[1],
            "cause": sorted(name for name, bit in CAUSES.items() if cause & bit),
            "mask": self.mask(),
            "decisions": int(machine["decisions"]),
            "quantum_due_cycles": int(machine["quantum_due_cycles"]),
            "horizon_cycles": int(machine["horizon_cycles"]),
            "last_arrival_cycles": int(status["last_arrival_cycles"]),
            "backlog": int(status["backlog"]),
            "oldest_backlog_cycles": int(status["oldest_backlog_cycles"]),
            "arrival_gap_cycles": float(status["arrival_gap_cycles"]),
            "ready": sum(int(entry["state"]) in (READY, BARRED, SAVING) for entry in self._state.table[0]),
            "finished": int(status["finished"]),
            "min_log_pp": float(status["min_log_pp"]),
            "max_log_pp": float(status["max_log_pp"]),
            "npus": [self._npu(n) for n in range(len(engines))],
            "slots": [self._slot(index, over=asked is None) for index in range(len(self._state.table[0]))],
            "account": {name: int(engines[f"{name}_cycles"].sum()) for name in ACCOUNT},
            "observation": None if asked is None else self._observation(),
            "elapsed_cycles": int(self._env._core.outcomes["elapsed_cycles"][0]),
            "reward_terms": self._info["reward_terms"],
            "events": self._events(),
            "metrics": self._metrics(),
        }

    def _events(self) -> list[tuple[Any, ...]]:
        """Return (cycle, event, slot, task, npu) of everything since the last action began."""
        self._env._drain_log()
        parts = (part[list(EVENT.names or ())].tolist() for part in self._env._history[self._logged :])
        return [(cycle, EVENT_NAMES[event], slot, task, npu) for part in parts for cycle, event, npu, slot, task in part]

    def _observation(self) -> dict[str, list[float]]:
        """Return every feature by name: of all slots, of all NPUs, or of the row."""
        layout, shown = self._env._core.layout, self._env._core.observations[0]
        return {name: shown[layout[name]].tolist() for name in layout}

    def _metrics(self) -> dict[str, Any] | None:
        """Return the metrics at the end of an episode, one number each; None where one has no value."""
        if "metrics" not in self._info:
            return None
        metrics = dict(self._info["metrics"])
        if not self._env.config.stream:
            return flat_metrics(metrics)
        each = {f"utilisation_{n}": value for n, value in enumerate(metrics.pop("utilisation_per_npu"))}
        return {name: None if value != value else value for name, value in (metrics | each).items()}

    def _npu(self, n: int) -> dict[str, Any]:
        npu, engine = self._state.npus[0, n], self._state.engines[0, n]
        phase = PHASES.get(int(engine["phase"]))
        if engine["phase"] == IN_RUN_OUT:
            phase = "drain" if MECHANISMS[engine["mechanism"]] == "DRAIN" else "commit"
        doing = phase or ("idle" if npu["running_slot"] == NONE else "run")
        return {"phase": doing, **{name: int(npu[name]) for name in NPU_FIELDS}}

    def _slot(self, index: int, *, over: bool) -> dict[str, Any]:
        entry = self._state.table[0, index]
        state = int(entry["state"])
        batch = {"batch": {name: self._state.batches[0, index][name].item() for name in BATCH_FIELDS}} if self._batching else {}
        if state == EMPTY:
            return {"state": "empty", **batch}
        shown = {name: entry[name].item() for name in SLOT_FIELDS}
        progress = entry["executed_cycles"] > 0
        leader = self._state.batches[0, index]["leader"] if state == JOINED else index
        saving = self._state.table[0, leader]["state"] == SAVING
        settled = entry["configuration"] != NONE if state == JOINED else progress
        fastest = int(entry["fastest_predicted_cycles"])
        if over and not progress:
            shown["predicted_cycles"] = min(self._state.predictions[0, index].tolist(), default=fastest)
        return {
            **shown,
            "state": STATES[state],
            "npu": NONE if saving else int(entry["npu"]),
            "choosable": state == READY and not over,
            "saving": state == SAVING,
            "configuration": self._names[entry["configuration"]] if settled else None,
            "predicted_fastest_cycles": fastest,
            **batch,
        }
