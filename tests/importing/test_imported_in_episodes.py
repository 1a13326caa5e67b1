"""Networks from outside in episodes: named by file in plain JSON, cached like built-in ones, the same in another process."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium as gym
import pytest

from prema_gym.config import EnvConfig, NPUConfig, WorkloadConfig
from prema_gym.errors import ModelError, PremaError
from prema_gym.hardware.layers import Gemm, Network
from prema_gym.workloads import programs
from prema_gym.workloads.importing import from_profile
from prema_gym.workloads.importing.imported import fixed_model
from prema_gym.workloads.models import MEASURED, MODELS, register_model
from prema_gym.workloads.programs import ProgramTable

PROFILE = "layer,batch,cycles,live_bytes\na,1,700,64\nb,1,300,0\na,4,1400,256\nb,4,600,0\n"


@pytest.fixture(autouse=True)
def unchanged_registries():
    before = dict(MODELS), dict(MEASURED)
    yield
    for registry, old in zip((MODELS, MEASURED), before, strict=True):
        registry.clear()
        registry.update(old)


@pytest.fixture
def files(tmp_path):
    """Return the names of a network saved as JSON and of a profile."""
    network = Network("mlp", 64, (Gemm(1, 64, 256), Gemm(1, 256, 10)))
    saved = fixed_model(network, "by hand", name="mlp").save(tmp_path / "mlp.json")
    (tmp_path / "measured.csv").write_text(PROFILE, encoding="utf-8")
    return [str(saved), str(tmp_path / "measured.csv")]


def test_configurations_name_files_and_stay_plain_json(files):
    workload = {"models": [*files, "CNN-MN"], "batches": [1, 4], "num_tasks": 6}
    config = EnvConfig.coerce({"workload": json.loads(json.dumps(workload))})
    assert config.to_dict()["workload"]["models"] == [*files, "CNN-MN"]
    env = gym.make("prema_gym:Prema-v0", workload=workload)
    env.reset(seed=3)
    assert {task["model"] for task in env.unwrapped.tasks()} <= {*files, "CNN-MN"}


def test_a_trace_names_a_file(files):
    env = gym.make("prema_gym:Prema-v0", workload={"num_tasks": 2})
    trace = [{"arrival_cycles": 0, "model": files[1], "batch": 4}, {"arrival_cycles": 10, "model": files[0]}]
    env.reset(options={"trace": trace})
    assert env.unwrapped.tasks()[0]["isolated_cycles"] == 2000


def test_imported_programs_are_compiled_once_and_read_from_disk_after(files, tmp_path, monkeypatch):
    monkeypatch.setenv("PREMA_GYM_CACHE", str(tmp_path / "cache"))
    assert files[0] in programs.known_models()
    workload = WorkloadConfig(models=(files[0],), batches=(1, 2))
    first = ProgramTable((NPUConfig(),), workload)

    def refuse(*_, **__):
        raise AssertionError("compiled again")

    monkeypatch.setattr(programs, "compile_program", refuse)
    again = ProgramTable((NPUConfig(),), workload)
    assert again.arrays.totals.tolist() == first.arrays.totals.tolist()


def test_a_changed_network_of_the_same_name_is_compiled_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("PREMA_GYM_CACHE", str(tmp_path))
    totals = []
    for width in (64, 4096):
        register_model(fixed_model(Network("net", 64, (Gemm(1, 64, width),)), "by hand", name="CHANGING-TEST"))
        table = ProgramTable((NPUConfig(),), WorkloadConfig(models=("CHANGING-TEST",), batches=(1,)))
        totals.append(table.arrays.totals.tolist())
    assert totals[0] < totals[1]


def test_another_process_needs_nothing_but_the_name(files):
    code = (
        "import sys, gymnasium as gym\n"
        "env = gym.make('prema_gym:Prema-v0', workload={'models': sys.argv[1:], 'batches': [1], 'num_tasks': 3})\n"
        "env.reset(seed=0)\n"
        "print(sorted({task['isolated_cycles'] for task in env.unwrapped.tasks()}))"
    )
    done = subprocess.run([sys.executable, "-c", code, files[1]], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1000]"


def test_a_measured_model_is_drawn_at_its_batches_and_refused_beyond():
    register_model(from_profile([{"layer": "a", "batch": 4, "cycles": 500}], name="MEASURED-TEST"))
    table = ProgramTable((NPUConfig(),), WorkloadConfig(models=("MEASURED-TEST",), batches=(1, 4)))
    assert table.arrays.totals.tolist() == [500, 500]
    with pytest.raises(ModelError, match="batch = 16"):
        ProgramTable((NPUConfig(),), WorkloadConfig(models=("MEASURED-TEST",), batches=(16,)))


@pytest.mark.parametrize("name", ["missing.onnx", "missing.csv", "missing.json"])
def test_a_missing_file_is_named(name):
    with pytest.raises(PremaError, match=name):
        gym.make("prema_gym:Prema-v0", workload={"models": [name]})
