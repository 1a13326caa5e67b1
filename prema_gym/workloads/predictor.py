"""Algorithm 1 of the paper: how long a network takes, from its shapes alone.

It counts tiles, not the pipeline: per layer and row chunk, ceil(K/SH) * ceil(N/SW) tiles of the longer of compute and memory time.
"""

from __future__ import annotations

from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError
from prema_gym.hardware.compiler.graph import OUTSIDE
from prema_gym.hardware.compiler.lowering import network_works
from prema_gym.hardware.compiler.shapes import GEMM, VECTOR, Work
from prema_gym.hardware.layers import Network


def predict_cycles(network: Network, batch: int = 1, npu: NPUConfig | None = None, output_length: int | None = None) -> int:
    """Return Algorithm 1's cycles for a batch; ``output_length`` is what the output loop is taken to run (None: once)."""
    if output_length is not None and (isinstance(output_length, bool) or not isinstance(output_length, int) or output_length < 1):
        raise ModelError(f"output_length = {output_length!r}: must be None or a whole number of at least 1.")
    npu = NPUConfig.coerce(npu)
    graph, works = network_works(network, batch, npu)
    total = 0
    for node, work in zip(graph.nodes, works, strict=True):
        steps = 1 if node.loop == OUTSIDE else graph.loops[node.loop].steps or output_length or 1
        total += steps * layer_cycles(work, npu)
    return total


def layer_cycles(work: Work, npu: NPUConfig) -> int:
    """Return Algorithm 1's cycles for one pass of a layer."""
    if work.unit == VECTOR:
        return -(-work.elements * work.ops_per_element // npu.vector_lanes)
    if work.unit != GEMM:
        return npu.transfer_cycles(work.elements * npu.operand_bytes)
    chunks, rest = divmod(work.rows, npu.accumulator_rows)
    cycles = chunks * tile_cycles(npu.accumulator_rows, npu)
    if rest:
        cycles += tile_cycles(rest, npu)
    return work.tiles(npu) * cycles


def tile_cycles(rows: int, npu: NPUConfig) -> int:
    """Return the longer of one tile's compute time and the time to load its weights and ``rows`` inputs."""
    hidden = 0 if npu.weight_loading == "exposed" else npu.array_rows
    compute = 2 * npu.array_rows + npu.array_cols + rows - 2 - hidden
    nbytes = (npu.array_rows * npu.array_cols + rows * npu.array_rows) * npu.operand_bytes
    return max(compute, npu.transfer_cycles(nbytes))
