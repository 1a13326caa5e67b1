"""A recommendation model like DLRM: look-ups in many tables, their inner products, and two perceptrons."""

from __future__ import annotations

from itertools import pairwise

from prema_gym.hardware.layers import NETWORK_INPUT, BatchedGemm, Embedding, Gemm, Network, Vector
from prema_gym.workloads.models.model import Model

DENSE, TABLES, WIDTH = 13, 26, 128
"""Numbers and categories of a sample of the Criteo data, and elements of an embedding, as in MLPerf's configuration."""
BOTTOM = (DENSE, 512, 256, WIDTH)
TOP = (1024, 1024, 512, 256, 1)
ROWS = 1_000_000
"""Of each table (our choice; released ones differ from table to table, up to 40 million)."""


def build() -> Network:
    """Return the model for one sample: bottom perceptron, look-ups, the products of every pair of vectors, top perceptron."""
    vectors = TABLES + 1
    pairs = vectors * (vectors - 1) // 2
    numbers = Vector(DENSE, 1, "copy", name="numbers")
    bottom = [Gemm(1, k, n, name=f"bottom{i}") for i, (k, n) in enumerate(pairwise(BOTTOM), start=1)]
    interaction = (
        Embedding(WIDTH, TABLES, name="embeddings", inputs=(NETWORK_INPUT,)),
        Vector(vectors * WIDTH, 1, "copy", name="vectors", inputs=("bottom3", "embeddings")),
        BatchedGemm(1, vectors, WIDTH, vectors, name="products", inputs=("vectors", "vectors")),
        Vector(pairs, 1, "copy", name="interaction", inputs=("products",)),  # each pair once
    )
    sizes = (pairs + WIDTH, *TOP)
    top = [Gemm(1, k, n, name=f"top{i}") for i, (k, n) in enumerate(pairwise(sizes), start=1)]
    top[0] = Gemm(1, sizes[0], sizes[1], name="top1", inputs=("interaction", "bottom3"))
    return Network("DLRM", DENSE + TABLES, (numbers, *bottom, *interaction, *top))


DLRM = Model(
    "DLRM",
    build,
    citation="After Naumov et al.: Deep Learning Recommendation Model for Personalization and Recommendation Systems. 2019, "
    "arXiv 1906.00091.",
    table_weights=TABLES * ROWS * WIDTH,
)
