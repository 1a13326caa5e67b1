"""The table as text: one line per task that has arrived, for ``render_mode="ansi"``."""

from __future__ import annotations

from typing import Any

from prema_gym.config import NPUConfig
from prema_gym.sim.simulator import Simulator
from prema_gym.types import NONE, RUNNING


def _state(simulator: Simulator, index: int) -> tuple[str, float, float]:
    """Return (what the task does, share executed, token) of task ``index``."""
    for slot in simulator.state.slots[0]:
        if slot["task"] == index:
            done = slot["executed_cycles"] / slot["predicted_cycles"]
            name = "runs" if slot["state"] == RUNNING else "saved" if slot["saved_bytes"] else "waits"
            return name, float(done), float(slot["token"])
    return "done", 1.0, float("nan")


def _bar(share: float, width: int = 20) -> str:
    filled = round(min(share, 1.0) * width)
    return "#" * filled + "." * (width - filled)


def _line(npu: NPUConfig, simulator: Simulator, index: int, task: dict[str, Any], now: int) -> str:
    state, share, token = _state(simulator, index)
    end = now if task["completion_cycles"] == NONE else task["completion_cycles"]
    ntt = (end - task["arrival_cycles"]) / task["isolated_cycles"]
    shown = "" if token != token else f"token {token:8.2f}"
    return (
        f"task {index:2d}  {task['model']:8s} b{task['batch']:<3d} priority {task['priority']}  {state:5s} "
        f"[{_bar(share)}]  NTT {ntt:6.2f}  arrived {npu.ms(task['arrival_cycles']):8.3f} ms  {shown}"
    ).rstrip()


def render_text(npu: NPUConfig, simulator: Simulator) -> str:
    """Return the clock and one line for each task of row 0 that has arrived: who runs, waits, is done."""
    now = int(simulator.state.status[0]["clock_cycles"])
    lines = [f"{npu.ms(now):.3f} ms"]
    arrived = int(simulator.state.machine[0]["next_task"])
    tasks = simulator.describe_tasks(0)[:arrived]
    return "\n".join(lines + [_line(npu, simulator, index, task, now) for index, task in enumerate(tasks)])
