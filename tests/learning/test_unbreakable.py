"""Training that can't be broken: runs that are killed end as undisturbed ones, and what can go wrong is one line."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tools.kills.training import SHARED, SMALL, check, run

from agents.commands.train import main
from agents.learning.checkpoint import load, load_arrays, locked
from agents.learning.run import Run
from agents.learning.training import make_arguments, train
from prema_gym.envs.state import arrays_of, state_of
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import ConfigError, FileError, PolicyError, PremaError

ROOT = Path(__file__).parents[2]
COMMAND = ["--algo", "cma", "--population", "4", "--episodes", "16", "--valid-episodes", "20", "--threads", "1", "--quiet"]


# --- Killed -------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a run is a forked child")
@pytest.mark.parametrize("algo", SMALL)
def test_runs_that_are_killed_end_in_the_weights_and_the_log_of_the_undisturbed_one(algo: str, tmp_path: Path) -> None:
    kills, _, wrong = check(algo, 3, tmp_path)
    assert kills == 3
    assert wrong == 0


@pytest.mark.parametrize("name", ["_write_from", "keep"])
def test_a_kill_around_the_moment_of_writing_changes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {**SMALL["cma"], **SHARED}
    whole = train(make_arguments("cma", output=tmp_path / "whole", **given))
    original, calls = getattr(Run, name), []

    def killed_once(self: Run, *arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, name, killed_once)
        with pytest.raises(KeyboardInterrupt):
            train(make_arguments("cma", output=tmp_path / "parts", **given))
    parts = train(make_arguments("cma", output=tmp_path / "parts", resume=True, **given))
    assert whole is not None
    assert parts is not None
    np.testing.assert_array_equal(parts.flat, whole.flat)
    logs = [load(tmp_path / folder / "checkpoint").log for folder in ("whole", "parts")]
    seen = [[{**json.loads(line), "seconds": 0} for line in log.splitlines()] for log in logs]
    assert seen[0] == seen[1]


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path: Path) -> None:
    run("cma", tmp_path, resume=False)
    before = load(tmp_path / "checkpoint")
    run("cma", tmp_path, resume=True)
    assert load(tmp_path / "checkpoint").payload is not None
    assert load(tmp_path / "checkpoint").log == before.log


def test_rows_go_on_from_where_they_stood() -> None:
    def make(**other: Any) -> PremaVectorEnv:
        return PremaVectorEnv(2, autoreset_mode="SameStep", workload={"models": ["CNN-MN"], "num_tasks": 4}, **other)

    one, other = make(), make()
    one.reset(seed=3)
    for _ in range(5):
        one.step(np.zeros(2, np.int64))
    other.reset()
    other.set_state(state_of(arrays_of(one.get_state()), like=other.get_state()))
    for _ in range(20):
        ours, theirs = one.step(np.zeros(2, np.int64)), other.step(np.zeros(2, np.int64))
        for mine, yours in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(mine, yours)
    larger = make(slots=5)
    larger.reset()
    with pytest.raises(ConfigError, match="another configuration"):
        state_of(arrays_of(one.get_state()), like=larger.get_state())


# --- Refused ------------------------------------------------------------------------------------------------------------------


def test_other_options_are_refused_with_the_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--steps", "1", "--output", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main([*COMMAND, "--steps", "2", "--window", "0.25", "--output", str(tmp_path), "--resume"]) == 2
    message = capsys.readouterr().err
    assert "--window 0.25 where the run has 0.5" in message
    assert message.count("\n") == 1


def test_a_folder_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    held = "import sys, time; from pathlib import Path; from agents.learning.checkpoint import locked\n"
    held += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", held, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(PolicyError, match=f"process {other.pid} trains there"), locked(tmp_path):
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(tmp_path):  # the lock went with the process
        pass


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_one_line(share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("cma", tmp_path, resume=False)
    whole = (tmp_path / "checkpoint").read_bytes()
    (tmp_path / "checkpoint").write_bytes(whole[: int(share * len(whole))])
    assert main([*COMMAND, "--steps", "9", "--output", str(tmp_path), "--resume"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {tmp_path / 'checkpoint'}: ")
    assert message.count("\n") == 1


def test_flipped_bits_of_a_checkpoint_are_a_typed_error_or_harmless(tmp_path: Path) -> None:
    run("cma", tmp_path, resume=False)
    path = tmp_path / "checkpoint"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(PremaError):
            load(path)


def test_objects_in_a_checkpoint_are_not_unpickled(tmp_path: Path) -> None:
    class Opened:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "was run"),))

    with (tmp_path / "checkpoint").open("wb") as file:
        np.savez(file, json=np.array([Opened()], dtype=object))
    with pytest.raises(PolicyError, match="can't be read"):
        load_arrays(tmp_path / "checkpoint")
    assert not (tmp_path / "was run").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([*COMMAND, "--steps", "1", "--output", str(tmp_path / "file" / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_is_one_line_and_leaves_what_was_kept(tmp_path: Path) -> None:
    run("cma", tmp_path, resume=False)
    before = (tmp_path / "checkpoint").read_bytes()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much is then an error, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            given = make_arguments("cma", output=tmp_path, resume=True, **{**SMALL["cma"], "steps": 7}, **SHARED)
            train(given)
        except FileError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "checkpoint").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


# --- Signals --------------------------------------------------------------------------------------------------------------------


# Python ends itself by SIGINT (-2; 130 to a shell) where Ctrl-C interrupted code that an import made from a string.
@pytest.mark.parametrize(("number", "statuses"), [(signal.SIGINT, (130, -2)), (signal.SIGTERM, (143, -15))])
@pytest.mark.parametrize("after_s", [0.15, 0.6, 1.5])
def test_a_signal_is_answered_at_any_moment_imports_included(
    number: signal.Signals, statuses: tuple[int, ...], after_s: float, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "agents.train", *COMMAND, "--minutes", "5", "--output", str(tmp_path)]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after_s)
    started.send_signal(number)
    _, errors = started.communicate(timeout=120)
    assert started.returncode in statuses, errors
    assert "Traceback" not in errors
