"""Training runs killed at random moments and resumed: each has to end as the undisturbed one.

A run is a forked child, so that nothing is imported or compiled again.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from agents.learning.checkpoint import load
from agents.learning.training import make_arguments, train

SMALL: dict[str, dict[str, Any]] = {
    "cma": {"steps": 6, "population": 4, "episodes": 16},
    "masked_ppo": {"steps": 384, "rows": 4, "rollout": 16, "batch": 32, "network": "mlp"},
    "maskable_ppo": {"steps": 384, "rows": 4, "rollout": 16, "batch": 32},
}
"""Options of runs that end within a second."""
_UNSET = ("optimizer._funhist_values",)
"""Of cmaes: a history whose entries to come hold whatever was in memory."""
SHARED = {"valid_episodes": 20, "quiet": True, "threads": 1, "evaluations": 3}


def run(algo: str, folder: Path, *, resume: bool) -> None:
    """Carry out a run in this process."""
    train(make_arguments(algo, output=folder, resume=resume, **SMALL[algo], **SHARED))


def start(algo: str, folder: Path) -> int:
    """Start or resume a run in a forked child; return its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(algo, folder, resume=True)
            status = 0
        finally:
            os._exit(status)
    return child


def end_of(folder: Path) -> tuple[bytes, np.ndarray | None, list[Any]]:
    """Return what a run has ended in: its checkpoint but for its clock, the best weights, and the log without seconds."""
    saved = load(folder / "checkpoint")
    lines = [json.loads(line) for line in saved.log.splitlines()]
    for line in lines:
        del line["seconds"]
    shown = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(shown) == len(lines), "the log that people read is the one that is kept"
    return saved.payload or b"", saved.best, lines


def differences(one: Any, other: Any) -> list[str]:
    """Return the names of what two runs have not ended alike in."""
    (payload, best, log), (others, their_best, their_log) = one, other
    ours, theirs = _arrays(payload), _arrays(others)
    unlike = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    return unlike + ["best"] * (not np.array_equal(best, their_best)) + ["log"] * (log != their_log)


def _arrays(payload: bytes) -> dict[str, list[bytes]]:
    """Return the contents of the arrays in an algorithm's own checkpoint: archives that say the same may differ in time stamps."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name not in _UNSET}
    archive = arrays.pop("archive", None)
    parts = {name: _content(array) for name, array in arrays.items()}
    if archive is None:
        return parts
    with zipfile.ZipFile(io.BytesIO(archive.tobytes())) as inner:
        return parts | {name: [inner.read(name)] for name in inner.namelist()}


def _content(array: np.ndarray) -> list[bytes]:
    """Return the bytes of an array, of records field by field: what lies between the fields means nothing."""
    names = array.dtype.names
    return [array.tobytes()] if names is None else [array[name].tobytes() for name in names]


def disturbed(algo: str, folder: Path, rng: random.Random, longest_s: float, kills: int) -> tuple[int, int]:
    """Carry a run out, killing it up to ``kills`` times; return (times that it was killed, exit status of the last part)."""
    killed = 0
    while True:
        child = start(algo, folder)
        if killed < kills:
            time.sleep(rng.uniform(0.0, longest_s))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        return killed, os.waitstatus_to_exitcode(status)


def check(algo: str, kills: int, folder: Path, seed: int = 0, each: int = 4) -> tuple[int, int, int]:
    """Kill runs of ``algo``, each at most ``each`` times, ``kills`` times in all; return (kills, runs, runs that differ)."""
    run(algo, folder / "whole", resume=False)
    whole = end_of(folder / "whole")
    began = time.monotonic()
    child = start(algo, folder / "timed")
    os.waitpid(child, 0)
    longest_s = 0.95 * (time.monotonic() - began)
    rng, done, runs, wrong = random.Random(seed), 0, 0, 0
    while done < kills:
        own = folder / f"run{runs}"
        killed, status = disturbed(algo, own, rng, longest_s, min(each, kills - done))
        unlike = differences(end_of(own), whole) if status == 0 else [f"exit status {status}"]
        if unlike:
            wrong += 1
            print(f"{own.name}: ended otherwise after {killed} kills: {', '.join(unlike)}")
        else:
            shutil.rmtree(own)
        done, runs = done + killed, runs + 1
    return done, runs, wrong
