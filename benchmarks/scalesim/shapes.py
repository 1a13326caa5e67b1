"""Write the shapes that SCALE-Sim is asked about: a grid of GEMMs, and every convolution and GEMM of the four CNNs.

Run with the project's Python: ``python benchmarks/scalesim/shapes.py benchmarks/scalesim/shapes.csv``.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from prema_gym.hardware.layers import Conv2d, Gemm
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.models.counting import walk

FIELDS = ("name", "kind", "m", "k", "n", "groups", "height", "width", "kernel_height", "kernel_width", "channels", "stride")
SMALL = (1, 2, 31, 32, 33, 127, 128, 129, 255, 256, 257, 300)
"""Around the sides of the three arrays: one, one less, exact, one more, no divisor."""
SKINNY = (
    (1, 4096, 1000), (1, 2048, 2048), (16, 1024, 4096), (1, 1, 4096), (1, 4096, 1), (2048, 1, 1), (2048, 4, 4), (4, 2000, 4),
    (3, 999, 1001), (2048, 128, 128), (2047, 129, 127), (2000, 300, 500), (1024, 1024, 1024), (512, 2048, 512), (1, 25088, 512),
    (4096, 64, 64), (5000, 200, 100), (784, 1152, 256), (196, 4608, 512), (49, 2304, 320),
)  # fmt: skip
CNNS = ("CNN-AN", "CNN-GN", "CNN-VN", "CNN-MN")


def gemms() -> Iterator[dict[str, object]]:
    """Yield a spread of the grid SMALL x SMALL x SMALL (every shape with one side of each residue), then SKINNY."""
    size = len(SMALL)
    for i, j in itertools.product(range(size), range(size)):
        if (i + 2 * j) % 3 == 0:
            yield _gemm(SMALL[i], SMALL[j], SMALL[(i + 5 * j) % size])
    for shape in SKINNY:
        yield _gemm(*shape)


def _gemm(m: int, k: int, n: int) -> dict[str, object]:
    return {"name": f"gemm-{m}x{k}x{n}", "kind": "gemm", "m": m, "k": k, "n": n, "groups": 1}


def layers() -> Iterator[dict[str, object]]:
    """Yield the distinct convolutions and GEMMs of the CNNs at batch 1, depthwise ones (which SCALE-Sim doesn't pack) left out."""
    seen = set()
    for model in CNNS:
        for layer, _ in walk(MODELS[model].network()):
            if isinstance(layer, Gemm):
                row = _gemm(layer.m, layer.k, layer.n)
            elif isinstance(layer, Conv2d) and not layer.is_depthwise:
                row = _conv(layer)
            else:
                continue
            key = tuple(row.values())[1:]
            if key not in seen:
                seen.add(key)
                yield {**row, "name": f"{model}-{layer.name}"}


def _conv(layer: Conv2d) -> dict[str, object]:
    """One group of a convolution. SCALE-Sim knows no padding: its input is the padded one, less what no filter reaches."""
    kernel, stride = layer.kernel, layer.stride[0]
    assert stride == layer.stride[1]
    return {
        "name": "", "kind": "conv", "groups": layer.groups, "channels": layer.in_channels // layer.groups, "stride": stride,
        "height": (layer.out_height - 1) * stride + kernel[0], "width": (layer.out_width - 1) * stride + kernel[1],
        "kernel_height": kernel[0], "kernel_width": kernel[1], "m": layer.out_height * layer.out_width,
        "k": kernel[0] * kernel[1] * layer.in_channels // layer.groups, "n": layer.out_channels // layer.groups,
    }  # fmt: skip


def main(path: str) -> None:
    """Write the table to ``path``."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        writer.writeheader()
        writer.writerows([*gemms(), *layers()])


if __name__ == "__main__":
    main(sys.argv[1])
