"""How recurrent models are laid out: cells, hoisting, bidirectional and pyramidal layers, attention, shared shapes."""

from __future__ import annotations

import pytest

from prema_gym.hardware.layers import BatchedGemm, Embedding, Gemm, Loop, Network, Vector
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.models.counting import network_macs, network_weights, walk

RECURRENT = [name for name, model in MODELS.items() if model.lengths is not None]


def loops_of(network: Network) -> dict[str, Loop]:
    return {item.name: item for item in network.layers if isinstance(item, Loop)}


def test_an_lstm_step_is_one_gemm_over_inputs_and_state_and_ten_operations_per_unit() -> None:
    lstm = loops_of(MODELS["RNN-SA"].network(12))["lstm"]
    assert lstm.steps == 12
    assert lstm.body == (
        Gemm(1, 512 + 512, 4 * 512, name="lstm_gemm", inputs=("words.words_embedding", "lstm_hidden")),
        Vector(512, 10, kind="gates", name="lstm_hidden", inputs=("lstm_gemm",)),
    )


def test_hoisting_takes_the_input_half_out_of_the_loop() -> None:
    network = MODELS["RNN-SA"].network(12, hoist_inputs=True)
    assert Gemm(12, 512, 4 * 512, name="lstm_projected", inputs=("words.words_embedding",)) in network.layers
    gemm, gates = loops_of(network)["lstm"].body
    assert gemm == Gemm(1, 512, 4 * 512, name="lstm_gemm", inputs=("lstm_hidden",))
    assert isinstance(gates, Vector)
    assert gates.inputs == ("lstm_gemm", "lstm_projected")


@pytest.mark.parametrize("name", RECURRENT)
def test_hoisting_changes_neither_macs_nor_weights(name: str) -> None:
    model = MODELS[name]
    assert model.lengths is not None
    plain, hoisted = (model.network(model.lengths.median, hoist) for hoist in (False, True))
    assert network_macs(plain, 7) == network_macs(hoisted, 7)
    assert network_weights(plain) == network_weights(hoisted)


@pytest.mark.parametrize("name", ["RNN-MT1", "RNN-ASR"])
def test_a_decoder_cannot_be_hoisted(name: str) -> None:
    model = MODELS[name]
    assert model.lengths is not None
    plain, hoisted = (model.network(model.lengths.median, hoist) for hoist in (False, True))
    assert plain.layers[-1] == hoisted.layers[-1]


def test_the_two_translators_share_one_network_at_each_length() -> None:
    for length in range(5, 51):
        first, second = MODELS["RNN-MT1"].network(length), MODELS["RNN-MT2"].network(length)
        assert {first: 1} == {second: 1}  # equal, and of equal hash
    assert MODELS["RNN-MT1"].network(20) != MODELS["RNN-MT1"].network(21)
    assert MODELS["RNN-MT1"].lengths != MODELS["RNN-MT2"].lengths


def test_the_translator_has_five_encoder_passes_and_one_open_decoder() -> None:
    loops = loops_of(MODELS["RNN-MT1"].network(9))
    assert {name: loop.steps for name, loop in loops.items()} == {
        "source": 9,
        "encoder1_forward": 9,
        "encoder1_backward": 9,
        "encoder2": 9,
        "encoder3": 9,
        "encoder4": 9,
        "decoder": None,
    }
    cells = [layer.k for layer in loops["decoder"].body if layer.name.startswith("decoder") and isinstance(layer, Gemm)]
    assert cells == [3 * 1024] * 4


def test_additive_attention_adds_squashes_weighs_and_averages() -> None:
    body = {layer.name: layer for layer in loops_of(MODELS["RNN-MT1"].network(9))["decoder"].body}
    assert body["query"] == Gemm(1, 1024, 1024, name="query", inputs=("decoder1_hidden",))
    assert body["energy"] == Vector(9 * 1024, 2, name="energy", inputs=("query", "*keys"))
    assert body["scores"] == Gemm(9, 1024, 1, name="scores", inputs=("energy",))
    assert body["alignment"] == Vector(9, 4, kind="softmax", name="alignment", inputs=("scores",))
    assert body["context"] == BatchedGemm(1, 1, 9, 1024, name="context", inputs=("alignment", "*encoder4.encoder4_residual"))


def test_a_step_chooses_the_word_that_the_next_step_embeds() -> None:
    body = loops_of(MODELS["RNN-MT1"].network(9))["decoder"].body
    assert body[0] == Embedding(1024, name="target_embedding", inputs=("word",))
    assert body[-1] == Vector(1, 32_000, kind="argmax", name="word", inputs=("projection",))


def test_the_listener_halves_its_steps_three_times_rounding_up() -> None:
    steps = {name: loop.steps for name, loop in loops_of(MODELS["RNN-ASR"].network(401)).items()}
    assert [steps[f"listen{level}_backward"] for level in range(4)] == [401, 201, 101, 51]
    assert steps["speller"] is None


def test_a_network_is_small_whatever_it_unrolls_to() -> None:
    network = MODELS["RNN-ASR"].network(800)
    assert sum(1 for _ in walk(network)) < 40
