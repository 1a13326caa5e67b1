"""What importers of every kind of graph share: finding an operation's rule, and products as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from prema_gym.workloads.importing.layer_list import LayerList, Shape, Value
from prema_gym.workloads.models.convolutional import SOFTMAX_OPS

RuleT = TypeVar("RuleT", bound=Callable[..., Any])


def lowering(rules: dict[str, RuleT]) -> Callable[..., Callable[[RuleT], RuleT]]:
    """Return a decorator ``lowers(*operations)`` that puts a rule into ``rules`` under each of the operations' names."""

    def lowers(*operations: str) -> Callable[[RuleT], RuleT]:
        def register(rule: RuleT) -> RuleT:
            rules.update(dict.fromkeys(operations, rule))
            return rule

        return register

    return lowers


def matrix_product(made: LayerList, name: str, left: Value, right: Value, depth: int, shape: Shape) -> Value:
    """Return left x right over the last two axes, whichever of them is weights; ``depth`` is what is summed over."""
    if right.constant or left.constant:
        data, weights = (left, right) if right.constant else (right, left)
        matrices = math.prod(weights.shape[:-2])
        columns = weights.elements // (matrices * depth)
        if matrices == 1:
            return made.gemm(name, data, depth, columns, shape)
        return made.grouped_gemm(name, data, (matrices, data.elements // (matrices * depth), depth, columns), shape)
    rows, columns = (left.shape[-2] if len(left.shape) > 1 else 1), (right.shape[-1] if len(right.shape) > 1 else 1)
    count = max(1, math.prod(shape) // (rows * columns))
    return made.product(name, left, right, (count, rows, depth, columns), shape)


def scaled_dot_product(
    made: LayerList, name: str, reads: tuple[Value, Value, Value], heads: tuple[int, int], shape: Shape
) -> Value:
    """Return attention of ``heads`` = (heads, width of one): scores, softmax, and the values that they weigh."""
    query, key, value = reads
    number, width = heads
    count = query.shape[0] * number
    rows, columns = query.elements // (count * width), max(1, key.elements // (count * width))
    scores = made.product(f"{name}_scores", query, key, (count, rows, width, columns), (count, rows, columns))
    weights = made.vector(f"{name}_softmax", "softmax", [scores], scores.shape, SOFTMAX_OPS)
    depth = max(1, value.elements // (count * columns))
    return made.product(f"{name}_context", weights, value, (count, rows, columns, depth), shape)
