"""What each ATen operation does to tensors: one function for each kind, found by the operation's name without its overload."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from prema_gym.workloads.importing.einsum import contraction
from prema_gym.workloads.importing.layer_list import Convolution, LayerList, Shape, Value
from prema_gym.workloads.importing.products import lowering, matrix_product, scaled_dot_product
from prema_gym.workloads.models.convolutional import SOFTMAX_OPS
from prema_gym.workloads.models.transformer import NORM_OPS

Rule = Callable[[LayerList, Any, Shape], Value]
"""(layers, node of torch's graph, shape of its result) -> its value."""
_RULES: dict[str, Rule] = {}


_lowers = lowering(_RULES)


def lower_call(made: LayerList, node: Any) -> None:
    """Append what ``node`` does to ``made``; what is unknown is noted as unsupported."""
    operation = _operation(node)
    if operation == "getitem":
        _pick(made, node)
        return
    shapes = _shapes(node)
    shape = next((found for found in shapes if found is not None), (1,))
    reads = _tensors(made, node.args) + _tensors(made, node.kwargs.values())
    if not reads or all(value.constant for value in reads):
        made.put_constant(node.name, tuple(max(1, size) for size in shape))
        return
    rule = _RULES.get(operation, _unsupported)
    made.put(node.name, rule(made, node, tuple(max(1, size) for size in shape)))


def _operation(node: Any) -> str:
    """Return the operation's name: "conv2d" of ``aten.conv2d.default``."""
    target = node.target
    if hasattr(target, "overloadpacket"):
        return str(target.overloadpacket.__name__).rstrip("_")
    return str(getattr(target, "__name__", target))


def _shapes(node: Any) -> list[Shape | None]:
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return [tuple(int(size) for size in entry.shape) if hasattr(entry, "shape") else None for entry in values]


def _tensors(made: LayerList, arguments: Iterable[Any]) -> list[Value]:
    """Return the values among the arguments, those in lists included."""
    found: list[Value] = []
    for argument in arguments:
        if isinstance(argument, (list, tuple)):
            found += _tensors(made, argument)
        elif hasattr(argument, "meta") and made.knows(argument.name):
            found.append(made.value(argument.name))
    return found


def _value(made: LayerList, node: Any, place: int) -> Value:
    return made.value(node.args[place].name)


def _argument(node: Any, place: int, name: str, default: Any) -> Any:
    if len(node.args) > place:
        return node.args[place]
    return node.kwargs.get(name, default)


def _pick(made: LayerList, node: Any) -> None:
    """One of several results: a recurrent layer's states, or a part of what was split."""
    source, number = node.args
    whole = made.value(f"{source.name}.{number}") if made.knows(f"{source.name}.{number}") else made.value(source.name)
    shape = next((found for found in _shapes(node) if found is not None), whole.shape)
    made.put(node.name, Value(shape, whole.sources, whole.constant))


# --- Products -----------------------------------------------------------------------------------------------------------------


@_lowers("linear", "_addmm_activation")
def _linear(made: LayerList, node: Any, shape: Shape) -> Value:
    data = _value(made, node, 0)
    return made.gemm(node.name, data, data.shape[-1], shape[-1], shape)


@_lowers("matmul", "mm", "bmm")
def _matmul(made: LayerList, node: Any, shape: Shape) -> Value:
    left, right = _value(made, node, 0), _value(made, node, 1)
    return matrix_product(made, node.name, left, right, left.shape[-1], shape)


@_lowers("addmm", "baddbmm")
def _addmm(made: LayerList, node: Any, shape: Shape) -> Value:
    left, right = _value(made, node, 1), _value(made, node, 2)
    return matrix_product(made, node.name, left, right, left.shape[-1], shape)


@_lowers("einsum")
def _einsum(made: LayerList, node: Any, shape: Shape) -> Value:
    equation, operands = node.args[0], _tensors(made, node.args[1])
    if len(operands) != 2 or any(value.constant for value in operands):
        return made.skip(node.name, "einsum", None, operands, shape)
    return made.product(
        node.name, operands[0], operands[1], contraction(equation, operands[0].shape, operands[1].shape), shape
    )  # fmt: skip


@_lowers("scaled_dot_product_attention")
def _attention(made: LayerList, node: Any, shape: Shape) -> Value:
    query, key, value = (_value(made, node, place) for place in range(3))
    count = math.prod(query.shape[1:-2])
    return scaled_dot_product(made, node.name, (query, key, value), (max(1, count), query.shape[-1]), shape)


@_lowers("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv(made: LayerList, node: Any, shape: Shape) -> Value:
    operation = _operation(node)
    data, weights = _value(made, node, 0), _value(made, node, 1)
    axes = len(weights.shape) - 2
    transposed = "transpose" in operation or (operation == "convolution" and bool(node.args[6]))
    if axes > 2:
        macs = math.prod(weights.shape[1:]) * (data.elements if transposed else math.prod(shape))
        return made.skip(node.name, operation, macs, [data], shape)
    stride = _pair(_argument(node, 3, "stride", 1), axes)
    padding = _argument(node, 4, "padding", 0)
    before = (0, 0) if isinstance(padding, str) else _pair(padding, axes, 0)
    place = 6 if "transpose" in operation else (8 if operation == "convolution" else 6)
    groups = int(_argument(node, place, "groups", 1))
    kernel = (1, weights.shape[2]) if axes == 1 else (weights.shape[2], weights.shape[3])
    made_of = Convolution(kernel, stride, (1, 1), groups, (before[0], before[1], before[0], before[1]))
    if axes == 1:
        data, shape = Value((*data.shape[:2], 1, data.shape[2]), data.sources), (*shape[:2], 1, shape[2])
    if transposed:
        return made.transposed_convolution(node.name, data, shape, made_of)
    return made.convolution(node.name, data, shape, made_of)


def _pair(value: Any, axes: int, missing: int = 1) -> tuple[int, int]:
    """Return a setting of one or two axes as two; the axis that a 1-d convolution lacks has ``missing``."""
    values = list(value) if isinstance(value, (list, tuple)) else [value] * axes
    values = values * axes if len(values) == 1 and axes == 2 else values
    return (missing, int(values[0])) if axes == 1 else (int(values[0]), int(values[1]))


@_lowers("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(made: LayerList, node: Any, shape: Shape) -> Value:
    """Layer upon layer; ``args`` = (input, states, weights, biases?, layers, dropout, train, bidirectional, batch first)."""
    cell = {"lstm": "LSTM", "gru": "GRU"}.get(_operation(node), "RNN")
    data, weights, layers = _value(made, node, 0), node.args[2], node.args[4]
    directions, batch_first = (2 if node.args[7] else 1), node.args[8]
    hidden = made.value(weights[1].name).shape[-1]
    steps = data.shape[1] if batch_first else data.shape[0]
    width, states = data.shape[-1], []
    outputs = data
    for layer in range(layers):
        outputs, state = made.recurrent(f"{node.name}_{layer}", outputs, (steps, width, hidden), cell, directions)
        width = directions * hidden
        states.append(state)
    last = Value((len(states) * states[0].elements,), tuple(source for state in states for source in state.sources))
    for number in range(1, 3):
        made.put(f"{node.name}.{number}", last)
    return Value(shape, outputs.sources)


@_lowers("embedding", "embedding_bag", "_embedding_bag")
def _embedding(made: LayerList, node: Any, shape: Shape) -> Value:
    table, indices = _value(made, node, 0), _value(made, node, 1)
    return made.embedding(node.name, indices, table.shape, shape)


# --- Work of the vector unit --------------------------------------------------------------------------------------------------


@_lowers(
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "max_pool2d_with_indices", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "_adaptive_avg_pool2d", "adaptive_max_pool2d",
)  # fmt: skip
def _pool(made: LayerList, node: Any, shape: Shape) -> Value:
    data = _value(made, node, 0)
    if "adaptive" in _operation(node):
        return made.vector(node.name, "pool", [data], shape, -(-data.elements // math.prod(shape)))
    axes = 1 if "1d" in _operation(node) else 2
    return made.vector(node.name, "pool", [data], shape, math.prod(_pair(node.args[1], axes)))


@_lowers(
    "mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "norm", "std", "var", "topk", "cumsum", "logsumexp"
)
def _reduce(made: LayerList, node: Any, shape: Shape) -> Value:
    data = _value(made, node, 0)
    return made.vector(node.name, "reduce", _tensors(made, node.args), shape, -(-data.elements // math.prod(shape)))


@_lowers("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def _softmax(made: LayerList, node: Any, shape: Shape) -> Value:
    return made.vector(node.name, "softmax", [_value(made, node, 0)], shape, SOFTMAX_OPS)


@_lowers("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm")
def _norm(made: LayerList, node: Any, shape: Shape) -> Value:
    return made.vector(node.name, "norm", [_value(made, node, 0)], shape, NORM_OPS)


@_lowers("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "grid_sampler")
def _resize(made: LayerList, node: Any, shape: Shape) -> Value:
    return made.vector(node.name, "resize", [_value(made, node, 0)], shape, 1 if "nearest" in _operation(node) else 4)


# --- Element-wise work, and views ---------------------------------------------------------------------------------------------

_ELEMENTWISE = [
    "abs", "add", "addcdiv", "addcmul", "batch_norm", "_native_batch_norm_legit_no_training", "bitwise_and", "bitwise_not",
    "bitwise_or", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "cos", "div", "elu", "eq", "erf", "exp", "floor",
    "floor_divide", "fmod", "ge", "gelu", "glu", "gt", "hardsigmoid", "hardswish", "hardtanh", "le", "leaky_relu", "log", "log1p",
    "logical_and", "logical_not", "logical_or", "lt", "masked_fill", "maximum", "minimum", "mish", "mul", "ne", "neg", "pow",
    "prelu", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt", "rsub", "selu", "sigmoid", "sign", "silu", "sin",
    "softplus", "sqrt", "square", "sub", "tan", "tanh", "threshold", "true_divide", "where",
]  # fmt: skip
_VIEWS = [
    "_assert_tensor_metadata", "_to_copy", "_unsafe_view", "alias", "cat", "chunk", "channel_shuffle", "clone", "concat",
    "concatenate", "constant_pad_nd", "contiguous", "copy", "detach", "dropout", "expand", "expand_as", "feature_dropout",
    "flatten", "flip", "gather", "index", "index_select", "lift_fresh_copy", "movedim", "narrow", "native_channel_shuffle", "pad",
    "permute", "pixel_shuffle", "pixel_unshuffle", "repeat", "repeat_interleave", "reshape", "roll", "select", "slice", "split",
    "split_with_sizes", "squeeze", "stack", "t", "tile", "to", "transpose", "tril", "triu", "type_as", "unbind", "unflatten",
    "unfold", "unsqueeze", "view", "view_as", "split_with_sizes_copy", "unsafe_split", "unsafe_chunk",
]  # fmt: skip


@_lowers(*_ELEMENTWISE)
def _elementwise(made: LayerList, node: Any, shape: Shape) -> Value:
    return made.elementwise(node.name, _tensors(made, [*node.args, *node.kwargs.values()]), shape)


@_lowers(*_VIEWS)
def _view(made: LayerList, node: Any, shape: Shape) -> Value:
    reads = [value for value in _tensors(made, node.args) if not value.constant]
    return made.view(node.name, reads, shape)


def _unsupported(made: LayerList, node: Any, shape: Shape) -> Value:
    return made.skip(node.name, _operation(node), None, _tensors(made, node.args), shape)
