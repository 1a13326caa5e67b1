"""RNN-MT1 and RNN-MT2: machine translation by one network shape, for two pairs of languages.

Shaped like Google's GNMT at half its depth, as open reimplementations have it: four encoder and four decoder layers of 1 024,
the first encoder layer bidirectional, residual connections from the third layer of either side on, additive attention queried by
the first decoder layer, its context fed to every decoder layer. The two models differ in how long their outputs are.
"""

from __future__ import annotations

from prema_gym.hardware.layers import Embedding, Gemm, Layer, Loop, Network
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.models.model import Model
from prema_gym.workloads.models.recurrent import (
    Attention,
    bidirectional_layer,
    greedy_choice,
    hidden_state,
    lstm_layer,
    lstm_step,
    residual,
    token_embedding,
)

VOCABULARY = 32_000
"""Word pieces of either language."""
WIDTH = 1024
"""Embeddings, LSTM layers and attention alike."""

MT1_LENGTHS = LengthSpec(min=5, max=50, median=20, sigma=0.5, ratio=1.0, output_sigma=0.15, max_output=100)
"""Word pieces of a sentence; the middle 68 % have 12 to 33. Outputs about as long as inputs (our choice)."""
MT2_LENGTHS = LengthSpec(min=5, max=50, median=20, sigma=0.5, ratio=0.8, output_sigma=0.2, max_output=100)
"""As MT1, into a language that takes a fifth fewer pieces (our choice)."""


def encoder(steps: int, hoist_inputs: bool) -> tuple[tuple[Layer | Loop, ...], str]:
    """Return the source embedding and the four encoder layers, and the name of the encoded sequence."""
    source, embedded = token_embedding("source", WIDTH, steps)
    first, both = bidirectional_layer("encoder1", (embedded,), WIDTH, WIDTH, steps, hoist_inputs)
    second, output = lstm_layer("encoder2", both, 2 * WIDTH, WIDTH, steps, hoist_inputs)
    third, output = lstm_layer("encoder3", (output,), WIDTH, WIDTH, steps, hoist_inputs, add_input=True)
    fourth, output = lstm_layer("encoder4", (output,), WIDTH, WIDTH, steps, hoist_inputs, add_input=True)
    return (source, *first, *second, *third, *fourth), output


def decoder_step(attention: Attention) -> tuple[Layer, ...]:
    """Return one output step: embed the last word, attend to the source, run four layers, choose the next word."""
    third = (hidden_state("decoder2"),)
    fourth = ("decoder3_residual",)
    return (
        Embedding(WIDTH, name="target_embedding", inputs=("word",)),
        *lstm_step("decoder1", ("target_embedding", "context"), 2 * WIDTH, WIDTH),
        *attention.additive_scores(hidden_state("decoder1"), WIDTH),
        *attention.context(),
        *lstm_step("decoder2", (hidden_state("decoder1"), "context"), 2 * WIDTH, WIDTH),
        *lstm_step("decoder3", (*third, "context"), 2 * WIDTH, WIDTH),
        residual("decoder3", third, WIDTH),
        *lstm_step("decoder4", (*fourth, "context"), 2 * WIDTH, WIDTH),
        residual("decoder4", fourth, WIDTH),
        Gemm(1, WIDTH, VOCABULARY, name="projection", inputs=("decoder4_residual",)),
        greedy_choice("word", VOCABULARY, ("projection",)),
    )


def build(input_length: int, hoist_inputs: bool = False) -> Network:
    """Return the translator of a sentence of ``input_length`` word pieces; its output loop is open."""
    encoded, memory = encoder(input_length, hoist_inputs)
    attention = Attention((memory,), "keys", input_length, WIDTH, WIDTH)
    decoder = Loop("decoder", None, decoder_step(attention))
    return Network("RNN-MT", input_length, (*encoded, attention.key_projection(), decoder))


_CITATION = "After Wu et al.: Google's Neural Machine Translation System. 2016, arXiv 1609.08144; at half its depth."
_TABLES = 2 * VOCABULARY * WIDTH

RNN_MT1 = Model("RNN-MT1", build, lengths=MT1_LENGTHS, citation=_CITATION, table_weights=_TABLES)
RNN_MT2 = Model("RNN-MT2", build, lengths=MT2_LENGTHS, citation=_CITATION, table_weights=_TABLES)
