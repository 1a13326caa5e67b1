"""Compute cycles against SCALE-Sim 3.0.0 (benchmarks/scalesim makes the golden table); nobody here wrote that simulator."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from prema_gym.config import NPUConfig
from prema_gym.hardware.compiler.shapes import layer_work
from prema_gym.hardware.layers import Gemm
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.models.counting import walk

GOLDEN = Path(__file__).parents[1] / "golden" / "scalesim.csv"
ARRAYS = (128, 256, 32)
NUMBERS = ("array", "m", "k", "n", "groups")


def golden():
    with GOLDEN.open(newline="", encoding="utf-8") as file:
        rows = [row | {name: int(row[name]) for name in NUMBERS} for row in csv.DictReader(file)]
    return [row | {"scalesim_cycles": int(row["scalesim_cycles"])} for row in rows if row["scalesim_cycles"]]


def npu(side, accumulator_rows=2048):
    """SCALE-Sim loads, streams and drains one fold after the other: weights are exposed."""
    sizes = {"array_rows": side, "array_cols": side, "accumulator_rows": accumulator_rows}
    return NPUConfig(**sizes, ubuf_bytes=64 << 20, wbuf_bytes=64 << 20, weight_loading="exposed")


def compute_cycles(row, config):
    """One group at a time: SCALE-Sim's figure is that of one group."""
    return compile_model([Gemm(row["m"], row["k"], row["n"])], npu=config).compute_cycles


@pytest.mark.parametrize("side", ARRAYS)
def test_compute_cycles_are_scalesims_and_one(side):
    rows = [row for row in golden() if row["array"] == side and row["m"] <= 2048]
    assert len(rows) > 70
    assert [compute_cycles(row, npu(side)) for row in rows] == [row["scalesim_cycles"] + 1 for row in rows]


@pytest.mark.parametrize("side", ARRAYS)
def test_longer_gemms_differ_only_by_their_row_chunks(side):
    rows = [row for row in golden() if row["array"] == side and row["m"] > 2048]
    for row in rows:
        assert compute_cycles(row, npu(side, accumulator_rows=row["m"])) == row["scalesim_cycles"] + 1
        # Every further chunk fills and drains the array again.
        folds = -(-row["k"] // side) * -(-row["n"] // side)
        chunks = -(-row["m"] // 2048)
        expected = row["scalesim_cycles"] + 1 + (chunks - 1) * folds * (3 * side - 2)
        assert compute_cycles(row, npu(side)) == expected


@pytest.mark.parametrize("side", ARRAYS)
def test_layers_of_the_networks_are_lowered_to_the_gemm_that_scalesim_sees(side):
    layers = {
        f"{name}-{layer.name}": layer for name in MODELS if name.startswith("CNN") for layer, _ in walk(MODELS[name].network())
    }
    rows = [row for row in golden() if row["array"] == side and row["name"] in layers]
    assert {row["name"].split("-")[1] for row in rows} >= {"AN", "GN", "MN"}
    for row in rows:
        work = layer_work(layers[row["name"]], 1, npu(side))
        assert [work.rows, work.k, work.n, work.groups] == [row["m"], row["k"], row["n"], row["groups"]]
        # All groups, one after the other.
        whole = dataclasses.replace(npu(side), accumulator_rows=max(2048, row["m"]))
        layer = dataclasses.replace(layers[row["name"]], inputs=())
        assert compile_model([layer], npu=whole).compute_cycles == row["groups"] * (row["scalesim_cycles"] + 1)


def test_the_grid_has_small_skinny_huge_and_uneven_shapes():
    rows = golden()
    shapes = {(row["m"], row["k"], row["n"]) for row in rows}
    assert {min(shape) for shape in shapes} >= {1, 2, 31, 127}
    assert any(m <= 4 and k * n > 900_000 for m, k, n in shapes)
    assert any(m * k * n > 1 << 26 for m, k, n in shapes)
    assert sum(m % 128 != 0 or k % 128 != 0 or n % 128 != 0 for m, k, n in shapes) > 60
