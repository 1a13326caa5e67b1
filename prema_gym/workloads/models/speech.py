"""RNN-ASR: speech recognition that listens through a pyramid of LSTM layers, then spells characters with attention."""

from __future__ import annotations

from prema_gym.hardware.layers import NETWORK_INPUT, Embedding, Gemm, Layer, Loop, Network
from prema_gym.workloads.lengths import LengthSpec
from prema_gym.workloads.models.model import Model
from prema_gym.workloads.models.recurrent import Attention, bidirectional_layer, greedy_choice, hidden_state, lstm_step

FILTERBANK = 40
"""Features of a frame."""
LISTENER = 256
"""Units per direction of every listener layer."""
PYRAMID_LAYERS = 3
"""Each joins two neighbouring steps, so that the speller sees an eighth of the frames."""
SPELLER = 512
"""Units of either speller layer; character embedding and attention are as wide (our choice)."""
CHARACTERS = 32

LENGTHS = LengthSpec(min=200, max=800, median=450, sigma=0.35, ratio=0.15, output_sigma=0.15, max_output=240)
"""Frames of 10 ms: utterances of 2 to 8 s, the middle 68 % 3.2 to 6.4 s; 15 characters a second (our choice)."""


def listener(frames: int, hoist_inputs: bool) -> tuple[tuple[Layer | Loop, ...], tuple[str, str], int]:
    """Return the encoder, the names of its two output sequences and their length."""
    layers, outputs = bidirectional_layer("listen0", (NETWORK_INPUT,), FILTERBANK, LISTENER, frames, hoist_inputs)
    steps = frames
    for level in range(1, PYRAMID_LAYERS + 1):
        steps = (steps + 1) // 2
        more, outputs = bidirectional_layer(f"listen{level}", outputs, 4 * LISTENER, LISTENER, steps, hoist_inputs)
        layers = (*layers, *more)
    return layers, outputs, steps


def speller_step(attention: Attention) -> tuple[Layer, ...]:
    """Return one output step: two layers fed with the last character and context, attention, the next character."""
    first, second = hidden_state("speller1"), hidden_state("speller2")
    return (
        Embedding(SPELLER, name="character_embedding", inputs=("character",)),
        *lstm_step("speller1", ("character_embedding", "context"), 2 * SPELLER, SPELLER),
        *lstm_step("speller2", (first,), SPELLER, SPELLER),
        *attention.dot_scores(second, SPELLER),
        *attention.context(),
        Gemm(1, 2 * SPELLER, CHARACTERS, name="projection", inputs=(second, "context")),
        greedy_choice("character", CHARACTERS, ("projection",)),
    )


def build(input_length: int, hoist_inputs: bool = False) -> Network:
    """Return the recogniser of an utterance of ``input_length`` frames; its output loop is open."""
    layers, memory, steps = listener(input_length, hoist_inputs)
    attention = Attention(memory, "keys", steps, 2 * LISTENER, SPELLER)
    speller = Loop("speller", None, speller_step(attention))
    return Network("RNN-ASR", FILTERBANK * input_length, (*layers, attention.key_projection(), speller))


RNN_ASR = Model(
    "RNN-ASR",
    build,
    lengths=LENGTHS,
    citation="After Chan, Jaitly, Le & Vinyals: Listen, Attend and Spell. ICASSP 2016, arXiv 1508.01211.",
    table_weights=CHARACTERS * SPELLER,
)
