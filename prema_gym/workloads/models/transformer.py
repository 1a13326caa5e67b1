"""Encoders of transformers: BERT-base for text, ViT-B/16 for images."""

from __future__ import annotations

from collections.abc import Iterator

from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Layer, Network, Vector
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.models.convolutional import SOFTMAX_OPS, dense, softmax
from prema_gym.workloads.models.model import Model

WIDTH, HEADS, INNER, BLOCKS = 768, 12, 3072, 12
"""Of both "base" models (Vaswani et al. 2017; Devlin et al. 2019, section 3; Dosovitskiy et al. 2021, table 1)."""
NORM_OPS = 8
"""Vector operations per element of a layer normalisation (our charge): mean, difference, square, sum, product, scale, shift and
a store."""
BERT_LENGTHS = LengthSpec(min=8, max=128, median=40, sigma=0.6)
"""Word pieces of a request; the middle 68 % have 22 to 73 (our choice; the model itself takes up to 512)."""
BERT_VOCABULARY, BERT_POSITIONS, BERT_SEGMENTS = 30_522, 512, 2
PATCHES, PATCH = 14 * 14, 16
"""Of a 224 x 224 image."""


def _attention(name: str, before: str, length: int) -> Iterator[Layer]:
    """Yield self-attention over ``length`` positions, its output projection included."""
    depth = WIDTH // HEADS
    for part in ("query", "key", "value"):
        yield Gemm(length, WIDTH, WIDTH, name=f"{name}_{part}", inputs=(before,))
    yield BatchedGemm(HEADS, length, depth, length, name=f"{name}_scores", inputs=(f"{name}_query", f"{name}_key"))
    yield Vector(HEADS * length**2, SOFTMAX_OPS, "softmax", name=f"{name}_softmax")
    yield BatchedGemm(HEADS, length, length, depth, name=f"{name}_context", inputs=(f"{name}_softmax", f"{name}_value"))
    yield Gemm(length, WIDTH, WIDTH, name=f"{name}_projection", inputs=(f"{name}_context",))


def _add(name: str, one: str, other: str, length: int) -> Vector:
    return Vector(length * WIDTH, 1, "elementwise", name=name, inputs=(one, other))


def _norm(name: str, before: str, length: int) -> Vector:
    return Vector(length * WIDTH, NORM_OPS, "norm", name=name, inputs=(before,))


def _first_token(before: str) -> Vector:
    return Vector(WIDTH, 1, "copy", name="first_token", inputs=(before,))


def _feed_forward(name: str, before: str, length: int) -> Iterator[Layer]:
    yield Gemm(length, WIDTH, INNER, name=f"{name}_inner", inputs=(before,))
    yield Gemm(length, INNER, WIDTH, name=f"{name}_outer")


def _block(name: str, before: str, length: int, norm_first: bool) -> Iterator[Layer]:
    """Yield one encoder block; ``norm_first`` normalises before attention and inner layers (ViT), else after each (BERT)."""
    read = before
    if norm_first:
        read = f"{name}_norm1"
        yield _norm(read, before, length)
    yield from _attention(name, read, length)
    middle = f"{name}_add1"
    yield _add(middle, f"{name}_projection", before, length)
    if norm_first:
        yield _norm(f"{name}_norm2", middle, length)
        yield from _feed_forward(name, f"{name}_norm2", length)
        yield _add(name, f"{name}_outer", middle, length)
        return
    yield _norm(f"{name}_norm1", middle, length)
    yield from _feed_forward(name, f"{name}_norm1", length)
    yield _add(f"{name}_add2", f"{name}_outer", f"{name}_norm1", length)
    yield _norm(name, f"{name}_add2", length)


def _encoder(before: str, length: int, norm_first: bool) -> Iterator[Layer]:
    for number in range(1, BLOCKS + 1):
        yield from _block(f"block{number}", before, length, norm_first)
        before = f"block{number}"


def build_bert(input_length: int, hoist_inputs: bool = False) -> Network:
    """Return BERT-base over ``input_length`` word pieces, with its pooler; ``hoist_inputs`` is of recurrent networks only."""
    words = (
        Embedding(WIDTH, input_length, name="words"),
        _norm("embedded", "words", input_length),  # positions and segments are added on the way
    )
    pooler = (_first_token(f"block{BLOCKS}"), Gemm(1, WIDTH, WIDTH, name="pooler"))
    return Network("BERT-base", input_length, (*words, *_encoder("embedded", input_length, norm_first=False), *pooler))


def build_vit() -> Network:
    """Return ViT-B/16 at 224 x 224: patches by a convolution, a class token beside them, the classifier on that token."""
    length = PATCHES + 1
    tokens = (
        Conv2d(3, WIDTH, 224, 224, (PATCH, PATCH), (PATCH, PATCH), name="patches"),
        Vector(length * WIDTH, 1, "copy", name="tokens", inputs=("patches",)),
    )
    token = (_norm("norm", f"block{BLOCKS}", length), _first_token("norm"))
    head = (*token, dense("head", WIDTH, 1000), softmax("prob", 1000))
    return Network("ViT-B/16", 3 * 224 * 224, (*tokens, *_encoder("tokens", length, norm_first=True), *head))


BERT_BASE = Model(
    "BERT-base",
    build_bert,
    lengths=BERT_LENGTHS,
    citation="Devlin, Chang, Lee & Toutanova: BERT: Pre-training of Deep Bidirectional Transformers. NAACL 2019, arXiv 1810.04805.",
    table_weights=(BERT_VOCABULARY + BERT_POSITIONS + BERT_SEGMENTS) * WIDTH,
)
VIT_B16 = Model(
    "ViT-B/16",
    build_vit,
    citation="Dosovitskiy et al.: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale. ICLR 2021, "
    "arXiv 2010.11929.",
    table_weights=(PATCHES + 2) * WIDTH,
)
