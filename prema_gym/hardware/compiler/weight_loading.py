"""When weights move into the array, and which of them stay on the chip: what ``NPUConfig.weight_loading`` chooses between.

A mode is a function of the NPU that says how long a tile of so many rows occupies the array. To add one: write the function, list
it in :data:`TIMINGS`, and name it in :data:`prema_gym.config.WEIGHT_LOADINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prema_gym.config import NPUConfig
from prema_gym.hardware.compiler.shapes import GEMM, Work


class ArrayTiming(NamedTuple):
    """How long tiles occupy the array.

    Of a tile of ``rows`` that starts at cycle 0, the array is free for the next one at max(rows + ``fill_cycles``,
    ``least_cycles``), and all results are in, so that it commits, at rows + ``fill_cycles`` + ``flight_cycles``; both are
    ``cold_cycles`` later right after a cold start.
    """

    fill_cycles: int
    least_cycles: int
    flight_cycles: int
    cold_cycles: int
    overlaps: bool
    """Whether the tiles of one layer overlap: each may start as soon as the array is free, whatever is still in flight."""
    reuses_weights: bool
    """Whether the weights of a loop's body stay in WBUF from its first pass on, where all of them fit; Algorithm 1 then counts
    weights once wherever they stay."""


def exposed(npu: NPUConfig) -> ArrayTiming:
    """Weights in (SH), rows through, results out: one tile at a time, as in the paper's Algorithm 1 and in SCALE-Sim."""
    return ArrayTiming(2 * npu.array_rows + npu.array_cols - 2, 0, 0, 0, overlaps=False, reuses_weights=False)


def prefetched(npu: NPUConfig) -> ArrayTiming:
    """The next tile's weights go in behind this one; its rows wait until this one's results are out."""
    return ArrayTiming(npu.array_rows + npu.array_cols - 2, 0, 0, npu.array_rows, overlaps=False, reuses_weights=False)


def back_to_back(npu: NPUConfig) -> ArrayTiming:
    """Rows stream without a gap, as in TPU v1: a tile's weights take SH cycles to go in, behind the rows of the tile before it."""
    flight = npu.array_rows + npu.array_cols - 2
    return ArrayTiming(0, npu.array_rows, flight, npu.array_rows, overlaps=True, reuses_weights=True)


TIMINGS: dict[str, Callable[[NPUConfig], ArrayTiming]] = {
    "exposed": exposed,
    "prefetched": prefetched,
    "back_to_back": back_to_back,
}
"""The modes by name."""


def array_timing(npu: NPUConfig) -> ArrayTiming:
    """Return how long tiles occupy the array of ``npu``."""
    return TIMINGS[npu.weight_loading](npu)


def keeps_weights(work: Work, npu: NPUConfig) -> bool:
    """Return whether a layer's right operand stays in WBUF over its row chunks: it fits beside two tiles in flight."""
    return _fits(work.right_elements, npu)


def keeps_loop(body: Iterable[Work], passes: int | None, npu: NPUConfig) -> bool:
    """Return whether the weights of a loop's ``body`` stay in WBUF over its ``passes`` (None: as many as the output is long).

    They do if all of them fit beside two tiles in flight and beside what a batched GEMM may want to keep over its row chunks: a
    larger buffer then never makes one of them give way to the other.
    """
    if passes == 1 or not array_timing(npu).reuses_weights:
        return False
    works = [work for work in body if work.unit == GEMM]
    weights = sum(work.right_elements for work in works if work.has_weights)
    others = [work.right_elements for work in works if not work.has_weights and work.chunks(npu) > 1]
    return weights > 0 and _fits(weights + max(others, default=0), npu)


def _fits(elements: int, npu: NPUConfig) -> bool:
    tile = npu.array_rows * npu.array_cols
    return (elements + 2 * tile) * npu.operand_bytes <= npu.wbuf_bytes
