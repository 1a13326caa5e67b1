"""Building blocks of the recurrent networks: LSTM steps and layers, attention, greedy choice.

An LSTM layer called ``x`` is a loop ``x`` of a GEMM ``x_gemm`` over [inputs, hidden] and the gates ``x_hidden``. Its cell
state is not a tensor of its own (our simplification: it would add ``hidden`` elements to a context).
"""

from __future__ import annotations

import dataclasses

from prema_gym.hardware.layers import NETWORK_INPUT, BatchedGemm, Embedding, Gemm, Layer, Loop, Vector
from prema_gym.workloads.models.convolutional import SOFTMAX_OPS

GATE_OPS = 10
"""Vector operations per hidden unit: three sigmoids, two hyperbolic tangents, three products, a sum and a move."""
HOISTED_ADD_OPS = 4
"""More per hidden unit where the input half was computed before the loop: it is added to the four gates."""

Tensors = tuple[str, ...]


def hidden_state(layer: str) -> str:
    """Return the name of the hidden state of the LSTM layer ``layer``."""
    return f"{layer}_hidden"


def lstm_step(layer: str, inputs: Tensors, width: int, hidden: int) -> tuple[Gemm, Vector]:
    """Return one step of an LSTM cell whose ``inputs`` have ``width`` elements together (Hochreiter & Schmidhuber 1997)."""
    state = hidden_state(layer)
    gemm = Gemm(1, width + hidden, 4 * hidden, name=f"{layer}_gemm", inputs=(*inputs, state))
    return gemm, Vector(hidden, GATE_OPS, kind="gates", name=state, inputs=(gemm.name,))


def hoisted_lstm_step(layer: str, projected: str, hidden: int) -> tuple[Gemm, Vector]:
    """Return one step of an LSTM cell whose input half is that step's slice of the tensor ``projected``."""
    state = hidden_state(layer)
    gemm = Gemm(1, hidden, 4 * hidden, name=f"{layer}_gemm", inputs=(state,))
    return gemm, Vector(hidden, GATE_OPS + HOISTED_ADD_OPS, kind="gates", name=state, inputs=(gemm.name, projected))


def residual(layer: str, inputs: Tensors, width: int) -> Vector:
    """Return the sum of a layer's hidden state and its own input."""
    return Vector(width, 1, kind="elementwise", name=f"{layer}_residual", inputs=(hidden_state(layer), *inputs))


def lstm_layer(
    layer: str,
    inputs: Tensors,
    width: int,
    hidden: int,
    steps: int,
    hoist_inputs: bool = False,
    add_input: bool = False,
    collect: bool = True,
) -> tuple[tuple[Layer | Loop, ...], str]:
    """Return an LSTM layer over sequences ``inputs`` that are all known before it starts, and the name of its output sequence.

    ``hoist_inputs`` takes the input half out of the loop as one GEMM of ``steps`` rows; ``add_input`` is a residual connection.
    ``collect=False`` is for a layer of which only the last state is read: there is no output sequence then.
    """
    before: tuple[Layer, ...] = ()
    body: tuple[Layer, ...] = lstm_step(layer, inputs, width, hidden)
    if hoist_inputs:
        before = (Gemm(steps, width, 4 * hidden, name=f"{layer}_projected", inputs=inputs),)
        body = hoisted_lstm_step(layer, before[0].name, hidden)
    if add_input:
        body = (*body, residual(layer, inputs, hidden))
    output = body[-1].name
    return (*before, Loop(layer, steps, body, collect=(output,) if collect else ())), f"{layer}.{output}"


def bidirectional_layer(
    layer: str, inputs: Tensors, width: int, hidden: int, steps: int, hoist_inputs: bool = False
) -> tuple[tuple[Layer | Loop, ...], tuple[str, str]]:
    """Return a forward and a backward LSTM layer of ``hidden`` units each, and the names of their output sequences."""
    forward, ahead = lstm_layer(f"{layer}_forward", inputs, width, hidden, steps, hoist_inputs)
    backward, back = lstm_layer(f"{layer}_backward", inputs, width, hidden, steps, hoist_inputs)
    return (*forward, *backward), (ahead, back)


def token_embedding(name: str, dim: int, steps: int) -> tuple[Loop, str]:
    """Return the look-up of one row per step of the network's input, and the name of the embedded sequence."""
    body = (Embedding(dim, name=f"{name}_embedding", inputs=(NETWORK_INPUT,)),)
    return Loop(name, steps, body, collect=(body[0].name,)), f"{name}.{body[0].name}"


def greedy_choice(name: str, classes: int, inputs: Tensors) -> Vector:
    """Return the choice of the likeliest class: one comparison for each of them."""
    return Vector(1, classes, kind="argmax", name=name, inputs=inputs)


@dataclasses.dataclass(frozen=True)
class Attention:
    """What a decoder looks back at: ``memory``, ``length`` vectors of ``width``, and ``keys``, projected to ``key_width``."""

    memory: Tensors
    keys: str
    length: int
    width: int
    key_width: int

    def key_projection(self) -> Gemm:
        """Return the projection of the whole memory, once before the decoder starts."""
        return Gemm(self.length, self.width, self.key_width, name=self.keys, inputs=self.memory)

    def additive_scores(self, state: str, state_width: int) -> tuple[Layer, ...]:
        """Return v * tanh(W state + key) for every key (Bahdanau, Cho & Bengio 2015, arXiv 1409.0473)."""
        return (
            Gemm(1, state_width, self.key_width, name="query", inputs=(state,)),
            Vector(self.length * self.key_width, 2, kind="elementwise", name="energy", inputs=("query", f"*{self.keys}")),
            Gemm(self.length, self.key_width, 1, name="scores", inputs=("energy",)),
        )

    def dot_scores(self, state: str, state_width: int) -> tuple[Layer, ...]:
        """Return the inner product of the projected state with every key."""
        return (
            Gemm(1, state_width, self.key_width, name="query", inputs=(state,)),
            BatchedGemm(1, self.length, self.key_width, 1, name="scores", inputs=(f"*{self.keys}", "query")),
        )

    def context(self) -> tuple[Layer, ...]:
        """Return the softmax of the scores and the mean of the memory that it weighs."""
        whole = tuple(f"*{tensor}" for tensor in self.memory)
        return (
            Vector(self.length, SOFTMAX_OPS, kind="softmax", name="alignment", inputs=("scores",)),
            BatchedGemm(1, 1, self.length, self.width, name="context", inputs=("alignment", *whole)),
        )
