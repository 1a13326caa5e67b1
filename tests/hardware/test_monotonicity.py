"""Whole networks of the library: more memory, lanes or buffer never hurt, and a batch never computes more per sample."""

from __future__ import annotations

import dataclasses

import pytest

from prema_gym.config import MODEL_NAMES, NPUConfig
from prema_gym.hardware.program import compile_model
from prema_gym.workloads.models import MODELS

PAPER = NPUConfig()
MIB = 1 << 20


def program(name, batch, npu=PAPER, **fields):
    """The network at a short length; loops are compiled by their period, so that longer ones show nothing else."""
    spec = MODELS[name].lengths
    network = MODELS[name].network(None if spec is None else spec.min)
    return compile_model(network, batch=batch, npu=dataclasses.replace(npu, **fields), output_lengths=3)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_more_bandwidth_less_latency_and_more_lanes_never_slow_a_network(name, batch):
    faster = (
        [{"dram_bytes_per_second": rate * 10**9} for rate in (30, 100, 101, 358, 700, 2000)],
        [{"dram_latency_cycles": latency} for latency in (2000, 500, 101, 100, 0)],
        [{"vector_lanes": lanes} for lanes in (8, 32, 100, 128, 256)],
    )
    for changes in faster:
        cycles = [program(name, batch, **change).total_cycles for change in changes]
        assert cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_larger_buffer_never_moves_more_bytes(name, batch):
    for field, sizes in (("ubuf_bytes", (1, 2, 3, 4, 6, 8, 9, 16, 64)), ("wbuf_bytes", (1, 2, 4, 5, 8, 32))):
        moved = [program(name, batch, **{field: size * MIB}).dram_bytes for size in sizes]
        assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize("npu", ["prema", "tpu_v1", "edge"])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_at_batch_16_compute_cycles_per_sample_never_exceed_those_at_batch_1(name, npu):
    one, sixteen = (program(name, batch, NPUConfig.preset(npu)).compute_cycles for batch in (1, 16))
    assert sixteen <= 16 * one
