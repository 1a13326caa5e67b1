"""Networks from layer tables of other simulators: SCALE-Sim's topology files (CSV)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from prema_gym.errors import ModelError
from prema_gym.hardware.layers import NETWORK_INPUT, Conv2d, Gemm, Layer, Network
from prema_gym.workloads.importing.imported import ImportedModel, fixed_model
from prema_gym.workloads.importing.text import read_text

CONVOLUTION_FIELDS = ("IFMAP height", "IFMAP width", "filter height", "filter width", "channels", "filters", "stride")
"""The columns after the name; a further stride is that of the width."""
GEMM_FIELDS = ("M", "N", "K")
MOST_LAYERS = 100_000


def from_csv(path: str | Path, *, name: str | None = None) -> ImportedModel:
    """Return the network of a SCALE-Sim topology file, of convolutions or of GEMMs (header ``Layer, M, N, K``).

    Such a file does not say which layer reads which, so every layer reads its input from memory and stores its output there. Input
    maps include their padding. A convolution whose filters have one channel of many is written there as any other; so it is here.

    Raises :class:`ModelError` with the line where something is wrong.
    """
    source = Path(path)
    rows = list(csv.reader(read_text(source).splitlines()))
    if not rows:
        raise ModelError(f"{source}: is empty: expected a header and a line for each layer.")
    header = [cell.strip().lower() for cell in rows[0]]
    gemms = header[1:4] == ["m", "n", "k"]
    if not gemms and not any("ifmap" in cell for cell in header):
        raise ModelError(f"{source}:1: header {', '.join(rows[0])!r}: expected SCALE-Sim's, of convolutions or 'Layer, M, N, K'.")
    if len(rows) > MOST_LAYERS:
        raise ModelError(f"{source}: has {len(rows)} lines: at most {MOST_LAYERS} are supported.")
    layers: list[Layer] = []
    names: set[str] = set()
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row):
            layers.append(_layer(source, number, row, gemms, names))
    if not layers:
        raise ModelError(f"{source}: has no layers under its header.")
    elements = max(_reads(layer) for layer in layers)
    title = name or source.stem
    return fixed_model(Network(title, elements, tuple(layers)), f"imported from {source.name}", name=title)


def _layer(source: Path, number: int, row: Sequence[str], gemms: bool, names: set[str]) -> Layer:
    fields = GEMM_FIELDS if gemms else CONVOLUTION_FIELDS
    title = row[0].strip() or f"layer{number - 1}"
    if title in names:
        title = f"{title}_{number}"
    names.add(title)
    values = [_whole(source, number, field, cell) for field, cell in zip(fields, row[1:], strict=False)]
    if len(values) < len(fields):
        raise ModelError(f"{source}:{number}: {len(values)} numbers: expected {len(fields)} ({', '.join(fields)}).")
    if gemms:
        m, n, k = values
        return Gemm(m, k, n, name=title, inputs=(NETWORK_INPUT,))
    height, width, filter_height, filter_width, channels, filters, stride = values
    across = row[len(fields) + 1].strip() if len(row) > len(fields) + 1 else ""
    strides = (stride, int(across)) if across.isdigit() and int(across) > 0 else (stride, stride)
    if filter_height > height or filter_width > width:
        raise ModelError(f"{source}:{number}: a filter of {filter_height} x {filter_width} does not fit {height} x {width}.")
    return Conv2d(
        channels, filters, height, width, (filter_height, filter_width), strides, name=title, inputs=(NETWORK_INPUT,)
    )  # fmt: skip


def _whole(source: Path, number: int, field: str, cell: str) -> int:
    text = cell.strip()
    if not text.isdigit() or not 1 <= int(text) < 1 << 31:
        raise ModelError(f"{source}:{number}: {field} = {text!r}: must be a whole number of at least 1.")
    return int(text)


def _reads(layer: Layer) -> int:
    if isinstance(layer, Conv2d):
        return layer.in_channels * layer.height * layer.width
    assert isinstance(layer, Gemm)
    return layer.m * layer.k
