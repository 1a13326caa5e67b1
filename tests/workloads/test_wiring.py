"""Every tensor that a layer reads exists by then and has the size the layer needs: for all models and both LSTM forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from prema_gym.hardware.layers import NETWORK_INPUT, BatchedGemm, Conv2d, Embedding, Gemm, Layer, Loop, Network, Vector
from prema_gym.workloads.models import MODELS, Model


def outputs_of(layer: Layer) -> int:
    """Return the elements that a layer produces per sample."""
    match layer:
        case Gemm():
            return layer.m * layer.n
        case BatchedGemm():
            return layer.count * layer.m * layer.n
        case Conv2d():
            return layer.out_channels * layer.out_height * layer.out_width
        case Embedding():
            return layer.dim * layer.vectors
        case Vector():
            return layer.outputs


def check_reads(layer: Layer, sizes: list[int]) -> None:
    """Assert that tensors of ``sizes`` are what ``layer`` works on."""
    match layer:
        case Gemm():
            assert sum(sizes) in (layer.m * layer.k, layer.m * layer.k - layer.k // 2), layer  # a pyramid pads an odd last pair
        case BatchedGemm():
            assert sizes[0] == layer.count * layer.m * layer.k, layer
            assert sum(sizes[1:]) == layer.count * layer.k * layer.n, layer
        case Conv2d():
            assert sum(sizes) == layer.in_channels * layer.height * layer.width, layer
        case Vector(kind="gates"):
            assert all(size == 4 * layer.outputs for size in sizes), layer
        case Vector(name="energy"):
            assert sizes[1] == layer.outputs, layer
            assert layer.outputs % sizes[0] == 0, layer
        case Vector(kind="elementwise" | "softmax" | "norm"):
            assert all(size == layer.outputs for size in sizes), layer
        case Vector(kind="argmax"):
            assert sizes == [layer.ops_per_output], layer
        case Vector(kind="pool"):
            assert sum(sizes) >= layer.outputs, layer


def check(network: Network) -> None:
    """Walk ``network`` in program order and check every read against what has been produced."""
    made = {NETWORK_INPUT: network.input_elements}
    lengths = {NETWORK_INPUT: 0}
    previous = NETWORK_INPUT
    for item in network.layers:
        if isinstance(item, Loop):
            check_loop(item, made, lengths)
            previous = item.body[-1].name
        else:
            check_reads(item, [made[name] for name in item.inputs or (previous,)])
            previous = item.name
            made[previous] = outputs_of(item)


def check_loop(loop: Loop, made: dict[str, int], lengths: dict[str, int]) -> None:
    """Check the reads of a loop's body, then add its states and collected sequences to ``made``."""
    states = {layer.name: outputs_of(layer) for layer in loop.body}
    for layer in loop.body:
        assert layer.inputs, f"{layer.name} of a loop names what it reads"
        sizes = []
        for name in layer.inputs:
            if name.startswith("*"):
                sizes.append(made[name[1:]])
            elif name in states:
                sizes.append(states[name])
            else:
                assert loop.steps is not None, f"{layer.name} reads slices of {name} in an open loop"
                steps = lengths.get(name, 0) or loop.steps
                sizes.append(made[name] // steps * -(-steps // loop.steps))
        check_reads(layer, sizes)
    made |= states
    for name in loop.collect:
        assert loop.steps is not None
        made[f"{loop.name}.{name}"], lengths[f"{loop.name}.{name}"] = states[name] * loop.steps, loop.steps


def samples_of(model: Model) -> Iterator[Network]:
    """Yield a model's networks at its shortest, median, longest and an odd length, with and without hoisting."""
    if model.lengths is None:
        yield model.network()
        return
    for length in (model.lengths.min, model.lengths.median, model.lengths.median + 1, model.lengths.max):
        for hoist in (False, True):
            yield model.network(length, hoist_inputs=hoist)


@pytest.mark.parametrize("name", MODELS)
def test_layers_fit_together(name: str) -> None:
    for network in samples_of(MODELS[name]):
        check(network)


@pytest.mark.parametrize("name", MODELS)
def test_names_are_unique_in_a_network(name: str) -> None:
    for network in samples_of(MODELS[name]):
        names = [layer.name for item in network.layers for layer in (item.body if isinstance(item, Loop) else (item,))]
        names += [item.name for item in network.layers if isinstance(item, Loop)]
        assert all(names)
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", MODELS)
def test_only_models_with_an_output_length_end_in_an_open_loop(name: str) -> None:
    lengths = MODELS[name].lengths
    for network in samples_of(MODELS[name]):
        loops = [item for item in network.layers if isinstance(item, Loop) and item.steps is None]
        assert loops == ([network.layers[-1]] if lengths is not None and lengths.has_output else [])


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.lengths is not None])
def test_every_collected_sequence_is_read(name: str) -> None:
    for network in samples_of(MODELS[name]):
        layers = [layer for item in network.layers for layer in (item.body if isinstance(item, Loop) else (item,))]
        read = {name.lstrip("*") for layer in layers for name in layer.inputs}
        for item in network.layers:
            if isinstance(item, Loop):
                assert {f"{item.name}.{name}" for name in item.collect} <= read


def test_a_misfit_is_found() -> None:
    good = MODELS["CNN-VN"].network()
    bad = (*good.layers[:-2], Gemm(1, 4095, 1000, name="fc8"), good.layers[-1])
    with pytest.raises(AssertionError):
        check(dataclasses.replace(good, layers=bad))
