"""MobileNet v2, image classification by inverted residual blocks."""

from __future__ import annotations

from collections.abc import Iterator

from prema_gym.hardware.layers import Layer, Network, Vector
from prema_gym.workloads.models.convolutional import conv, dense, pool, softmax
from prema_gym.workloads.models.model import Model

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output channels, blocks and first stride of the seven groups: the paper's table 2."""


def _block(name: str, before: str, channels: tuple[int, int], size: int, expansion: int, stride: int) -> Iterator[Layer]:
    """Yield an inverted residual block that reads ``before``: expand, filter each channel, project, and add where shapes allow."""
    inner, read = channels[0] * expansion, before
    if expansion > 1:
        yield conv(f"{name}_expand", (channels[0], inner), size, 1, inputs=(before,))
        read = f"{name}_expand"
    yield conv(f"{name}_dw", (inner, inner), size, 3, stride, padding=1, groups=inner, inputs=(read,))
    yield conv(f"{name}_project", (inner, channels[1]), size // stride, 1)
    if stride == 1 and channels[0] == channels[1]:
        yield Vector(channels[1] * size**2, 1, "elementwise", name=f"{name}_add", inputs=(f"{name}_project", before))


def _blocks() -> Iterator[Layer]:
    channels, size, before, number = 32, 112, "conv1", 0
    for expansion, width, count, first_stride in BLOCKS:
        for index in range(count):
            stride = first_stride if index == 0 else 1
            number += 1
            last: Layer | None = None
            for last in _block(f"block{number}", before, (channels, width), size, expansion, stride):
                yield last
            before = last.name if last is not None else before
            channels, size = width, size // stride


def build() -> Network:
    """Return MobileNet v2 at width 1 and 224 x 224; batch normalisation is folded into the convolutions."""
    first = conv("conv1", (3, 32), 224, 3, stride=2, padding=1)
    head = (conv("conv2", (320, 1280), 7, 1), pool("pool", 1280, 1, 7), dense("fc", 1280, 1000), softmax("prob", 1000))
    return Network("MobileNet-v2", 3 * 224 * 224, (first, *_blocks(), *head))


MOBILENET_V2 = Model(
    "MobileNet-v2",
    build,
    citation="Sandler et al.: MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018, arXiv 1801.04381.",
)
