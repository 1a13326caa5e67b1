"""Networks from ONNX files: shapes by the format's own inference, operations by :mod:`onnx_operations`; no code of a file runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prema_gym.errors import ModelError
from prema_gym.files import is_file
from prema_gym.workloads.importing.imported import ImportedModel, imported
from prema_gym.workloads.importing.layer_list import MOST_NODES, LayerList
from prema_gym.workloads.importing.onnx_operations import Node, lower_node

MOST_FILE_BYTES = 2 << 30
"""Of a file: what the format itself allows."""
FREE = frozenset({"", "batch", "batch_size", "N", "n"})
"""Names of a first axis that is taken for the batch."""


def from_onnx(
    path: str | Path, *, name: str | None = None, dimensions: Mapping[str, int] | None = None, batch_axis: int = 0
) -> ImportedModel:
    """Return the network of an ONNX file (any opset that the installed ``onnx`` knows).

    Raises :class:`ModelError` where the file is damaged, its graph is cyclic, or a shape can't be inferred.

    Args:
        path: The file; external data files are not read.
        name: Of the model; the file's name without its suffix unless given.
        dimensions: Extents of symbolic dimensions by name, for example ``{"sequence": 128}``. A first axis without a fixed extent
            is taken for the batch, and needs none.
        batch_axis: Of the first input; 1 for a recurrent network whose first axis is time.

    """
    source = Path(path)
    model = _read(source)
    _bind_dimensions(source, model, dict(dimensions or {}), batch_axis)
    graph = _infer(source, model).graph
    if len(graph.node) > MOST_NODES:
        raise ModelError(f"{source}: has {len(graph.node)} nodes: at most {MOST_NODES} are supported.")
    shapes = _shapes(graph)
    made = LayerList(name or source.stem, str(source))
    for initializer in graph.initializer:
        made.put_constant(initializer.name, tuple(max(1, size) for size in initializer.dims))
    for given in graph.input:
        if not made.knows(given.name):
            made.put_input(given.name, _known(source, given.name, shapes))
    if graph.input and batch_axis:
        first = next(given.name for given in graph.input if not made.value(given.name).constant)
        made.rebatch(made.value(first).shape[batch_axis])
    for node in graph.node:
        lower_node(made, Node(source, node, shapes))
    return imported(made, name, f"imported from {source.name}")


def _read(path: Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise ModelError("from_onnx needs the package onnx: install the extra, prema-gym[onnx].") from None
    if not is_file(path):
        raise ModelError(f"{path}: is no file.")
    size = path.stat().st_size
    if size > MOST_FILE_BYTES:
        raise ModelError(f"{path}: has {size} bytes, more than an ONNX file can: keep the weights in external data.")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # the parser raises errors of its own, of several packages
        raise ModelError(f"{path}: is no ONNX file, or a damaged one: {_first_line(error)}") from None


def _infer(path: Path, model: Any) -> Any:
    import onnx

    known = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not 1 <= entry.version <= known:
            raise ModelError(f"{path}: uses opset {entry.version}; the installed onnx knows 1 to {known}.")
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:
        raise ModelError(f"{path}: its shapes don't fit together: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]


def _bind_dimensions(path: Path, model: Any, dimensions: dict[str, int], batch_axis: int) -> None:
    """Give every symbolic dimension of the inputs its extent, in place: 1 for the batch."""
    weights = {initializer.name for initializer in model.graph.initializer}
    free: list[str] = []
    for given in model.graph.input:
        if given.name in weights:
            continue
        for axis, size in enumerate(given.type.tensor_type.shape.dim):
            if size.WhichOneof("value") == "dim_value" and size.dim_value > 0:
                continue
            if size.dim_param in dimensions:
                size.dim_value = _extent(size.dim_param, dimensions[size.dim_param])
            elif axis == batch_axis or size.dim_param in FREE:
                size.dim_value = 1
            else:
                free.append(size.dim_param or f"{given.name}[{axis}]")
    if free:
        names = ", ".join(dict.fromkeys(free))
        raise ModelError(f"{path}: the extents of {names} are left open: give them as dimensions={{{free[0]!r}: ...}}.")
    # Shapes that the exporter noted with symbols would win over what follows from the inputs.
    for produced in (*model.graph.value_info, *model.graph.output):
        if any(size.WhichOneof("value") != "dim_value" for size in produced.type.tensor_type.shape.dim):
            produced.type.tensor_type.ClearField("shape")


def _extent(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"dimensions[{name!r}] = {value!r}: must be a whole number of at least 1.")
    return value


def _shapes(graph: Any) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of every tensor, None where an extent is unknown."""
    shapes: dict[str, tuple[int, ...] | None] = {entry.name: tuple(entry.dims) for entry in graph.initializer}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        if not entry.type.HasField("tensor_type") or not entry.type.tensor_type.HasField("shape"):
            continue
        sizes = entry.type.tensor_type.shape.dim
        known = all(size.WhichOneof("value") == "dim_value" for size in sizes)
        shapes[entry.name] = tuple(size.dim_value for size in sizes) if known else None
    return shapes


def _known(path: Path, tensor: str, shapes: Mapping[str, tuple[int, ...] | None]) -> tuple[int, ...]:
    shape = shapes.get(tensor)
    if shape is None:
        raise ModelError(f"{path}: the shape of {tensor!r} is not known.")
    return shape
