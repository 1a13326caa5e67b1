"""A network by the name of its file: configurations and traces name files where they would name models."""

from __future__ import annotations

import json
from pathlib import Path

from prema_gym.errors import ModelError
from prema_gym.workloads.importing.imported import ImportedModel, load_network
from prema_gym.workloads.importing.onnx_file import from_onnx
from prema_gym.workloads.importing.profile import from_profile
from prema_gym.workloads.importing.text import read_text
from prema_gym.workloads.importing.topology import from_csv
from prema_gym.workloads.models.measured import MeasuredModel

SUFFIXES = (".onnx", ".csv", ".json")
"""Of files that hold a network: an ONNX graph; a SCALE-Sim topology or a profile; what :meth:`ImportedModel.save` wrote."""


def is_file_name(name: str) -> bool:
    """Return whether ``name`` is that of a file rather than of a model."""
    return Path(name).suffix.lower() in SUFFIXES


def from_file(path: str | Path) -> ImportedModel | MeasuredModel:
    """Return the network in a file, by its suffix: .onnx, .csv (a topology or a profile, by its header) or .json.

    The model is called as the path says, so that what names the file finds it.
    """
    source = Path(path)
    suffix = source.suffix.lower()
    if suffix == ".onnx":
        return from_onnx(source, name=str(path))
    if suffix == ".csv":
        header = read_text(source).partition("\n")[0].lower()
        return (
            from_profile(source, name=str(path))
            if "cycles" in header or "microseconds" in header
            else from_csv(source, name=str(path))
        )
    if suffix == ".json":
        try:
            content = json.loads(read_text(source))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{source}: is no JSON: {error}.") from None
        return load_network(source, content, str(path))
    raise ModelError(f"{source}: must end in one of {', '.join(SUFFIXES)}.")
