"""CNN-MN: MobileNet v1, image classification by depthwise separable convolutions."""

from __future__ import annotations

from collections.abc import Iterator

from prema_gym.hardware.layers import Conv2d, Network
from prema_gym.workloads.models.convolutional import conv, dense, pool, softmax
from prema_gym.workloads.models.model import Model

SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of the 13 separable convolutions: table 1 of the paper.

Its last depthwise row prints stride 2 on a 7 x 7 map that stays 7 x 7: a misprint for 1, as in the authors' released code.
"""


def _same(name: str, channels: tuple[int, int], size: int, stride: int, groups: int = 1) -> Conv2d:
    # TensorFlow's SAME: a stride of 2 over an even map is padded at the bottom and right only.
    before = 1 if stride == 1 else 0
    return Conv2d(*channels, size, size, (3, 3), (stride, stride), (before, before, 1, 1), groups, name=name)


def features() -> Iterator[Conv2d]:
    """Yield the first, dense convolution and the depthwise and pointwise halves of the 13 others."""
    yield _same("conv1", (3, 32), 224, 2)
    size, channels = 112, 32
    for index, (width, stride) in enumerate(SEPARABLE, start=2):
        yield _same(f"conv{index}_dw", (channels, channels), size, stride, groups=channels)
        size, before = size // stride, channels
        channels = width
        yield conv(f"conv{index}_pw", (before, channels), size, 1)


def build() -> Network:
    """Return MobileNet at width 1 and 224 x 224; batch normalisation is folded into the convolutions."""
    classifier = (pool("pool", 1024, 1, 7), dense("fc", 1024, 1000), softmax("prob", 1000))
    return Network("MobileNet-v1", 3 * 224 * 224, (*features(), *classifier))


CNN_MN = Model(
    "CNN-MN",
    build,
    citation="Howard et al.: MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications. "
    "2017, arXiv 1704.04861.",
)
