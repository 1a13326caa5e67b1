"""Hand-solved pipelines first; then the paper's figures, and what must hold for every program."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError, PremaError
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Loop, Network, Vector
from prema_gym.hardware.program import Program, compile_model
from prema_gym.workloads.predictor import predict_cycles

# A machine for paper and pencil: one byte a cycle, one byte an element, an array of 2x2. A GEMM_OP over r rows takes
# 2*2 + 2 + r - 2 = r + 4 cycles; a weight tile has at most 4 bytes.
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
    weight_loading="exposed",
)
CHAIN = [Gemm(2, 2, 4, name="a"), Gemm(2, 4, 2, name="b")]
# Operations: a0 and a1 (two tiles of N), then b0 and b1 (two tiles of K, partial sums of 2x2 in between), 6 cycles each.


def points(program):
    costs = (program.commit_cycles, program.save_bytes, program.restore_bytes, program.refill_cycles)
    return [tuple(int(value) for value in point) for point in zip(*costs, strict=True)]


def test_a_chain_of_two_layers_by_hand():
    # a0  loads 4 + 4 at 10..18 (latency 10)      computes 18..24   keeps 4 of a's 8 bytes; a1 needs the staged input of 4 again
    # a1  loads 4     at 18..22 (after C_s of a0)  computes 24..30   keeps 8
    # b0  loads 4     at 24..28 (after C_s of a1)  computes 30..36   keeps 8 and 2*2 partial sums of 4 bytes
    # b1  loads 4     at 30..34                    computes 36..42   a is free; stores 4 at 42..46
    # After any of the first three, the cold pipeline loads at 10..14 and computes at 14..20 what took 6 more hot: refill 14.
    program = compile_model(CHAIN, npu=TINY)
    assert points(program) == [(24, 4, 8, 14), (30, 8, 8, 14), (36, 24, 24, 14), (42, 4, 4, 0)]
    assert program.total_cycles == 46
    assert program.compute_cycles == 24
    assert program.dram_bytes == 4 + 4 + 4 + 4 + 4 + 4  # four weight tiles, input, output


def test_a_spilled_tensor_by_hand():
    # UBUF of 12: a's 8 bytes do not fit beside two staging chunks of 4, so a is stored; two chunks of 8 of it do not fit
    # either, so b reads it in slices of 4.
    # a0  loads 4 + 4 at 10..18   computes 18..24   stores 4 at 24..28 (the load of a1 goes before)
    # a1  loads 4     at 18..22   computes 24..30   stores 4 at 30..34
    # b0  reads a: waits for 34 + 10, loads 4 + 4 at 44..52, computes 52..58; S of a0 is long past
    # b1  loads 4 + 4 at 52..60   computes 60..66   stores 4 at 66..70
    # Refill after a0: a1 loads 10..14, computes 14..20, stores 20..24; b0 loads 34..42, computes 42..48; b1 loads 42..50,
    # computes 50..56, stores ..60. Hot it took 70 - 24 = 46: 14. After a1: b0 loads 10..18 at once, since a is committed and
    # so in memory; computes 18..24; b1 loads 18..26, computes 26..32, stores ..36, but hot 40: none. After b0: 28 against 12.
    program = compile_model(CHAIN, npu=dataclasses.replace(TINY, ubuf_bytes=12))
    assert points(program) == [(24, 4, 8, 14), (30, 4, 4, 0), (58, 16, 16, 16), (66, 4, 4, 0)]
    assert program.total_cycles == 70
    assert program.dram_bytes == 16 + 4 + 8 + 8 + 4


def test_the_output_of_the_operation_before_counts_while_its_store_is_under_way():
    # Half a byte a cycle: a0 loads 8 bytes at 10..26, computes 26..32; a1 loads 4 at 26..34; store of a0 at 34..42 (after that
    # load), while a1 computes 34..40: at 40 both outputs are only on the chip. Store of a1 at 42..50.
    slow = dataclasses.replace(TINY, dram_bytes_per_second=500)
    program = compile_model(CHAIN[:1], npu=slow)
    assert [point[:3] for point in points(program)] == [(32, 4, 8), (40, 8, 8)]
    assert program.total_cycles == 50


def test_weights_that_fit_stay_over_row_chunks():
    # 8 rows in two chunks of 4; weights of 4 bytes stay if WBUF holds 4 + 2 tiles of 4. The second chunk then loads its input
    # only. After the first chunk's commit the weights are still needed, and have a copy in memory: restore, not save.
    layer = [Gemm(8, 2, 2)]
    kept = compile_model(layer, npu=dataclasses.replace(TINY, wbuf_bytes=12))
    again = compile_model(layer, npu=dataclasses.replace(TINY, wbuf_bytes=11))
    assert (kept.dram_bytes, again.dram_bytes) == (16 + 4 + 16, 16 + 8 + 16)
    assert (kept.restore_bytes - kept.save_bytes).tolist() == [4, 0]
    assert (again.restore_bytes - again.save_bytes).tolist() == [0, 0]


def test_prefetch_hides_the_weight_load_but_on_a_cold_start():
    # 8 - 2 cycles become 8 - 2 - 2 except for the first; a refill pays it again: loads 10..14, computes 6 where hot took 4.
    program = compile_model(CHAIN, npu=dataclasses.replace(TINY, weight_loading="prefetched"))
    assert program.compute_cycles == 6 + 4 + 4 + 4
    assert program.commit_cycles.tolist() == [24, 28, 32, 36]
    assert program.refill_cycles.tolist() == [16, 16, 16, 0]


def test_the_figures_of_the_issue():
    npu = NPUConfig(weight_loading="exposed")
    assert npu.context_cycles(8 << 20) == 16_503
    assert npu.context_cycles(0) == 0
    sizes = {(1, 1, 1): 383, (128, 128, 128): 510, (1024, 1024, 1024): 89_984}
    assert {shape: compile_model([Gemm(*shape)], npu=npu).compute_cycles for shape in sizes} == sizes


def test_depthwise_channels_share_the_array():
    # 128 // 9 = 14 channels a pass: ceil(32 / 14) = 3 passes, each 2*128 + 128 + 64 - 2 cycles.
    layer = Conv2d(32, 32, 8, 8, (3, 3), padding=(1, 1, 1, 1), groups=32)
    program = compile_model([layer], npu=NPUConfig(weight_loading="exposed"))
    assert (program.num_points, program.compute_cycles) == (3, 3 * 446)
    assert program.layer_table()[0] | {"cycles": 0} == {
        "name": "conv2d0",
        "kind": "depthwise",
        "passes": 1,
        "macs": 8 * 8 * 9 * 32,
        "m": 64,
        "k": 14 * 9,
        "n": 14,
        "groups": 3,
        "compute_cycles": 3 * 446,
        "memory_cycles": 9
        + (7 + 7 + 1)
        + (4 + 4 + 2),  # input, weights and outputs at 511.43 bytes a cycle, each transfer rounded up
        "fill_cycles": 3 * (446 - 64),
        "dram_bytes": 2 * (32 * 64 + (14 * 9 * 14 * 2 + 4 * 9 * 4) + 32 * 64),
        "cycles": 0,
        "points": 3,
        "bound": "fill",
        "dram_cycles": 31,  # 15 536 bytes
        "peak_cycles": 2,
        "roofline_cycles": 31,
    }


def test_layers_are_bound_by_computing_filling_or_memory():
    layers = [Gemm(2048, 1024, 1024, name="tall"), Gemm(4, 1024, 1024, name="flat"), Embedding(1024, 4, name="table")]
    bounds = {row["name"]: row["bound"] for layer in layers for row in compile_model([layer]).layer_table()}
    assert bounds == {"tall": "compute", "flat": "fill", "table": "memory"}
    slow = NPUConfig(dram_bytes_per_second=10_000_000_000)
    assert compile_model([layers[1]], npu=slow).layer_table()[0]["bound"] == "memory"


def test_a_convolution_reads_whole_input_rows_with_their_halo():
    # 6x6 input, 3x3 kernel, no padding: 4x4 outputs; chunks of 8 rows are two output rows, which need 4 input rows of 6.
    npu = dataclasses.replace(TINY, accumulator_rows=8, ubuf_bytes=48, wbuf_bytes=64)
    program = compile_model([Conv2d(1, 1, 6, 6, (3, 3))], npu=npu)
    assert program.dram_bytes == 2 * (4 * 6) + 9 + 16
    # One byte less and two chunks of 24 do not fit: slices, here with one tile of N the same bytes, but op by op.
    sliced = compile_model([Conv2d(1, 1, 6, 6, (3, 3))], npu=dataclasses.replace(npu, ubuf_bytes=47))
    loads = [line for line in sliced.disassemble() if "to=UBUF" in line]
    assert [int(line.rsplit("=", 1)[1]) for line in loads] == [5, 5, 6, 5, 3] * 2  # 24 * 2/9, 4/9, ... rounded down
    # Padding is not read. A border of one gives 6 output rows; the five chunks of 8 positions lie in output rows
    padded = compile_model([Conv2d(1, 1, 6, 6, (3, 3), padding=(1, 1, 1, 1))], npu=npu)
    # 0-1, 1-2, 2-3, 4-5 and 5, which need the input rows 0-2, 0-3, 1-4, 3-5 and 4-5.
    assert padded.dram_bytes == (3 + 4 + 4 + 3 + 2) * 6 + 9 + 36


def test_an_embedding_is_no_preemption_point():
    program = compile_model([Embedding(8, vectors=2, name="e"), Gemm(2, 8, 2)], npu=TINY)
    assert program.num_points == 4
    assert [row["points"] for row in program.layer_table()] == [0, 4]
    # The looked-up rows have a copy in memory (the table): restored, never saved. Output and partial sums are on top.
    assert (program.restore_bytes - program.save_bytes).tolist() == [16, 16, 16, 0]


def test_vector_work_is_cut_at_one_accumulator_buffer():
    # 4 rows * 2 columns = 8 elements an operation: 8, 8, 4 elements at 3 operations each, one lane.
    program = compile_model([Vector(20, 3)], npu=TINY)
    assert np.diff(program.commit_cycles).tolist() == [24, 12]
    assert program.compute_cycles == 60


def test_attention_reads_a_spilled_operand_per_product_and_a_resident_one_never():
    layers = [Gemm(4, 4, 8, name="qkv"), BatchedGemm(2, 4, 2, 4, inputs=("qkv", "qkv"))]
    ample = compile_model(layers, npu=dataclasses.replace(TINY, ubuf_bytes=1 << 12, wbuf_bytes=1 << 12))
    assert ample.layer_table()[1]["dram_bytes"] == 2 * 4 * 4
    tight = compile_model(layers, npu=dataclasses.replace(TINY, ubuf_bytes=8, wbuf_bytes=1 << 12))
    # Left: 2 * 4 * 2 bytes in slices, for each of 2 tiles of N again; right: 2 * 2 * 4 bytes.
    assert tight.layer_table()[1]["dram_bytes"] == 2 * 16 + 16 + 32


def test_loops_are_stored_in_run_length_form():
    body = (Gemm(1, 32, 64, name="gemm", inputs=("x", "h")), Vector(16, 10, kind="gates", name="h", inputs=("gemm",)))
    network = Network("lstm", 16, (Embedding(16, name="x"), Loop("lstm", 100_000, body)))
    program = compile_model(network)
    per_step = program.num_points // 100_000
    assert program.num_points == 100_000 * per_step
    assert len(program.segments) < 10
    commits = program.commit_cycles
    assert np.all(np.diff(commits) > 0)
    assert commits[-1] <= program.total_cycles


def test_an_output_loop_has_a_total_for_every_length():
    body = (Gemm(1, 8, 8, name="h", inputs=("x", "h2")), Vector(4, 3, name="h2", inputs=("h",)))
    network = Network(
        "decoder", 4, (Gemm(1, 4, 4, name="x"), Loop("out", None, (Gemm(1, 8, 8, name="h", inputs=("*x", "h2")), body[1])))
    )
    program = compile_model(network, npu=TINY, output_lengths=30)
    assert len(program.totals) == 30
    assert np.all(np.diff(program.totals) > 0)
    assert program.segments["repeats"][-1] == np.iinfo(np.int64).max
    commits = program.commit_cycles
    assert commits[-1] <= program.total_cycles
    shorter = compile_model(network, npu=TINY, output_lengths=7)
    assert shorter.total_cycles == program.totals[6]
    assert shorter.num_points == np.searchsorted(commits, program.totals[6], side="left")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "no layers"),
        ([Gemm(0, 1, 1)], "m = 0"),
        ([Gemm(1, 2.5, 1)], "k = 2.5"),
        ([Gemm(1, 4, 4, name="a"), Gemm(1, 4, 4, name="a")], "two layers are called 'a'"),
        ([Gemm(1, 4, 4, name="alpha"), Gemm(1, 4, 4, inputs=("alhpa",))], "Did you mean 'alpha'"),
        ([Gemm(1, 4, 4, name="a"), Gemm(1, 5, 4, name="b")], "reads 5 elements"),
        ([Conv2d(1, 1, 2, 2, (3, 3))], "must fit the padded input"),
        ([Conv2d(3, 4, 8, 8, (3, 3), groups=2)], "must divide in_channels"),
        ([Loop("l", None, (Gemm(1, 4, 4),)), Gemm(1, 4, 4)], "must be the last layer"),
        ([Loop("l", 0, (Gemm(1, 4, 4),))], "steps = 0"),
        ([Loop("l", 3, ())], "empty body"),
        ([Loop("l", 3, (Gemm(1, 4, 4, name="a"),), collect=("b",))], "collects an unknown"),
        ([Gemm(1, 4, 4, name="a", inputs=("a",))], "reads its own output"),
        (["gemm"], "is no layer"),
        ([Gemm(10**8, 10**6, 10**6)], "operations: at most"),
    ],
)
def test_a_network_that_does_not_fit_together_is_one_clear_error(layers, message):
    with pytest.raises(ModelError, match=message):
        compile_model(layers)


@pytest.mark.parametrize("arguments", [{"batch": 0}, {"batch": True}, {"output_lengths": 0}, {"npu": "nonesuch"}])
def test_impossible_arguments_are_one_clear_error(arguments):
    with pytest.raises(PremaError):
        compile_model(CHAIN, **arguments)


def test_synthetic_programs_keep_their_points():
    program = Program.from_points(100, [10, 20, 30, 95], save_bytes=[1, 2, 2, 0], restore_bytes=5, refill_cycles=[3, 3, 4, 0])
    assert points(program) == [(10, 1, 5, 3), (20, 2, 5, 3), (30, 2, 5, 4), (95, 0, 5, 0)]
    assert (program.total_cycles, program.predicted_cycles, program.num_points) == (100, 100, 4)
    assert Program.from_points(7, []).num_points == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, [10, 10]), "strictly increasing"),
        ((100, [0, 10]), "commit_cycles"),
        ((9, [10]), "total_cycles = 9"),
        ((100, [10, 20], [1, 2, 3]), "save_bytes"),
        ((100, [10], -1), "save_bytes = -1"),
        ((100.5, [10]), "total_cycles"),
    ],
)
def test_an_impossible_synthetic_program_is_one_clear_error(arguments, message):
    with pytest.raises(ModelError, match=message):
        Program.from_points(*arguments)


def test_the_layer_table_adds_up():
    program = compile_model(CHAIN, npu=TINY)
    table = program.layer_table()
    assert sum(row["cycles"] for row in table) == program.total_cycles
    assert sum(row["compute_cycles"] for row in table) == program.compute_cycles
    assert sum(row["dram_bytes"] for row in table) == program.dram_bytes
    assert sum(row["points"] for row in table) == program.num_points
    assert [row["macs"] for row in table] == [16, 16]


def test_disassembly_lists_every_instruction():
    program = compile_model(CHAIN, npu=TINY)
    lines = list(program.disassemble())
    assert lines[:3] == [
        "LOAD_TILE layer=a rows=0:2 k=0:2 n=0:2 to=WBUF bytes=4",
        "LOAD_TILE layer=a rows=0:2 k=0:2 n=0:2 to=UBUF bytes=4",
        "GEMM_OP layer=a rows=0:2 k=0:2 n=0:2 cycles=6",
    ]
    assert lines[-1] == "STORE_TILE layer=b rows=0:2 k=2:4 n=0:2 bytes=4"
    assert len(lines) == 4 + 1 + 4 + 1
    assert len(list(program.disassemble(limit=3))) == 3


def test_a_batch_of_a_short_numpy_integer_is_the_number_itself():
    network = Network("one", 100, (Gemm(m=1, k=100, n=200),))
    npu = NPUConfig()
    short, whole = (compile_model(network, batch=batch, npu=npu) for batch in (np.int8(100), 100))
    assert short.total_cycles == whole.total_cycles
    np.testing.assert_array_equal(short.segments, whole.segments)
    assert predict_cycles(network, np.int8(100), npu) == predict_cycles(network, 100, npu)
