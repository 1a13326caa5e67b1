"""What a model is: a name, where its shapes come from, the lengths it takes, and a function that lays its layers out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import SupportsIndex

from prema_gym.checks import whole
from prema_gym.errors import ModelError, shown
from prema_gym.hardware.layers import Network
from prema_gym.workloads.lengths import LengthSpec, predicted_output_length
from prema_gym.workloads.models.counting import network_macs, network_weights


@dataclasses.dataclass(frozen=True)
class Model:
    """A network of the library, at any input length.

    To add your own, write the function that builds its layers and register it::

        def build() -> Network:
            return Network("MLP", 784, (Gemm(1, 784, 512), Gemm(1, 512, 10)))

        register_model(Model("MLP", build))

    Models whose networks compare equal at an input length (MT1 and MT2 do) can share compiled programs: key these by the
    :class:`Network`, not by the model's name.
    """

    name: str
    build: Callable[..., Network]
    """``build()`` without ``lengths``, ``build(input_length, hoist_inputs)`` with them."""
    lengths: LengthSpec | None = None
    """None: the input has one size."""
    citation: str = ""
    """The paper that the shapes come from."""
    table_weights: int = 0
    """Parameters of the look-up tables: a layer says how many rows are read, not how many there are."""

    def network(self, input_length: SupportsIndex | None = None, hoist_inputs: bool = False) -> Network:
        """Return the layers at ``input_length`` (None for a model without lengths).

        ``hoist_inputs`` computes the input half of recurrent cells as one GEMM before their loop, where all inputs are known.
        """
        length = self._check_input(input_length)
        network = self.build() if length is None else self.build(length, hoist_inputs)
        if not isinstance(network, Network):
            raise ModelError(f"model {self.name!r}: build returned {shown(network)}, which must be a Network.")
        return network

    def macs(self, batch: int = 1, input_length: int | None = None, output_length: int | None = None) -> int:
        """Return the multiply-accumulates of a batch.

        A model with lengths counts at its median input length unless told otherwise, and then at the output length that the
        profiled table predicts for it.
        """
        batch = whole(f"model {self.name!r}: batch", batch, 1, error=ModelError)
        length = self._or_median(input_length)
        return batch * network_macs(self.network(length), self._output_steps(length, output_length))

    def weights(self) -> int:
        """Return the parameters in matrices, filters and embedding tables; biases (and normalisation's scales) are excluded."""
        return network_weights(self.network(self._or_median(None))) + self.table_weights

    def _or_median(self, input_length: int | None) -> int | None:
        return self.lengths.median if input_length is None and self.lengths is not None else input_length

    def _check_input(self, input_length: SupportsIndex | None) -> int | None:
        if self.lengths is None:
            if input_length is not None:
                raise ModelError(f"model {self.name!r}: input_length = {shown(input_length)}: must be None; one size only.")
            return None
        try:
            return self.lengths.check_input(input_length)
        except ModelError as error:
            raise ModelError(f"model {self.name!r}: {error}") from None

    def _output_steps(self, input_length: int | None, output_length: int | None) -> int:
        given = f"model {self.name!r}: output_length = {shown(output_length)}"
        if self.lengths is None or not self.lengths.has_output:
            if output_length is not None:
                raise ModelError(f"{given}: must be None, it generates no sequence.")
            return 1
        if output_length is None:
            return predicted_output_length(self.lengths, self._check_input(input_length))
        try:
            return self.lengths.check_output(output_length)
        except ModelError as error:
            raise ModelError(f"model {self.name!r}: {error}") from None
