"""Algorithm 1 of the paper: how long a network takes, from its shapes alone.

It counts tiles, not the pipeline: per layer and row chunk, ceil(K/SH) * ceil(N/SW) tiles of the longer of compute and memory time.
Where tiles stream back to back, a tile computes for as long as it occupies the array, what is in flight behind the last one counts
once per pass, and weights that stay on the chip are loaded once.
"""

from __future__ import annotations

from prema_gym.checks import whole
from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError
from prema_gym.hardware.compiler.graph import OUTSIDE
from prema_gym.hardware.compiler.lowering import network_works
from prema_gym.hardware.compiler.shapes import GEMM, VECTOR, Work
from prema_gym.hardware.compiler.weight_loading import array_timing, keeps_loop, keeps_weights
from prema_gym.hardware.layers import Network
from prema_gym.hardware.program import MOST_LENGTHS


def predict_cycles(network: Network, batch: int = 1, npu: NPUConfig | None = None, output_length: int | None = None) -> int:
    """Return Algorithm 1's cycles for a batch; ``output_length`` is what the output loop is taken to run (None: once)."""
    if output_length is not None:
        output_length = whole("output_length", output_length, 1, MOST_LENGTHS, error=ModelError)
    npu = NPUConfig.coerce(npu)
    graph, works = network_works(network, batch, npu)
    kept = [keeps_loop(works[loop.first : loop.end], loop.steps, npu) for loop in graph.loops]
    total = 0
    for node, work in zip(graph.nodes, works, strict=True):
        total += layer_cycles(work, npu)
        if node.loop != OUTSIDE:
            steps = graph.loops[node.loop].steps or output_length or 1
            total += (steps - 1) * layer_cycles(work, npu, loaded=kept[node.loop] and work.has_weights)
    return total


def layer_cycles(work: Work, npu: NPUConfig, *, loaded: bool = False) -> int:
    """Return Algorithm 1's cycles for one pass of a layer; ``loaded`` if an earlier pass has left its weights on the chip."""
    if work.unit == VECTOR:
        return -(-work.elements * work.ops_per_element // npu.vector_lanes)
    if work.unit != GEMM:
        return npu.transfer_cycles(work.elements * npu.operand_bytes)
    timing = array_timing(npu)
    kept = loaded or (timing.reuses_weights and keeps_weights(work, npu))
    chunks, rest = divmod(work.rows, npu.accumulator_rows)
    rows = [npu.accumulator_rows] * min(chunks, 1) + [rest] * (rest > 0)
    cycles = tile_cycles(rows[0], npu, loaded=loaded)
    cycles += max(chunks - 1, 0) * tile_cycles(npu.accumulator_rows, npu, loaded=kept)
    if len(rows) > 1:
        cycles += tile_cycles(rest, npu, loaded=kept)
    return work.tiles(npu) * cycles + timing.flight_cycles


def tile_cycles(rows: int, npu: NPUConfig, *, loaded: bool = False) -> int:
    """Return the longer of one tile's compute time and the time to load its weights, unless they are ``loaded``, and its inputs."""
    timing = array_timing(npu)
    compute = max(rows + timing.fill_cycles, timing.least_cycles)
    elements = rows * npu.array_rows + (0 if loaded else npu.array_rows * npu.array_cols)
    return max(compute, npu.transfer_cycles(elements * npu.operand_bytes))
