"""Published weights: a safetensors file and a JSON card beside it. Reading either runs no code from it.

The safetensors format is a little-endian uint64 length, a JSON header of that many bytes (name -> dtype, shape, data_offsets) and
the raw data (https://github.com/huggingface/safetensors); forty lines of NumPy read it, so a learned policy needs no further
library. The card says what the weights are for, and is checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.network.form import Form
from agents.network.forms import FORMS
from agents.network.slots.layout import Shape
from prema_gym.errors import PolicyError, shown, unknown_name
from prema_gym.files import is_file, write_bytes

FORMAT = "prema-gym policy"
VERSION = 2
SUFFIX = ".safetensors"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 1 << 20
_LARGEST_FILE = 256 << 20
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


# --- safetensors ------------------------------------------------------------------------------------------------------------


def encode_tensors(tensors: dict[str, np.ndarray]) -> bytes:
    """Return ``tensors`` as a safetensors file of float32."""
    header: dict[str, Any] = {}
    parts, end = [], 0
    for name, tensor in tensors.items():
        data = np.ascontiguousarray(tensor, "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + len(data)]}
        parts.append(data)
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def decode_tensors(data: bytes, source: str) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file; raises :class:`PolicyError`, naming ``source``, for anything else."""
    if len(data) < _LENGTH_BYTES:
        raise PolicyError(f"{source}: {len(data)} bytes are no safetensors file.")
    (length,) = struct.unpack("<Q", data[:_LENGTH_BYTES])
    if length > min(_LARGEST_HEADER, len(data) - _LENGTH_BYTES):
        raise PolicyError(f"{source}: no safetensors file, or truncated (a header of {length} bytes is announced).")
    body = data[_LENGTH_BYTES + length :]
    try:
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{source}: no safetensors file: its header is not JSON ({error}).") from error
    if not isinstance(header, dict):
        raise PolicyError(f"{source}: no safetensors file: its header is not a JSON object.")
    header.pop("__metadata__", None)
    tensors = {name: _tensor(name, entry, body, source) for name, entry in header.items()}
    used = sum(tensor.nbytes for tensor in tensors.values())
    if used != len(body):
        raise PolicyError(f"{source}: holds {len(body)} bytes of data where its header names {used}.")
    return tensors


def _tensor(name: str, entry: Any, body: bytes, source: str) -> np.ndarray:
    where = f"{source}: tensor {name!r}"
    try:
        dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], list(entry["shape"]), entry["data_offsets"]
        if not all(type(number) is int for number in (*shape, begin, end)):
            raise TypeError("extents and offsets must be whole numbers")
        size = math.prod(shape) * dtype.itemsize
        wrong = min([0, *shape]) < 0 or end - begin != size or begin < 0
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{where} is described by {entry!r}: dtype must be F32 or F64, with shape and data_offsets.") from error
    if wrong:
        raise PolicyError(f"{where}: shape {shape} does not fit the bytes {begin} to {end}.")
    if end > len(body):
        raise PolicyError(f"{where} ends at byte {end} of {len(body)}: the file is truncated.")
    return np.frombuffer(body[begin:end], dtype).reshape(shape)


# --- Card and weights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """A network as it was published."""

    name: str
    shape: Form
    flat: np.ndarray
    """(size,) float64."""
    card: dict[str, Any]


def save_weights(path: Path, shape: Form, flat: np.ndarray, about: dict[str, Any]) -> Path:
    """Write ``path`` (safetensors; its stem is the policy's name) and the card beside it, which adds ``about``; return ``path``."""
    path = path.with_suffix(SUFFIX)
    data = encode_tensors(shape.unpack(flat))
    card = {
        "format": FORMAT,
        "version": VERSION,
        "name": path.stem,
        "sha256": hashlib.sha256(data).hexdigest(),
        "network": network_entry(shape),
        "mechanisms": list(shape.mechanism_names),
        "observation": shape.schema,
        **about,
    }
    write_bytes(path, data)
    write_bytes(path.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    return path


def load_weights(path: str | Path) -> Weights:
    """Return the network published at ``path``; raises :class:`PolicyError` saying what is wrong with the file or its card."""
    path = Path(path).with_suffix(SUFFIX)
    card = _read_card(path.with_suffix(".json"))
    shape = _form(card, path.with_suffix(".json"))
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        decode_tensors(data, str(path))  # says more where it can
        raise PolicyError(f"{path}: is not the file that its card describes (SHA-256 differs): fetch both again.")
    tensors = decode_tensors(data, str(path))
    _check_tensors(tensors, shape, path)
    return Weights(path.stem, shape, shape.pack(tensors), card)


def _read(path: Path) -> bytes:
    try:
        if not is_file(path) and path.exists():
            raise PolicyError(f"{path}: is no file.")  # a pipe would keep whoever reads it waiting
        if path.stat().st_size > _LARGEST_FILE:
            raise PolicyError(f"{path}: has {path.stat().st_size} bytes: at most {_LARGEST_FILE} are read.")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise PolicyError(f"{path}: cannot be read ({reason}).") from error


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: is no JSON ({error}).") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise PolicyError(f"{path}: is no card of a {FORMAT} (its 'format' says otherwise).")
    if card.get("version") != VERSION:
        raise PolicyError(f"{path}: is of version {card.get('version')!r}: this release reads {VERSION}.")
    return card


def network_entry(shape: Form) -> dict[str, Any]:
    """Return what a card says of the network."""
    return {"kind": shape.kind, **shape.described}


def form_of(entry: Any) -> Form:
    """Return the form that a card's entry on the network describes; raises :class:`PolicyError` for what is none."""
    if not isinstance(entry, dict):
        raise PolicyError(f"'network' = {shown(entry)}: must be an object.")
    described = {"kind": Shape.kind, **entry}  # cards of version 0.1 name no kind
    kind = described.pop("kind")
    if not isinstance(kind, str) or kind not in FORMS:
        raise PolicyError(unknown_name("kind of network", kind, FORMS))
    return FORMS[kind].form.from_described(described)


def _form(card: dict[str, Any], path: Path) -> Form:
    try:
        form = form_of(card.get("network"))
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error
    seen, ours = card.get("observation"), form.schema
    if seen != ours:
        raise PolicyError(f"{path}: was trained on another observation ({seen}); this release's is {ours}. Train it again.")
    return form


def _check_tensors(tensors: dict[str, np.ndarray], shape: Form, path: Path) -> None:
    found = {name: tensor.shape for name, tensor in tensors.items()}
    for name, expected in shape.tensors.items():
        if found.get(name) != expected:
            raise PolicyError(f"{path}: tensor {name!r} has shape {found.get(name)}: must be {expected}.")
        if not np.isfinite(tensors[name]).all():
            raise PolicyError(f"{path}: tensor {name!r} holds values that are not finite.")
    extra = sorted(found.keys() - shape.tensors.keys())
    if extra:
        raise PolicyError(f"{path}: holds tensors that the network has no place for: {', '.join(extra)}.")
