"""AlexNet, GoogLeNet and VGG layer by layer against the graphs that the ``onnx`` wheel ships (structure only, no weights)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from prema_gym.hardware.layers import Conv2d, Gemm, Layer, Network, Vector
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.models.vgg import VGG19_DEPTHS
from prema_gym.workloads.models.vgg import build as build_vgg

onnx = pytest.importorskip("onnx")

GRAPHS = {
    "light_bvlc_alexnet.onnx": lambda: MODELS["CNN-AN"].network(),
    "light_inception_v1.onnx": lambda: MODELS["CNN-GN"].network(),
    "light_vgg19.onnx": lambda: build_vgg(VGG19_DEPTHS),
}
KINDS = {"MaxPool": "pool", "AveragePool": "pool", "LRN": "norm", "Softmax": "softmax"}


def shapes_of(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a graph, by name."""
    infos = [*graph.value_info, *graph.input, *graph.output]
    shapes = {info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in infos}
    return shapes | {weight.name: tuple(weight.dims) for weight in graph.initializer}


def onnx_row(node: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[Any, ...] | None:
    """Return what a node computes, in the words of :func:`our_row`; None where it computes nothing that is charged."""
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    source, result = shapes[node.input[0]], shapes[node.output[0]]
    if node.op_type == "Conv":
        pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
        return "Conv", source, result, shapes[node.input[1]], tuple(attributes["strides"]), pads, attributes.get("group", 1)
    if node.op_type == "Gemm":
        return "Gemm", source[-1], result[-1]
    if node.op_type in KINDS:
        ops = {"LRN": attributes.get("size"), "Softmax": 4}.get(node.op_type) or math.prod(attributes["kernel_shape"])
        return KINDS[node.op_type], math.prod(result), ops
    return None


def our_row(layer: Layer) -> tuple[Any, ...]:
    """Return what a layer of ours computes."""
    if isinstance(layer, Conv2d):
        weight = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
        source = (1, layer.in_channels, layer.height, layer.width)
        result = (1, layer.out_channels, layer.out_height, layer.out_width)
        return "Conv", source, result, weight, layer.stride, layer.padding, layer.groups
    if isinstance(layer, Gemm):
        return "Gemm", layer.k, layer.n
    assert isinstance(layer, Vector)
    return layer.kind, layer.outputs, layer.ops_per_output


@pytest.fixture(params=GRAPHS)
def graph_and_network(request: pytest.FixtureRequest) -> tuple[Any, Network]:
    path = Path(onnx.__file__).parent / "backend/test/data/light" / request.param
    if not path.exists():
        pytest.skip(f"this onnx wheel ships no {path.name}")
    return onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True).graph, GRAPHS[request.param]()


def test_every_layer_computes_what_the_graph_computes_in_the_same_order(graph_and_network: tuple[Any, Network]) -> None:
    graph, network = graph_and_network
    shapes = shapes_of(graph)
    theirs = [row for node in graph.node if (row := onnx_row(node, shapes))]
    assert [our_row(layer) for layer in network.layers] == theirs  # type: ignore[arg-type]


def test_every_layer_reads_what_the_graph_reads(graph_and_network: tuple[Any, Network]) -> None:
    graph, network = graph_and_network
    origin: dict[str, tuple[int, ...]] = {}
    theirs = []
    shapes = shapes_of(graph)
    for node in graph.node:
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        read = tuple(index for tensor in sources for index in origin.get(tensor, (-1,)))
        if onnx_row(node, shapes):
            theirs.append(read)
            read = (len(theirs) - 1,)
        origin[node.output[0]] = read
    names = {layer.name: index for index, layer in enumerate(network.layers)}
    ours = [
        tuple(names[name] for name in layer.inputs) if layer.inputs else (index - 1,)  # type: ignore[union-attr]
        for index, layer in enumerate(network.layers)
    ]
    assert ours == theirs
