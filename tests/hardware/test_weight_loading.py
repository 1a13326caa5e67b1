"""How weights move into the array: back to back by hand first, then what holds between the three modes."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from tools.random_networks import random_layers, random_npu
from tools.recurrence import BackToBack, Step

from prema_gym.config import MODEL_NAMES, WEIGHT_LOADINGS, NPUConfig, WorkloadConfig
from prema_gym.errors import ModelError
from prema_gym.hardware.compiler.weight_loading import TIMINGS
from prema_gym.hardware.layers import Gemm, Loop, Network, Vector
from prema_gym.hardware.program import Program, compile_model
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.predictor import predict_cycles
from prema_gym.workloads.programs import ProgramTable

# A machine for paper and pencil: one byte a cycle, one byte an element, an array of 2x2. Over r rows a tile occupies the array for
# max(r, 2) cycles and commits r + 2 after its start, 2 cycles later on a cold start; a weight tile has at most 4 bytes.
TINY = NPUConfig(
    array_rows=2,
    array_cols=2,
    clock_hz=1000,
    dram_bytes_per_second=1000,
    dram_latency_cycles=10,
    ubuf_bytes=64,
    wbuf_bytes=8,
    accumulator_rows=4,
    vector_lanes=1,
    operand_bytes=1,
    accumulator_bytes=4,
    weight_loading="back_to_back",
)
FEW = ("CNN-AN", "CNN-MN", "RNN-SA")
MODELS_OF = {"prema": MODEL_NAMES, "tpu_v1": FEW, "edge": FEW}
"""Networks whose programs are compared, at all batches and lengths: the whole library on the default NPU, a few on the others."""
CHAIN = [Gemm(2, 2, 4, name="a"), Gemm(2, 4, 2, name="b")]
# Operations: a0 and a1 (two tiles of N), then b0 and b1 (two tiles of K, partial sums of 2x2 in between).


def points(program):
    costs = (program.commit_cycles, program.save_bytes, program.restore_bytes, program.refill_cycles)
    return [tuple(int(value) for value in point) for point in zip(*costs, strict=True)]


def test_a_chain_of_two_layers_by_hand():
    # a0  loads 4 + 4 at 10..18   occupies the array 18..22 (cold)  commits at 24, keeps 4 of a's 8 bytes and the input
    # a1  loads 4     at 18..22   occupies the array 22..24          commits at 26
    # b0  loads 4     at 22..26   waits for a's commit: 26..28       commits at 30, keeps 8 and 2*2 partial sums of 4 bytes
    # b1  loads 4     at 26..30   occupies the array 30..32          commits at 34; its store has the port at 32..36, and its
    #                             results, in from 34 on, are in memory at 38
    program = compile_model(CHAIN, npu=TINY)
    # After a0, cold: a1 loads 10..14, occupies 14..18, commits at 20; b0 loads 14..18, starts at 20, commits at 24; b1 loads
    # 20..24, commits at 28, ends at 32, where 38 - 24 = 14 were left: 18. After a1: b0 loads 10..14, commits at 20; b1 loads
    # 14..18, starts at 18, commits at 22, ends at 26, where 12 were left: 14. After b0: b1 commits at 20, ends at 24, not 8: 16.
    assert points(program) == [(24, 4, 8, 18), (26, 8, 8, 14), (30, 24, 24, 16), (34, 4, 4, 0)]
    assert program.total_cycles == 38
    # a: 2 (cold) + 2 + 2 + 2 (the last tile in flight); b: 2 + 2 + 2.
    assert program.compute_cycles == 14
    assert program.dram_bytes == 24


def test_work_behind_a_commit_is_dropped_and_run_again():
    # On an array of 2 x 6, results are in 6 cycles after the last row: a tile of one row occupies it for 2 and commits after 7.
    # Two bytes a cycle, three tiles of 12 bytes; a store takes 3 cycles.
    # 0  loads 12 + 2 at 10..17   occupies 17..21 (cold)   commits at 26   stores at 23..26, after the next load
    # 1  loads 12     at 17..23   occupies 23..25          commits at 30   stores at 32..35
    # 2  loads 12     at 26..32   occupies 32..34          commits at 39   its results are in memory at 42
    wide = dataclasses.replace(TINY, array_cols=6, wbuf_bytes=64, dram_bytes_per_second=2000)
    program = compile_model([Gemm(1, 2, 18)], npu=wide)
    # At 26 tile 1 has been in the array for 3 cycles, which are lost: it loads at 10..16 and commits at 25, tile 2 loads at 16..22,
    # occupies 22..24, commits at 29 and is in memory at 32, where 42 - 26 = 16 were left. At 30, tile 2 is in memory at 28, not 12.
    # The input, which later tiles need, has a copy in memory.
    assert points(program) == [(26, 6, 8, 16), (30, 6, 8, 16), (39, 6, 6, 0)]
    assert program.total_cycles == 42


def test_every_output_that_is_not_in_memory_at_a_commit_is_saved():
    # Half a byte a cycle. v is 24 bytes in three operations of 8 cycles, at 26..34, 42..50 and 58..66, and stays on the chip;
    # g needs 4 bytes of weights, which it keeps over its three row chunks: after 58..66 it loads nothing more.
    # g0 occupies the array at 66..70 and commits at 72; stores 8 bytes at 70..86, in memory at 72 + 16 = 88
    # g1 occupies the array at 70..74 and commits at 76; stores at 86..102
    # g2 occupies the array at 74..78 and commits at 80; stores at 102..118
    npu = dataclasses.replace(TINY, dram_bytes_per_second=500, wbuf_bytes=12)
    program = compile_model([Vector(24, 1, name="v"), Gemm(12, 2, 2, name="g")], npu=npu)
    assert program.commit_cycles.tolist() == [34, 50, 66, 72, 76, 80]
    assert program.save_bytes.tolist()[3:] == [24 + 8, 24 + 16, 24]
    assert program.restore_bytes.tolist()[3:] == [24 + 8 + 4, 24 + 16 + 4, 24]
    assert program.total_cycles == 118


def test_a_short_last_chunk_does_not_end_a_program_before_the_output_of_the_one_before_is_in_memory():
    # One byte a cycle, 4 rows and 1: the first chunk loads 4 + 8 at 10..22, occupies 22..28 (cold) and commits at 30; the second
    # loads 2 at 22..24, occupies 28..30 and commits at 31. The port is free for their stores at 28..36 and 36..38, but the first
    # chunk's results are in only at 30, so that they are in memory at 38; the second's, 2 bytes, can't be before.
    program = compile_model([Gemm(5, 2, 2)], npu=dataclasses.replace(TINY, wbuf_bytes=12))
    assert program.commit_cycles.tolist() == [30, 31]
    assert program.total_cycles == 38


LOOP = Network("loop", 2, (Loop("l", 3, (Gemm(1, 2, 2, name="g", inputs=("g",)),)),))


def test_weights_of_a_loop_that_fit_are_loaded_in_the_first_pass_and_kept():
    # 4 bytes fit beside two tiles of 4 in 12 bytes. Every step stores its 2 bytes. Kept weights have a copy: restored, never saved.
    kept = compile_model(LOOP, npu=dataclasses.replace(TINY, wbuf_bytes=12))
    again = compile_model(LOOP, npu=dataclasses.replace(TINY, wbuf_bytes=11))
    assert (kept.dram_bytes, again.dram_bytes) == (4 + 3 * 2, 3 * 4 + 3 * 2)
    assert (kept.restore_bytes - again.restore_bytes).tolist() == [4, 4, 4]
    assert (kept.save_bytes == again.save_bytes).all()
    assert [line.split()[2] for line in kept.disassemble() if line.startswith("LOAD_TILE")] == ["step=0"]
    exposed = compile_model(LOOP, npu=dataclasses.replace(TINY, wbuf_bytes=12, weight_loading="exposed"))
    assert exposed.dram_bytes == again.dram_bytes


def test_a_fully_connected_layer_of_batch_1_runs_at_the_rate_at_which_weights_move_into_the_array():
    programs = {mode: compile_model([Gemm(1, 4096, 4096)], npu=NPUConfig(weight_loading=mode)) for mode in WEIGHT_LOADINGS}
    cycles = {mode: program.total_cycles for mode, program in programs.items()}
    # 32 * 32 tiles of 128 cycles. Latency 100, the first tile and the input 65 + 17, a cold start 128, 127 in flight, a store of 1.
    assert cycles == {"exposed": 392_375, "prefetched": 261_431, "back_to_back": 1024 * 128 + 438}


def test_algorithm_1_counts_what_is_in_flight_once_a_pass_and_kept_weights_once():
    # Rows 4, 4 and 2 in chunks, two tiles each; weights of a tile 4 bytes, inputs 2 a row: 12, 12 and 8 to load, and 2 in flight.
    assert predict_cycles(Network("gemm", 20, (Gemm(10, 2, 4),)), 1, TINY) == 2 * (12 + 12 + 8) + 2
    # 8 bytes of weights and two tiles fit: later chunks load inputs only.
    assert (
        predict_cycles(Network("gemm", 20, (Gemm(10, 2, 4),)), 1, dataclasses.replace(TINY, wbuf_bytes=16)) == 2 * (12 + 8 + 4) + 2
    )
    # A step loads 4 + 2, then occupies the array for 2; once the weights are kept, 2 are enough for its input.
    assert predict_cycles(LOOP, 1, dataclasses.replace(TINY, wbuf_bytes=11)) == 3 * (6 + 2)
    assert predict_cycles(LOOP, 1, dataclasses.replace(TINY, wbuf_bytes=12)) == (6 + 2) + 2 * (2 + 2)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_algorithm_1_is_within_two_percent_of_the_pipeline(model):
    npu, spec = NPUConfig(weight_loading="back_to_back"), MODELS[model].lengths
    network = MODELS[model].network(None if spec is None else spec.median)
    for batch in (1, 4, 16):
        actual = compile_model(network, batch, npu, output_lengths=20).total_cycles
        assert predict_cycles(network, batch, npu, output_length=20) == pytest.approx(actual, rel=0.02)


def test_the_two_roofs_of_a_layer():
    npu = NPUConfig(weight_loading="back_to_back")
    program = compile_model([Gemm(1, 4096, 4096)], npu=npu)
    # 4096 * 4096 weights, input and output, of 2 bytes each at 358 / 0.7 bytes a cycle; 128 * 128 products a cycle.
    assert program.roofline() == (65_642, 1024)
    assert program.roofline().roofline_cycles == 65_642
    row = program.layer_table()[0]
    assert (row["dram_cycles"], row["peak_cycles"], row["roofline_cycles"]) == (65_642, 1024, 65_642)


@pytest.mark.parametrize("seed", range(60))
def test_no_program_beats_its_roofs(seed):
    rng = random.Random(10_000 + seed)
    program = compile_model(Network("random", 36, tuple(random_layers(rng))), rng.randint(1, 4), random_npu(rng))
    assert program.total_cycles >= program.roofline().roofline_cycles
    assert program.roofline().peak_cycles <= sum(row["peak_cycles"] for row in program.layer_table())


def test_a_program_made_of_points_has_no_roofs():
    with pytest.raises(ModelError, match="has no roofline"):
        Program.from_points(10, [5]).roofline()


def test_every_mode_has_its_array_timing():
    assert tuple(TIMINGS) == WEIGHT_LOADINGS


def in_all_modes(network, batch, npu):
    modes = [dataclasses.replace(npu, weight_loading=mode) for mode in WEIGHT_LOADINGS]
    return [compile_model(network, batch, mode, output_lengths=3) for mode in modes]


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_are_never_slower_where_weights_load_earlier(seed):
    rng = random.Random(7000 + seed)
    network, npu = Network("random", 36, tuple(random_layers(rng))), random_npu(rng)
    exposed, prefetched, back_to_back = in_all_modes(network, rng.randint(1, 4), npu)
    assert back_to_back.total_cycles <= prefetched.total_cycles <= exposed.total_cycles
    assert np.all(back_to_back.commit_cycles <= prefetched.commit_cycles)
    assert np.all(prefetched.commit_cycles <= exposed.commit_cycles)


@pytest.mark.parametrize("preset", NPUConfig.PRESETS)
def test_programs_of_the_library_are_never_slower_where_weights_load_earlier(preset):
    npu, workload = NPUConfig.preset(preset), WorkloadConfig(models=MODELS_OF[preset])
    modes = [dataclasses.replace(npu, weight_loading=mode) for mode in WEIGHT_LOADINGS]
    # Tables of their own: the shared ones grow with what other tests' traces ask for.
    exposed, prefetched, back_to_back = (ProgramTable((mode,), workload).library.totals for mode in modes)
    assert len(back_to_back) > (2000 if preset == "prema" else 200)
    assert np.all(back_to_back <= prefetched)
    assert np.all(prefetched <= exposed)


def random_steps(rng, size):
    """Operations in passes of one to six over layers, half of them of the array, with reads of earlier stores."""
    steps = []
    while len(steps) < size:
        rows = [rng.choice([1, 2, 5, 40]) if rng.random() < 0.8 else 0] * rng.randint(1, 6)
        waits = [w for w in range(len(steps)) if rng.random() < 0.1 and steps[w].store]
        for index, count in enumerate(rows):
            load, store = rng.choice([0, 0, 3, 20, 50]), rng.choice([0, 0, 3, 20, 50])
            steps.append(Step(load, count, rng.randint(0, 30), store, index, waits if index == 0 else []))
    return steps


def times(steps, latency, rows, cols):
    run = BackToBack(steps, rows, cols, latency)
    return np.array([run.load_end, run.start, run.free, run.commit, run.stored, run.landed, [run.end] * len(steps)])


@pytest.mark.parametrize("seed", range(200))
def test_no_longer_duration_makes_anything_earlier(seed):
    rng = random.Random(8000 + seed)
    steps, latency, rows, cols = random_steps(rng, 25), rng.choice([0, 10, 60]), rng.randint(1, 8), rng.randint(1, 8)
    before = times(steps, latency, rows, cols)
    assert np.all(times(steps, latency + 1, rows, cols) >= before)
    for _ in range(20):
        t, field = rng.randrange(len(steps)), rng.choice(["load", "rows", "compute", "store"])
        value = getattr(steps[t], field)
        if field == "rows" and value == 0:
            continue
        longer = [*steps]
        longer[t] = dataclasses.replace(steps[t], **{field: value + rng.choice([1, 7, 60])})
        assert np.all(times(longer, latency, rows, cols) >= before)


@pytest.mark.parametrize("seed", range(20))
def test_durations_scaled_by_a_factor_scale_every_time(seed):
    """Max-plus linear: no constant hides in the recurrence (apart from the array, whose fill takes off 2 cycles)."""
    rng = random.Random(9000 + seed)
    steps = [dataclasses.replace(step, rows=0) for step in random_steps(rng, 25)]
    tripled = [dataclasses.replace(step, load=3 * step.load, compute=3 * step.compute, store=3 * step.store) for step in steps]
    assert np.all(times(tripled, 30, 4, 4) == 3 * times(steps, 10, 4, 4))
