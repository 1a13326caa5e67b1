"""What an import gives: a model like those of the library, which also says what could not be lowered."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from prema_gym.errors import ModelError
from prema_gym.files import write_text
from prema_gym.hardware.layers import BatchedGemm, Conv2d, Embedding, Gemm, Layer, Loop, Network, Vector
from prema_gym.workloads.importing.layer_list import LayerList, Unsupported
from prema_gym.workloads.models.model import Model

SCHEMA = "prema-gym-network-1"
"""Of the files that :meth:`ImportedModel.save` writes."""
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Gemm, BatchedGemm, Conv2d, Vector, Embedding, Loop)}


@dataclasses.dataclass(frozen=True)
class _Fixed:
    """A builder that returns one network: a dataclass, so that models can be pickled."""

    fixed: Network

    def __call__(self) -> Network:
        return self.fixed


@dataclasses.dataclass(frozen=True)
class ImportedModel(Model):
    """A network from outside, at the input size that it was imported with.

    It is what ``compile_model`` takes; ``register_model(imported)`` lets traces and workloads name it.
    """

    unsupported: tuple[Unsupported, ...] = ()
    """What could not be lowered, with its node and the multiply-accumulates that are missing."""

    @property
    def unsupported_share(self) -> float:
        """The share of all multiply-accumulates that are missing, as far as they are known."""
        missing = sum(entry.macs or 0 for entry in self.unsupported)
        return missing / max(1, missing + self.macs())

    def save(self, path: str | Path) -> Path:
        """Write the layers as JSON, and return the path: configurations name the file where they would name a model."""
        target = Path(path)
        if target.suffix != ".json":
            raise ModelError(f"ImportedModel.save({str(path)!r}): the name must end in .json.")
        network = self.network()
        content = {
            "schema": SCHEMA,
            "name": self.name,
            "citation": self.citation,
            "input_elements": network.input_elements,
            "table_weights": self.table_weights,
            "unsupported": [dataclasses.asdict(entry) for entry in self.unsupported],
            "layers": [_to_plain(layer) for layer in network.layers],
        }
        write_text(target, json.dumps(content, indent=1) + "\n")
        return target


def fixed_model(network: Network, source: str, *, name: str) -> ImportedModel:
    """Return the model of a network that is given as it is."""
    return ImportedModel(name, _Fixed(network), citation=source)


def imported(made: LayerList, name: str | None, source: str) -> ImportedModel:
    """Return the model of a finished list; warn of what could not be lowered."""
    network = made.network()
    model = ImportedModel(
        name or made.name, _Fixed(network), citation=source, table_weights=made.table_weights, unsupported=tuple(made.unsupported)
    )
    if model.unsupported:
        shown = "; ".join(str(entry) for entry in model.unsupported[:5])
        more = f" and {len(model.unsupported) - 5} more" if len(model.unsupported) > 5 else ""
        warnings.warn(
            f"{model.name}: {len(model.unsupported)} operations were not lowered, {model.unsupported_share:.1%} of the known MACs: "
            f"{shown}{more}. Model.unsupported lists them.",
            stacklevel=3,
        )
    return model


def load_network(path: Path, content: Any, name: str | None = None) -> ImportedModel:
    """Return the model of a file that :meth:`ImportedModel.save` wrote; ``content`` is its JSON."""
    try:
        network = Network(content["name"], content["input_elements"], tuple(_from_plain(entry) for entry in content["layers"]))
        unsupported = tuple(Unsupported(**entry) for entry in content["unsupported"])
        return ImportedModel(
            name or content["name"],
            _Fixed(network),
            citation=content["citation"],
            table_weights=content["table_weights"],
            unsupported=unsupported,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: is no network that prema-gym saved: {error!r}.") from None


def _to_plain(layer: Layer | Loop) -> dict[str, Any]:
    plain: dict[str, Any] = {"layer": type(layer).__name__}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.name == "body":
            value = [_to_plain(entry) for entry in value]
        if value != field.default:
            plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain


def _from_plain(plain: dict[str, Any]) -> Any:
    fields = dict(plain)
    kind = _KINDS[fields.pop("layer")]
    if "body" in fields:
        fields["body"] = [_from_plain(entry) for entry in fields["body"]]
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
