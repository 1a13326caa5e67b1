"""Multiply-accumulates and parameters of layers and networks: what papers publish, before any hardware is chosen."""

from __future__ import annotations

from collections.abc import Iterator

from prema_gym.hardware.layers import BatchedGemm, Conv2d, Gemm, Layer, Loop, Network


def layer_macs(layer: Layer) -> int:
    """Return the multiply-accumulates of one sample; vector work, look-ups and biases count nothing, as in the literature."""
    if isinstance(layer, Gemm):
        return layer.m * layer.k * layer.n
    if isinstance(layer, BatchedGemm):
        return layer.count * layer.m * layer.k * layer.n
    if isinstance(layer, Conv2d):
        return layer.out_height * layer.out_width * layer_weights(layer)
    return 0


def layer_weights(layer: Layer) -> int:
    """Return the entries of the layer's weight matrix or filters, without biases; 0 where it has none."""
    if isinstance(layer, Gemm):
        return layer.k * layer.n
    if isinstance(layer, Conv2d):
        return layer.kernel[0] * layer.kernel[1] * layer.in_channels // layer.groups * layer.out_channels
    return 0


def walk(network: Network, output_length: int = 1) -> Iterator[tuple[Layer, int]]:
    """Yield every layer in program order with the times it runs; the output loop runs ``output_length`` times."""
    for item in network.layers:
        if isinstance(item, Loop):
            times = output_length if item.steps is None else item.steps
            yield from ((layer, times) for layer in item.body)
        else:
            yield item, 1


def network_macs(network: Network, output_length: int = 1) -> int:
    """Return the multiply-accumulates of one sample that generates ``output_length`` steps."""
    return sum(times * layer_macs(layer) for layer, times in walk(network, output_length))


def network_weights(network: Network) -> int:
    """Return the parameters of all matrices and filters, those of a loop once; look-up tables and biases are not in it."""
    return sum(layer_weights(layer) for layer, _ in walk(network))
