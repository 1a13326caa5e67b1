"""The registry: what is in it, how a user adds a network, and what each mistake is answered with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from prema_gym.config import MODEL_NAMES
from prema_gym.errors import ModelError
from prema_gym.hardware.layers import Gemm, Network
from prema_gym.workloads.lengths import LengthSpec, predicted_output_length
from prema_gym.workloads.models import MODELS, Model, get_model, register_model
from prema_gym.workloads.models.recurrent import lstm_layer


def build_mlp() -> Network:
    return Network("MLP", 784, (Gemm(1, 784, 512), Gemm(1, 512, 10)))


@pytest.fixture
def clean_registry() -> Iterator[None]:
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


def test_the_eight_networks_of_the_paper_are_registered_in_order() -> None:
    assert tuple(MODELS)[: len(MODEL_NAMES)] == MODEL_NAMES
    assert all(name == model.name for name, model in MODELS.items())


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_model_cites_the_paper_of_its_shapes(name: str) -> None:
    assert any(mark in MODELS[name].citation for mark in ("arXiv", "NeurIPS"))


@pytest.mark.usefixtures("clean_registry")
def test_a_user_adds_a_network_with_one_function() -> None:
    model = register_model(Model("MLP", build_mlp))
    assert MODELS["MLP"] is get_model("MLP") is model
    assert model.macs(batch=4) == 4 * (784 * 512 + 512 * 10)
    assert model.weights() == 784 * 512 + 512 * 10


@pytest.mark.usefixtures("clean_registry")
def test_a_user_adds_a_network_with_lengths() -> None:
    def build(input_length: int, hoist_inputs: bool) -> Network:
        layers, _ = lstm_layer("lstm", ("input",), 64, 64, input_length, hoist_inputs, collect=False)
        return Network("tagger", 64 * input_length, layers)

    model = register_model(Model("tagger", build, lengths=LengthSpec(min=2, max=9, median=4, sigma=0.5)))
    assert model.macs() == model.macs(input_length=4) == 4 * 128 * 256
    assert model.network(3) != model.network(3, hoist_inputs=True)


@pytest.mark.usefixtures("clean_registry")
def test_a_built_in_model_is_not_overwritten_but_an_own_one_is() -> None:
    with pytest.raises(ModelError, match=r"Model.name = 'CNN-AN': must differ from the built-in models"):
        register_model(Model("CNN-AN", build_mlp))
    register_model(Model("MLP", build_mlp))
    newer = register_model(Model("MLP", build_mlp, citation="mine"))
    assert MODELS["MLP"] is newer


def test_an_unknown_model_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'CNN-AM'\. Did you mean 'CNN-A?[NM]N?'\?"):
        get_model("CNN-AM")


def test_what_is_no_model_is_not_registered() -> None:
    with pytest.raises(ModelError, match="must be a Model"):
        register_model(build_mlp)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="must be a non-empty string"):
        register_model(Model("", build_mlp))


def test_a_build_that_returns_no_network_is_named() -> None:
    with pytest.raises(ModelError, match="model 'broken': build returned None"):
        Model("broken", lambda: None).network()  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("length", [None, 9, 81, 12.0, "12", True])
def test_a_missing_or_impossible_length_names_the_range(length: object) -> None:
    with pytest.raises(ModelError, match=f"model 'RNN-SA': input_length = {length!r}: must be a whole number from 10 to 80"):
        MODELS["RNN-SA"].network(length)  # type: ignore[arg-type]


def test_a_length_where_there_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match="model 'CNN-AN': input_length = 7: must be None"):
        MODELS["CNN-AN"].network(7)
    with pytest.raises(ModelError, match="model 'CNN-AN': output_length = 7: must be None"):
        MODELS["CNN-AN"].macs(output_length=7)
    with pytest.raises(ModelError, match="model 'RNN-SA': output_length = 7: must be None"):
        MODELS["RNN-SA"].macs(output_length=7)


def test_an_output_beyond_the_longest_is_refused() -> None:
    with pytest.raises(ModelError, match="model 'RNN-MT1': output_length = 101: must be a whole number from 1 to 100"):
        MODELS["RNN-MT1"].macs(output_length=101)


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_an_impossible_batch_is_refused(batch: object) -> None:
    with pytest.raises(ModelError, match="batch = "):
        MODELS["CNN-AN"].macs(batch=batch)  # type: ignore[arg-type]


def test_lengths_may_be_numpy_integers() -> None:
    assert MODELS["RNN-SA"].network(np.int64(12)) == MODELS["RNN-SA"].network(12)


def test_macs_default_to_the_median_input_and_the_predicted_output() -> None:
    assert MODELS["RNN-SA"].macs() == MODELS["RNN-SA"].macs(input_length=28)
    translator = MODELS["RNN-MT1"]
    assert translator.lengths is not None
    predicted = predicted_output_length(translator.lengths, 20)
    assert translator.macs() == translator.macs(input_length=20, output_length=predicted)
