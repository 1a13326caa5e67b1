"""Sweeps on Ray whose workers are killed (kill -9) while they play: nothing may be lost, doubled or otherwise than undisturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
POLICIES = ("NP-FCFS", "P-SJF", "PREMA")
SWEEP = ["--policies", *POLICIES, "--loads", "0.5", "0.9", "--episodes", "1000", "--requests", "64", "--workers", "2", "--quiet"]
"""Six cells of a second or so."""
WORKER = "ray::"
"""How Ray's workers call themselves while they play, followed by what they play."""


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start the sweep with its files in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "PREMA_GYM_QUIET": "1"}
    command = [sys.executable, "-m", "baselines.sweep", *SWEEP, "--output", str(folder), *more]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes() -> dict[int, tuple[int, str]]:
    """Return (parent, command line) of every process by its number; of a machine that has ``/proc``."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(entry.name)] = parent, (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
    return found


def below(root: int) -> dict[int, str]:
    """Return the command lines of all processes that ``root`` has started, and they in turn."""
    everything = processes()
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for number, (of, command) in everything.items():
            if of == parent and number not in found:
                found[number] = command
                waiting.append(number)
    return found


def players(root: int) -> list[int]:
    """Return the workers below ``root`` that play a cell now."""
    return sorted(
        number for number, command in below(root).items() if command.startswith(tuple(WORKER + name for name in POLICIES))
    )


def kill_players(sweep: subprocess.Popen[str], kills: int, rng: random.Random, longest_s: float = 1.0) -> int:
    """Kill up to ``kills`` workers of ``sweep``, each some time into its cell; return how many there were before it ended."""
    killed = 0
    while killed < kills and sweep.poll() is None:
        if not players(sweep.pid):
            time.sleep(0.02)
            continue
        time.sleep(rng.uniform(0.0, longest_s))
        playing = players(sweep.pid)
        if playing:
            os.kill(rng.choice(playing), signal.SIGKILL)
            killed += 1
    return killed


def results(folder: Path) -> dict[str, bytes]:
    """Return what a sweep has written, but for its picture."""
    files = [*folder.glob("cells/*"), folder / "sweep.json", folder / "sweep.csv"]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def whole(folder: Path, *more: str) -> dict[str, bytes]:
    """Carry an undisturbed sweep out; return its results."""
    sweep = start(folder, *more)
    _, said = sweep.communicate()
    if sweep.returncode != 0:
        raise RuntimeError(f"the sweep ended with {sweep.returncode}: {said}")
    return results(folder)


def check(kills: int, folder: Path, seed: int = 0, each: int = 3) -> Iterator[tuple[int, str]]:
    """Yield, for runs until ``kills`` workers have been killed, how many were and what was wrong, if anything."""
    undisturbed, rng, done = whole(folder / "local"), random.Random(seed), 0
    while done < kills:
        own = folder / f"run{done}"
        sweep = start(own, "--engine", "ray", "--retries", str(each))
        killed = kill_players(sweep, min(each, kills - done), rng)
        _, said = sweep.communicate()
        done += killed
        if sweep.returncode != 0:
            yield killed, f"{own.name}: ended with {sweep.returncode}: {said.strip()}"
        else:
            yield killed, "" if results(own) == undisturbed else f"{own.name}: ended otherwise than the undisturbed run"
