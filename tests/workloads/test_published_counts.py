"""Multiply-accumulates and parameters of the library, held against what papers publish and against arithmetic done by hand."""

from __future__ import annotations

import pytest

from prema_gym.workloads.models import MODELS
from prema_gym.workloads.models.counting import network_macs, network_weights
from prema_gym.workloads.models.vgg import VGG19_DEPTHS
from prema_gym.workloads.models.vgg import build as build_vgg

MACS = {
    "CNN-AN": 0.655e9,  # DESIGN 6; the sum over the layers of the onnx graph
    "CNN-GN": 1.432e9,  # the same; Szegedy et al. speak of a budget of 1.5 billion
    "CNN-VN": 15.47e9,  # commonly given as 15.5 G
    "CNN-MN": 569e6,  # Howard et al., table 4
    "ResNet-50": 4.089e9,  # the graph that the onnx wheel ships, and torchvision's listing
    "MobileNet-v2": 300e6,  # Sandler et al., table 4
    "ViT-B/16": 17.56e9,  # torchvision's listing, at 224 x 224
}
WEIGHTS = {
    "CNN-AN": (60e6, 0.02),  # Krizhevsky et al., abstract
    "CNN-GN": (6797.7 * 1024, 0.005),  # Szegedy et al., table 1, summed; its K is 1 024, and some rows are rounded or misprinted
    "CNN-VN": (138e6, 0.005),  # Simonyan & Zisserman, table 2
    "CNN-MN": (4.2e6, 0.005),  # Howard et al., table 4
    "ResNet-50": (25_557_032 - 53_120 - 1_000, 0.0),  # torchvision: all parameters, less batch norm's and the bias
    "MobileNet-v2": (3.5e6, 0.01),  # Sandler et al. say 3.4 million; released weights have 3 504 872, norms included
    "ViT-B/16": (86.6e6, 0.003),  # Dosovitskiy et al., table 1: 86 million
    "BERT-base": (110e6, 0.01),  # Devlin et al., section 3
}


@pytest.mark.parametrize("name", MACS)
def test_macs_are_the_published_ones(name: str) -> None:
    assert MODELS[name].macs() == pytest.approx(MACS[name], rel=3e-3)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_the_published_ones(name: str) -> None:
    published, tolerance = WEIGHTS[name]
    assert MODELS[name].weights() == pytest.approx(published, rel=tolerance)


def test_weights_equal_the_counts_of_released_checkpoints_without_biases() -> None:
    assert MODELS["CNN-AN"].weights() == 60_965_224 - 10_568  # BVLC AlexNet: all parameters, less its biases
    assert MODELS["CNN-VN"].weights() == 138_357_544 - 13_416  # VGG-16
    assert MODELS["CNN-MN"].weights() == 4_253_864 - 4 * 10_944 - 1_000  # Keras: less batch norm's four vectors and the biases


def test_vgg19_comes_from_the_same_function_at_its_published_19_6_gmac() -> None:
    network = build_vgg(VGG19_DEPTHS)
    assert network.name == "VGG-19"
    assert network_macs(network) == pytest.approx(19.6e9, rel=2e-3)
    assert network_weights(network) == pytest.approx(144e6, rel=5e-3)  # Simonyan & Zisserman, table 2


@pytest.mark.parametrize("name", MODELS)
def test_macs_grow_in_proportion_to_the_batch(name: str) -> None:
    assert MODELS[name].macs(batch=16) == 16 * MODELS[name].macs(batch=1)


def test_bert_by_hand() -> None:
    length, width = 128, 768
    block = length * width * (4 * width + 2 * 3072) + 2 * 12 * length**2 * (width // 12)
    assert MODELS["BERT-base"].macs(input_length=length) == 12 * block + width**2


def test_dlrm_by_hand() -> None:
    bottom = 13 * 512 + 512 * 256 + 256 * 128
    top = (351 + 128) * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256
    assert MODELS["DLRM"].macs() == bottom + 27 * 27 * 128 + top


def test_sentiment_by_hand() -> None:
    per_word = (512 + 512) * 4 * 512
    assert MODELS["RNN-SA"].macs(input_length=30) == 30 * per_word + 512 * 2
    assert MODELS["RNN-SA"].weights() == 20_000 * 512 + per_word + 512 * 2


def test_translation_by_hand() -> None:
    width, words = 1024, 32_000
    cell = {inputs: (inputs + 1) * width * 4 * width for inputs in (1, 2)}
    encoder = 2 * cell[1] + cell[2] + 2 * cell[1]
    decoder = 4 * cell[2] + width * width + width + width * words
    source, target = 20, 23
    scores_and_context = 2 * source * width
    macs = source * (encoder + width * width) + target * (decoder - width + scores_and_context)
    for name in ("RNN-MT1", "RNN-MT2"):
        assert MODELS[name].macs(input_length=source, output_length=target) == macs
        assert MODELS[name].weights() == encoder + width * width + decoder + 2 * words * width


def test_speech_by_hand() -> None:
    bottom, pyramid = 2 * (40 + 256) * 1024, 2 * (4 * 256 + 256) * 1024
    speller = (1024 + 512) * 2048 + (512 + 512) * 2048 + 512 * 512 + 1024 * 32
    keys = 512 * 512
    frames, steps, characters = 401, (201, 101, 51), 60
    listener = frames * bottom + sum(steps) * pyramid + steps[-1] * keys
    macs = listener + characters * (speller + 2 * steps[-1] * 512)
    assert MODELS["RNN-ASR"].macs(input_length=frames, output_length=characters) == macs
    assert MODELS["RNN-ASR"].weights() == bottom + 3 * pyramid + keys + speller + 32 * 512
