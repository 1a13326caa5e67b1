"""CNN-VN: VGG-16, image classification."""

from __future__ import annotations

from collections.abc import Iterator

from prema_gym.hardware.layers import Conv2d, Network, Vector
from prema_gym.workloads.models.convolutional import conv, dense, pool, softmax
from prema_gym.workloads.models.model import Model

STAGE_CHANNELS = (64, 128, 256, 512, 512)
VGG16_DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions per stage: configuration D of table 1."""
VGG19_DEPTHS = (2, 2, 4, 4, 4)
"""Configuration E."""


def stages(depths: tuple[int, ...]) -> Iterator[Conv2d | Vector]:
    """Yield the 3 x 3 convolutions, each stage halving the map by max pooling at its end."""
    size, channels = 224, 3
    for stage, (width, depth) in enumerate(zip(STAGE_CHANNELS, depths, strict=True), start=1):
        for index in range(1, depth + 1):
            yield conv(f"conv{stage}_{index}", (channels, width), size, 3, padding=1)
            channels = width
        size //= 2
        yield pool(f"pool{stage}", width, size, 2)


def build(depths: tuple[int, ...] = VGG16_DEPTHS) -> Network:
    """Return the VGG network with ``depths`` convolutions per stage."""
    classifier = (dense("fc6", 512 * 7 * 7, 4096), dense("fc7", 4096, 4096), dense("fc8", 4096, 1000), softmax("prob", 1000))
    return Network(f"VGG-{sum(depths) + 3}", 3 * 224 * 224, (*stages(depths), *classifier))


CNN_VN = Model(
    "CNN-VN",
    build,
    citation="Simonyan & Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. "
    "ICLR 2015, arXiv 1409.1556.",
)
