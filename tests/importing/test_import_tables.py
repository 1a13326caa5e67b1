"""Layer tables: SCALE-Sim's topology files, and measured latencies of other hardware."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.importing import from_csv, from_file, from_profile
from prema_gym.workloads.models import register_model

GOLDEN = Path(__file__).parents[1] / "golden" / "scalesim.csv"
CONVOLUTIONS = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 224, 224, 11, 11, 3, 96, 4,
Conv2, 31, 31, 5, 5, 96, 256, 1,
FC6, 1, 1, 1, 1, 9216, 4096, 1,
"""
GEMMS = "Layer, M, N, K,\nfirst, 128, 256, 512,\nsecond, 1, 10, 256,\n"
PROFILE = """layer,batch,microseconds,live_bytes
conv,1,10,4096
head,1,5.5,0
conv,8,40,32768
head,8,6,0
"""


def write(tmp_path, text, name="net.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# --- Topologies ---------------------------------------------------------------------------------------------------------------


def test_a_topology_of_convolutions_by_hand(tmp_path):
    model = from_csv(write(tmp_path, CONVOLUTIONS))
    assert model.macs() == 54 * 54 * 96 * 363 + 27 * 27 * 256 * 2400 + 9216 * 4096
    assert [layer.name for layer in model.network().layers] == ["Conv1", "Conv2", "FC6"]


def test_a_topology_of_gemms_by_hand(tmp_path):
    model = from_csv(write(tmp_path, GEMMS), name="two")
    assert (model.name, model.macs(), model.weights()) == ("two", 128 * 256 * 512 + 2560, 256 * 512 + 2560)


def test_each_layer_takes_scalesims_cycles_and_one_under_exposed_weights(tmp_path):
    """Our own file of shapes that SCALE-Sim has played, written as a topology."""
    with GOLDEN.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["array"] == "128" and row["scalesim_cycles"] and int(row["m"]) <= 2048]
    lines = ["start, 1, 1, 1,", *(f"g{i}, {row['m']}, {row['n']}, {row['k']}," for i, row in enumerate(rows))]
    model = from_csv(write(tmp_path, "Layer, M, N, K,\n" + "\n".join(lines) + "\n"))
    npu = NPUConfig(ubuf_bytes=64 << 20, wbuf_bytes=64 << 20, weight_loading="exposed")
    table = compile_model(model, npu=npu).layer_table()[1:]
    assert len(rows) > 70
    assert [entry["compute_cycles"] for entry in table] == [int(row["scalesim_cycles"]) + 1 for row in rows]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("a,b,c\n1,2,3\n", ":1: header"),
        (GEMMS + "third, 1, x, 3,\n", ":4: N = 'x'"),
        (GEMMS + "third, 1, -2, 3,\n", ":4: N = '-2'"),
        (GEMMS + "third, 1, 2\n", ":4: 2 numbers"),
        (CONVOLUTIONS + "c, 4, 4, 5, 5, 1, 1, 1,\n", ":5: a filter of 5 x 5"),
        ("Layer, M, N, K,\n", "no layers"),
    ],
)
def test_a_damaged_topology_is_refused_with_its_line(tmp_path, text, reason):
    with pytest.raises(ModelError, match=reason):
        from_csv(write(tmp_path, text))


# --- Profiles -----------------------------------------------------------------------------------------------------------------


def test_a_profile_takes_what_was_measured(tmp_path):
    model = from_profile(write(tmp_path, PROFILE), name="measured")
    program = model.program(batch=1)
    assert program.total_cycles == 7000 + 3850  # 10 and 5.5 us at 700 MHz
    assert program.commit_cycles.tolist() == [7000, 10850]
    assert program.save_bytes.tolist() == [4096, 0]
    assert model.program(batch=3).total_cycles == model.program(batch=8).total_cycles == 28_000 + 4_200
    assert model.program(1, NPUConfig(clock_hz=1_400_000_000)).total_cycles == 2 * 10_850


def test_a_profile_in_cycles_does_not_depend_on_the_clock():
    model = from_profile([{"layer": "a", "cycles": 100, "live_bytes": 8}, {"layer": "b", "cycles": 50}])
    assert model.program(1, NPUConfig(clock_hz=1)).commit_cycles.tolist() == [100, 150]


def test_a_batch_that_was_not_measured_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"batch = 9.*1, 8"):
        from_profile(write(tmp_path, PROFILE)).program(9)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layer,speed\na,1\n", ":1: header"),
        ("layer,cycles\n", "no layers"),
        ("layer,cycles,microseconds\na,1,2\n", ":2: must have one of"),
        ("layer,cycles\na,0\n", ":2: cycles = '0'"),
        ("layer,microseconds\na,nan\n", ":2: microseconds = 'nan'"),
        ("layer,cycles,live_bytes\na,5,-1\n", ":2: live_bytes"),
        ("layer,cycles,batch\na,5,1.5\n", ":2: batch"),
    ],
)
def test_a_damaged_profile_is_refused_with_its_line(tmp_path, text, reason):
    with pytest.raises(ModelError, match=reason):
        from_profile(write(tmp_path, text))


def test_files_are_told_apart_by_their_suffix_and_header(tmp_path):
    assert from_file(write(tmp_path, PROFILE, "p.csv")).batches == (1, 8)
    assert from_file(write(tmp_path, GEMMS, "g.csv")).macs() > 0
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("bad.csv", "UTF-8"), ("missing.csv", "is no file"), ("net.pt", "must end in")):
        with pytest.raises(ModelError, match=reason):
            from_file(tmp_path / name)
    for text in ("{", "[]", '{"schema": 1}', "[" * 100_000):
        with pytest.raises(ModelError, match=r"broken\.json"):
            from_file(write(tmp_path, text, "broken.json"))


def test_a_profile_is_registered_like_a_model(tmp_path):
    model = from_profile(write(tmp_path, PROFILE), name="MEASURED-TEST")
    assert register_model(model) is model
    with pytest.raises(ModelError, match="must be a Model"):
        register_model("x")
