"""``python -m baselines.reproduce``: what it writes, the default window's rule, costs of preemption against the simulator."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from baselines.commands.reproduce import main
from baselines.studies import contexts, crossovers, pairs, sweeps
from baselines.studies.catalogue import STUDIES
from baselines.studies.study import Player
from prema_gym.config import MODEL_NAMES, EnvConfig, NPUConfig
from prema_gym.hardware.library import ProgramLibrary
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import compile_program


def run(tmp_path, *arguments):
    assert main(["--quiet", "--output", str(tmp_path), "--episodes", "6", *arguments]) == 0
    return json.loads((tmp_path / "reproduction.json").read_text())


def test_the_headline_stands_beside_the_abstract(tmp_path, capsys):
    data = run(tmp_path, "--studies", "sla")
    assert {key: entry["paper"] for key, entry in data["headline"].items()} == {"antt": 7.8, "stp": 1.4, "sla": 4.8}
    for entry in data["headline"].values():
        assert entry["ci95"][0] <= entry["factor"] <= entry["ci95"][1]
    assert set(data["studies"]) == {"headline", "sla"}
    assert (tmp_path / "reproduction" / "sla.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert all(claim in printed for claim in ("7.8x", "1.4x", "4.8x"))


def test_factors_are_those_of_the_comparison(tmp_path):
    from baselines.evaluation.evaluate import evaluate

    data = run(tmp_path, "--studies", "headline", "--no-figures")
    results = evaluate(["NP-FCFS", "PREMA"], episodes=6)
    assert data["headline"]["sla"]["factor"] == pytest.approx(results.factor("PREMA", "sla_violation").ratio.mean)
    assert data["headline"]["antt"]["factor"] == pytest.approx(results.factor("PREMA", "antt").ratio.mean)


@pytest.mark.parametrize("arguments", [["--studies", "headlines"], ["--episodes", "1"], ["--threads", "0"]])
def test_a_wrong_option_is_one_line(arguments, capsys):
    assert main(["--quiet", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_study_has_points_that_exist_and_a_name_of_its_own():
    for name, study in STUDIES.items():
        assert study.name == name
        for point in study.points:
            assert point.config
    assert len(Player.keys(point for study in STUDIES.values() for point in study.points)) > 100


def test_the_windows_distance_is_the_largest_log_ratio():
    point = {"factors": {"antt": {"factor": 7.8 * 2}, "stp": {"factor": 1.4 / 3}, "sla": {"factor": 4.8}}}
    assert sweeps.distance(point) == pytest.approx(math.log(3))


def test_crossovers_are_the_steps_at_which_a_sample_takes_longer():
    assert crossovers.slower((1, 2, 4, 8), (10.0, 8.0, 8.0, 12.0)) == [{"from": 4, "to": 8, "slowdown": 1.5}]


def test_a_full_buffer_saves_in_16503_cycles():
    assert contexts.context_cycles(np.array([0, 1, 8 << 20]), NPUConfig()).tolist() == [0, 101, 16_503]


def test_checkpoint_kill_and_drain_delay_a_task_by_what_the_program_says():
    tables = {mechanism: pairs.play_pairs(mechanism, times=1) for mechanism in pairs.MECHANISMS}
    arrivals = np.random.default_rng(pairs.SEED).random((8, 8, 1))
    npu = EnvConfig().npu
    for i, model in enumerate(MODEL_NAMES[:4]):
        program = compile_program(MODELS[model], pairs.BATCH, npu, None)
        for j in range(8):
            request = 1 + int(arrivals[i, j, 0] * (program.total_cycles - 1))
            point = np.searchsorted(program.commit_cycles, request)
            save = int(contexts.context_cycles(program.save_bytes[point : point + 1], npu)[0])
            assert tables["KILL"][i, j, 0, 3] == 0
            assert tables["DRAIN"][i, j, 0, 3] == program.total_cycles - request
            assert tables["CHECKPOINT"][i, j, 0, 3] == program.commit_cycles[point] - request + save


def test_the_context_costs_of_a_program_are_those_of_its_points():
    program = compile_model(MODELS["CNN-MN"])
    npu = NPUConfig()
    found = contexts.of_program(program, npu, None)
    assert found["points"] == program.num_points
    assert found["save_kib"]["max"] == program.save_bytes.max() / 1024
    assert found["wait_for_commit_us"]["max"] == pytest.approx(np.diff(program.commit_cycles, prepend=0).max() / 700)


def test_the_largest_context_of_a_library_is_that_of_all_points_of_its_programs():
    programs = [compile_model(MODELS["CNN-MN"]), compile_model(MODELS["RNN-SA"], input_length=20, batch=16)]
    library = ProgramLibrary()
    for program in programs:
        library.add(program)
    found = contexts.library_maxima(library)
    for field in ("save_bytes", "restore_bytes", "refill_cycles"):
        assert found[field] == max(int(getattr(program, field).max()) for program in programs)


@pytest.mark.parametrize("frames", [201, 202, 203, 799])
def test_a_hoisted_pyramid_pads_sequences_of_odd_length(frames):
    plain, hoisted = (compile_model(MODELS["RNN-ASR"].network(frames, hoist_inputs=hoist)) for hoist in (False, True))
    assert hoisted.compute_cycles < plain.compute_cycles
