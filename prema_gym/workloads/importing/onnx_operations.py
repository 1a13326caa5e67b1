"""What each ONNX operation does to tensors: one function for each kind, found by the operation's name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from prema_gym.errors import ModelError
from prema_gym.workloads.importing.einsum import contraction
from prema_gym.workloads.importing.layer_list import Convolution, LayerList, Shape, Value
from prema_gym.workloads.importing.products import lowering, matrix_product, scaled_dot_product
from prema_gym.workloads.models.convolutional import SOFTMAX_OPS
from prema_gym.workloads.models.transformer import NORM_OPS


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the graph with the shapes of all tensors."""

    path: Path
    proto: Any
    shapes: Mapping[str, Shape | None]

    @property
    def name(self) -> str:
        """Its own name, or that of its first output."""
        return self.proto.name or next((output for output in self.proto.output if output), self.proto.op_type)

    @property
    def operation(self) -> str:
        """The operation, with its domain where that isn't ONNX's own."""
        domain = self.proto.domain
        return self.proto.op_type if domain in ("", "ai.onnx") else f"{domain}.{self.proto.op_type}"

    @property
    def outputs(self) -> list[str]:
        """Names of what it makes; left-out ones are not in it."""
        return [output for output in self.proto.output if output]

    def shape(self, tensor: str) -> Shape:
        """Return a tensor's shape; raises :class:`ModelError` where inference has not found it."""
        shape = self.shapes.get(tensor)
        if shape is None:
            raise ModelError(f"{self.path}: the shape of {tensor!r}, made by {self.name!r} ({self.operation}), is not known.")
        return shape

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute's value."""
        import onnx

        for entry in self.proto.attribute:
            if entry.name == name:
                value = onnx.helper.get_attribute_value(entry)
                return value.decode() if isinstance(value, bytes) else value
        return default


Rule = Callable[[LayerList, Node, list[Value]], Value]
"""(layers, node, values of its inputs) -> the value of its first output."""
_RULES: dict[str, Rule] = {}


_lowers = lowering(_RULES)


def lower_node(made: LayerList, node: Node) -> None:
    """Append what ``node`` does to ``made``; what is unknown is noted as unsupported."""
    reads = [made.value(tensor) for tensor in node.proto.input if tensor]
    if node.operation in _SHAPE_ONLY or (reads and all(value.constant for value in reads)) or not reads:
        for output in node.outputs:
            made.put_constant(output, tuple(max(1, size) for size in node.shapes.get(output) or (1,)))
        return
    rule = _RULES.get(node.operation, _unsupported)
    value = rule(made, node, reads)
    for number, output in enumerate(node.outputs):
        if number == 0 or not made.knows(output):
            shape = node.shape(output) if number == 0 else node.shapes.get(output) or value.shape
            made.put(output, dataclasses.replace(value, shape=shape))


_SHAPE_ONLY = frozenset({"Shape", "Size", "Constant", "ConstantOfShape", "Range", "EyeLike", "RandomNormal", "RandomUniform"})


def _out(node: Node) -> Shape:
    return node.shape(node.outputs[0])


# --- Products -----------------------------------------------------------------------------------------------------------------


@_lowers("Conv", "ConvInteger", "QLinearConv")
def _conv(made: LayerList, node: Node, reads: list[Value]) -> Value:
    weights = reads[3 if node.operation == "QLinearConv" else 1]
    data, shape, attributes = reads[0], _out(node), _convolution(node, weights.shape)
    if len(weights.shape) == 3:
        data, shape = _two_dimensional(data), (*shape[:2], 1, shape[2])
    if len(weights.shape) > 4:
        macs = math.prod(shape) * math.prod(weights.shape[1:])
        return made.skip(node.name, node.operation, macs, reads, shape)
    return made.convolution(node.name, data, shape, attributes)


@_lowers("ConvTranspose")
def _conv_transpose(made: LayerList, node: Node, reads: list[Value]) -> Value:
    data, weights, shape = reads[0], reads[1], _out(node)
    attributes = _convolution(node, weights.shape)
    if len(weights.shape) == 3:
        data, shape = _two_dimensional(data), (*shape[:2], 1, shape[2])
    if len(weights.shape) > 4:
        return made.skip(node.name, node.operation, data.elements * math.prod(weights.shape[1:]), reads, shape)
    return made.transposed_convolution(node.name, data, shape, attributes)


def _two_dimensional(data: Value) -> Value:
    return dataclasses.replace(data, shape=(*data.shape[:2], 1, data.shape[2]))


def _convolution(node: Node, weights: Shape) -> Convolution:
    """Return a convolution's attributes; one dimension becomes two, the first of extent 1."""
    axes = len(weights) - 2
    pads = list(node.attribute("pads", [0] * 2 * axes))
    kernel, stride = list(weights[2:]), list(node.attribute("strides", [1] * axes))
    dilation = list(node.attribute("dilations", [1] * axes))
    if axes == 1:
        kernel, stride, dilation, pads = [1, *kernel], [1, *stride], [1, *dilation], [0, pads[0], 0, pads[1]]
    edges = pads[:4] if len(pads) == 4 else [0] * 4
    groups = node.attribute("group", 1)
    return Convolution(tuple(kernel[:2]), tuple(stride[:2]), tuple(dilation[:2]), groups, tuple(edges))  # type: ignore[arg-type]


@_lowers("Gemm")
def _gemm(made: LayerList, node: Node, reads: list[Value]) -> Value:
    left, right = reads[0], reads[1]
    depth = left.shape[0] if node.attribute("transA", 0) else left.shape[1]
    return matrix_product(made, node.name, left, right, depth, _out(node))


@_lowers("MatMul", "MatMulInteger", "QLinearMatMul")
def _matmul(made: LayerList, node: Node, reads: list[Value]) -> Value:
    left, right = reads[0], reads[3 if node.operation == "QLinearMatMul" else 1]
    return matrix_product(made, node.name, left, right, left.shape[-1], _out(node))


@_lowers("Einsum")
def _einsum(made: LayerList, node: Node, reads: list[Value]) -> Value:
    shape = _out(node)
    if len(reads) != 2:
        return made.skip(node.name, node.operation, None, reads, shape)
    sizes = contraction(node.attribute("equation"), reads[0].shape, reads[1].shape)
    count, m, k, n = sizes
    if reads[0].constant or reads[1].constant:
        data = reads[1] if reads[0].constant else reads[0]
        columns = m if reads[0].constant else n
        if count == 1:
            return made.gemm(node.name, data, k, columns, shape)
        return made.grouped_gemm(node.name, data, (count, m * n // columns, k, columns), shape)
    return made.product(node.name, reads[0], reads[1], sizes, shape)


@_lowers("Attention", "com.microsoft.MultiHeadAttention")
def _attention(made: LayerList, node: Node, reads: list[Value]) -> Value:
    """Queries times keys, softmax, times values; heads from the rank of the inputs or from the attribute."""
    shape = _out(node)
    if len(reads) < 3:
        return made.skip(node.name, node.operation, None, reads, shape)
    query, key, value = reads[:3]
    heads = node.attribute("q_num_heads") or node.attribute("num_heads") or (query.shape[1] if len(query.shape) == 4 else 1)
    width = query.shape[-1] if len(query.shape) == 4 else query.shape[-1] // heads
    return scaled_dot_product(made, node.name, (query, key, value), (heads, width), shape)


@_lowers("LSTM", "GRU", "RNN")
def _recurrent(made: LayerList, node: Node, reads: list[Value]) -> Value:
    data, hidden = reads[0], node.attribute("hidden_size")
    directions = 2 if node.attribute("direction", "forward") == "bidirectional" else 1
    steps = data.shape[1] if node.attribute("layout", 0) else data.shape[0]
    outputs, state = made.recurrent(node.name, data, (steps, data.shape[-1], hidden), node.operation, directions)
    for number, output in enumerate(node.proto.output):
        if output and number > 0:
            made.put(output, dataclasses.replace(state, shape=node.shape(output)))
    if not node.proto.output[0]:
        return state
    return outputs


@_lowers("Gather", "GatherElements", "GatherND")
def _gather(made: LayerList, node: Node, reads: list[Value]) -> Value:
    table, indices = reads[0], reads[1]
    if table.constant and not indices.constant and node.operation == "Gather":
        return made.embedding(node.name, indices, table.shape, _out(node))
    return made.view(node.name, [value for value in (table, indices) if not value.constant][:1], _out(node))


# --- Work of the vector unit --------------------------------------------------------------------------------------------------


@_lowers("MaxPool", "AveragePool", "LpPool")
def _pool(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.vector(node.name, "pool", reads[:1], _out(node), math.prod(node.attribute("kernel_shape")))


@_lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.vector(node.name, "pool", reads[:1], _out(node), math.prod(reads[0].shape[2:]))


@_lowers(
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceSumSquare", "ArgMax", "ArgMin", "TopK", "CumSum",
)  # fmt: skip
def _reduce(made: LayerList, node: Node, reads: list[Value]) -> Value:
    shape = _out(node)
    return made.vector(node.name, "reduce", reads[:1], shape, -(-reads[0].elements // math.prod(shape)))


@_lowers("Softmax", "LogSoftmax", "Hardmax")
def _softmax(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.vector(node.name, "softmax", reads[:1], _out(node), SOFTMAX_OPS)


@_lowers(
    "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "MeanVarianceNormalization",
    "LpNormalization", "SimplifiedLayerNormalization", "com.microsoft.SkipLayerNormalization",
)  # fmt: skip
def _norm(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.vector(node.name, "norm", [value for value in reads if not value.constant], _out(node), NORM_OPS)


@_lowers("LRN")
def _local_norm(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.vector(node.name, "norm", reads[:1], _out(node), node.attribute("size"))


@_lowers("Resize", "Upsample", "GridSample", "RoiAlign", "MaxRoiPool", "AffineGrid")
def _resize(made: LayerList, node: Node, reads: list[Value]) -> Value:
    ops = 4 if node.attribute("mode", "nearest") in ("linear", "cubic", "bilinear") else 1
    return made.vector(node.name, "resize", reads[:1], _out(node), ops)


@_lowers("RotaryEmbedding", "com.microsoft.RotaryEmbedding")
def _rotary(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.vector(node.name, "elementwise", [value for value in reads if not value.constant], _out(node), 3)


# --- Element-wise work, and views ---------------------------------------------------------------------------------------------

_ELEMENTWISE = [
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitShift", "BitwiseAnd",
    "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Div",
    "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid",
    "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
    "com.microsoft.FastGelu", "com.microsoft.Gelu", "com.microsoft.BiasGelu", "com.microsoft.QuickGelu",
]  # fmt: skip
_VIEWS = [
    "Bernoulli", "Cast", "CastLike", "Compress", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Identity", "Pad",
    "Reshape", "ReverseSequence", "ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Trilu", "Unsqueeze",
]  # fmt: skip


@_lowers(*_ELEMENTWISE)
def _elementwise(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.elementwise(node.name, reads, _out(node))


@_lowers(*_VIEWS)
def _view(made: LayerList, node: Node, reads: list[Value]) -> Value:
    return made.view(node.name, [value for value in reads if not value.constant], _out(node))


def _unsupported(made: LayerList, node: Node, reads: list[Value]) -> Value:
    outputs: Iterable[Shape] = [shape for output in node.outputs if (shape := node.shapes.get(output)) is not None]
    return made.skip(node.name, node.operation, None, reads, next(iter(outputs), (1,)))
