"""The files for clusters say what the rest of the project says, and Ray takes them; a local head and two workers play a sweep."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from scaling.on_ray import needs_ray
from tools.kills.workers import ROOT, below, processes

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
CLUSTER = ROOT / "deploy" / "cluster.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "EXPOSE", "CMD"}
PORT, JOBS = 26379, 28265
SWEEP = ["--policies", "P-SJF", "PREMA", "--loads", "0.5", "0.9", "--episodes", "20", "--requests", "32", "--quiet"]


def instructions() -> list[tuple[str, str]]:
    """Return (instruction, arguments) of the container file, continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined]


def test_the_container_file_is_made_of_known_instructions_and_names_what_there_is():
    found = instructions()
    assert found[0][0] == "FROM"
    assert {name for name, _ in found} == INSTRUCTIONS
    assert all(arguments.strip() for _, arguments in found)
    (install,) = [arguments for _, arguments in found if "pip install" in arguments]
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', install)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    (constraints,) = re.findall(r"--constraint (\S+)", install)
    assert (ROOT / constraints).is_file()
    assert json.loads(next(arguments for name, arguments in found if name == "CMD"))[:2] == ["ray", "start"]


def test_both_files_name_the_image_of_this_release():
    image = f"prema-gym-ray:{PROJECT['version']}"
    assert f"--tag {image} ." in DOCKERFILE
    assert f"image: {image}" in CLUSTER.read_text(encoding="utf-8")


@needs_ray
def test_ray_takes_the_cluster_file():
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(CLUSTER.read_text(encoding="utf-8"))
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])


def ray_command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "MPLBACKEND": "Agg", **more}
    command = [sys.executable, "-m", "ray.scripts.scripts", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def cluster(monkeypatch) -> Iterator[str]:
    """A head without cores and two workers of one each, on this machine, with a token of their own; yields the address."""
    own = tempfile.mkdtemp(prefix="ray")  # short, as names of sockets have to be; nobody else's idea of the present cluster changes
    monkeypatch.setenv("RAY_TMPDIR", own)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    before = processes().keys()
    small = ("--object-store-memory", "100000000", "--disable-usage-stats")
    try:
        here = ("--node-ip-address", "127.0.0.1")
        head = ("--head", "--port", str(PORT), "--num-cpus", "0", "--dashboard-port", str(JOBS), "--include-dashboard", "true")
        started = [ray_command("start", *head, *here, *small)]
        started += [ray_command("start", "--address", f"127.0.0.1:{PORT}", "--num-cpus", "1", *here, *small) for _ in range(2)]
        assert [one.returncode for one in started] == [0, 0, 0], started
        yield f"127.0.0.1:{PORT}"
    finally:
        ours = [n for n, (_, command) in processes().items() if n not in before and f"{PORT}" in command and "ray" in command]
        for number in {*ours, *(child for one in ours for child in below(one))}:  # those of this cluster, and no others
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        shutil.rmtree(own, ignore_errors=True)


def sweep(folder: Path, *more: str) -> bytes:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "baselines.sweep", *SWEEP, "--output", str(folder), *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return (folder / "sweep.json").read_bytes()


@needs_ray
def test_a_local_head_with_two_workers_plays_a_sweep_and_takes_jobs(tmp_path, cluster):
    expected = sweep(tmp_path / "local", "--workers", "1")
    assert sweep(tmp_path / "cluster", "--engine", "ray", "--address", cluster) == expected
    words = [sys.executable, "-m", "baselines.sweep", *SWEEP, "--engine", "ray", "--output", str(tmp_path / "job")]
    submitted = ray_command("job", "submit", "--address", f"http://127.0.0.1:{JOBS}", "--", *words)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert (tmp_path / "job" / "sweep.json").read_bytes() == expected
