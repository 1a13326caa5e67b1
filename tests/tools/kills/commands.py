"""Comparisons and sweeps killed at random moments: what was finished is intact, and the rerun ends as the undisturbed one.

A run is the command itself in a process of its own, so that kills fall into its imports too. Its folder holds the results of an
earlier run with another seed; after every kill each file there is the earlier one or the new one, to the byte.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
QUIET = ["--quiet", "--output"]
POLICIES = ["--policies", "NP-FCFS", "P-SJF", "PREMA"]
SMALL: dict[str, list[list[str]]] = {
    "compare": [["compare", *POLICIES, "--episodes", "8", "--per-episode", "--latex", "--fairness"]],
    "sweep": [
        ["sweep", *POLICIES, "--loads", "0.5", "0.9", "--episodes", "4", "--requests", "64", "--workers", workers]
        for workers in ("2", "1")
    ],
}
"""Command lines that end within seconds, played by turns: a sweep on two processes and on one."""
OLD_SEED, SEED = "7", "0"
PATIENCE_S = 60.0
"""How long the processes that a killed command has started may outlive it."""


@dataclass
class Tally:
    """What kills may leave, and what they have left so far."""

    old: dict[str, bytes]
    """The earlier run's files."""
    new: dict[str, bytes]
    """The undisturbed run's."""
    kills: int = 0
    runs: int = 0
    amid: int = 0
    """Kills that left some of the files new and others still old or missing."""
    temporary: int = 0
    """Unfinished files with names of their own that kills have left."""
    wrong: list[str] = field(default_factory=list)

    def after_a_kill(self, before: dict[str, bytes], found: dict[str, bytes]) -> Iterator[str]:
        """Count what a kill has left of a folder that held ``before``; yield what is wrong with it."""
        self.kills += 1
        self.temporary += sum(map(is_temporary, found)) - sum(map(is_temporary, before))
        finished = {name for name, content in self.new.items() if found.get(name) == content}
        self.amid += 0 < len(finished) < len(self.new)
        for name, content in found.items():
            if not is_temporary(name) and content not in (self.old.get(name), self.new.get(name)):
                yield f"{name} damaged"
        for name in before:
            if name not in found:
                yield f"{name} lost"
            elif name in self.new and before[name] == self.new[name] and name not in finished:
                yield f"{name} undone"

    def at_the_end(self, found: dict[str, bytes]) -> Iterator[str]:
        """Yield what is wrong with ``found``, the end of a run that was killed and run again."""
        for name, content in (self.old | self.new).items():
            if found.get(name) != content:
                yield f"{name} differs from the undisturbed run's"


def start(arguments: list[str], folder: Path, seed: str) -> subprocess.Popen[bytes]:
    """Start a command; whatever it starts itself holds its standard error open, too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "PREMA_GYM_QUIET": "1"}
    command = [sys.executable, "-m", "prema_gym", *arguments, "--seed", seed, *QUIET, str(folder)]
    return subprocess.Popen(command, env=environment, cwd=folder.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def whole_run(arguments: list[str], folder: Path, seed: str) -> float:
    """Carry a command out; return its seconds."""
    began = time.monotonic()
    process = start(arguments, folder, seed)
    _, said = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"prema-gym {arguments[0]} ended with {process.returncode}: {said.decode()}")
    return time.monotonic() - began


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder`` by its path from there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def is_temporary(name: str) -> bool:
    """Whether ``name`` is that of a file which was not finished: readers never look at one."""
    last = name.rpartition("/")[2]
    return last.startswith(".") and last.endswith(".tmp")


def stop(process: subprocess.Popen[bytes]) -> list[str]:
    """Kill a command (kill -9) and wait for all that it has started; return what is wrong, if anything."""
    process.send_signal(signal.SIGKILL)
    try:
        process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return [f"its processes run on {PATIENCE_S:g} s after it was killed"]
    return []


def disturbed(arguments: list[str], folder: Path, moments_s: list[float], tally: Tally) -> list[str]:
    """Carry a command out, killed after each of ``moments_s`` and run again; return what is wrong."""
    for moment_s in moments_s:
        before = contents(folder)
        process = start(arguments, folder, SEED)
        try:
            process.wait(moment_s)
            break  # it was faster
        except subprocess.TimeoutExpired:
            problems = stop(process)
        problems += tally.after_a_kill(before, contents(folder))
        if problems:
            return problems
    whole_run(arguments, folder, SEED)
    return list(tally.at_the_end(contents(folder)))


def check(command: str, kills: int, folder: Path, seed: int = 0, each: int = 4) -> Tally:
    """Kill runs of ``command``, each at most ``each`` times, ``kills`` times in all."""
    rng = random.Random(seed)
    whole_run(SMALL[command][0], folder / "old", OLD_SEED)
    seconds = [whole_run(arguments, folder / f"new{k}", SEED) for k, arguments in enumerate(SMALL[command])]
    tally = Tally(contents(folder / "old"), contents(folder / "new0"))
    while tally.kills < kills:
        kind = tally.runs % len(seconds)
        own = folder / f"run{tally.runs}"
        shutil.copytree(folder / "old", own)
        moments_s = [rng.uniform(0.0, seconds[kind]) for _ in range(min(each, kills - tally.kills))]
        tally.wrong += [f"{own.name}: {problem}" for problem in disturbed(SMALL[command][kind], own, moments_s, tally)]
        tally.runs += 1
        shutil.rmtree(own)
    return tally
