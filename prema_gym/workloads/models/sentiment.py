"""RNN-SA: sentiment analysis, one LSTM over the words of a sentence and a two-way classifier on its last state."""

from __future__ import annotations

from prema_gym.hardware.layers import Gemm, Network
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.models.convolutional import softmax
from prema_gym.workloads.models.model import Model
from prema_gym.workloads.models.recurrent import hidden_state, lstm_layer, token_embedding

VOCABULARY = 20_000
"""Words (our choice; it changes the parameter count, not the time: one row is read per word)."""
WIDTH = 512
"""Embedding and LSTM (our choice)."""
CLASSES = 2

LENGTHS = LengthSpec(min=10, max=80, median=28, sigma=0.5)
"""Words of a review sentence; the middle 68 % have 17 to 46 (our choice)."""


def build(input_length: int, hoist_inputs: bool = False) -> Network:
    """Return the classifier of a sentence of ``input_length`` words."""
    words, embedded = token_embedding("words", WIDTH, input_length)
    lstm, _ = lstm_layer("lstm", (embedded,), WIDTH, WIDTH, input_length, hoist_inputs, collect=False)
    classifier = (Gemm(1, WIDTH, CLASSES, name="classifier", inputs=(hidden_state("lstm"),)), softmax("prob", CLASSES))
    return Network("RNN-SA", input_length, (words, *lstm, *classifier))


RNN_SA = Model(
    "RNN-SA",
    build,
    lengths=LENGTHS,
    citation="After the LSTM classifier of Dai & Le: Semi-supervised Sequence Learning. NeurIPS 2015, arXiv 1511.01432.",
    table_weights=VOCABULARY * WIDTH,
)
