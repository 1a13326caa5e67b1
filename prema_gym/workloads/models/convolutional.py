"""Building blocks of the convolutional networks: square feature maps, everything by its published hyperparameters."""

from __future__ import annotations

from prema_gym.hardware.layers import Conv2d, Gemm, Vector

LRN_WINDOW = 5
"""Neighbouring channels of local response normalisation (AlexNet, section 3.3)."""
SOFTMAX_OPS = 4
"""Vector operations per element of a softmax: exponential, maximum, sum and division."""


def conv(
    name: str,
    channels: tuple[int, int],
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    inputs: tuple[str, ...] = (),
) -> Conv2d:
    """Return a square convolution from ``channels[0]`` to ``channels[1]`` over a ``size`` x ``size`` map, padded on all sides."""
    edges = (padding, padding, padding, padding)
    return Conv2d(*channels, size, size, (kernel, kernel), (stride, stride), edges, groups, name=name, inputs=inputs)


def pool(name: str, channels: int, out_size: int, window: int, inputs: tuple[str, ...] = ()) -> Vector:
    """Return a pooling layer (maximum or average) to ``out_size`` x ``out_size``: one operation per element of the window."""
    return Vector(channels * out_size**2, window**2, kind="pool", name=name, inputs=inputs)


def local_norm(name: str, channels: int, size: int) -> Vector:
    """Return local response normalisation: one operation per channel of its window (our charge)."""
    return Vector(channels * size**2, LRN_WINDOW, kind="norm", name=name)


def dense(name: str, inputs: int, outputs: int) -> Gemm:
    """Return a fully connected layer."""
    return Gemm(1, inputs, outputs, name=name)


def softmax(name: str, outputs: int, inputs: tuple[str, ...] = ()) -> Vector:
    """Return a softmax over ``outputs``."""
    return Vector(outputs, SOFTMAX_OPS, kind="softmax", name=name, inputs=inputs)
