"""CNN-GN: GoogLeNet (Inception v1), image classification."""

from __future__ import annotations

from prema_gym.hardware.layers import Conv2d, Layer, Network
from prema_gym.workloads.models.convolutional import conv, dense, local_norm, pool, softmax
from prema_gym.workloads.models.model import Model

Tensors = tuple[str, ...]

INCEPTIONS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of each module: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (table 1 of the paper)."""
STAGE_SIZES = {"3": 27, "4": 13, "5": 6}
"""Side of the maps in each stage, with pooling rounding down as in the ``onnx`` graph (Caffe, rounding up: 28, 14, 7)."""


def inception(name: str, size: int, channels: int, inputs: Tensors) -> tuple[tuple[Layer, ...], Tensors]:
    """Return one inception module over the concatenation of ``inputs``, and the four tensors whose concatenation it yields."""
    one, three_reduce, three, five_reduce, five, projection = INCEPTIONS[name]

    def branch(part: str, width: tuple[int, int], kernel: int, tensors: Tensors) -> Conv2d:
        return conv(f"{name}/{part}", width, size, kernel, padding=kernel // 2, inputs=tensors)

    layers = (
        branch("1x1", (channels, one), 1, inputs),
        branch("3x3_reduce", (channels, three_reduce), 1, inputs),
        branch("3x3", (three_reduce, three), 3, (f"{name}/3x3_reduce",)),
        branch("5x5_reduce", (channels, five_reduce), 1, inputs),
        branch("5x5", (five_reduce, five), 5, (f"{name}/5x5_reduce",)),
        pool(f"{name}/pool", channels, size, 3, inputs),
        branch("pool_proj", (channels, projection), 1, (f"{name}/pool",)),
    )
    return layers, tuple(f"{name}/{part}" for part in ("1x1", "3x3", "5x5", "pool_proj"))


def build() -> Network:
    """Return GoogLeNet without its training-time auxiliary classifiers, as the ``onnx`` wheel ships it."""
    layers: list[Layer] = [
        conv("conv1/7x7_s2", (3, 64), 224, 7, stride=2, padding=3),
        pool("pool1/3x3_s2", 64, 55, 3),
        local_norm("pool1/norm1", 64, 55),
        conv("conv2/3x3_reduce", (64, 64), 55, 1),
        conv("conv2/3x3", (64, 192), 55, 3, padding=1),
        local_norm("conv2/norm2", 192, 55),
        pool("pool2/3x3_s2", 192, 27, 3),
    ]
    tensors: Tensors = ("pool2/3x3_s2",)
    channels = 192
    for name, (one, _, three, _, five, projection) in INCEPTIONS.items():
        if name in ("4a", "5a"):
            layers.append(pool(f"pool{int(name[0]) - 1}/3x3_s2", channels, STAGE_SIZES[name[0]], 3, tensors))
            tensors = (layers[-1].name,)
        module, tensors = inception(name, STAGE_SIZES[name[0]], channels, tensors)
        layers.extend(module)
        channels = one + three + five + projection
    layers += [pool("pool5/7x7_s1", 1024, 1, 7, tensors), dense("loss3/classifier", 1024, 1000), softmax("prob", 1000)]
    return Network("GoogLeNet", 3 * 224 * 224, tuple(layers))


CNN_GN = Model("CNN-GN", build, citation="Szegedy et al.: Going Deeper with Convolutions. CVPR 2015, arXiv 1409.4842.")
