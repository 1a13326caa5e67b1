"""CNN-AN: AlexNet, image classification."""

from __future__ import annotations

from prema_gym.hardware.layers import Network
from prema_gym.workloads.models.convolutional import conv, dense, local_norm, pool, softmax
from prema_gym.workloads.models.model import Model


def build() -> Network:
    """Return AlexNet as Caffe released it and the ``onnx`` wheel ships it.

    One tower; the second, fourth and fifth convolutions in two groups, as on the paper's two GPUs; 224 x 224 inputs without
    padding, hence 54 x 54 after the first convolution; normalisation before pooling.
    """
    layers = (
        conv("conv1", (3, 96), 224, 11, stride=4),
        local_norm("norm1", 96, 54),
        pool("pool1", 96, 26, 3),
        conv("conv2", (96, 256), 26, 5, padding=2, groups=2),
        local_norm("norm2", 256, 26),
        pool("pool2", 256, 12, 3),
        conv("conv3", (256, 384), 12, 3, padding=1),
        conv("conv4", (384, 384), 12, 3, padding=1, groups=2),
        conv("conv5", (384, 256), 12, 3, padding=1, groups=2),
        pool("pool5", 256, 6, 3),
        dense("fc6", 256 * 6 * 6, 4096),
        dense("fc7", 4096, 4096),
        dense("fc8", 4096, 1000),
        softmax("prob", 1000),
    )
    return Network("AlexNet", 3 * 224 * 224, layers)


CNN_AN = Model(
    "CNN-AN",
    build,
    citation="Krizhevsky, Sutskever & Hinton: ImageNet Classification with Deep Convolutional Neural Networks. NeurIPS 2012.",
)
