"""ResNet-50, image classification by residual blocks."""

from __future__ import annotations

from collections.abc import Iterator

from prema_gym.hardware.layers import Layer, Network, Vector
from prema_gym.workloads.models.convolutional import conv, dense, pool, softmax
from prema_gym.workloads.models.model import Model

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Inner width and number of blocks of the four stages (paper, table 1); a block's output is four times as wide."""
EXPANSION = 4


def _block(name: str, before: str, channels: int, width: int, size: int, stride: int) -> Iterator[Layer]:
    """Yield a bottleneck block that reads ``before``, a ``size`` x ``size`` map; the stride lies in its 3 x 3 convolution.

    The paper puts it into the first 1 x 1 convolution (3.8 GMAC in all); released weights of today have it here (4.1 GMAC).
    """
    out, shortcut = size // stride, before
    yield conv(f"{name}_reduce", (channels, width), size, 1, inputs=(before,))
    yield conv(f"{name}_conv", (width, width), size, 3, stride, padding=1)
    yield conv(f"{name}_expand", (width, EXPANSION * width), out, 1)
    if stride > 1 or channels != EXPANSION * width:
        shortcut = f"{name}_shortcut"
        yield conv(shortcut, (channels, EXPANSION * width), size, 1, stride, inputs=(before,))
    yield Vector(EXPANSION * width * out**2, 1, "elementwise", name=f"{name}_add", inputs=(f"{name}_expand", shortcut))


def _blocks() -> Iterator[Layer]:
    """Yield all blocks; each reads the sum that the one before it ends with."""
    channels, size, before = 64, 56, "pool1"
    for stage, (width, count) in enumerate(STAGES, start=2):
        for index in range(count):
            stride = 2 if stage > 2 and index == 0 else 1
            name = f"stage{stage}_{index + 1}"
            yield from _block(name, before, channels, width, size, stride)
            channels, size, before = EXPANSION * width, size // stride, f"{name}_add"


def build() -> Network:
    """Return ResNet-50 at 224 x 224; batch normalisation is folded into the convolutions."""
    stem = (conv("conv1", (3, 64), 224, 7, stride=2, padding=3), pool("pool1", 64, 56, 3))
    classifier = (pool("pool5", 2048, 1, 7), dense("fc", 2048, 1000), softmax("prob", 1000))
    return Network("ResNet-50", 3 * 224 * 224, (*stem, *_blocks(), *classifier))


RESNET_50 = Model(
    "ResNet-50", build, citation="He, Zhang, Ren & Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv 1512.03385."
)
